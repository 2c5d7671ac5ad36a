// Package tile holds the words that kernels, drivers, the simulator and the
// tuner share: instruction sets, problems, configs, the buffers of a tile and
// the table of primitives. It has types only and does no work.
package tile

// ISA names an instruction set that a table of primitives is written for.
type ISA string

// The instruction sets with a table of primitives.
const (
	Generic ISA = "generic" // portable Go, runs everywhere
	AVX2    ISA = "avx2"    // AVX2, FMA3 and F16C
	AVX512  ISA = "avx512"  // AVX-512 F, BW, DQ and VL
	NEON    ISA = "neon"    // arm64's Advanced SIMD: 128-bit vectors
)
