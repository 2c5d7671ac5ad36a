package tile

// Conv holds the arguments of a causal convolution of M rows, N outputs each, with K taps of its own for every row:
//
//	y = Bias[i] + sum over j < K of Weight[i*K+j] * Src[i*LDS+n+j]
//	Dst[i*LDD+n] = y, or y / (1 + exp(-y)) if SiLU is set
//
// A row of Src holds N+K-1 elements. A nil Bias is zeros. Stream asks for non-temporal stores of rows that begin at a cache line.
// Src and Dst must not overlap.
type Conv struct {
	Src, Dst, Weight, Bias []float32
	LDS, LDD               int
	M, N, K                int
	SiLU, Stream           bool
}
