package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// endTerm starts the sum of the decay's gradient with <S_T, dS_T> over a unit's keys, before Rᵀ takes the place of Sᵀ.
func (a *backward) endTerm(u backwardPart) {
	s, unit := a.problem.Shape, &a.perUnit[u.index]
	unit.end = 0
	clear(unit.sum)
	if a.gradNorm != nil {
		for i, x := range a.gradNorm[u.head*s.Dk:][:s.Dk] {
			a.addEnd(unit, i, float64(x)*float64(unit.norm[i]))
		}
	}
	if a.gradState == nil {
		return
	}
	for p := u.k0; p < u.k1; p++ {
		state, j, width := a.keyPanel(u, 0, p)
		for c := range width {
			sum := 0.0
			for i, x := range a.gradState[(u.head*s.Dk+j+c)*s.Dv:][:s.Dv] {
				sum += float64(state.rows[i*state.ld+c]) * float64(x)
			}
			a.addEnd(unit, j+c, sum)
		}
	}
}

// addEnd adds a key's part of <S_T, dS_T>.
func (a *backward) addEnd(unit *backwardUnit, key int, x float64) {
	if a.problem.Decay == tile.DecayKey {
		unit.sum[key] += x
	} else {
		unit.end += x
	}
}

// unitTerms are the terms of a unit's tokens.
func (a *backward) unitTerms(u backwardPart) []float64 {
	rows := a.rowsOf(a.problem.Shape.B)
	row, tokens := a.span(u.b)
	return a.terms[(u.h*a.split+u.index%a.split)*rows+row:][:tokens]
}

// headTerms takes q·dq - k·dk of each token of a chunk over a unit's keys.
func (a *backward) headTerms(w *backwardWork, u backwardPart, c reverseChunk) {
	s := a.problem.Shape
	terms := a.unitTerms(u)[c.t:][:c.n]
	j0, j1 := a.keys(u)
	products := func(x, y operand) []float32 {
		w.rows.products(a.prim, w.rows.x, x.column(j0), y.column(j0), c.n, j1-j0)
		return w.rows.x[:c.n]
	}
	for i, x := range products(c.key, c.gradKey) {
		terms[i] = -float64(x)
	}
	callers := a.callersQueries(u, c.row)
	for g := range a.group {
		for i, x := range products(c.query.column(g*s.Dk), callers.column(g*s.Dk)) {
			terms[i] += float64(x)
		}
	}
}

// dot is a dot product in float32, in eight sums so that additions do not wait for each other.
func dot(x, y []float32) float64 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	y = y[:len(x)]
	for len(x) >= 8 && len(y) >= 8 {
		x8, y8 := (*[8]float32)(x), (*[8]float32)(y)
		s0 += x8[0] * y8[0]
		s1 += x8[1] * y8[1]
		s2 += x8[2] * y8[2]
		s3 += x8[3] * y8[3]
		s4 += x8[4] * y8[4]
		s5 += x8[5] * y8[5]
		s6 += x8[6] * y8[6]
		s7 += x8[7] * y8[7]
		x, y = x[8:], y[8:]
	}
	for i, v := range x {
		s0 += v * y[i]
	}
	return float64(s0+s1) + float64(s2+s3) + float64(s4+s5) + float64(s6+s7)
}

