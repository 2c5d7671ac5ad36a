package tile

// Widen holds the arguments of a copy of an M x N block of 16-bit numbers to float32, which is exact:
//
//	Dst[i*LDD+j] = float32(Src[i*LDS+j])
//
// Src holds the bits of bfloat16 if BFloat16 is set, else those of IEEE float16, denormals included. NaN stays NaN. Src
// and Dst must not overlap.
type Widen struct {
	Src      []uint16
	Dst      []float32
	LDS, LDD int
	M, N     int
	BFloat16 bool
}

// Narrow holds the arguments of a copy of an M x N block of float32 to 16-bit numbers, the reverse of Widen:
//
//	Dst[i*LDD+j] = round(Src[i*LDS+j])
//
// Rounding is to nearest, ties to even; what is too large becomes Inf, what is too small denormal or zero, and NaN stays NaN and is
// made quiet. Src and Dst must not overlap.
type Narrow struct {
	Src      []float32
	Dst      []uint16
	LDS, LDD int
	M, N     int
	BFloat16 bool
}
