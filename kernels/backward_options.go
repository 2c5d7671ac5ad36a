package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// What options add to the sweeps of a backward pass:
//
// Feature maps: the operands are the features of queries and keys, made chunk by chunk, and the gradients of features are multiplied by
// the map's derivative when the decay's gradient, which is made of features and their gradients, has been taken.
//
// The normaliser z is one more column of the state, of values 1. With N_t = scale S_tᵀ q_t and D_t = scale q_t z_t + eps, the gradient
// of N_t is do_t / D_t and that of D_t is dD_t = -(do_t N_t) / D_t². The forward sweep finds r_t = scale S_t do_t, so do_t N_t = q_t r_t and
//
//	dq_t = r_t / D_t + scale z_t dD_t
//	y_t  = exp(g_(t+1)) y_(t+1) + scale q_t dD_t     the gradient of z, in reverse
//	dk_t = R_t v_t + y_t                             R_t as before, of do_t / D_t
//
// Heads that share queries or keys: each state head computes gradients of its own, which are added up at last (shared_gradients.go).

// wholeRows says whether a unit needs all keys of its head: then heads are not split over workers.
func wholeRows(p tile.Problem) bool { return p.Normalize || p.FeatureMap == tile.MapL2 }

// altered says whether gradients are changed after the recurrences have written them.
func (a *attentionArgs) altered() bool { return a.normalize || a.featureMap != tile.MapNone }

// setOptions readies what depends on a call's number of rows.
func (a *backward) setOptions() {
	s, rows := a.problem.Shape, a.rowsOf(a.problem.Shape.B)
	if a.problem.Decay == tile.DecayHead && len(a.terms) < rows*s.Hkv*a.split {
		a.terms = make([]float64, rows*s.Hkv*a.split)
	}
	if a.normalize {
		a.quotients.grow(rows, a.outputHeads())
	}
	a.shared.begin(a.prim, &a.attentionArgs, a.workers)
}

// after adds up the gradients of what heads share.
func (a *backward) after() parallel { return &a.shared }

// quotients are what the division of outputs leaves for the gradients, of each output head's rows: 1/D, and the gradient of D.
type quotients struct {
	rows             int
	inverse, divisor []float32
}

func (q *quotients) grow(rows, heads int) {
	q.rows, q.inverse, q.divisor = rows, grown(q.inverse, rows*heads), grown(q.divisor, rows*heads)
}

// of gives those of an output head from a row on.
func (q *quotients) of(head, row int) (inverse, divisor []float32) {
	return q.inverse[head*q.rows+row:], q.divisor[head*q.rows+row:]
}

// rowWork holds the arguments of the primitives that finish rows of gradients, so that a call allocates nothing, and dot products of rows.
type rowWork struct {
	pack     tile.Pack
	dots     tile.Dots
	elements tile.Map
	blend    tile.Blend
	x, y     []float32 // a number a row
}

func newRowWork(rows int) rowWork { return rowWork{x: aligned(rows), y: aligned(rows)} }

// release drops the caller's arrays.
func (w *rowWork) release() {
	w.pack, w.dots, w.elements, w.blend = tile.Pack{}, tile.Dots{}, tile.Map{}, tile.Blend{}
}

// products takes the dot products of n rows of some width.
func (w *rowWork) products(prim *tile.Primitives, to []float32, x, y operand, n, width int) {
	w.dots = tile.Dots{X: x.rows, LDX: x.ld, Y: y.rows, LDY: y.ld, Dst: to, M: n, N: width}
	prim.Dots(&w.dots)
}

// apply is tile.Map on n rows of some width.
func (w *rowWork) apply(prim *tile.Primitives, kind int, to, from operand, n, width int) {
	w.elements = tile.Map{Src: from.rows, LDS: from.ld, Dst: to.rows, LDD: to.ld, M: n, N: width, Kind: kind}
	prim.Map(&w.elements)
}

// add is tile.Blend on n rows of some width.
func (w *rowWork) add(prim *tile.Primitives, to operand, a []float32, from operand, b []float32, n, width int) {
	w.blend = tile.Blend{Src: from.rows, LDS: from.ld, Dst: to.rows, LDD: to.ld, A: a, B: b, M: n, N: width}
	prim.Blend(&w.blend)
}

