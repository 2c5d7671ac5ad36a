package generic

import "github.com/rooftune/rooftune/kernels/tile"

// blend is tile.Blend, row by row.
func blend(p *tile.Blend) {
	if p.N == 0 {
		return
	}
	factor := func(f []float32, i int) float32 {
		if f == nil {
			return 1
		}
		return f[i]
	}
	for i := range p.M {
		a, b := factor(p.A, i), factor(p.B, i)
		dst := p.Dst[i*p.LDD:][:p.N]
		for j, x := range p.Src[i*p.LDS:][:p.N] {
			dst[j] = a*dst[j] + b*x
		}
	}
}
