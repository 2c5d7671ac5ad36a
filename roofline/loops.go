package roofline

import (
	"github.com/rooftune/rooftune/kernels/asm/probe"
	"github.com/rooftune/rooftune/kernels/tile"
)

// loops are the loops that ceilings of one ISA are measured with.
type loops = probe.Loops

// loopsFor returns the loops of an ISA, and whether this CPU and build have them.
func loopsFor(isa tile.ISA) (*loops, bool) { return probe.For(isa) }