// divide finishes the gradients of n queries of some width, from what the outputs' gradients read of the state, r, and the scaled sums of
// keys z, and keeps the rows' quotients.
func (q *quotients) divide(prim *tile.Primitives, w *rowWork, head, row, n, width int, eps float32, query, grad, z operand) {
	w.products(prim, w.x, query, z, n, width)
	w.products(prim, w.y, query, grad, n, width)
	inverse, divisor := q.of(head, row)
	for i := range n {
		d := float64(w.x[i]) + float64(eps)
		inverse[i], divisor[i] = float32(1/d), float32(-float64(w.y[i])/d/d)
	}
	w.add(prim, grad, inverse, z, divisor, n, width)
}

// mapGradients turns the gradients of the features y of n rows x of some width into those of the rows.
func mapGradients(prim *tile.Primitives, w *rowWork, kind string, eps float32, x, y, grad operand, n, width int) {
	switch kind {
	case tile.MapReLU:
		w.apply(prim, tile.MapGate, grad, y, n, width)
	case tile.MapELU: // the slope is 1 from 0 on, where features are at least 1, and the feature itself below
		w.apply(prim, tile.MapSlope, grad, y, n, width)
	case tile.MapExp:
		w.apply(prim, tile.MapTimes, grad, y, n, width)
	case tile.MapL2: // (grad - y (y·grad)) / |x|
		w.products(prim, w.x, x, x, n, width)
		w.products(prim, w.y, y, grad, n, width)
		for i, square := range w.x[:n] {
			factor := float32(1 / math.Sqrt(float64(square)+float64(eps)))
			w.x[i], w.y[i] = factor, -factor*w.y[i]
		}
		w.add(prim, grad, w.x, y, w.y, n, width)
	}
}

// keyRows gives the keys of n rows of a state head, or their features; copied to a place if one is given.
func (a *backward) keyRows(w *backwardWork, h, row, n int, to []float32) operand {
	dk := a.problem.Shape.Dk
	if a.featureMap == tile.MapNone {
		return a.operand(w, a.key, row, a.keyHeads, a.keyHead(h), 1, dk, n, to)
	}
	if to == nil {
		to = w.k
	}
	mapRows(a.prim, a.featureMap, a.mapEps, &w.mapping, to, dk, a.key[(row*a.keyHeads+a.keyHead(h))*dk:], a.keyHeads*dk, n, dk)
	return operand{to, dk}
}

// queryRows gives the queries of a state head's group likewise.
func (a *backward) queryRows(w *backwardWork, h, row, n int, to []float32) operand {
	s := a.problem.Shape
	first, group := a.queryHeads(h)
	if a.featureMap == tile.MapNone {
		return a.operand(w, a.query, row, s.Hq, first, group, s.Dk, n, to)
	}
	if to == nil {
		to = w.q
	}
	for g := range group {
		mapRows(a.prim, a.featureMap, a.mapEps, &w.mapping, to[g*s.Dk:], group*s.Dk, a.query[(row*s.Hq+first+g)*s.Dk:], s.Hq*s.Dk, n, s.Dk)
	}
	return operand{to, group * s.Dk}
}

// outputs gives the gradients of a group's numerators: those of its outputs, divided by what the outputs are divided by.
func (a *backward) outputs(w *backwardWork, u backwardPart, row, n int) operand {
	dv, heads := a.problem.Shape.Dv, a.outputHeads()
	if !a.normalize {
		return a.operand(w, a.gradOutput, row, heads, u.h*a.group, a.group, dv, n, w.o)
	}
	for g := range a.group {
		inverse, _ := a.quotients.of(u.h*a.group+g, row)
		a.copyRows(w, w.o[g*dv:], a.group*dv, a.gradOutput[(row*heads+u.h*a.group+g)*dv:], heads*dv, inverse, n, dv)
	}
	return operand{w.o, a.group * dv}
}

// loadNorm sets the normaliser's column of a unit to one of the caller's, or to zeros.
func (a *backward) loadNorm(u backwardPart, from []float32) {
	norm := a.perUnit[u.index].norm
	clear(norm)
	if from != nil {
		copy(norm, from[u.head*len(norm):])
	}
}

