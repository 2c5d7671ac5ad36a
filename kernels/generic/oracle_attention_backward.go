package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

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
	Beta, BetaAbs, Write, WriteAbs                []float64 // delta rules, as beta and Attention.Write
	DecayLog, DecayLogAbs                         []float64 // as Attention.DecayLog
	DecayBias, DecayBiasAbs                       []float64
	PastNorm, PastNormAbs                         []float64 // (B,Hkv,Dk), with Normalize
}

// OracleBackward evaluates the adjoint of the recurrence of the rules linear and gated token by token. The state S goes forward as in
// Oracle, its gradient R backward from gradState (zeros if nil); per batch item and state head:
//
//	dq = Scale * S_t do                       each query head
//	R  = exp(g_(t+1)) R + Scale * q doᵀ       summed over the query heads
//	dk = R v;  dv = Rᵀ k
//	dg = <exp(g_t) S_(t-1), R>                summed over the columns, and over the rows where the decay is one a head
//
// and at last dPast = exp(g_0) R. With Full, S is the last state and R the whole sum at every token. Layouts are as in Oracle. Without a
// decay array there is no Decay.
//
// The normaliser is one more column of S, of values 1, which begins with PastNorm: with N the output and D the divisor before the division, the gradient of
// N is do/D and that of D is -(do . N)/D². GradNorm is the gradient of the sum of keys after the last token. The gradients of queries
// and keys are those of their features times the map's derivative, which is 0 where x <= 0 for MapReLU. Where state heads share a query head its
// gradient is the sum of theirs.
func (a Attention) OracleBackward(query, key, value, past, decay, gradOutput, gradState []float32) AttentionGradients {
	q, k, v := a.B*a.T*a.Hq*a.Dk, a.B*a.T*a.Hkv*a.Dk, a.B*a.T*a.Hkv*a.Dv
	s := a.B * a.Hkv * a.Dk * a.Dv
	r := AttentionGradients{
		Query: make([]float64, q), Key: make([]float64, k), Value: make([]float64, v), Past: make([]float64, s), Decay: make([]float64, len(decay)),
		QueryAbs: make([]float64, q), KeyAbs: make([]float64, k), ValueAbs: make([]float64, v), PastAbs: make([]float64, s), DecayAbs: make([]float64, len(decay)),
	}
	if a.Normalize {
		r.PastNorm, r.PastNormAbs = make([]float64, a.B*a.Hkv*a.Dk), make([]float64, a.B*a.Hkv*a.Dk)
	}
	queries, keys := a.features(query), a.features(key)
	for b := range a.B {
		for h := range a.Hkv {
			a.backwardHead(&r, b, h, queries, keys, value, past, decay, gradOutput, gradState)
		}
	}
	a.mapDerivative(a.activated(query), queries, r.Query, r.QueryAbs)
	a.mapDerivative(a.activated(key), keys, r.Key, r.KeyAbs)
	return r
}

// columns is the width of a state with the normaliser's column.
func (a Attention) columns() int {
	if a.Normalize {
		return a.Dv + 1
	}
	return a.Dv
}

// headState is the part of state head at of an array of states with that of an array of normalisers as its last column, and its absolute values.
func (a Attention) headState(at int, states, norms []float32) (x, xAbs []float64) {
	width := a.columns()
	x, xAbs = make([]float64, a.Dk*width), make([]float64, a.Dk*width)
	for i := range a.Dk {
		for j := range width {
			switch {
			case j < a.Dv && states != nil:
				x[i*width+j] = float64(states[(at*a.Dk+i)*a.Dv+j])
			case j == a.Dv && norms != nil:
				x[i*width+j] = float64(norms[at*a.Dk+i])
			}
			xAbs[i*width+j] = math.Abs(x[i*width+j])
		}
	}
	return x, xAbs
}

