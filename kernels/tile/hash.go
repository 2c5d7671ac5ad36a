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

// Spread holds the arguments of what lies between the codes of T tokens over N tables and passes over slabs of G tables: where rows are in their
// slab, and weights with their rows' scales.
//
//	for t := range T {
//		for i := range N {
//			s, g := i/G, i%G
//			x := Weight[t*LD+i] * (Scales[i<<Tau+Code[t*LD+i]], or 1 where Scales is empty)
//			Offset[s*Stride+t*G+g] = First[i] + Code[t*LD+i]<<Shift
//			Scaled[s*ScaledStride+t*G+g] = x
//			Largest[t] = max(Largest[t], x)
//		}
//	}
//
// Where Largest is empty, it is left out. Weights and scales are not negative; a NaN in Largest or among a token's products makes its Largest one.
type Spread struct {
	Code         []int32
	Weight       []float32
	Scales       []float32
	First        []uint32
	Offset       []uint32
	Scaled       []float32
	Largest      []float32
	T, N, G      int
	LD           int // of Code and Weight, in elements
	Stride       int // from a slab's offsets to the next one's
	ScaledStride int
	Tau, Shift   int
}

// Quantize holds the arguments of rounding the weights of T tokens over N tables to integers of Bits bits, 8 or 16, in the places that Slab takes
// them from. With s and g as in Spread, integer s*Stride+t*G+g becomes
//
//	q := uint32(Weight[s*WeightStride+t*G+g]*By[t] + 0.5)
//
// each step rounded to float32. What comes of a product that does not fit the bits is not defined. G and both strides are multiples of 4; what fills the
// last four of a token up is 0.
type Quantize struct {
	Weight       []float32
	By           []float32
	Quant        []uint32
	T, N, G      int
	WeightStride int
	Stride       int
	Bits         int
}

// GatherHalf is Gather over rows of bfloat16 bits:
//
//	for r := range Rows { Out[0:N] += Weight[r] * float32(Table[Rows[r]*LD : +N]) }
type GatherHalf struct {
	Table  []uint16
	Rows   []int32
	Weight []float32
	Out    []float32
	LD     int
	N      int
	Group  int // rows side by side: 4 or 8
	Ahead  int // the row so many places further is prefetched, its first lines at least; 0 for none
}

// GatherBytes is Gather over rows of int8.
type GatherBytes struct {
	Table  []int8
	Rows   []int32
	Weight []float32
	Out    []float32
	LD     int
	N      int
	Group  int
	Ahead  int
}

// Columns of a slab's row: the widths that tables are cut in for Slab.
const (
	SlabFloats = 32 // of float32: two cache lines
	SlabHalves = 32 // of bfloat16: one
	SlabBytes  = 64 // of int8: one
)

// SlabColumns are those of tables of some dtype.
func SlabColumns(dtype string) int {
	switch dtype {
	case BFloat16:
		return SlabHalves
	case Int8:
		return SlabBytes
	}
	return SlabFloats
}

// Slab holds the arguments of a pass of T tokens over a slab: the same columns of G tables, side by side so that they fit a cache. With P
// columns, Offset saying where in the slab a row starts, in bytes,
//
//	for t := range T { Y[t*P : +P] += sum over g of Weight[t*G+g] * row at Offset[t*G+g] }
//
// where Y counts as Init in every token if Init is not empty. The kernels take their rows from Floats, Halves or Bytes:
//
//   - Floats are float32 in order, P being SlabFloats.
//   - Halves are bfloat16 in words of two, P being SlabHalves: word i holds column i, and column 16+i in its upper half.
//   - Bytes are int8, P being SlabBytes: byte 16l+4q+i holds column 16q+4l+i. A kernel that takes Weight leaves Y in the order of the
//     bytes (and takes Init so); one that takes integer weights in the order of the columns, adding
//     Scale[t] * sum of q*byte with q of Bits bits. Each four tables' q are at Quant[(t*G+g)/4*2]: their upper bytes in a word, and their
//     lower bytes (Bits is 16) in the next, the first table in the least byte. Then G is a multiple of 4 and at most 64.
//
// Where Out is not empty, sums go to Out[t*LDO : +P] instead of Y, past the caches: its rows begin at multiples of 64 bytes.
//
// Meanwhile the lines of Next are prefetched, as many a token as all tokens need to fetch them all, in four streams.
type Slab struct {
	Floats []float32
	Halves []uint16
	Bytes  []int8
	Offset []uint32
	Weight []float32
	Quant  []uint32
	Scale  []float32
	Y      []float32
	Init   []float32
	Out    []float32
	Next   []byte
	T, G   int
	LDO    int // of Out, in elements
	// Pace is how many 256ths of a line of each stream a token prefetches.
	Pace int
	// Far says that they go no nearer than the second-level cache, which spares the few buffers that wait for lines of the first level.
	Far bool
}

// ByteKernel is a pass over a slab of int8 with weights of so many bits: 0 for float32, 16 or 8.
type ByteKernel struct {
	Bits int
	Run  func(*Slab)
}

// BytesPermuted gives the column that byte i of a slab's row of int8 holds.
func BytesPermuted(i int) int {
	l, q := i/16, i%16/4
	return 16*q + 4*l + i%4
}
