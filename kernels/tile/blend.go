package tile

// Blend holds the arguments of a weighted sum of two M x N blocks, in place of the first. A[i] and B[i] are taken as 1 where nil:
//
//	Dst[i*LDD+j] = A[i]*Dst[i*LDD+j] + B[i]*Src[i*LDS+j]
//
// Src must not overlap Dst. With LDS 0, one row of Src is for all.
type Blend struct {
	Src, Dst, A, B []float32
	LDS, LDD       int
	M, N           int
}