// sumKeys writes the scaled sums of keys up to each of n tokens, z, which is one more column of the state: here its only row, with keys as
// values. The recurrence is given the factors that the state takes, of one head.
func (a *backward) sumKeys(w *backwardWork, u backwardPart, n int, key, to operand) {
	norm := a.perUnit[u.index].norm
	w.recur = tile.Recur{
		Q: w.ones, K: w.ones, V: key.rows, LDV: key.ld, O: to.rows, LDO: to.ld, S: norm, LDS: len(norm), T: n, Heads: 1, Dk: 1, N: len(norm), RowO: w.scale,
	}
	if a.scalarDecay() {
		w.recur.Decay, w.recur.RowV, w.recur.RowO = w.decay, w.rowV, w.rowO
	}
	a.run(&w.recur)
}

// divide finishes the gradients of a chunk's queries.
func (a *backward) divide(w *backwardWork, u backwardPart, row, n int, grad operand) {
	dk := a.problem.Shape.Dk
	query := a.queryRows(w, u.h, row, n, nil)
	for g := range a.group {
		a.quotients.divide(a.prim, &w.rows, u.h*a.group+g, row, n, dk, a.normEps, query.column(g*dk), grad.column(g*dk), operand{w.norms, dk})
	}
}

// addNorms adds the gradient of the normaliser to those of the keys of a chunk's tokens from lo to hi, given the queries that update R: that of
// z goes from the last token to the first as R does.
func (a *backward) addNorms(w *backwardWork, u backwardPart, c reverseChunk, lo, hi int, query operand) {
	dk, n, y := a.problem.Shape.Dk, hi-lo, a.perUnit[u.index].norm
	updates := operand{w.norms, dk}
	for g := range a.group {
		_, divisor := a.quotients.of(u.h*a.group+g, c.row+lo)
		from := query.after(lo).column(g * dk)
		if g == 0 {
			a.copyRows(w, updates.rows, dk, from.rows, from.ld, divisor, n, dk)
			continue
		}
		w.rows.add(a.prim, updates, nil, from, divisor, n, dk)
	}
	to := c.gradKey.after(lo)
	w.recur = tile.Recur{
		Q: w.ones, K: w.ones, V: updates.rows, LDV: dk, O: to.rows, LDO: to.ld, S: y, LDS: dk, T: n, Heads: 1, Dk: 1, N: dk,
		Reverse: true, Accumulate: true, RowV: w.scale,
	}
	if a.scalarDecay() {
		w.recur.Decay, w.recur.RowV, w.recur.RowO = w.decay, w.rowV, w.rowO
	}
	a.run(&w.recur)
}

// storeNorm writes the gradient of the past normaliser.
func (a *backward) storeNorm(w *backwardWork, u backwardPart) {
	y, factor := a.perUnit[u.index].norm, a.pastFactor(w, u)
	for i, x := range y {
		a.gradPastNorm[u.head*len(y)+i] = factor[i] * x
	}
}

// mapGradients turns the gradients of a chunk's features into those of its queries and keys, over a unit's keys.
func (a *backward) mapGradients(w *backwardWork, u backwardPart, c reverseChunk) {
	if a.featureMap == tile.MapNone {
		return
	}
	s := a.problem.Shape
	j0, j1 := a.keys(u)
	finish := func(x, y, grad operand) {
		mapGradients(a.prim, &w.rows, a.featureMap, a.mapEps, x.column(j0), y.column(j0), grad.column(j0), c.n, j1-j0)
	}
	first, _ := a.queryHeads(u.h)
	callers := a.callersQueries(u, c.row)
	grad := callers
	if a.stream {
		grad = operand{w.grads.query, a.group * s.Dk}
	}
	for g := range a.group {
		at := g * s.Dk
		if a.stream {
			from := callers.column(at + j0)
			a.copyRows(w, grad.rows[at+j0:], grad.ld, from.rows, from.ld, nil, c.n, j1-j0)
		}
		finish(operand{a.query[(c.row*s.Hq+first+g)*s.Dk:], s.Hq * s.Dk}, c.query.column(at), grad.column(at))
		if a.stream {
			a.write(w, callers, grad, at+j0, j1-j0, c.n)
		}
	}
	finish(operand{a.key[(c.row*a.keyHeads+a.keyHead(u.h))*s.Dk:], a.keyHeads * s.Dk}, c.key, c.gradKey)
}
