package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Attention is the shape of a sequential float64 evaluation of the recurrence
// of ONNX LinearAttention, the oracle that every kernel of linear-attention and
// delta-rule is checked against. Per batch item and state head, S being Dk x Dv:
//
//	S *= exp(decay)                     gated rules
//	u  = beta * (v - Sᵀk)               delta rules, S already decayed
//	u  = v                              other rules
//	S += k uᵀ
//	o  = Scale * Sᵀq                    for each query head of the group, or the one that state heads share
type Attention struct {
	B, T, Hq, Hkv, Dk, Dv int
	Delta                 bool
	Scale                 float64
	HeadDecay             []float32 // log decay of each state head for all tokens, or nil
	KeyDecay              bool      // decay is (B,T,Hkv*Dk): row i of S decays by its own factor
	Full                  bool      // every token reads the state after the last one
	FeatureMap            string    // of queries and keys, tile.MapNone to MapL2
	MapEps                float64
	Normalize             bool // outputs are divided by Scale q.z + NormEps, z the decayed sum of keys from PastNorm (B,Hkv,Dk; nil for 0) on
	NormEps               float64
	PastNorm              []float32
	GradNorm              []float32 // backward: the gradient of the sum of keys after the last token, as PastNorm
	BetaHeads             int       // width of beta: Hkv, or 1 where it is shared
	// Write (B,T,Hkv) or (B,T,Hkv*Dv) is the gate of values where beta is that of what is erased alone, then (B,T,BetaHeads) or, with EraseKeys, (B,T,Hkv*Dk);
	// nil where there is one gate:
	//
	//	u = write * v - Sᵀ(beta * k)
	Write     []float32
	EraseKeys bool
	// Front is what is done first, of tile.FrontNone to FrontSiLUGates: SiLU of queries, keys and values, beta = BetaScale sigmoid(beta), and decay = -exp(DecayLog)
	// softplus(decay + DecayBias), with DecayLog (Hkv) and DecayBias (Hkv, or Hkv*Dk with KeyDecay), nil for zeros.
	Front               string
	BetaScale           float64
	DecayLog, DecayBias []float32
}

// AttentionResult is what the oracle gives. Output is (B,T,Ho*Dv) with Ho the larger of Hq and Hkv, State
// (B,Hkv,Dk,Dv). The Abs arrays have the same shapes and scale rounding errors:
// they follow the same recurrence with every product replaced by its
// absolute value, u by |beta| (|v| + |S|ᵀ|k|) with the oracle's own S (so that the delta
// rules' contraction keeps them from growing without bound).
type AttentionResult struct {
	Output, State, OutputAbs, StateAbs []float64
	Norm                               []float64 // the sum of keys after the last token, (B,Hkv,Dk), with Normalize
}

// Oracle evaluates the recurrence token by token. Layouts are ONNX's: query (B,T,Hq*Dk), key
// (B,T,Hkv*Dk), value (B,T,Hkv*Dv), past (B,Hkv,Dk,Dv) or nil for zeros,
// decay (B,T,Hkv), or (B,T,Hkv*Dk) with KeyDecay, or nil, beta (B,T,BetaHeads) or nil.
func (a Attention) Oracle(query, key, value, past, decay, beta []float32) AttentionResult {
	r := AttentionResult{
		Output:    make([]float64, a.B*a.T*max(a.Hq, a.Hkv)*a.Dv),
		State:     make([]float64, a.B*a.Hkv*a.Dk*a.Dv),
		OutputAbs: make([]float64, a.B*a.T*max(a.Hq, a.Hkv)*a.Dv),
		StateAbs:  make([]float64, a.B*a.Hkv*a.Dk*a.Dv),
	}
	for i, x := range past {
		r.State[i], r.StateAbs[i] = float64(x), math.Abs(float64(x))
	}
	heads := max(a.Hq, a.Hkv) // of the output
	group := heads / a.Hkv
	queries, keys := a.features(query), a.features(key)
	if a.Normalize {
		r.Norm = make([]float64, a.B*a.Hkv*a.Dk)
		for i, x := range a.PastNorm {
			r.Norm[i] = float64(x)
		}
	}
	for b := range a.B {
		for h := range a.Hkv {
			at := b*a.Hkv + h
			st := oracleState{
				s: r.State[at*a.Dk*a.Dv : (at+1)*a.Dk*a.Dv], abs: r.StateAbs[at*a.Dk*a.Dv : (at+1)*a.Dk*a.Dv],
				u: make([]float64, a.Dv), uAbs: make([]float64, a.Dv),
			}
			if a.Normalize {
				st.norm = r.Norm[at*a.Dk : (at+1)*a.Dk]
			}
			read := func(t int) {
				for ho := h * group; ho < (h+1)*group; ho++ {
					row := (b*a.T+t)*heads + ho
					q := queries[((b*a.T+t)*a.Hq+ho*a.Hq/heads)*a.Dk:][:a.Dk]
					a.read(st, q, r.Output[row*a.Dv:][:a.Dv], r.OutputAbs[row*a.Dv:][:a.Dv])
				}
			}
			for t := range a.T {
				row := b*a.T + t
				for i := range a.Dk {
					if g, gated := a.logDecay(decay, row, h, i); gated {
						st.decay(i, math.Exp(g))
					}
				}
				beta64 := 1.0
				if a.Delta && a.Write == nil {
					beta64 = a.betaOf(beta[row*a.BetaHeads+h%a.BetaHeads])
				}
				a.update(st, keys[(row*a.Hkv+h)*a.Dk:][:a.Dk], value[(row*a.Hkv+h)*a.Dv:][:a.Dv], beta64, a.gatesOf(row, h, beta))
				if !a.Full {
					read(t)
				}
			}
			for t := 0; a.Full && t < a.T; t++ {
				read(t)
			}
		}
	}
	return r
}

