package tile

// Dots holds the arguments of M dot products of rows, N long, summed in any order:
//
//	Dst[i] = X[i*LDX+0]*Y[i*LDY+0] + ... + X[i*LDX+N-1]*Y[i*LDY+N-1]
type Dots struct {
	X, Y, Dst []float32
	LDX, LDY  int
	M, N      int
}
