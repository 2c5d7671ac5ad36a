package generic

import "math"

// OracleDeltaBackward evaluates the adjoint of the recurrence of the delta rules token by token. With S' = exp(g_t) S_(t-1),
// r = v - S'ᵀk and u = beta r as in Oracle, and R the gradient of S_t from gradState (zeros if nil) backward; per batch item and state head (dq is a sum over those that share a query head):
//
//	dq = Scale * S_t do                       each query head
//	R += Scale * q doᵀ                        summed over the query heads
//	du = Rᵀ k;  dbeta = du . r;  dv = beta du
//	dk = R u - S' dv
//	R -= k dvᵀ;  dg = <S', R>;  R *= exp(g_t)
//
// and at last dPast = R. Beta's gradient has its layout. Errors of a sum here are those of a solved triangle, for which sums over absolute values
// say nothing: the Abs arrays hold in every place the largest absolute value of their gradient in its batch item and state head (of a beta that heads share, in its batch item). That of Decay has besides the sum of absolute
// values by which it is computed, which telescopes where the decay is one a head:
//
//	dg_t = <S_T, R_T> + sum over s >= t of (q_s . dq_s - v_s . dv_s)
func (a Attention) OracleDeltaBackward(query, key, value, past, decay, beta, gradOutput, gradState []float32) AttentionGradients {
	r := AttentionGradients{
		Query: make([]float64, a.B*a.T*a.Hq*a.Dk), Key: make([]float64, a.B*a.T*a.Hkv*a.Dk), Value: make([]float64, a.B*a.T*a.Hkv*a.Dv),
		Past: make([]float64, a.B*a.Hkv*a.Dk*a.Dv), Decay: make([]float64, len(decay)), Beta: make([]float64, len(beta)),
		DecayAbs: make([]float64, len(decay)),
	}
	for b := range a.B {
		for h := range a.Hkv {
			a.deltaBackwardHead(&r, b, h, query, key, value, past, decay, beta, gradOutput, gradState)
		}
	}
	// largest takes rows of so many heads, as many to a batch item.
	largest := func(v []float64, rows, heads int) []float64 {
		abs := make([]float64, len(v))
		if len(v) == 0 {
			return abs
		}
		width := len(v) / (a.B * rows * heads)
		most := make([]float64, a.B*heads)
		place := func(i int) int { return i/width/heads/rows*heads + i/width%heads }
		for i, x := range v {
			if x = math.Abs(x); x > most[place(i)] && !math.IsInf(x, 0) {
				most[place(i)] = x
			}
		}
		for i := range abs {
			abs[i] = most[place(i)]
		}
		return abs
	}
	r.QueryAbs, r.KeyAbs, r.ValueAbs = largest(r.Query, a.T, min(a.Hq, a.Hkv)), largest(r.Key, a.T, a.Hkv), largest(r.Value, a.T, a.Hkv)
	r.PastAbs, r.BetaAbs = largest(r.Past, 1, a.Hkv), largest(r.Beta, a.T, a.BetaHeads)
	for i, most := range largest(r.Decay, a.T, a.Hkv) {
		r.DecayAbs[i] += most
	}
	return r
}

