package kernels

import (
	"os"

	"github.com/rooftune/rooftune/kernels/tile"
)

// tested lists the ISAs that tests run: all that can run here or, where ROOFTUNE_TEST_ISA names some, those. An emulator need not run portable Go, which
// takes most of its time, for every CPU that it stands for.
func tested() []tile.ISA { return narrow(executable(), os.Getenv("ROOFTUNE_TEST_ISA")) }
