//go:build arm64 && !noasm

package asm

import "github.com/rooftune/rooftune/kernels/tile"

func octetsInNEON(p *tile.Octets) { eachOctet(p, 4) }

// wholeOctets calls by name and not by value, so that arguments stay on the stack.
func wholeOctets(p *tile.Octets, _ int) { octetsNEON(p) }
