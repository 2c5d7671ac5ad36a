package generic

import "github.com/rooftune/rooftune/kernels/tile"

// Turn is the scaled transposition in portable Go.
func Turn(p *tile.Turn) {
	if p.N == 0 {
		return
	}
	for i := range p.M {
		scale := float32(1)
		if p.Row != nil {
			scale = p.Row[i]
		}
		for j, x := range p.Src[i*p.LDS:][:p.N] {
			p.Dst[j*p.LDD+i] = scale * x
		}
	}
}
