package generic

import "github.com/rooftune/rooftune/kernels/tile"

// solve substitutes forward in place. Four solved rows are subtracted at a
// time, so that a row of X is read and written a quarter as often.
func solve(p *tile.Solve) {
	if p.W == 0 {
		return
	}
	for i := 1; i < p.N; i++ {
		l := p.L[i*p.LDL:][:i]
		x := p.X[i*p.LDX:][:p.W]
		j := 0
		for ; j+4 <= i; j += 4 {
			l0, l1, l2, l3 := l[j], l[j+1], l[j+2], l[j+3]
			x0 := p.X[j*p.LDX:][:len(x)]
			x1 := p.X[(j+1)*p.LDX:][:len(x)]
			x2 := p.X[(j+2)*p.LDX:][:len(x)]
			x3 := p.X[(j+3)*p.LDX:][:len(x)]
			for c, v := range x {
				x[c] = v - l0*x0[c] - l1*x1[c] - l2*x2[c] - l3*x3[c]
			}
		}
		for ; j < i; j++ {
			l0 := l[j]
			x0 := p.X[j*p.LDX:][:len(x)]
			for c := range x {
				x[c] -= l0 * x0[c]
			}
		}
	}
}
