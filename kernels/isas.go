package kernels

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/rooftune/rooftune/kernels/asm"
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Environment switches. They narrow the choice of kernels and never widen it.
const (
	EnvISA     = "ROOFTUNE_ISA"     // comma-separated ISAs that may run, such as "avx2"
	EnvProfile = "ROOFTUNE_PROFILE" // a profile's path, or "off"
	EnvDebug   = "ROOFTUNE_DEBUG"   // "1" prints every choice to standard error
)

// ISAs lists the instruction sets that calls may use, slowest first: what this
// CPU and this build can execute, narrowed by ROOFTUNE_ISA. Portable Go
// is left where the narrowing would leave nothing.
func ISAs() []tile.ISA { return narrow(executable(), os.Getenv(EnvISA)) }

func executable() []tile.ISA { return append([]tile.ISA{tile.Generic}, asm.ISAs()...) }

func narrow(isas []tile.ISA, names string) []tile.ISA {
	if strings.TrimSpace(names) == "" {
		return isas
	}
	var kept []tile.ISA
	for name := range strings.SplitSeq(names, ",") {
		isa := tile.ISA(strings.ToLower(strings.TrimSpace(name)))
		if slices.Contains(isas, isa) && !slices.Contains(kept, isa) {
			kept = append(kept, isa)
		}
	}
	if kept == nil {
		return []tile.ISA{tile.Generic}
	}
	slices.SortFunc(kept, func(a, b tile.ISA) int { return slices.Index(isas, a) - slices.Index(isas, b) })
	return kept
}

var genericPrimitives = sync.OnceValue(generic.Primitives)

// primitives is the table of an ISA, or false if it cannot run here.
func primitives(isa tile.ISA) (*tile.Primitives, bool) {
	if isa == tile.Generic {
		return genericPrimitives(), true
	}
	return asm.Primitives(isa)
}
