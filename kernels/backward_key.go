package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// Decay per key scales the rows of S and R, and so the columns of Sᵀ and Rᵀ, for which the recurrence has no decay. It is folded into the
// operands of a run of tokens: with w_t the product of the factors after token t up to the run's last,
//
//	S'_t = S_t w_t, whole at the run's end:    values k*w, results dq / w
//	R'_t = R_t / w_t, whole at its last token: values or keys q/w, results dk * w, queries k*w for dv
//
// so that the recurrences need no decay, and S takes the run's whole decay before it, R after it. Where tile.Fold finds w too small, or a
// factor that does not fold, a run is cut in halves, down to single tokens.

// largeFactor finds the numbers of which q/w may overflow: 2^32 and more. Their chunk is walked in runs of one token, where w is 1.
const largeFactor = 0x1p96

// large says whether a chunk's operand has such a number. One that is not finite counts as such: the result is the same.
func (a *backward) large(w *backwardWork, o operand, n, width int) bool {
	return largeRows(a.prim, &w.pack, w.large, w.scrap, o, n, width)
}

// largeRows is large for n rows of some width, with a factor for each row and room for one row.
func largeRows(prim *tile.Primitives, pack *tile.Pack, factor, scrap []float32, o operand, n, width int) bool {
	rows := max(1, maxCallFlops/4/width)
	for i := 0; i < n; i += rows {
		// The products are of no use: all rows go to the same place.
		*pack = tile.Pack{Src: o.from(i), Dst: scrap, Row: factor, LDS: o.ld, M: min(rows, n-i), N: width}
		prim.Pack(pack)
		if pack.NonFinite {
			return true
		}
	}
	return false
}

// keyFactors fills g with the decay factors of n tokens from token t.
func (a *backward) keyFactors(w *backwardWork, u backwardPart, t, n int, g []float32) {
	s := a.problem.Shape
	row, _ := a.span(u.b)
	expRows(a.prim, &w.exp, &w.pack, g, a.decay[((row+t)*s.Hkv+u.h)*s.Dk:], s.Hkv*s.Dk, n, s.Dk)
}

// scaleColumns multiplies the columns of a unit's key panels of a query head by c.
func (a *backward) scaleColumns(w *backwardWork, u backwardPart, g int, c []float32) {
	for p := u.k0; p < u.k1; p++ {
		state, j, width := a.keyPanel(u, g, p)
		w.rows.apply(a.prim, tile.MapTimes, state, operand{c[j:], 0}, a.problem.Shape.Dv, width)
	}
}

// keyRun is a run of tokens of a chunk: from token lo to hi.
type keyRun struct{ lo, hi int }

// halves cuts a run.
func (r keyRun) halves() (first, second keyRun) {
	mid := (r.lo + r.hi) / 2
	return keyRun{r.lo, mid}, keyRun{mid, r.hi}
}

// forwardKey is forwardStep for decay per key.
func (a *backward) forwardKey(w *backwardWork, u backwardPart, t, n int, out, value, key, grad operand, next upcoming) {
	s := a.problem.Shape
	a.keyFactors(w, u, t, n, w.g)
	single := a.large(w, key, n, s.Dk) || a.large(w, value, n, s.Dv)
	a.forwardRun(w, u, t, keyRun{0, n}, single, out, value, key, grad, &next)
}

// forwardRun computes dq for a run, in halves if it does not fold.
func (a *backward) forwardRun(w *backwardWork, u backwardPart, t int, r keyRun, single bool, out, value, key, grad operand, next *upcoming) {
	s := a.problem.Shape
	n := r.hi - r.lo
	cut := single && n > 1
	if !cut {
		// 1/w as the folded query of ones.
		w.fold = tile.Fold{
			G: w.g[r.lo*s.Dk:], K: key.from(r.lo), Q: w.ones, KOut: w.foldedK, QOut: w.c, D: w.row,
			LDG: s.Dk, LDK: key.ld, LDKOut: s.Dk, LDQOut: s.Dk, M: n, N: s.Dk, Heads: 1,
		}
		a.prim.Fold(&w.fold)
		cut = w.fold.Unsafe
	}
	if cut {
		first, second := r.halves()
		a.forwardRun(w, u, t, first, single, out, value, key, grad, next)
		a.forwardRun(w, u, t, second, single, out, value, key, grad, next)
		return
	}
	a.scaleColumns(w, u, 0, w.row)
	if a.normalize {
		sums := operand{w.norms[r.lo*s.Dk:], s.Dk}
		a.decayNorm(w, u)
		a.sumKeys(w, u, n, operand{w.foldedK, s.Dk}, sums)
		w.rows.apply(a.prim, tile.MapTimes, sums, operand{w.c, s.Dk}, n, s.Dk)
	}
	a.queries(w, u, n, out.after(r.lo), value.after(r.lo), operand{w.foldedK, s.Dk}, grad.after(r.lo), *next)
	*next = upcoming{}
	j0, j1 := a.keys(u)
	for g := range a.group {
		w.rows.apply(a.prim, tile.MapTimes, grad.after(r.lo).column(g*s.Dk+j0), operand{w.c[j0:], s.Dk}, n, j1-j0)
	}
}

