package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// Decay per key scales the rows of S and R, and so the columns of Sᵀ and Rᵀ, which the recurrence has no decay for. It is kept
// beside the state: with carry c the product of the factors since the state was last whole,
//
//	S'_t = S_t / c_t:   values k/c, results dq * c
//	R'_t = R_t / c_t:   values or keys q/c, results dk * c, queries k*c for dv
//
// so that the recurrences need no decay at all. Where a carry would leave [minCarry, maxCarry], the states are made whole first.
const (
	minCarry = minFolded
	maxCarry = 1 / minFolded
	// A number above 2^32 may overflow when it is divided by a carry: its chunk is walked with whole states.
	largeFactor = 0x1p96
)

// beginKey sets the carry to 1.
func (a *backward) beginKey(u backwardPart) {
	for i := range a.perUnit[u.index].carry {
		a.perUnit[u.index].carry[i] = 1
	}
}

// large says whether a chunk's operand has a number that must not be divided by a carry. A number that is not finite counts as one: the
// result is the same.
func (a *backward) large(w *backwardWork, o operand, n, width int) bool {
	found := false
	row := w.large
	for i := 0; i < n; i++ {
		w.pack = tile.Pack{Src: o.from(i), Dst: w.scrap, Row: row, LDS: o.ld, LDD: width, M: 1, N: width}
		a.prim.Pack(&w.pack)
		found = found || w.pack.NonFinite
	}
	return found
}

// carryOn advances a unit's carry by one token's factors into c and says whether it stayed within its limits. If it did
// not, or if whole is set, c is what the states must be multiplied by, and the carry is 1.
func (a *backward) carryOn(u backwardPart, factors, c []float32, whole bool) bool {
	carry := a.perUnit[u.index].carry
	ok := !whole
	for i, g := range factors[:len(carry)] {
		x := carry[i] * g
		c[i] = x
		ok = ok && x >= minCarry && x <= maxCarry
	}
	if ok {
		copy(carry, c)
		return true
	}
	for i := range carry {
		carry[i] = 1
	}
	return false
}

// keyFactors fills g with the decay factors of token t, all 1 after the last.
func (a *backward) keyFactors(w *backwardWork, u backwardPart, t int, g []float32) {
	s := a.problem.Shape
	if t >= s.T {
		copy(g, w.ones)
		return
	}
	w.exp = tile.Exp{Src: a.decay[((u.b*s.T+t)*s.Hkv+u.h)*s.Dk:], Dst: g, Stride: 1, N: s.Dk, Scale: 1}
	a.prim.Exp(&w.exp)
}

// scaleColumns multiplies the columns of a unit's key panels of a query head by c.
func (a *backward) scaleColumns(u backwardPart, g int, c []float32) {
	for p := u.k0; p < u.k1; p++ {
		state, j, width := a.keyPanel(u, g, p)
		by := c[j : j+width]
		for len(state) >= width {
			for i, x := range by {
				state[i] *= x
			}
			state = state[width:]
		}
	}
}

// forwardKey is forwardStep for decay per key.
func (a *backward) forwardKey(w *backwardWork, u backwardPart, t, n int, out, value, key operand, next upcoming) {
	s := a.problem.Shape
	whole := a.large(w, key, n, s.Dk) || a.large(w, value, n, s.Dv)
	start := 0
	for i := range n {
		g, c := w.g[:s.Dk], w.c[i*s.Dk:][:s.Dk]
		a.keyFactors(w, u, t+i, g)
		if !a.carryOn(u, g, c, whole) {
			a.queriesKey(w, u, t, start, i, out, value, next)
			next, start = upcoming{}, i
			a.scaleColumns(u, 0, c)
			copy(c, w.ones)
		}
		folded := w.foldedK[i*s.Dk:][:s.Dk]
		for j, x := range key.from(i)[:s.Dk] {
			folded[j] = x / c[j]
		}
	}
	a.queriesKey(w, u, t, start, n, out, value, next)
}