// deltaBackwardHead is OracleDeltaBackward for one state head.
func (a Attention) deltaBackwardHead(r *AttentionGradients, b, h int, query, key, value, past, decay, beta, gradOutput, gradState []float32) {
	size, outputs := a.Dk*a.Dv, max(a.Hq, a.Hkv)
	group := outputs / a.Hkv
	own := make([]float64, a.T*group*a.Dk) // gradients of the queries that this head reads
	ownRow := func(t, head int) []float64 { return own[(t*group+head-h*group)*a.Dk:][:a.Dk] }
	queryHead := func(head int) int { return head * a.Hq / outputs }
	at := (b*a.Hkv + h) * size
	start := func(p []float32) []float64 {
		x := make([]float64, size)
		if p != nil {
			for i, f := range p[at : at+size] {
				x[i] = float64(f)
			}
		}
		return x
	}
	factor := func(t, i int) float64 {
		g, gated := a.logDecay(decay, b*a.T+t, h, i)
		if !gated {
			return 1
		}
		return math.Exp(g)
	}
	scale := func(x []float64, t int) {
		for i := range a.Dk {
			f := factor(t, i)
			for j := range a.Dv {
				x[i*a.Dv+j] *= f
			}
		}
	}
	row := func(v []float32, t, heads, head, width int) []float32 {
		return v[((b*a.T+t)*heads+head)*width:][:width]
	}
	rowOf := func(v []float64, t, heads, head, width int) []float64 {
		return v[((b*a.T+t)*heads+head)*width:][:width]
	}
	betaAt := func(t int) int { return (b*a.T+t)*a.BetaHeads + h%a.BetaHeads }

	// Forward: every decayed state and what it does not explain of the value is kept.
	x := start(past)
	before, rest := make([]float64, a.T*size), make([]float64, a.T*a.Dv)
	for t := range a.T {
		scale(x, t)
		copy(before[t*size:], x)
		k, v := row(key, t, a.Hkv, h, a.Dk), row(value, t, a.Hkv, h, a.Dv)
		for j := range a.Dv {
			sum := float64(v[j])
			for i := range a.Dk {
				sum -= float64(k[i]) * x[i*a.Dv+j]
			}
			rest[t*a.Dv+j] = sum
		}
		bt := float64(beta[betaAt(t)])
		for i := range a.Dk {
			for j := range a.Dv {
				x[i*a.Dv+j] += float64(k[i]) * bt * rest[t*a.Dv+j]
			}
		}
		for hq := h * group; hq < (h+1)*group; hq++ {
			do, dq := row(gradOutput, t, outputs, hq, a.Dv), ownRow(t, hq)
			for i := range a.Dk {
				for j := range a.Dv {
					dq[i] += a.Scale * float64(do[j]) * x[i*a.Dv+j]
				}
			}
		}
	}

	y := start(gradState)
	telescoped := 0.0 // of absolute values
	for i := range x {
		telescoped += math.Abs(x[i] * y[i])
	}
	du, dr := make([]float64, a.Dv), make([]float64, a.Dv)
	for t := a.T - 1; t >= 0; t-- {
		k, old := row(key, t, a.Hkv, h, a.Dk), before[t*size:]
		for hq := h * group; hq < (h+1)*group; hq++ {
			do, q := row(gradOutput, t, outputs, hq, a.Dv), row(query, t, a.Hq, queryHead(hq), a.Dk)
			for i := range a.Dk {
				for j := range a.Dv {
					y[i*a.Dv+j] += a.Scale * float64(q[i]) * float64(do[j])
				}
			}
		}
		bt, dBeta := float64(beta[betaAt(t)]), 0.0
		for j := range a.Dv {
			du[j] = 0
			for i := range a.Dk {
				du[j] += y[i*a.Dv+j] * float64(k[i])
			}
			dr[j] = bt * du[j]
			dBeta += du[j] * rest[t*a.Dv+j]
		}
		r.Beta[betaAt(t)] += dBeta
		copy(rowOf(r.Value, t, a.Hkv, h, a.Dv), dr)
		for hq := h * group; hq < (h+1)*group; hq++ {
			dq, sum := ownRow(t, hq), rowOf(r.Query, t, a.Hq, queryHead(hq), a.Dk)
			for i, f := range row(query, t, a.Hq, queryHead(hq), a.Dk) {
				sum[i] += dq[i]
				telescoped += math.Abs(float64(f) * dq[i])
			}
		}
		for j, f := range row(value, t, a.Hkv, h, a.Dv) {
			telescoped += math.Abs(float64(f) * dr[j])
		}
		dk := rowOf(r.Key, t, a.Hkv, h, a.Dk)
		for i := range a.Dk {
			dg := 0.0
			for j := range a.Dv {
				at := i*a.Dv + j
				dk[i] += y[at]*bt*rest[t*a.Dv+j] - old[at]*dr[j]
				y[at] -= float64(k[i]) * dr[j]
				dg += old[at] * y[at]
			}
			if decay != nil {
				g := (b*a.T+t)*a.Hkv + h
				if a.KeyDecay {
					g = g*a.Dk + i
				}
				r.Decay[g] += dg
				r.DecayAbs[g] = telescoped
			}
		}
		scale(y, t)
	}
	copy(r.Past[at:], y)
}
