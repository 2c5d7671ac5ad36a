//go:build amd64 && !noasm

package asm

import (
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// The assembly adds whole vectors of columns; portable Go adds the few that are left.
func gatherHalfInAVX2(p *tile.GatherHalf)     { gatherHalfAVX2(p); restOfHalf(p, 8) }
func gatherHalfInAVX512(p *tile.GatherHalf)   { gatherHalfAVX512(p); restOfHalf(p, 16) }
func gatherBytesInAVX2(p *tile.GatherBytes)   { gatherBytesAVX2(p); restOfBytes(p, 8) }
func gatherBytesInAVX512(p *tile.GatherBytes) { gatherBytesAVX512(p); restOfBytes(p, 16) }

func restOfHalf(p *tile.GatherHalf, lanes int) {
	if done := p.N &^ (lanes - 1); done < p.N && len(p.Rows) > 0 {
		rest := *p
		rest.Table, rest.Out, rest.N = p.Table[done:], p.Out[done:], p.N-done
		generic.GatherHalf(&rest)
	}
}

func restOfBytes(p *tile.GatherBytes, lanes int) {
	if done := p.N &^ (lanes - 1); done < p.N && len(p.Rows) > 0 {
		rest := *p
		rest.Table, rest.Out, rest.N = p.Table[done:], p.Out[done:], p.N-done
		generic.GatherBytes(&rest)
	}
}
