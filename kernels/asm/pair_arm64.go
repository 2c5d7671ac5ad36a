//go:build arm64 && !noasm

package asm

import (
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// pairLanes are the columns of which the assembly packs whole multiples. Those left over are left to portable Go.
const pairLanes = 4

func pairPackInNEON(p *tile.PairPack) {
	whole := p.N &^ (pairLanes - 1)
	if whole == p.N || p.M == 0 {
		pairPackNEON(p)
		return
	}
	first, rest := *p, *p
	first.N, rest.N = whole, p.N-whole
	pairPackNEON(&first)
	rest.Src, rest.Dst = p.Src[whole:], p.Dst[whole/2:]
	if p.Across {
		rest.Dst = p.Dst[whole:]
	}
	if p.Mask != nil {
		rest.Mask = p.Mask[whole:]
	}
	generic.PairPack(&rest)
	p.NonFinite = first.NonFinite || rest.NonFinite
}
