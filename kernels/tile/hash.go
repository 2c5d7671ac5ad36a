package tile

// Octets holds the arguments of the signs, products and sums of N runs of eight numbers: what the codes and weights of a
// hash layer are made of, whatever its tau.
//
//	for r := range N {
//		Code[r] = 0; P[r] = 1; Norm[r] = 0
//		for i := range 8 {
//			x := X[8*r+i]
//			Code[r] = Code[r]<<1 | (1 if x >= 0 else 0)
//			P[r] /= 1 + exp(-2*|x|)
//			Norm[r] += |x|
//		}
//	}
//
// -0 counts as 0, NaN gives a bit of 0. Products and sums may be taken in any order. Norm is left out where it is empty.
type Octets struct {
	X       []float32 // 8*N
	Code    []int32   // N
	P, Norm []float32 // N
	N       int
}
