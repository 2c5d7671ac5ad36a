//go:build !(amd64 || arm64) || noasm

package probe

import "github.com/rooftune/rooftune/kernels/tile"

// For returns the loops of an instruction set, or false if this CPU or build cannot run them.
func For(isa tile.ISA) (*Loops, bool) {
	if isa == tile.Generic {
		return &portable, true
	}
	return nil, false
}