// endDecay finishes the decay's gradient of a unit: per key its own columns, per head once all units of the head are done.
func (a *backward) endDecay(w *backwardWork, u backwardPart) {
	s := a.problem.Shape
	row, tokens := a.span(u.b)
	if a.problem.Decay == tile.DecayKey {
		j0, j1 := a.keys(u)
		for k := j0; k < j1; k++ {
			if finite(a.perUnit[u.index].sum[k]) {
				if a.past == nil && a.pastNorm == nil && tokens > 0 { // nothing to decay: 0 but for rounding
					a.gradDecay[(row*s.Hkv+u.h)*s.Dk+k] = 0
				}
				continue
			}
			for t, grad := range a.direct(w, u, k, k+1) {
				a.gradDecay[((row+t)*s.Hkv+u.h)*s.Dk+k] = float32(grad)
			}
		}
		return
	}
	if a.heads[u.head].open.Add(-1) > 0 {
		return
	}
	a.heads[u.head].open.Store(int32(a.split)) // for the next run
	sum, terms := 0.0, a.unitTerms(a.unit(u.head*a.split))
	for i := range a.split {
		sum += a.perUnit[u.head*a.split+i].end
		if i > 0 {
			for t, x := range a.unitTerms(a.unit(u.head*a.split + i)) {
				terms[t] += x
			}
		}
	}
	for t := tokens - 1; t >= 0; t-- {
		sum += terms[t]
		a.gradDecay[(row+t)*s.Hkv+u.h] = float32(sum)
	}
	if finite(sum) {
		if a.past == nil && a.pastNorm == nil && tokens > 0 { // nothing to decay: 0 but for rounding
			a.gradDecay[row*s.Hkv+u.h] = 0
		}
		return
	}
	for t, grad := range a.direct(w, u, 0, s.Dk) {
		a.gradDecay[(row+t)*s.Hkv+u.h] = float32(grad)
	}
}

func finite(x float64) bool { return x-x == 0 }

// direct computes the decay's gradient for the keys from k0 to k1, summed, as <exp(g_t) S_(t-1), R_t>: the way for numbers whose running
// sum is not finite, where a key after token t would reach the gradient of token t. Rows of S and R need no other rows, so
// that a row is kept at all tokens at once. It is slow, and allocates at first.
func (a *backward) direct(w *backwardWork, u backwardPart, k0, k1 int) []float64 {
	s := a.problem.Shape
	row, tokens := a.span(u.b)
	columns := s.Dv
	if a.normalize {
		columns++ // the normaliser's
	}
	if len(w.grad) < tokens || len(w.directR) < columns {
		w.direct, w.directR, w.grad = make([]float64, tokens*columns), make([]float64, columns), make([]float64, tokens)
		w.directQ, w.directK = make([]float32, a.group*s.Dk), make([]float32, s.Dk)
	}
	total := w.grad[:tokens]
	clear(total)
	factor := func(t, k int) float64 {
		at := (row+t)*s.Hkv + u.h
		if a.problem.Decay == tile.DecayKey {
			return math.Exp(float64(a.decay[at*s.Dk+k]))
		}
		return math.Exp(float64(a.decay[at]))
	}
	r := w.directR[:columns]
	for k := k0; k < k1; k++ {
		load := func(states, norms []float32) {
			clear(r)
			if states != nil {
				for j, x := range states[(u.head*s.Dk+k)*s.Dv:][:s.Dv] {
					r[j] = float64(x)
				}
			}
			if a.normalize && norms != nil {
				r[s.Dv] = float64(norms[u.head*s.Dk+k])
			}
		}
		load(a.past, a.pastNorm)
		for t := range tokens {
			g := factor(t, k)
			key := float64(a.keyRows(w, u.h, row+t, 1, w.directK).rows[k])
			value := a.value[((row+t)*s.Hkv+u.h)*s.Dv:][:s.Dv]
			for j := range r {
				r[j] *= g
				w.direct[t*columns+j] = r[j]
				if j < s.Dv {
					r[j] += key * float64(value[j])
				} else {
					r[j] += key
				}
			}
		}
		load(a.gradState, a.gradNorm)
		for t := tokens - 1; t >= 0; t-- {
			g := 1.0
			if t+1 < tokens {
				g = factor(t+1, k)
			}
			for j := range r {
				r[j] *= g
			}
			query := a.queryRows(w, u.h, row+t, 1, w.directQ).rows
			for h := range a.group {
				q := float64(a.scale) * float64(query[h*s.Dk+k])
				inverse, divisor := 1.0, 0.0
				if a.normalize {
					n, d := a.quotients.of(u.h*a.group+h, row+t)
					inverse, divisor = float64(n[0]), float64(d[0])
				}
				for j, x := range a.gradOutput[((row+t)*a.outputHeads()+u.h*a.group+h)*s.Dv:][:s.Dv] {
					r[j] += q * inverse * float64(x)
				}
				if a.normalize {
					r[s.Dv] += q * divisor
				}
			}
			for j, x := range w.direct[t*columns:][:columns] {
				total[t] += x * r[j]
			}
		}
	}
	return total
}
