package generic

import "math"

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
	BetaHeads             int       // width of beta: Hkv, or 1 where it is shared
}

// AttentionResult is what the oracle gives. Output is (B,T,Ho*Dv) with Ho the larger of Hq and Hkv, State
// (B,Hkv,Dk,Dv). The Abs arrays have the same shapes and scale rounding errors:
// they follow the same recurrence with every product replaced by its
// absolute value, u by |beta| (|v| + |S|ᵀ|k|) with the oracle's own S (so that the delta
// rules' contraction keeps them from growing without bound).
type AttentionResult struct {
	Output, State, OutputAbs, StateAbs []float64
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
	u, uAbs := make([]float64, a.Dv), make([]float64, a.Dv)
	for b := range a.B {
		for h := range a.Hkv {
			at := (b*a.Hkv + h) * a.Dk * a.Dv
			s, sAbs := r.State[at:at+a.Dk*a.Dv], r.StateAbs[at:at+a.Dk*a.Dv]
			for t := range a.T {
				row := b*a.T + t
				k := key[(row*a.Hkv+h)*a.Dk:][:a.Dk]
				v := value[(row*a.Hkv+h)*a.Dv:][:a.Dv]
				for i := range a.Dk {
					if g, gated := a.logDecay(decay, row, h, i); gated {
						f := math.Exp(g)
						for j := range a.Dv {
							s[i*a.Dv+j] *= f
							sAbs[i*a.Dv+j] *= f
						}
					}
				}
				for j := range u {
					u[j], uAbs[j] = float64(v[j]), math.Abs(float64(v[j]))
				}
				if a.Delta {
					for i, ki := range k {
						kf := float64(ki)
						for j := range u {
							u[j] -= kf * s[i*a.Dv+j]
							uAbs[j] += math.Abs(kf * s[i*a.Dv+j])
						}
					}
					bt := float64(beta[row*a.BetaHeads+h%a.BetaHeads])
					for j := range u {
						u[j] *= bt
						uAbs[j] *= math.Abs(bt)
					}
				}
				for i, ki := range k {
					kf := float64(ki)
					for j := range u {
						s[i*a.Dv+j] += kf * u[j]
						sAbs[i*a.Dv+j] += math.Abs(kf) * uAbs[j]
					}
				}
				for ho := h * group; ho < (h+1)*group; ho++ {
					q := query[(row*a.Hq+ho*a.Hq/heads)*a.Dk:][:a.Dk]
					o := r.Output[(row*heads+ho)*a.Dv:][:a.Dv]
					oAbs := r.OutputAbs[(row*heads+ho)*a.Dv:][:a.Dv]
					for i, qi := range q {
						qf := a.Scale * float64(qi)
						for j := range o {
							o[j] += qf * s[i*a.Dv+j]
							oAbs[j] += math.Abs(qf) * sAbs[i*a.Dv+j]
						}
					}
				}
			}
		}
	}
	return r
}

func (a Attention) logDecay(decay []float32, row, h, key int) (float64, bool) {
	switch {
	case decay != nil && a.KeyDecay:
		return float64(decay[(row*a.Hkv+h)*a.Dk+key]), true
	case decay != nil:
		return float64(decay[row*a.Hkv+h]), true
	case a.HeadDecay != nil:
		return float64(a.HeadDecay[h]), true
	}
	return 0, false
}
