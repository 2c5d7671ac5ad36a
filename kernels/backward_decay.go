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
	if a.gradState == nil {
		return
	}
	for p := u.k0; p < u.k1; p++ {
		state, j, width := a.keyPanel(u, 0, p)
		for c := range width {
			sum := 0.0
			for i, x := range a.gradState[(u.head*s.Dk+j+c)*s.Dv:][:s.Dv] {
				sum += float64(state[i*width+c]) * float64(x)
			}
			if a.problem.Decay == tile.DecayKey {
				unit.sum[j+c] = sum
			} else {
				unit.end += sum
			}
		}
	}
}

// headTerms takes q·dq - k·dk of each token of a chunk over a unit's keys.
func (a *backward) headTerms(u backwardPart, c reverseChunk) {
	s := a.problem.Shape
	j0, j1 := a.keys(u)
	terms := a.perUnit[u.index].terms[c.t:][:c.n]
	gradQuery := a.gradQuery[c.row*s.Hq*s.Dk+u.h*a.group*s.Dk:]
	gradKey := a.gradKey[c.row*s.Hkv*s.Dk+u.h*s.Dk:]
	for i := range terms {
		sum := -dot(c.key.from(i)[j0:j1], gradKey[i*s.Hkv*s.Dk+j0:][:j1-j0])
		for g := range a.group {
			sum += dot(c.query.from(i)[g*s.Dk+j0:g*s.Dk+j1], gradQuery[i*s.Hq*s.Dk+g*s.Dk+j0:][:j1-j0])
		}
		terms[i] = sum
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
	if a.problem.Decay == tile.DecayKey {
		j0, j1 := a.keys(u)
		for k := j0; k < j1; k++ {
			if finite(a.perUnit[u.index].sum[k]) {
				if a.past == nil && s.T > 0 { // nothing to decay: 0 but for rounding
					a.gradDecay[(u.b*s.T*s.Hkv+u.h)*s.Dk+k] = 0
				}
				continue
			}
			grad := a.direct(w, u, k, k+1)
			for t := range s.T {
				a.gradDecay[((u.b*s.T+t)*s.Hkv+u.h)*s.Dk+k] = float32(grad[t])
			}
		}
		return
	}
	if a.heads[u.head].open.Add(-1) > 0 {
		return
	}
	a.heads[u.head].open.Store(int32(a.split)) // for the next run
	units := a.perUnit[u.head*a.split:][:a.split]
	sum := 0.0
	for i := range units {
		sum += units[i].end
	}
	for t := s.T - 1; t >= 0; t-- {
		for i := range units {
			sum += units[i].terms[t]
		}
		a.gradDecay[(u.b*s.T+t)*s.Hkv+u.h] = float32(sum)
	}
	if finite(sum) {
		if a.past == nil && s.T > 0 { // nothing to decay: 0 but for rounding
			a.gradDecay[u.b*s.T*s.Hkv+u.h] = 0
		}
		return
	}
	grad := a.direct(w, u, 0, s.Dk)
	for t := range s.T {
		a.gradDecay[(u.b*s.T+t)*s.Hkv+u.h] = float32(grad[t])
	}
}

func finite(x float64) bool { return x-x == 0 }

// direct computes the decay's gradient for the keys from k0 to k1, summed, as <exp(g_t) S_(t-1), R_t>: the way for numbers whose running
// sum is not finite, where a key after token t would reach the gradient of token t. Rows of S and R need no other rows, so
// that a row is kept at all tokens at once. It is slow, and allocates at first.
func (a *backward) direct(w *backwardWork, u backwardPart, k0, k1 int) []float64 {
	s := a.problem.Shape
	if w.direct == nil {
		w.direct, w.directR, w.grad = make([]float64, s.T*s.Dv), make([]float64, s.Dv), make([]float64, s.T)
	}
	clear(w.grad)
	factor := func(t, k int) float64 {
		row := (u.b*s.T+t)*s.Hkv + u.h
		if a.problem.Decay == tile.DecayKey {
			return math.Exp(float64(a.decay[row*s.Dk+k]))
		}
		return math.Exp(float64(a.decay[row]))
	}
	r := w.directR
	for k := k0; k < k1; k++ {
		load := func(from []float32) {
			clear(r)
			if from != nil {
				for j, x := range from[(u.head*s.Dk+k)*s.Dv:][:s.Dv] {
					r[j] = float64(x)
				}
			}
		}
		load(a.past)
		for t := range s.T {
			g := factor(t, k)
			row := (u.b*s.T+t)*s.Hkv + u.h
			key := float64(a.key[row*s.Dk+k])
			for j, x := range a.value[row*s.Dv:][:s.Dv] {
				r[j] *= g
				w.direct[t*s.Dv+j] = r[j]
				r[j] += key * float64(x)
			}
		}
		load(a.gradState)
		for t := s.T - 1; t >= 0; t-- {
			g, row := 1.0, u.b*s.T+t
			if t+1 < s.T {
				g = factor(t+1, k)
			}
			for j := range r {
				r[j] *= g
			}
			for h := u.h * a.group; h < (u.h+1)*a.group; h++ {
				q := float64(a.scale) * float64(a.query[(row*s.Hq+h)*s.Dk+k])
				for j, x := range a.gradOutput[(row*s.Hq+h)*s.Dv:][:s.Dv] {
					r[j] += q * float64(x)
				}
			}
			for j, x := range w.direct[t*s.Dv:][:s.Dv] {
				w.grad[t] += x * r[j]
			}
		}
	}
	return w.grad
}
