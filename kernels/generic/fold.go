package generic

import "github.com/rooftune/rooftune/kernels/tile"

// fold is tile.Fold, key by key.
func fold(p *tile.Fold) {
	const least = 0x1p-32
	unsafe := false
	for k := range p.N {
		w := float32(1)
		for i := p.M - 1; i >= 0; i-- {
			p.KOut[i*p.LDKOut+k] = p.K[i*p.LDK+k] * w
			for h := range p.Heads {
				p.QOut[i*p.LDQOut+h*p.HeadQOut+k] = p.Q[i*p.LDQ+h*p.HeadQ+k] / w
			}
			g := p.G[i*p.LDG+k]
			w *= g
			if i > 0 && !(g > 0 && g <= 1 && w >= least) {
				unsafe = true
			}
		}
		p.D[k] = w
	}
	p.Unsafe = unsafe
}
