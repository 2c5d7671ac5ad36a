package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// octets takes exponentials in float64, as exp does.
func octets(p *tile.Octets) {
	for r := range p.N {
		code, product, norm := int32(0), float32(1), float32(0)
		for _, x := range p.X[8*r:][:8] {
			a := math.Abs(float64(x))
			code <<= 1
			if x >= 0 {
				code |= 1
			}
			product *= 1 + float32(math.Exp(-2*a))
			norm += float32(a)
		}
		p.Code[r], p.P[r] = code, 1/product
		if len(p.Norm) > 0 {
			p.Norm[r] = norm
		}
	}
}
