package generic

import "math"

// OracleDeltaBackward evaluates the adjoint of the recurrence of the delta rules token by token. With e and w the gates of erasing and writing, which are beta where there is
// one gate, S' = exp(g_t) S_(t-1), u = w v - S'ᵀ(e k) as in Oracle, and R the gradient of S_t from gradState (zeros if nil) backward; per batch item and state head (dq is a sum over those that share a query head):
//
//	dq = Scale * S_t do                       each query head
//	R += Scale * q doᵀ                        summed over the query heads
//	du = Rᵀ k;  dw = du v;  de = -k S' du;  dv = w du
//	dk = R u - e S' du
//	R -= (e k) duᵀ;  dg = <S', R>;  R *= exp(g_t)
//
// and at last dPast = R. The gradients of gates have their layout: a gate of many channels or heads gets the sum of theirs. Errors of a sum here are those of a solved triangle, for which sums over absolute values
// say nothing: the Abs arrays hold in every place the largest absolute value of their gradient in its batch item and state head (of a beta that heads share, in its batch item). That of Decay has besides the sum of absolute
// values by which it is computed, which telescopes where the decay is one a head:
//
//	dg_t = <S_T, R_T> + sum over s >= t of (q_s . dq_s - v_s . dv_s)
//
// and that of Past is the largest value that R had after any token, decayed since: what keys erase of R leaves the rounding of what was there.
//
// All this is of the arrays that the rule takes; oracle_front.go has those that a front makes them of.
func (a Attention) OracleDeltaBackward(query, key, value, past, decay, beta, gradOutput, gradState []float32) AttentionGradients {
	r := AttentionGradients{
		Query: make([]float64, a.B*a.T*a.Hq*a.Dk), Key: make([]float64, a.B*a.T*a.Hkv*a.Dk), Value: make([]float64, a.B*a.T*a.Hkv*a.Dv),
		Past: make([]float64, a.B*a.Hkv*a.Dk*a.Dv), Decay: make([]float64, len(decay)), Beta: make([]float64, len(beta)),
		Write: make([]float64, len(a.Write)), DecayAbs: make([]float64, len(decay)), PastAbs: make([]float64, a.B*a.Hkv*a.Dk*a.Dv),
	}
	queries, keys, values := a.features(query), a.features(key), a.activated(value)
	for b := range a.B {
		for h := range a.Hkv {
			a.deltaBackwardHead(&r, b, h, queries, keys, values, past, decay, beta, gradOutput, gradState)
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
	r.PastAbs, r.WriteAbs = largest(r.PastAbs, 1, a.Hkv), largest(r.Write, a.T, a.Hkv)
	betaHeads := a.BetaHeads
	if a.EraseKeys {
		betaHeads = a.Hkv
	}
	r.BetaAbs = largest(r.Beta, a.T, betaHeads)
	for i, most := range largest(r.Decay, a.T, a.Hkv) {
		r.DecayAbs[i] += most
	}
	a.frontDerivatives(&r, query, key, value, decay, beta)
	return r
}

// deltaBackwardHead is OracleDeltaBackward for one state head; query, key and value are what the front makes, and so are the gradients of all.
func (a Attention) deltaBackwardHead(r *AttentionGradients, b, h int, query, key, value []float64, past, decay, beta, gradOutput, gradState []float32) {
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
	rowOf := func(v []float64, t, heads, head, width int) []float64 {
		return v[((b*a.T+t)*heads+head)*width:][:width]
	}
	out := func(t, head int) []float32 { return gradOutput[((b*a.T+t)*outputs+head)*a.Dv:][:a.Dv] }

	// Forward: every decayed state and what is written to it is kept.
	x := start(past)
	before, wrote := make([]float64, a.T*size), make([]float64, a.T*a.Dv)
	for t := range a.T {
		scale(x, t)
		copy(before[t*size:], x)
		k, v, gates := rowOf(key, t, a.Hkv, h, a.Dk), rowOf(value, t, a.Hkv, h, a.Dv), a.bothGates(b*a.T+t, h, beta)
		u := wrote[t*a.Dv:][:a.Dv]
		for j := range u {
			u[j] = gates.write[j] * v[j]
			for i := range a.Dk {
				u[j] -= gates.erase[i] * k[i] * x[i*a.Dv+j]
			}
		}
		for i := range a.Dk {
			for j := range u {
				x[i*a.Dv+j] += k[i] * u[j]
			}
		}
		for hq := h * group; hq < (h+1)*group; hq++ {
			do, dq := out(t, hq), ownRow(t, hq)
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
	du := make([]float64, a.Dv)
	most := make([]float64, size) // of R's absolute values, decayed
	grown := func() {
		for i, v := range y {
			most[i] = max(most[i], math.Abs(v))
		}
	}
	grown()
	for t := a.T - 1; t >= 0; t-- {
		row := b*a.T + t
		k, v, gates := rowOf(key, t, a.Hkv, h, a.Dk), rowOf(value, t, a.Hkv, h, a.Dv), a.bothGates(row, h, beta)
		old, u := before[t*size:], wrote[t*a.Dv:]
		for hq := h * group; hq < (h+1)*group; hq++ {
			do, q := out(t, hq), rowOf(query, t, a.Hq, queryHead(hq), a.Dk)
			dq, sum := ownRow(t, hq), rowOf(r.Query, t, a.Hq, queryHead(hq), a.Dk)
			for i := range a.Dk {
				for j := range a.Dv {
					y[i*a.Dv+j] += a.Scale * q[i] * float64(do[j])
				}
				sum[i] += dq[i]
				telescoped += math.Abs(q[i] * dq[i])
			}
		}
		grown()
		dv := rowOf(r.Value, t, a.Hkv, h, a.Dv)
		for j := range a.Dv {
			du[j] = 0
			for i := range a.Dk {
				du[j] += y[i*a.Dv+j] * k[i]
			}
			dv[j] = gates.write[j] * du[j]
			telescoped += math.Abs(v[j] * dv[j])
			a.addGate(r, row, h, j, false, du[j]*v[j])
		}
		dk := rowOf(r.Key, t, a.Hkv, h, a.Dk)
		for i := range a.Dk {
			dg, erased := 0.0, 0.0
			for j := range a.Dv {
				at := i*a.Dv + j
				dk[i] += y[at] * u[j]
				erased -= old[at] * du[j]
				y[at] -= gates.erase[i] * k[i] * du[j]
				dg += old[at] * y[at]
			}
			dk[i] += gates.erase[i] * erased
			a.addGate(r, row, h, i, true, k[i]*erased)
			if decay != nil {
				g := row*a.Hkv + h
				if a.KeyDecay {
					g = g*a.Dk + i
				}
				r.Decay[g] += dg
				r.DecayAbs[g] = telescoped
			}
		}
		scale(y, t)
		scale(most, t)
	}
	grown()
	copy(r.Past[at:], y)
	copy(r.PastAbs[at:], most)
}

// bothGates are the gates of a token's key and value channels, which are beta where there is one gate.
func (a Attention) bothGates(row, h int, beta []float32) channelGates {
	g := a.gatesOf(row, h, beta)
	if g.write != nil {
		return g
	}
	one := a.betaOf(beta[row*a.BetaHeads+h%a.BetaHeads])
	g.erase, g.write = make([]float64, a.Dk), make([]float64, a.Dv)
	for i := range g.erase {
		g.erase[i] = one
	}
	for j := range g.write {
		g.write[j] = one
	}
	return g
}

// addGate adds the gradient of the gate of one key channel (erase) or value channel to that of the number it is.
func (a Attention) addGate(r *AttentionGradients, row, h, channel int, erase bool, grad float64) {
	switch {
	case a.Write != nil && !erase:
		width := len(a.Write) / (a.B * a.T * a.Hkv) // 1 or Dv
		r.Write[(row*a.Hkv+h)*width+channel%width] += grad
	case a.EraseKeys:
		r.Beta[(row*a.Hkv+h)*a.Dk+channel] += grad
	default:
		r.Beta[row*a.BetaHeads+h%a.BetaHeads] += grad
	}
}
