package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// sharedGradients adds up the gradients of queries and keys that state heads share (InverseGQA): a backward pass writes those of each
// state head to arrays of its own, and each sum is taken in the order of the heads, whatever the workers.
type sharedGradients struct {
	query, key         []float32 // the caller's
	ownQuery, ownKey   []float32 // of each state head, where heads share
	hq, hk, hkv, width int       // heads of queries, keys and states; dk
	rows, workers      int
	shares             bool
	prim               *tile.Primitives
	calls              []rowWork // of each worker
}

// begin puts the state heads' own arrays in place of the caller's where heads share.
func (g *sharedGradients) begin(prim *tile.Primitives, a *attentionArgs, workers int) {
	s := a.problem.Shape
	g.prim = prim
	if len(g.calls) < workers {
		g.calls = make([]rowWork, workers)
	}
	g.query, g.key = a.gradQuery, a.gradKey
	g.hq, g.hk, g.hkv, g.width, g.rows, g.workers = s.Hq, a.keyHeads, s.Hkv, s.Dk, a.rowsOf(s.B), workers
	g.shares = g.hq < g.hkv || g.hk < g.hkv
	n := g.rows * s.Hkv * s.Dk
	if g.hq < g.hkv {
		g.ownQuery = grown(g.ownQuery, n)
		a.gradQuery = g.ownQuery[:n]
	}
	if g.hk < g.hkv {
		g.ownKey = grown(g.ownKey, n)
		a.gradKey = g.ownKey[:n]
	}
}

// callers gives arguments with the caller's own gradients.
func (g *sharedGradients) callers(a attentionArgs) attentionArgs {
	a.gradQuery, a.gradKey = g.query, g.key
	return a
}

// release drops the caller's arrays.
func (g *sharedGradients) release() {
	g.query, g.key = nil, nil
	for i := range g.calls {
		g.calls[i].release()
	}
}

func (g *sharedGradients) parts() int {
	if !g.shares {
		return 1
	}
	return g.workers
}

// part adds up one worker's share of the rows.
func (g *sharedGradients) part(i int) {
	if !g.shares {
		return
	}
	for row, last := i*g.rows/g.workers, (i+1)*g.rows/g.workers; row < last; {
		n := min(last-row, max(1, maxCallFlops/4/g.width))
		g.sum(&g.calls[i], g.query, g.ownQuery, row, n, g.hq)
		g.sum(&g.calls[i], g.key, g.ownKey, row, n, g.hk)
		row += n
	}
}

// sum adds up the heads of n rows that share one of some heads.
func (g *sharedGradients) sum(w *rowWork, to, own []float32, row, n, heads int) {
	if heads >= g.hkv {
		return
	}
	shared := g.hkv / heads
	for h := range heads {
		sum := operand{to[(row*heads+h)*g.width:], heads * g.width}
		each := operand{own[(row*heads+h)*shared*g.width:], g.hkv * g.width}
		copyRows(g.prim, &w.pack, sum.rows, sum.ld, each.rows, each.ld, nil, n, g.width)
		for i := 1; i < shared; i++ {
			w.add(g.prim, sum, nil, each.column(i*g.width), nil, n, g.width)
		}
	}
}
