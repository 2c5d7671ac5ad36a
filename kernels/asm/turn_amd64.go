//go:build amd64 && !noasm

package asm

import (
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// The assembly does whole squares as wide as a vector; the columns and rows beyond them are done in portable Go.
func turnInAVX2(p *tile.Turn) {
	if p.M >= 8 && p.N >= 8 {
		turnAVX2(p)
	}
	turnEdges(p, 8)
}

func turnInAVX512(p *tile.Turn) {
	if p.M >= 16 && p.N >= 16 {
		turnAVX512(p)
	}
	turnEdges(p, 16)
}

func turnEdges(p *tile.Turn, square int) {
	m, n := p.M/square*square, p.N/square*square
	if m > 0 && n < p.N {
		right := *p
		right.Src, right.Dst, right.M, right.N = p.Src[n:], p.Dst[n*p.LDD:], m, p.N-n
		generic.Turn(&right)
	}
	if m < p.M && p.N > 0 {
		below := *p
		below.Src, below.Dst, below.M = p.Src[m*p.LDS:], p.Dst[m:], p.M-m
		if p.Row != nil {
			below.Row = p.Row[m:]
		}
		generic.Turn(&below)
	}
}