// decayNorm takes a run's whole decay to the normaliser's column.
func (a *backward) decayNorm(w *backwardWork, u backwardPart) {
	norm := a.perUnit[u.index].norm
	w.rows.apply(a.prim, tile.MapTimes, operand{norm, len(norm)}, operand{w.row, len(norm)}, 1, len(norm))
}

// reverseKey is reverseStep for decay per key.
func (a *backward) reverseKey(w *backwardWork, u backwardPart, c reverseChunk) {
	s := a.problem.Shape
	a.keyFactors(w, u, c.t, c.n, w.g)
	single := a.large(w, c.query, c.n, a.group*s.Dk) || a.large(w, c.out, c.n, a.group*s.Dv)
	a.reverseRun(w, u, &c, keyRun{0, c.n}, single)
}

// reverseRun computes dk, dv and the decay's gradient for a run, in halves if it does not fold, and takes its whole decay to R.
func (a *backward) reverseRun(w *backwardWork, u backwardPart, c *reverseChunk, r keyRun, single bool) {
	s := a.problem.Shape
	n := r.hi - r.lo
	cut := single && n > 1
	if !cut {
		wide := a.group * s.Dk
		w.fold = tile.Fold{
			G: w.g[r.lo*s.Dk:], K: c.key.from(r.lo), Q: c.query.from(r.lo), KOut: w.foldedK[r.lo*s.Dk:], QOut: w.foldedQ[r.lo*wide:], D: w.row,
			LDG: s.Dk, LDK: c.key.ld, LDQ: c.query.ld, HeadQ: s.Dk, LDKOut: s.Dk, LDQOut: wide, HeadQOut: s.Dk, M: n, N: s.Dk, Heads: a.group,
		}
		a.prim.Fold(&w.fold)
		cut = w.fold.Unsafe
	}
	if cut {
		first, second := r.halves()
		a.reverseRun(w, u, c, second, single)
		a.reverseRun(w, u, c, first, single)
		return
	}
	// w itself as the folded key of ones.
	w.fold = tile.Fold{G: w.g[r.lo*s.Dk:], K: w.ones, Q: w.ones, KOut: w.c, QOut: w.c, D: w.row, LDG: s.Dk, LDKOut: s.Dk, M: n, N: s.Dk}
	a.prim.Fold(&w.fold)
	a.keysAndValues(w, u, *c, r.lo, r.hi, operand{w.foldedQ, a.group * s.Dk}, operand{w.foldedK, s.Dk})
	c.next = upcomingPair{}
	j0, j1 := a.keys(u)
	if a.normalize {
		a.addNorms(w, u, *c, r.lo, r.hi, operand{w.foldedQ, a.group * s.Dk})
		a.decayNorm(w, u)
	}
	w.rows.apply(a.prim, tile.MapTimes, c.gradKey.after(r.lo).column(j0), operand{w.c[j0:], s.Dk}, n, j1-j0)
	if a.gradDecay != nil {
		a.keyTerms(w, u, c, r)
	}
	for h := range a.group {
		a.scaleColumns(w, u, h, w.row)
		for p := u.v0; p < u.v1; p++ {
			state, _, width := a.valPanel(u, h, p)
			a.copyRows(w, state.rows, state.ld, state.rows, state.ld, w.row, s.Dk, width)
		}
	}
}

// keyTerms takes the decay's gradient of a run's tokens for a unit's keys.
func (a *backward) keyTerms(w *backwardWork, u backwardPart, c *reverseChunk, r keyRun) {
	s := a.problem.Shape
	j0, j1 := a.keys(u)
	query, gradQuery := c.query.after(r.lo).column(j0), a.callersQueries(u, c.row+r.lo).column(j0)
	key, gradKey := c.key.after(r.lo).column(j0), c.gradKey.after(r.lo).column(j0)
	w.trail = tile.Trail{
		X: query.rows, LDX: query.ld, HeadX: s.Dk, DX: gradQuery.rows, LDDX: gradQuery.ld, HeadDX: s.Dk,
		Y: key.rows, LDY: key.ld, DY: gradKey.rows, LDDY: gradKey.ld,
		Dst: a.gradDecay[((c.row+r.lo)*s.Hkv+u.h)*s.Dk+j0:], LDD: s.Hkv * s.Dk, Sum: a.perUnit[u.index].sum[j0:],
		M: r.hi - r.lo, N: j1 - j0, Heads: a.group, Stream: a.stream,
	}
	a.prim.Trail(&w.trail)
}
