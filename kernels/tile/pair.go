package tile

// PairPrimitives are the primitives of bfloat16 products. Operands are pairs: a uint32 holds two bfloat16 that are neighbours along
// the summed dimension, the earlier one in its lower half. As VDPBF16PS does, they take denormal operands as 0 and sums are float32, in any order,
// with denormal sums flushed to 0.
type PairPrimitives struct {
	// NN and TN are ordered by register tile, the default first. Each computes any M, N and K.
	NN []PairKernel // C = Beta C + diag(Row) A B
	TN []PairKernel // C = Beta C + diag(Row) Aᵀ B

	Pack func(*PairPack)
	Turn func(*PairTurn)
}

// PairKernel is a product of pairs on one register tile: MR rows and NR columns of C are held in registers.
type PairKernel struct {
	MR, NR int
	Run    func(*PairProduct)
}

// FindPair returns the kernel with this register tile.
func FindPair(ks []PairKernel, mr, nr int) (PairKernel, bool) {
	for _, k := range ks {
		if k.MR == mr && k.NR == nr {
			return k, true
		}
	}
	return PairKernel{}, false
}

// PairProduct holds the arguments of a small product of pairs. All matrices are row-major with leading dimensions in elements, which
// are pairs in A and B; K counts pairs; C must not overlap the other operands. With lo and hi the halves of a pair:
//
//	NN: acc := 0; for k := range K { acc += lo(A[i*LDA+k])*lo(B[k*LDB+j]) + hi(A[i*LDA+k])*hi(B[k*LDB+j]) }
//	TN: acc := 0; for k := range K { acc += lo(A[k*LDA+i])*lo(B[k*LDB+j]) + hi(A[k*LDA+i])*hi(B[k*LDB+j]) }
//
//	C[i,j] = Row[i]*acc                  if Beta == 0 (C is not read)
//	C[i,j] = Beta*C[i,j] + Row[i]*acc    otherwise
//
// Row[i] is 1 where Row is nil. With Lower set (NN), row i of A is zero from pair Lead+i/2+1 on, and those pairs need not be read.
// With Stream set, whole vectors of C are stored past the caches: C must start at a cache line and LDC be whole lines. Such stores come before those
// that follow a call with Stream set and M = 0; other threads must not be told of them earlier. While it works on row i of the first columns, a call may
// prefetch row i of each of Ahead.
type PairProduct struct {
	A, B          []uint32
	C, Row        []float32
	LDA, LDB, LDC int
	M, N, K       int
	Beta          float32
	Lower, Stream bool
	Lead          int
	Ahead         [3]Prefetch
}

// PairPack holds the arguments of a rounding of an M x N block to pairs, to nearest, ties to even, denormals to 0. With
// x[i,j] = (Src[i*LDS+j]*Row[i])*Mask[i*LDM+j], Row and Mask taken as 1 where nil, and a zero of either sign in place of what is beyond the block:
//
//	Dst[i*LDD+j] = (x[i,2j], x[i,2j+1])      i < M, j < (N+1)/2
//	Dst[i*LDD+j] = (x[2i,j], x[2i+1,j])      with Across: i < (M+1)/2, j < N; Mask must be nil
//
// NonFinite is set to true if any number of Dst is NaN or Inf, else to false.
type PairPack struct {
	Src, Row, Mask []float32
	Dst            []uint32
	LDS, LDM, LDD  int
	M, N           int
	Across         bool
	NonFinite      bool
}

// PairTurn holds the arguments of a transposition of an M x N block of pairs, both multiples of 16. Src and Dst must not overlap.
//
//	Dst[j*LDD+i] = Src[i*LDS+j]
type PairTurn struct {
	Src, Dst []uint32
	LDS, LDD int
	M, N     int
}
