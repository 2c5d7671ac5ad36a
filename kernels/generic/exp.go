package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// exp rounds Scale*Src to float32 and takes its exponential in float64, so
// that the result is within one rounding of exact.
func exp(p *tile.Exp) {
	at := 0
	for i := range p.Dst[:p.N] {
		x := p.Src[at]
		at += p.Stride
		if p.Abs {
			x = math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
		}
		p.Dst[i] = float32(math.Exp(float64(float32(p.Scale * x))))
	}
}
