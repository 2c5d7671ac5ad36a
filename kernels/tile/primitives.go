package tile

// Primitives is the table of one ISA: the operations on a tile or a panel
// that drivers walk through. Every function does the whole row loop of a
// panel, reads and writes only inside the slices of its arguments, and leaves
// its arguments struct unchanged except where said. Arguments are passed by
// pointer so that a prepared call can keep them and allocate nothing.
//
// A call must end within about 100 µs, because the Go runtime cannot preempt
// assembly: drivers cut their panels to that.
type Primitives struct {
	ISA ISA
	// NN and TN are ordered by register tile, the default first. Each computes any
	// M, N and K: ragged edges are handled inside.
	NN []ProductKernel // C = Beta C + diag(Row) A B
	NT []ProductKernel // C = Beta C + diag(Row) (Mask . A Bᵀ), all or the lower triangle
	TN []ProductKernel // C = Beta C + diag(Row) Aᵀ B

	// Recur is ordered by block, the default first. Each computes any number of tokens, heads, keys and columns.
	Recur []RecurKernel
	Delta []DeltaKernel // likewise, for the delta rules
	Steps []StepKernel  // ordered by panel: the first whose columns divide a state's is best, and the last is for any
	Chunk *ChunkKernels // nil where the instruction set lacks them

	Couple     func(*Delta)
	Solve      func(*Solve)
	Substitute func(*Substitute)
	Pack       func(*Pack)
	Turn       func(*Turn)
	Dots       func(*Dots)
	Decay      func(*Decay)
	Exp        func(*Exp)
	Fold       func(*Fold)
	Map        func(*Map)
	Blend      func(*Blend)
	Trail      func(*Trail)
	Widen      func(*Widen)
	Narrow     func(*Narrow)
	Conv       func(*Conv)
	Gather     func(*Gather)
	Octets     func(*Octets)

	Spread   func(*Spread)
	Quantize func(*Quantize)

	GatherHalf  func(*GatherHalf)
	GatherBytes func(*GatherBytes)
	SlabFloats  func(*Slab)
	SlabHalves  func(*Slab)
	SlabBytes   []ByteKernel // that with float32 weights first

	Pair *PairPrimitives // nil where the instruction set or the CPU has no bfloat16 products
}

// ProductKernel is a product on one register tile: MR rows and NR columns of
// C are held in registers.
type ProductKernel struct {
	MR, NR int
	Run    func(*Product)
}

// Find returns the kernel with this register tile.
func Find(ks []ProductKernel, mr, nr int) (ProductKernel, bool) {
	for _, k := range ks {
		if k.MR == mr && k.NR == nr {
			return k, true
		}
	}
	return ProductKernel{}, false
}

// Product holds the arguments of a small product. All matrices are row-major
// with the given leading dimensions in elements; C must not overlap the other operands.
//
//	NN: A is M x K (A[i*LDA+k]), B is K x N (B[k*LDB+j])
//	NT: A is M x K (A[i*LDA+k]), B is N x K (B[j*LDB+k])
//	TN: A is K x M (A[k*LDA+i]), B is K x N (B[k*LDB+j])
//
// All three scale and accumulate alike, with Row[i] taken as 1 where Row is nil:
//
//	C[i,j] = Row[i]*acc                  if Beta == 0 (C is not read)
//	C[i,j] = Beta*C[i,j] + Row[i]*acc    otherwise
//
// The scalar loop of NN, where K(i) = K, or min(K, i+1) if Lower is set (then A is
// lower triangular; entries of A above the diagonal may be read but must be finite zeros):
//
//	acc := 0; for k := range K(i) { acc += A[i,k]*B[k,j] }
//
// The scalar loop of TN (Lower unused):
//
//	acc := 0; for k := range K { acc += A[k,i]*B[k,j] }
//
// The scalar loop of NT, the only one to use Mask, with Mask[i*LDM+j] taken as 1 where Mask is nil:
//
//	acc := 0; for k := range K { acc += A[i,k]*B[j,k] }; acc *= Mask[i*LDM+j]
//
// NT with Lower set does so for j <= i-Strict only. The other elements are set to 0 if Beta == 0, and
// otherwise neither read nor written. The zeros are written as zeros, never as products, so that a NaN in a
// later token's row does not reach an earlier one.
//
// While NN or TN works on row i of the first columns, it may prefetch row i of each of Ahead.
type Product struct {
	A, B, C, Row, Mask []float32
	From               []float32 // NN and TN: where C is read, with LDC; C itself where nil
	LDA, LDB, LDC, LDM int
	M, N, K            int
	Beta               float32
	Lower              bool
	Strict             int // NT with Lower: 0 keeps the diagonal, 1 leaves it out
	Ahead              [2]Prefetch
}

// Solve holds the arguments of a unit lower triangular substitution in place:
// (I + L) X = R, with L strictly lower triangular N x N (entries on and above
// the diagonal are not used, but may be read and must be finite zeros) and X, first R, N x W.
//
//	for i := range N { for j := range i { X[i,:] -= L[i*LDL+j] * X[j,:] } }
type Solve struct {
	L, X     []float32
	LDL, LDX int
	N, W     int
}

// Pack holds the arguments of a scaled copy of an M x N block, Row[i] taken as 1 where Row is nil:
//
//	Dst[i*LDD+j] = Row[i]*Src[i*LDS+j]
//
// NonFinite is set to true if any value of Src in the block, or any product, is NaN or Inf, else to false. Src
// and Dst may be the same block (LDD == LDS), but not overlap otherwise. Stream asks for non-temporal stores of Dst's whole vectors, where its rows are
// aligned to one.
type Pack struct {
	Src, Dst, Row []float32
	LDS, LDD      int
	M, N          int
	NonFinite     bool
	Stream        bool
}

// Decay holds the arguments of a lower triangular matrix of decay products over a
// chunk of N tokens, G[i] being token i's decay factor (not its logarithm):
//
//	D[i,j] = 0 (j > i), 1 (j == i), D[i-1,j]*G[i] (j < i)
//	C[i]   = G[0]*...*G[i]
//
// so that D[i,j] is the decay from token j to token i. Products of factors never
// cancel and underflow to 0, where differences of summed logarithms lose digits.
type Decay struct {
	G, C, D []float32
	LDD     int
	N       int
}

// Exp holds the arguments of an element-wise exponential over a strided
// vector, within 2 ulp, with 0 for -Inf, +Inf on overflow and NaN for NaN; results below the smallest
// normal number may be flushed to 0:
//
//	Dst[i] = exp(Scale * Src[i*Stride])      the product rounded to float32 first
//
// With Abs set, Src is replaced by its absolute value. Dst and Src may be the same block if Stride is 1.
type Exp struct {
	Src, Dst []float32
	Stride   int
	N        int
	Scale    float32
	Abs      bool
}

// Gather holds the arguments of a weighted sum of table rows:
//
//	for r := range Rows { Out[0:N] += Weight[r] * Table[Rows[r]*LD : +N] }
//
// Rows are read in groups of Group rows side by side (1, 2, 4 or 8; other values mean 4). Table row indices must be in range: a driver builds them from codes,
// which cannot leave the table.
type Gather struct {
	Table  []float32
	Rows   []int32
	Weight []float32
	Out    []float32
	LD     int
	N      int
	Group  int
}
