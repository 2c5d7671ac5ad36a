//go:build amd64 && !noasm

package probe

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/rooftune/rooftune/kernels/tile"
)

//go:generate go run -C ../gen ./probe -isa avx2
//go:generate go run -C ../gen ./probe -isa avx512

// The shapes of the assembly loops.
const (
	accumulators = 12
	rounds       = 4
	unrolled     = 8
	sideBySide   = 8
)

var avx2 = Loops{
	ISA: tile.AVX2, FMA: fmaAVX2, FMAFlops: 2 * 8 * accumulators * rounds, Read: readAVX2, Copy: copyAVX2, CopyNT: copyNTAVX2,
	Step: 8 * unrolled, ReadRows: readRowsAVX2, Rows: sideBySide, Lanes: 8, ReadPlaces: readPlacesAVX2,
}

var avx512 = Loops{
	ISA: tile.AVX512, FMA: fmaAVX512, FMAFlops: 2 * 16 * accumulators * rounds, Read: readAVX512, Copy: copyAVX512, CopyNT: copyNTAVX512,
	Step: 16 * unrolled, ReadRows: readRowsAVX512, Rows: sideBySide, Lanes: 16, ReadPlaces: readPlacesAVX512,
}

// For returns the loops of an instruction set, or false if this CPU or build cannot run them.
func For(isa tile.ISA) (*Loops, bool) {
	hasAVX2 := cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C)
	hasAVX512 := hasAVX2 && cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL)
	switch isa {
	case tile.Generic:
		return &portable, true
	case tile.AVX2:
		return &avx2, hasAVX2
	case tile.AVX512:
		if cpuid.CPU.Supports(cpuid.AVX512BF16) {
			l := avx512
			l.DotBF16, l.DotFlops = dotBF16AVX512, 2*l.FMAFlops
			return &l, hasAVX512
		}
		return &avx512, hasAVX512
	}
	return nil, false
}
