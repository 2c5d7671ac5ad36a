//go:build amd64 && !noasm

package asm

import "github.com/rooftune/rooftune/kernels/tile"

func octetsInAVX2(p *tile.Octets)   { eachOctet(p, 8) }
func octetsInAVX512(p *tile.Octets) { eachOctet(p, 16) }

// wholeOctets calls by name and not by value, so that arguments stay on the stack.
func wholeOctets(p *tile.Octets, group int) {
	if group == 16 {
		octetsAVX512(p)
	} else {
		octetsAVX2(p)
	}
}
