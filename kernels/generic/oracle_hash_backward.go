package generic

import "math"

// HashGradients are the gradients of a hash layer with the same sums over absolute values: Input (N,D), Tables (K,2^Tau,H), Bias (H).
type HashGradients struct {
	Input, InputAbs   []float64
	Tables, TablesAbs []float64
	Bias, BiasAbs     []float64
}

// OracleBackward evaluates the gradients of sum(gradOutput . y). Codes have none; with dw_k = <gradOutput, Table[k, code_k, :]>,
//
//	dTable[k, code_k, :] += w_k gradOutput
//	dz_ki = dw_k sign(z_ki) p_k s_ki              (the paper's weighting)
//	dz_ki = dw_k sign(z_ki) p_k (1 + |z_k|_1 s_ki) (the released code's)
//
// where s_ki = 2 exp(-2|z_ki|)/(1+exp(-2|z_ki|)) and sign(0) = 0.
func (a Hash) OracleBackward(input, tables, gradOutput []float32) HashGradients {
	k, rows := a.K(), 1<<a.Tau
	r := HashGradients{
		Input: make([]float64, a.N*a.D), InputAbs: make([]float64, a.N*a.D),
		Tables: make([]float64, k*rows*a.H), TablesAbs: make([]float64, k*rows*a.H),
		Bias: make([]float64, a.H), BiasAbs: make([]float64, a.H),
	}
	forward := Hash{N: a.N, D: a.D, H: 1, Tau: a.Tau, Released: a.Released}.Oracle(input, make([]float32, k*rows), nil)
	for n := range a.N {
		dy := gradOutput[n*a.H:][:a.H]
		for j, g := range dy {
			r.Bias[j] += float64(g)
			r.BiasAbs[j] += math.Abs(float64(g))
		}
		for c := range k {
			at := (c*rows + int(forward.Codes[n*k+c])) * a.H
			w, dw, dwAbs := forward.Weights[n*k+c], 0.0, 0.0
			for j, g := range dy {
				r.Tables[at+j] += w * float64(g)
				r.TablesAbs[at+j] += math.Abs(w * float64(g))
				term := float64(g) * float64(tables[at+j])
				dw += term
				dwAbs += math.Abs(term)
			}
			z := input[n*a.D+c*a.Tau : n*a.D+min((c+1)*a.Tau, a.D)]
			p, norm := math.Ldexp(1, len(z)-a.Tau), 0.0 // what pads the last sub-vector counts 1/2 each
			for _, x := range z {
				p /= 1 + math.Exp(-2*math.Abs(float64(x)))
				norm += math.Abs(float64(x))
			}
			for i, x := range z {
				e := math.Exp(-2 * math.Abs(float64(x)))
				g := 2 * e / (1 + e)
				if a.Released {
					g = 1 + norm*g
				}
				g *= p
				sign := 0.0
				switch {
				case x > 0:
					sign = 1
				case x < 0:
					sign = -1
				case x != x:
					sign = math.NaN()
				}
				r.Input[n*a.D+c*a.Tau+i] = dw * sign * g
				r.InputAbs[n*a.D+c*a.Tau+i] = math.Abs(dwAbs * g)
			}
		}
	}
	return r
}
