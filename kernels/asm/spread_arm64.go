//go:build arm64 && !noasm

package asm

import "github.com/rooftune/rooftune/kernels/tile"

// Calls by name, so that arguments stay on the stack.
func wholeSpread(p *tile.Spread)     { spreadNEON(p) }
func wholeQuantize(p *tile.Quantize) { quantizeNEON(p) }