// backwardHead is OracleBackward for one state head; query and key are features, and so are their gradients.
func (a Attention) backwardHead(r *AttentionGradients, b, h int, query, key []float64, value, past, decay, gradOutput, gradState []float32) {
	width := a.columns()
	size := a.Dk * width
	at := b*a.Hkv + h
	heads := max(a.Hq, a.Hkv) // of the output
	group := heads / a.Hkv
	factor := func(t, i int) float64 {
		row := b*a.T + t
		g, gated := a.logDecay(decay, row, h, i)
		if !gated {
			return 1
		}
		return math.Exp(g)
	}
	scale := func(x, xAbs []float64, t int) {
		for i := range a.Dk {
			f := factor(t, i)
			for j := range width {
				x[i*width+j] *= f
				xAbs[i*width+j] *= f
			}
		}
	}
	keyRow := func(t int) []float64 { return key[((b*a.T+t)*a.Hkv+h)*a.Dk:][:a.Dk] }
	queryAt := func(t, ho int) int { return ((b*a.T+t)*a.Hq + ho*a.Hq/heads) * a.Dk }
	valueRow := make([]float64, width)
	values := func(t int) []float64 {
		for j := range width {
			valueRow[j] = 1
			if j < a.Dv {
				valueRow[j] = float64(value[((b*a.T+t)*a.Hkv+h)*a.Dv+j])
			}
		}
		return valueRow
	}

	// Forward: every exp(g_t) S_(t-1) is kept for dg, and every gradient of N and D for R.
	x, xAbs := a.headState(at, past, a.PastNorm)
	before, beforeAbs := make([]float64, a.T*size), make([]float64, a.T*size)
	out, outAbs := make([]float64, a.T*group*width), make([]float64, a.T*group*width)
	dqAbs := make([]float64, a.T*group*a.Dk)
	read := func(t int) {
		for g := range group {
			ho := h*group + g
			do, doAbs := out[(t*group+g)*width:][:width], outAbs[(t*group+g)*width:][:width]
			for j := range a.Dv {
				do[j] = float64(gradOutput[((b*a.T+t)*heads+ho)*a.Dv+j])
				doAbs[j] = math.Abs(do[j])
			}
			if a.Normalize {
				a.divisor(query[queryAt(t, ho):][:a.Dk], x, xAbs, do, doAbs)
			}
			for i := range a.Dk {
				d, dAbs := 0.0, 0.0
				for j := range width {
					d += a.Scale * do[j] * x[i*width+j]
					dAbs += math.Abs(a.Scale) * doAbs[j] * xAbs[i*width+j]
				}
				r.Query[queryAt(t, ho)+i] += d
				r.QueryAbs[queryAt(t, ho)+i] += dAbs
				dqAbs[(t*group+g)*a.Dk+i] = dAbs
			}
		}
	}
	for t := range a.T {
		scale(x, xAbs, t)
		copy(before[t*size:], x)
		copy(beforeAbs[t*size:], xAbs)
		v := values(t)
		for i, k := range keyRow(t) {
			for j := range v {
				x[i*width+j] += k * v[j]
				xAbs[i*width+j] += math.Abs(k * v[j])
			}
		}
		if !a.Full {
			read(t)
		}
	}
	for t := 0; a.Full && t < a.T; t++ {
		read(t)
	}

	y, yAbs := a.headState(at, gradState, a.GradNorm)
	telescoped := make([]float64, a.Dk) // of absolute values
	for i := range a.Dk {
		for j := range width {
			telescoped[i] += xAbs[i*width+j] * yAbs[i*width+j]
		}
	}
	collect := func(t int) {
		for g := range group {
			for i := range a.Dk {
				q := a.Scale * query[queryAt(t, h*group+g)+i]
				telescoped[i] += math.Abs(query[queryAt(t, h*group+g)+i]) * dqAbs[(t*group+g)*a.Dk+i]
				for j := range width {
					at := (t*group+g)*width + j
					y[i*width+j] += q * out[at]
					yAbs[i*width+j] += math.Abs(q) * outAbs[at]
				}
			}
		}
	}
	for t := a.T - 1; a.Full && t >= 0; t-- {
		collect(t)
	}
	for t := a.T - 1; t >= 0; t-- {
		row := b*a.T + t
		if t+1 < a.T {
			scale(y, yAbs, t+1)
		}
		if !a.Full {
			collect(t)
		}
		dk, dkAbs := r.Key[(row*a.Hkv+h)*a.Dk:], r.KeyAbs[(row*a.Hkv+h)*a.Dk:]
		dv, dvAbs := r.Value[(row*a.Hkv+h)*a.Dv:], r.ValueAbs[(row*a.Hkv+h)*a.Dv:]
		v := values(t)
		for i, k := range keyRow(t) {
			dg, dgAbs := 0.0, 0.0
			for j := range width {
				at := i*width + j
				dk[i] += y[at] * v[j]
				dkAbs[i] += yAbs[at] * math.Abs(v[j])
				if j < a.Dv {
					dv[j] += y[at] * k
					dvAbs[j] += yAbs[at] * math.Abs(k)
				}
				dg += before[t*size+at] * y[at]
				dgAbs += beforeAbs[t*size+at] * yAbs[at]
			}
			telescoped[i] += math.Abs(k) * dkAbs[i]
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
	for i := range a.Dk {
		copy(r.Past[(at*a.Dk+i)*a.Dv:][:a.Dv], y[i*width:])
		copy(r.PastAbs[(at*a.Dk+i)*a.Dv:][:a.Dv], yAbs[i*width:])
		if a.Normalize {
			r.PastNorm[at*a.Dk+i], r.PastNormAbs[at*a.Dk+i] = y[i*width+a.Dv], yAbs[i*width+a.Dv]
		}
	}
}

// divisor turns the gradient of an output into those of the numerator and, in the last column, of the divisor, x being the state that the query
// reads. The relative error of a quotient is the sum of both parts'.
func (a Attention) divisor(query, x, xAbs, do, doAbs []float64) {
	width := len(do)
	den, denAbs, dot, dotAbs := a.NormEps, a.NormEps, 0.0, 0.0
	for i, q := range query {
		den += a.Scale * q * x[i*width+a.Dv]
		denAbs += math.Abs(a.Scale*q) * xAbs[i*width+a.Dv]
		for j := range a.Dv {
			dot += a.Scale * q * x[i*width+j] * do[j]
			dotAbs += math.Abs(a.Scale*q*do[j]) * xAbs[i*width+j]
		}
	}
	relative := denAbs / math.Abs(den)
	for j := range a.Dv {
		do[j] /= den
		doAbs[j] = math.Abs(do[j]) * (1 + relative)
	}
	do[a.Dv] = -dot / (den * den)
	doAbs[a.Dv] = dotAbs/(den*den) + 2*math.Abs(do[a.Dv])*relative
}

// mapDerivative turns the gradient of the features y of x into that of x, in rows of Dk.
func (a Attention) mapDerivative(x, y, grad, gradAbs []float64) {
	for i := range grad {
		switch {
		case a.FeatureMap == tile.MapReLU && x[i] <= 0:
			grad[i], gradAbs[i] = 0, 0
		case a.FeatureMap == tile.MapELU && !(x[i] >= 0), a.FeatureMap == tile.MapExp:
			grad[i] *= y[i]
			gradAbs[i] *= math.Abs(y[i])
		}
	}
	for i := 0; a.FeatureMap == tile.MapL2 && i < len(grad); i += a.Dk {
		sum, dot, dotAbs := a.MapEps, 0.0, 0.0
		for j := i; j < i+a.Dk; j++ {
			sum += x[j] * x[j]
			dot += y[j] * grad[j]
			dotAbs += math.Abs(y[j]) * gradAbs[j]
		}
		for j := i; j < i+a.Dk; j++ {
			grad[j] = (grad[j] - y[j]*dot) / math.Sqrt(sum)
			gradAbs[j] = (gradAbs[j] + math.Abs(y[j])*dotAbs) / math.Sqrt(sum)
		}
	}
}