// queriesKey computes dq for the tokens from lo to hi of a chunk whose keys are folded.
func (a *backward) queriesKey(w *backwardWork, u backwardPart, t, lo, hi int, out, value operand, next upcoming) {
	if lo == hi {
		return
	}
	s := a.problem.Shape
	row := u.b*s.T + t + lo
	a.queries(w, u, row, hi-lo, operand{out.from(lo), out.ld}, operand{value.from(lo), value.ld}, operand{w.foldedK[lo*s.Dk:], s.Dk}, next)
	j0, j1 := a.keys(u)
	for i := range hi - lo {
		c := w.c[(lo+i)*s.Dk+j0:][:j1-j0]
		for g := range a.group {
			multiply(a.gradQuery[((row+i)*s.Hq+u.h*a.group+g)*s.Dk+j0:][:j1-j0], c)
		}
	}
}

// multiply scales x by y, number by number.
func multiply(x, y []float32) {
	y = y[:len(x)]
	for i := range x {
		x[i] *= y[i]
	}
}

// reverseKey is reverseStep for decay per key.
func (a *backward) reverseKey(w *backwardWork, u backwardPart, c reverseChunk) {
	s := a.problem.Shape
	whole := a.large(w, c.query, c.n, a.group*s.Dk) || a.large(w, c.out, c.n, a.group*s.Dv)
	end := c.n
	for i := c.n - 1; i >= 0; i-- {
		g, by := w.g[:s.Dk], w.c[i*s.Dk:][:s.Dk]
		a.keyFactors(w, u, c.t+i+1, g)
		if !a.carryOn(u, g, by, whole) {
			a.keysAndValuesKey(w, u, c, i+1, end)
			c.next, end = upcomingPair{}, i+1
			for h := range a.group {
				a.scaleColumns(u, h, by)
				for p := u.v0; p < u.v1; p++ {
					state, _, width := a.valPanel(u, h, p)
					a.copyRows(w, state, width, state, width, by, s.Dk, width)
				}
			}
			copy(by, w.ones)
		}
		for h := range a.group {
			folded := w.foldedQ[(i*a.group+h)*s.Dk:][:s.Dk]
			for j, x := range c.query.from(i)[h*s.Dk:][:s.Dk] {
				folded[j] = x / by[j]
			}
		}
		folded := w.foldedK[i*s.Dk:][:s.Dk]
		for j, x := range c.key.from(i)[:s.Dk] {
			folded[j] = x * by[j]
		}
	}
	a.keysAndValuesKey(w, u, c, 0, end)
	if a.gradDecay != nil {
		a.keyTerms(u, c)
	}
}

// keysAndValuesKey computes dk and dv for the tokens from lo to hi of a chunk whose queries and keys are folded.
func (a *backward) keysAndValuesKey(w *backwardWork, u backwardPart, c reverseChunk, lo, hi int) {
	if lo == hi {
		return
	}
	s := a.problem.Shape
	a.keysAndValues(w, u, c, lo, hi, operand{w.foldedQ, a.group * s.Dk}, operand{w.foldedK, s.Dk})
	j0, j1 := a.keys(u)
	for i := lo; i < hi; i++ {
		multiply(a.gradKey[((c.row+i)*s.Hkv+u.h)*s.Dk+j0:][:j1-j0], w.c[i*s.Dk+j0:][:j1-j0])
	}
}

// keyTerms takes the decay's gradient of a chunk's tokens for a unit's keys.
func (a *backward) keyTerms(u backwardPart, c reverseChunk) {
	s := a.problem.Shape
	j0, j1 := a.keys(u)
	sum := a.perUnit[u.index].sum[j0:j1]
	for i := c.n - 1; i >= 0; i-- {
		at := ((c.row+i)*s.Hkv+u.h)*s.Dk + j0
		key, gradKey, grad := c.key.from(i)[j0:j1], a.gradKey[at:][:j1-j0], a.gradDecay[at:][:j1-j0]
		for g := range a.group {
			query, gradQuery := c.query.from(i)[g*s.Dk+j0:g*s.Dk+j1], a.gradQuery[((c.row+i)*s.Hq+u.h*a.group+g)*s.Dk+j0:][:j1-j0]
			for j, x := range query {
				sum[j] += float64(x * gradQuery[j])
			}
		}
		for j, x := range key {
			sum[j] -= float64(x * gradKey[j])
			grad[j] = float32(sum[j])
		}
	}
}

// firstDecay is what the rows of R must be multiplied by at last: the carry and the first token's factors.
func (a *backward) firstDecay(w *backwardWork, u backwardPart) []float32 {
	a.keyFactors(w, u, 0, w.row)
	for i, c := range a.perUnit[u.index].carry {
		w.row[i] *= c
	}
	return w.row
}
