package generic

import "github.com/rooftune/rooftune/kernels/tile"

// substitute is the substitution with scaled rows, down or up.
func substitute(p *tile.Substitute) {
	if p.W == 0 {
		return
	}
	for n := range p.N {
		i, first, end := n, 0, n // the row, and those that are solved
		step := 1                // between the elements of L for these
		at := i * p.LDL
		if p.Transposed {
			i, first, end = p.N-1-n, p.N-n, p.N
			step, at = p.LDL, first*p.LDL+i
		}
		x := p.X[i*p.LDX:][:p.W]
		for j := first; j < end; j++ {
			l, y := p.L[at], p.Y[j*p.LDY:][:len(x)]
			at += step
			for c, v := range y {
				x[c] -= l * v
			}
		}
		scale, y := p.Row[i], p.Y[i*p.LDY:][:len(x)]
		for c, v := range x {
			y[c] = scale * v
		}
	}
}
