//go:build arm64 && !noasm

package probe

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/rooftune/rooftune/kernels/tile"
)

// The shapes of the assembly loops.
const (
	accumulators = 24
	rounds       = 2
	streamed     = 16
	sideBySide   = 8
)

var neon = Loops{
	ISA: tile.NEON, FMA: fmaNEON, FMAFlops: 2 * 4 * accumulators * rounds, Read: readNEON, Copy: copyNEON, CopyNT: copyNTNEON,
	Step: 4 * streamed, ReadRows: readRowsNEON, Rows: sideBySide, Lanes: 4, ReadPlaces: readPlacesNEON,
}

// neonDot are those with the products of bfloat16, an extension.
var neonDot = func() Loops {
	l := neon
	l.DotBF16, l.DotFlops = dotBF16NEON, 4*l.FMAFlops
	return l
}()

// For returns the loops of an instruction set, or false if this CPU or build cannot run them.
func For(isa tile.ISA) (*Loops, bool) {
	switch isa {
	case tile.Generic:
		return &portable, true
	case tile.NEON:
		if cpuid.CPU.Supports(cpuid.BF16) {
			return &neonDot, true
		}
		return &neon, true
	}
	return nil, false
}
