// Package asm fills the table of primitives in assembly, for each instruction
// set that this CPU has.
//
// The files are written by the programs in gen, a module of its own: those of amd64 by
// avo, those of arm64 by an emitter of text. "go generate" in this folder writes them
// again, byte for byte. Each function takes one pointer to its arguments and works by the scalar
// loop in that type's doc comment in package tile. With the build tag noasm, and on
// other architectures, there is no table here.
package asm

//go:generate go run -C gen ./chunk -isa avx2
//go:generate go run -C gen ./chunk -isa avx512
//go:generate go run -C gen ./product -isa avx2
//go:generate go run -C gen ./product -isa avx512
//go:generate go run -C gen ./recur -isa avx2
//go:generate go run -C gen ./recur -isa avx512
//go:generate go run -C gen ./spread -isa avx2
//go:generate go run -C gen ./spread -isa avx512
//go:generate go run -C gen ./vector -isa avx2
//go:generate go run -C gen ./vector -isa avx512
//go:generate go run -C gen ./neon

import "github.com/rooftune/rooftune/kernels/tile"

// Primitives returns the table of an instruction set, or false if this CPU or
// this build cannot run it. The table is shared: it must not be changed.
func Primitives(isa tile.ISA) (*tile.Primitives, bool) {
	for _, p := range tables {
		if p.ISA == isa {
			return p, true
		}
	}
	return nil, false
}

// ISAs returns the instruction sets that can run here, slowest first.
func ISAs() []tile.ISA {
	isas := make([]tile.ISA, len(tables))
	for i, p := range tables {
		isas[i] = p.ISA
	}
	return isas
}
