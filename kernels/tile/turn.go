package tile

// Turn holds the arguments of a scaled transposition of an M x N block, Row[i] taken as 1 where Row is nil:
//
//	Dst[j*LDD+i] = Row[i]*Src[i*LDS+j]
//
// Src and Dst must not overlap.
type Turn struct {
	Src, Dst, Row []float32
	LDS, LDD      int
	M, N          int
}
