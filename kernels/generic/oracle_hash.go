package generic

import "math"

// Hash is the shape of a float64 evaluation of MemoryFormer's memory layer,
// the oracle of hash-layer. The input row of D numbers is cut in K = ceil(D/Tau) sub-vectors
// z_k of Tau numbers, the last one padded with zeros; bit i of the code is z_ki >= 0, the first
// element the most significant; then
//
//	p_k = prod_i 1/(1+exp(-2|z_ki|))
//	w_k = p_k (the paper's weighting), or |z_k|_1 p_k (the released code's)
//	y   = bias + sum_k w_k Table[k, code_k, :]
type Hash struct {
	N, D, H, Tau int
	Released     bool
	Scales       []float32 // of each table row, (K, 2^Tau), or nil for ones
}

// K is the number of tables.
func (a Hash) K() int { return (a.D + a.Tau - 1) / a.Tau }

// HashResult is what the oracle gives: Output and OutputAbs (N,H), Codes and
// Weights (N,K). OutputAbs sums absolute products.
type HashResult struct {
	Output, OutputAbs []float64
	Codes             []int32
	Weights           []float64
	// OutputTop is OutputAbs with the largest weight of a token, its row's scale included, in place of each weight, where there are
	// scales: what the rounding of weights to integers is relative to.
	OutputTop []float64
}

// Oracle evaluates the layer. input is (N,D), tables (K,2^Tau,H), bias (H) or nil.
func (a Hash) Oracle(input, tables, bias []float32) HashResult {
	k := a.K()
	r := HashResult{
		Output:    make([]float64, a.N*a.H),
		OutputAbs: make([]float64, a.N*a.H),
		Codes:     make([]int32, a.N*k),
		Weights:   make([]float64, a.N*k),
	}
	if a.Scales != nil {
		r.OutputTop = make([]float64, a.N*a.H)
	}
	for n := range a.N {
		y, yAbs := r.Output[n*a.H:][:a.H], r.OutputAbs[n*a.H:][:a.H]
		for j := range bias {
			y[j], yAbs[j] = float64(bias[j]), math.Abs(float64(bias[j]))
		}
		top := 0.0
		for c := range k {
			code, p, norm := 0, 1.0, 0.0
			for i := range a.Tau {
				z := 0.0
				if at := c*a.Tau + i; at < a.D {
					z = float64(input[n*a.D+at])
				}
				code <<= 1
				if z >= 0 {
					code |= 1
				}
				p /= 1 + math.Exp(-2*math.Abs(z))
				norm += math.Abs(z)
			}
			if a.Released {
				p *= norm
			}
			r.Codes[n*k+c], r.Weights[n*k+c] = int32(code), p
			row := tables[((c<<a.Tau)+code)*a.H:][:a.H]
			if a.Scales != nil {
				p *= float64(a.Scales[c<<a.Tau+code])
				if p > top || p != p {
					top = p
				}
				for j, x := range row {
					r.OutputTop[n*a.H+j] += math.Abs(float64(x))
				}
			}
			for j, x := range row {
				y[j] += p * float64(x)
				yAbs[j] += math.Abs(p * float64(x))
			}
		}
		if a.Scales != nil {
			for j := range y {
				at := n*a.H + j
				r.OutputTop[at] *= top
				if len(bias) > 0 {
					r.OutputTop[at] += math.Abs(float64(bias[j]))
				}
			}
		}
	}
	return r
}