// oracleState is the state of one head with the scale of its errors, and room for an update.
type oracleState struct {
	s, abs, norm []float64
	u, uAbs      []float64
}

func (st oracleState) decay(key int, f float64) {
	dv := len(st.u)
	for j := range dv {
		st.s[key*dv+j] *= f
		st.abs[key*dv+j] *= f
	}
	if st.norm != nil {
		st.norm[key] *= f
	}
}

// channelGates are a token's separate gates: of key channels and of value channels; nil where there is one for both.
type channelGates struct{ erase, write []float64 }

func (a Attention) gatesOf(row, h int, beta []float32) (g channelGates) {
	if a.Write == nil {
		return g
	}
	g.erase, g.write = make([]float64, a.Dk), make([]float64, a.Dv)
	for i := range g.erase {
		if a.EraseKeys {
			g.erase[i] = float64(beta[(row*a.Hkv+h)*a.Dk+i])
		} else {
			g.erase[i] = float64(beta[row*a.BetaHeads+h%a.BetaHeads])
		}
	}
	width := len(a.Write) / (a.B * a.T * a.Hkv) // 1 or Dv
	for j := range g.write {
		g.write[j] = float64(a.Write[(row*a.Hkv+h)*width+j%width])
	}
	return g
}

func (a Attention) update(st oracleState, k []float64, v []float32, beta float64, gates channelGates) {
	for j, x := range v {
		y := a.activate(float64(x))
		if gates.write != nil {
			y *= gates.write[j]
		}
		st.u[j], st.uAbs[j] = y, math.Abs(y)
	}
	if a.Delta {
		for i, ki := range k {
			if gates.erase != nil {
				ki *= gates.erase[i]
			}
			for j := range v {
				st.u[j] -= ki * st.s[i*a.Dv+j]
				st.uAbs[j] += math.Abs(ki * st.s[i*a.Dv+j])
			}
		}
		for j := range v {
			st.u[j] *= beta
			st.uAbs[j] *= math.Abs(beta)
		}
	}
	for i, ki := range k {
		for j := range v {
			st.s[i*a.Dv+j] += ki * st.u[j]
			st.abs[i*a.Dv+j] += math.Abs(ki) * st.uAbs[j]
		}
		if st.norm != nil {
			st.norm[i] += ki
		}
	}
}

func (a Attention) read(st oracleState, q, o, oAbs []float64) {
	for i, qi := range q {
		x := a.Scale * qi
		for j := range o {
			o[j] += x * st.s[i*a.Dv+j]
			oAbs[j] += math.Abs(x) * st.abs[i*a.Dv+j]
		}
	}
	if st.norm == nil {
		return
	}
	den, denAbs := a.NormEps, a.NormEps
	for i, qi := range q {
		den += a.Scale * qi * st.norm[i]
		denAbs += math.Abs(a.Scale * qi * st.norm[i])
	}
	for j := range o {
		o[j] /= den
		// The quotient's relative error is the sum of both parts'.
		oAbs[j] = oAbs[j]/math.Abs(den) + math.Abs(o[j])*denAbs/math.Abs(den)
	}
}

// features applies the feature map to rows of Dk.
func (a Attention) features(x []float32) []float64 {
	f := a.activated(x)
	for i, v := range x {
		switch {
		case a.FeatureMap == tile.MapReLU && v < 0:
			f[i] = 0
		case a.FeatureMap == tile.MapELU && v >= 0:
			f[i]++
		case a.FeatureMap == tile.MapELU, a.FeatureMap == tile.MapExp:
			f[i] = math.Exp(f[i])
		}
	}
	for i := 0; a.FeatureMap == tile.MapL2 && i < len(f); i += a.Dk {
		sum := a.MapEps
		for _, v := range f[i : i+a.Dk] {
			sum += v * v
		}
		for j := range a.Dk {
			f[i+j] /= math.Sqrt(sum)
		}
	}
	return f
}

// activate is SiLU where the front has it.
func (a Attention) activate(x float64) float64 {
	if !tile.FrontHas(a.Front, tile.FrontSiLU) {
		return x
	}
	return x * sigmoid(x)
}

func (a Attention) activated(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = a.activate(float64(v))
	}
	return y
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// betaOf is the gate that the front makes of a number of beta.
func (a Attention) betaOf(x float32) float64 {
	if !tile.FrontHas(a.Front, tile.FrontGates) {
		return float64(x)
	}
	return a.BetaScale * sigmoid(float64(x))
}

// gate is the log decay that the front makes of a number of decay, of head h, whose bias is at a place.
func (a Attention) gate(x float32, h, bias int) float64 {
	y := float64(x)
	if !tile.FrontHas(a.Front, tile.FrontGates) {
		return y
	}
	if a.DecayBias != nil {
		y += float64(a.DecayBias[bias])
	}
	y = max(y, 0) + math.Log1p(math.Exp(-math.Abs(y)))
	if a.DecayLog != nil {
		y *= math.Exp(float64(a.DecayLog[h]))
	}
	return -y
}

func (a Attention) logDecay(decay []float32, row, h, key int) (float64, bool) {
	switch {
	case decay != nil && a.KeyDecay:
		return a.gate(decay[(row*a.Hkv+h)*a.Dk+key], h, h*a.Dk+key), true
	case decay != nil:
		return a.gate(decay[row*a.Hkv+h], h, h), true
	case a.HeadDecay != nil:
		return float64(a.HeadDecay[h]), true
	}
	return 0, false
}
