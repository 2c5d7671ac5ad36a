package generic

import "math"

// AttentionGradients is what the oracle of the backward pass gives, laid out as the inputs that they are gradients of: Query
// (B,T,Hq*Dk), Key (B,T,Hkv*Dk), Value (B,T,Hkv*Dv), Past (B,Hkv,Dk,Dv) and Decay (B,T,Hkv), or (B,T,Hkv*Dk) where the decay is per key.
//
// The Abs arrays scale rounding errors. Those of Query, Key, Value and Past follow the same recurrences with every product
// replaced by its absolute value. That of Decay is of the sum by which it is computed, which telescopes:
//
//	dg_t = <S_T, dS_T> + sum over s >= t of (q_s . dq_s - k_s . dk_s)
//
// with the terms' absolute values; where that sum is not finite it is that of dg_t = <exp(g_t) S_(t-1), R_t>.
type AttentionGradients struct {
	Query, Key, Value, Past, Decay                []float64
	QueryAbs, KeyAbs, ValueAbs, PastAbs, DecayAbs []float64
	Beta, BetaAbs                                 []float64 // delta rules, as beta
}

// OracleBackward evaluates the adjoint of the recurrence of the rules linear and gated token by token. The state S goes forward as in
// Oracle, its gradient R backward from gradState (zeros if nil); per batch item and state head:
//
//	dq = Scale * S_t do                       each query head
//	R  = exp(g_(t+1)) R + Scale * q doᵀ       summed over the query heads
//	dk = R v;  dv = Rᵀ k
//	dg = <exp(g_t) S_(t-1), R>                summed over the columns, and over the rows where the decay is one a head
//
// and at last dPast = exp(g_0) R. Layouts are as in Oracle. Without a decay array there is no Decay.
func (a Attention) OracleBackward(query, key, value, past, decay, gradOutput, gradState []float32) AttentionGradients {
	q, k, v := a.B*a.T*a.Hq*a.Dk, a.B*a.T*a.Hkv*a.Dk, a.B*a.T*a.Hkv*a.Dv
	s := a.B * a.Hkv * a.Dk * a.Dv
	r := AttentionGradients{
		Query: make([]float64, q), Key: make([]float64, k), Value: make([]float64, v), Past: make([]float64, s), Decay: make([]float64, len(decay)),
		QueryAbs: make([]float64, q), KeyAbs: make([]float64, k), ValueAbs: make([]float64, v), PastAbs: make([]float64, s), DecayAbs: make([]float64, len(decay)),
	}
	for b := range a.B {
		for h := range a.Hkv {
			a.backwardHead(&r, b, h, query, key, value, past, decay, gradOutput, gradState)
		}
	}
	return r
}

// backwardHead is OracleBackward for one state head.
func (a Attention) backwardHead(r *AttentionGradients, b, h int, query, key, value, past, decay, gradOutput, gradState []float32) {
	size := a.Dk * a.Dv
	at := (b*a.Hkv + h) * size
	group := a.Hq / a.Hkv
	factor := func(t, i int) float64 {
		row := b*a.T + t
		g, gated := a.logDecay(decay, row, h, i)
		if !gated {
			return 1
		}
		return math.Exp(g)
	}
	start := func(p []float32) (x, xAbs []float64) {
		x, xAbs = make([]float64, size), make([]float64, size)
		if p != nil {
			for i, f := range p[at : at+size] {
				x[i], xAbs[i] = float64(f), math.Abs(float64(f))
			}
		}
		return x, xAbs
	}
	scale := func(x, xAbs []float64, t int) {
		for i := range a.Dk {
			f := factor(t, i)
			for j := range a.Dv {
				x[i*a.Dv+j] *= f
				xAbs[i*a.Dv+j] *= f
			}
		}
	}

	// Forward: every exp(g_t) S_(t-1) is kept for dg.
	x, xAbs := start(past)
	before, beforeAbs := make([]float64, a.T*size), make([]float64, a.T*size)
	for t := range a.T {
		row := b*a.T + t
		scale(x, xAbs, t)
		copy(before[t*size:], x)
		copy(beforeAbs[t*size:], xAbs)
		for i := range a.Dk {
			kf := float64(key[(row*a.Hkv+h)*a.Dk+i])
			for j := range a.Dv {
				p := kf * float64(value[(row*a.Hkv+h)*a.Dv+j])
				x[i*a.Dv+j] += p
				xAbs[i*a.Dv+j] += math.Abs(p)
			}
		}
		for hq := h * group; hq < (h+1)*group; hq++ {
			for i := range a.Dk {
				d, dAbs := 0.0, 0.0
				for j := range a.Dv {
					o := a.Scale * float64(gradOutput[(row*a.Hq+hq)*a.Dv+j])
					d += o * x[i*a.Dv+j]
					dAbs += math.Abs(o) * xAbs[i*a.Dv+j]
				}
				r.Query[(row*a.Hq+hq)*a.Dk+i], r.QueryAbs[(row*a.Hq+hq)*a.Dk+i] = d, dAbs
			}
		}
	}

	y, yAbs := start(gradState)
	telescoped := make([]float64, a.Dk) // of absolute values
	for i := range a.Dk {
		for j := range a.Dv {
			telescoped[i] += xAbs[i*a.Dv+j] * yAbs[i*a.Dv+j]
		}
	}
	for t := a.T - 1; t >= 0; t-- {
		row := b*a.T + t
		if t+1 < a.T {
			scale(y, yAbs, t+1)
		}
		for hq := h * group; hq < (h+1)*group; hq++ {
			for i := range a.Dk {
				qf := a.Scale * float64(query[(row*a.Hq+hq)*a.Dk+i])
				telescoped[i] += math.Abs(float64(query[(row*a.Hq+hq)*a.Dk+i])) * r.QueryAbs[(row*a.Hq+hq)*a.Dk+i]
				for j := range a.Dv {
					p := qf * float64(gradOutput[(row*a.Hq+hq)*a.Dv+j])
					y[i*a.Dv+j] += p
					yAbs[i*a.Dv+j] += math.Abs(p)
				}
			}
		}
		dk, dkAbs := r.Key[(row*a.Hkv+h)*a.Dk:], r.KeyAbs[(row*a.Hkv+h)*a.Dk:]
		dv, dvAbs := r.Value[(row*a.Hkv+h)*a.Dv:], r.ValueAbs[(row*a.Hkv+h)*a.Dv:]
		for i := range a.Dk {
			kf := float64(key[(row*a.Hkv+h)*a.Dk+i])
			dg, dgAbs := 0.0, 0.0
			for j := range a.Dv {
				vf, at := float64(value[(row*a.Hkv+h)*a.Dv+j]), i*a.Dv+j
				dk[i] += y[at] * vf
				dkAbs[i] += yAbs[at] * math.Abs(vf)
				dv[j] += y[at] * kf
				dvAbs[j] += yAbs[at] * math.Abs(kf)
				dg += before[t*size+at] * y[at]
				dgAbs += beforeAbs[t*size+at] * yAbs[at]
			}
			telescoped[i] += math.Abs(kf) * dkAbs[i]
			if decay == nil {
				continue
			}
			if x := telescoped[i]; !math.IsNaN(x) && !math.IsInf(x, 0) {
				dgAbs = x
			}
			g := row*a.Hkv + h
			if a.KeyDecay {
				g = g*a.Dk + i
			}
			r.Decay[g] += dg
			r.DecayAbs[g] += dgAbs
		}
	}
	if a.T > 0 {
		scale(y, yAbs, 0)
	}
	copy(r.Past[at:], y)
	copy(r.PastAbs[at:], yAbs)
}
