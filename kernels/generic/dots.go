package generic

import "github.com/rooftune/rooftune/kernels/tile"

// Dots takes dot products of rows in portable Go.
func Dots(p *tile.Dots) {
	if p.N == 0 {
		clear(p.Dst[:p.M])
		return
	}
	for i := range p.M {
		x := p.X[i*p.LDX:][:p.N]
		y := p.Y[i*p.LDY:][:len(x)]
		var even, odd float32
		j := 0
		for ; j+1 < len(x); j += 2 {
			even += x[j] * y[j]
			odd += x[j+1] * y[j+1]
		}
		if j < len(x) {
			even += x[j] * y[j]
		}
		p.Dst[i] = even + odd
	}
}
