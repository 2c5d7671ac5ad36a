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
	a.shared.begin(&a.attentionArgs, a.workers)
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

// divide finishes the gradient of a query from what the output's gradient reads of the state, r, and the sum of keys z, and keeps the row's quotients.
func (q *quotients) divide(head, row int, scale, eps float32, query, grad, z []float32) {
	d := float64(scale)*dot(query, z) + float64(eps)
	inverse, divisor := q.of(head, row)
	dD := -dot(query, grad) / d / d
	inverse[0], divisor[0] = float32(1/d), float32(dD)
	by, add := float32(1/d), float32(float64(scale)*dD)
	z = z[:len(grad)]
	for i, x := range grad {
		grad[i] = x*by + z[i]*add
	}
}

// addScaled adds f times y to x.
func addScaled(x, y []float32, f float32) {
	y = y[:len(x)]
	for i, v := range y {
		x[i] += v * f
	}
}

// scaleAll multiplies x by f.
func scaleAll(x []float32, f float32) {
	for i := range x {
		x[i] *= f
	}
}

// mapGradient turns the gradient of the features y of a row x into that of x.
func mapGradient(kind string, eps float32, x, y, grad []float32) {
	x, y = x[:len(grad)], y[:len(grad)]
	switch kind {
	case tile.MapReLU:
		for i, v := range y {
			if v <= 0 {
				grad[i] = 0
			}
		}
	case tile.MapELU: // the slope is 1 from 0 on, where features are at least 1, and the feature itself below
		for i, v := range y {
			grad[i] *= min(v, 1)
		}
	case tile.MapExp:
		multiply(grad, y)
	case tile.MapL2:
		factor := float32(1 / math.Sqrt(dot(x, x)+float64(eps)))
		along := float32(dot(y, grad))
		for i, v := range y {
			grad[i] = (grad[i] - v*along) * factor
		}
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

// divide finishes the gradients of a chunk's queries, with w.g the decay factors of the forward sweep.
func (a *backward) divide(w *backwardWork, u backwardPart, row, n int, key, grads operand) {
	dk, z := a.problem.Shape.Dk, a.perUnit[u.index].norm
	query := a.queryRows(w, u.h, row, n, nil)
	for i := range n {
		switch {
		case a.problem.Decay == tile.DecayKey:
			multiply(z, w.g[i*dk:])
		case a.scalarDecay():
			scaleAll(z, w.g[i])
		}
		addScaled(z, key.from(i), 1)
		for g := range a.group {
			head := u.h*a.group + g
			grad := grads.from(i)[g*dk:][:dk]
			a.quotients.divide(head, row+i, a.scale, a.normEps, query.from(i)[g*dk:][:dk], grad, z)
		}
	}
}

// addNorms adds the gradient of the normaliser to those of a chunk's keys, with w.g the decay factors of the reverse sweep.
func (a *backward) addNorms(w *backwardWork, u backwardPart, c reverseChunk) {
	for i := c.n - 1; i >= 0; i-- {
		if a.scalarDecay() {
			scaleAll(a.perUnit[u.index].norm, w.g[c.n-1-i])
		}
		a.addNorm(u, &c, i)
	}
}

// addNorm takes token i of a chunk in that.
func (a *backward) addNorm(u backwardPart, c *reverseChunk, i int) {
	s, y := a.problem.Shape, a.perUnit[u.index].norm
	for g := range a.group {
		_, divisor := a.quotients.of(u.h*a.group+g, c.row+i)
		addScaled(y, c.query.from(i)[g*s.Dk:], a.scale*divisor[0])
	}
	addScaled(c.gradKey.from(i)[:s.Dk], y, 1)
}

// storeNorm writes the gradient of the past normaliser.
func (a *backward) storeNorm(w *backwardWork, u backwardPart) {
	y, factor := a.perUnit[u.index].norm, a.pastFactor(w, u)
	for i, x := range y {
		a.gradPastNorm[u.head*len(y)+i] = factor[i] * x
	}
}

// mapGradients turns the gradients of a chunk's features into those of its queries and keys, over a unit's keys.
func (a *backward) mapGradients(u backwardPart, c reverseChunk) {
	if a.featureMap == tile.MapNone {
		return
	}
	s := a.problem.Shape
	j0, j1 := a.keys(u)
	first, _ := a.queryHeads(u.h)
	for i := range c.n {
		row := c.row + i
		for g := range a.group {
			x := a.query[(row*s.Hq+first+g)*s.Dk:]
			grad := a.gradQuery[(row*a.outputHeads()+u.h*a.group+g)*s.Dk:]
			mapGradient(a.featureMap, a.mapEps, x[j0:j1], c.query.from(i)[g*s.Dk+j0:][:j1-j0], grad[j0:j1])
		}
		x, grad := a.key[(row*a.keyHeads+a.keyHead(u.h))*s.Dk:], c.gradKey.from(i)
		mapGradient(a.featureMap, a.mapEps, x[j0:j1], c.key.from(i)[j0:j1], grad[j0:j1])
	}
}
