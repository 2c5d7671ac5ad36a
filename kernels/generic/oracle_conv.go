package generic

import "math"

// Conv is ONNX CausalConvWithState in float64: what kernels of the causal convolution are checked against.
type Conv struct {
	B, C, L, K int
	SiLU       bool
}

// ConvResult is what a convolution gives. OutputAbs is the sum of absolute terms before the activation: as
// |silu(y)| <= |y| and |silu'| < 1.1, the scale of an output's rounding errors with either activation.
type ConvResult struct {
	Output, OutputAbs []float64 // (B,C,L)
	State             []float32 // (B,C,K-1), copies of inputs and so exact
}

// Oracle computes input (B,C,L), weight (C,1,K), optional bias (C) and optional past (B,C,K-1), which is zeros where nil:
//
//	x[b,c,:]      = past[b,c,:] ++ input[b,c,:]
//	y[b,c,l]      = bias[c] + sum_j weight[c,0,j] x[b,c,l+j]
//	output        = y, or y/(1+exp(-y)) with SiLU
//	present state = the last K-1 entries of x
func (a Conv) Oracle(input, weight, bias, past []float32) ConvResult {
	r := ConvResult{
		Output: make([]float64, a.B*a.C*a.L), OutputAbs: make([]float64, a.B*a.C*a.L),
		State: make([]float32, a.B*a.C*(a.K-1)),
	}
	x := make([]float32, a.K-1+a.L)
	for row := range a.B * a.C {
		c := row % a.C
		clear(x)
		if past != nil {
			copy(x, past[row*(a.K-1):][:a.K-1])
		}
		copy(x[a.K-1:], input[row*a.L:][:a.L])
		for l := range a.L {
			y := 0.0
			if bias != nil {
				y = float64(bias[c])
			}
			scale := math.Abs(y)
			for j, w := range weight[c*a.K:][:a.K] {
				term := float64(w) * float64(x[l+j])
				y += term
				scale += math.Abs(term)
			}
			if a.SiLU {
				y /= 1 + math.Exp(-y)
			}
			r.Output[row*a.L+l], r.OutputAbs[row*a.L+l] = y, scale
		}
		copy(r.State[row*(a.K-1):], x[a.L:])
	}
	return r
}
