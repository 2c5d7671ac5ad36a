//go:build amd64 && !noasm

package asm

import "github.com/rooftune/rooftune/kernels/tile"

// A slab's last vector of 16 is often part empty, and a gather takes as long for its empty lanes: AVX2 is faster wherever it can, and AVX-512 does
// the slabs of other sizes.
func spreadInAVX512(p *tile.Spread) {
	if p.G%spreadLanes == 0 {
		spreadInFours(p)
	} else {
		spreadAVX512(p)
	}
}

// Calls by name, so that arguments stay on the stack.
func wholeSpread(p *tile.Spread)     { spreadAVX2(p) }
func wholeQuantize(p *tile.Quantize) { quantizeAVX2(p) }
