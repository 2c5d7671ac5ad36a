package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// conv is tile.Conv, output by output.
func conv(p *tile.Conv) {
	for i := range p.M {
		if p.N <= 0 {
			return
		}
		weight := p.Weight[i*p.K:][:p.K]
		bias := float32(0)
		if p.Bias != nil {
			bias = p.Bias[i]
		}
		src := p.Src[i*p.LDS:][:p.N+p.K-1]
		for n := range p.Dst[i*p.LDD:][:p.N] {
			y := bias
			for j, x := range src[n:][:len(weight)] {
				y += weight[j] * x
			}
			if p.SiLU {
				y /= 1 + float32(math.Exp(-float64(y)))
			}
			p.Dst[i*p.LDD+n] = y
		}
	}
}
