package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// multiply points the worker's product, C = A B or one of its like, at operands of m x n x k, with nothing besides. A product is large and its
// calls short, so it is filled in place.
func (w *deltaBackwardWork) multiply(c, x, y operand, m, n, k int) *tile.Product {
	p := &w.product
	p.A, p.B, p.C, p.Row, p.Mask, p.From = x.rows, y.rows, c.rows, nil, nil, nil
	p.LDA, p.LDB, p.LDC = x.ld, y.ld, c.ld
	p.M, p.N, p.K = m, n, k
	p.Beta, p.Lower, p.Strict = 0, false, 0
	p.Ahead[0].Lines, p.Ahead[1].Lines = 0, 0
	return p
}

// full runs the worker's product of whole operands, in calls that are short enough. transposed says that it is one with Aᵀ.
func (w *deltaBackwardWork) full(run func(*tile.Product), transposed bool) {
	p := &w.product
	m, rows := p.M, max(1, maxCallFlops/(2*p.N*p.K))
	if m <= rows {
		run(p)
		return
	}
	for i := 0; i < m; i += rows {
		p.M = min(rows, m-i)
		run(p)
		if i+rows >= m {
			return
		}
		if transposed {
			p.A = p.A[rows:]
		} else {
			p.A = p.A[rows*p.LDA:]
		}
		p.C, p.Row, p.From = p.C[rows*p.LDC:], part(p.Row, rows), part(p.From, rows*p.LDC)
		for x := range p.Ahead {
			if ahead := &p.Ahead[x]; ahead.Lines > 0 {
				ahead.Rows = ahead.Rows[min(rows*ahead.LD, len(ahead.Rows)):]
			}
		}
	}
}

// upper adds Aᵀ B to C with the worker's operands, A being a lower triangle, whose transpose is zero left of the diagonal.
func (w *deltaBackwardWork) upper(run func(*tile.Product), rows int) {
	p := &w.product
	for m := p.M; ; p.A, p.B, p.C = p.A[rows*p.LDA+rows:], p.B[rows*p.LDB:], p.C[rows*p.LDC:] {
		p.M, p.K = min(rows, m), m
		run(p)
		if m -= rows; m <= 0 {
			return
		}
	}
}

// ahead sets p to what a chunk from token t on reads of an array of so many heads: count heads of some width from a head on.
func (a *deltaBackward) ahead(p *tile.Prefetch, v []float32, u, t, heads, head, count, width int) {
	if _, tokens := a.span(u / a.problem.Shape.Hkv); t < 0 || t >= tokens {
		return
	}
	p.Rows, p.LD = a.rows(v, u, t, heads, head, width)
	p.Lines = (count*width + cacheLine/4 - 1) / (cacheLine / 4)
}

// aheadRow sets p to what a worker's own array holds of the tokens from t on.
func aheadRow(p *tile.Prefetch, v []float32, t, width int) {
	if t >= 0 && t*width < len(v) {
		p.Rows, p.LD, p.Lines = v[t*width:], width, (width+cacheLine/4-1)/(cacheLine/4)
	}
}

// aheadState sets p to the state before a chunk that begins at token t, if there is one.
func (a *deltaBackward) aheadState(p *tile.Prefetch, w *deltaBackwardWork, t int) {
	if t >= 0 {
		aheadRow(p, w.states, (t+a.chunk-1)/a.chunk*a.problem.Shape.Dk, a.problem.Shape.Dv)
	}
}
