// Program chunk writes the assembly of the steps that take the backward pass of the delta rules through a chunk of 16 tokens, with their Go
// declarations, for one instruction set. Run in kernels/asm/gen:
//
//	go run ./chunk -isa avx512
package main

import (
	"flag"
	"log"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

func main() {
	log.SetFlags(0)
	isa := flag.String("isa", "", "instruction set: avx2 or avx512")
	dir := flag.String("dir", "..", "folder to write into")
	flag.Parse()

	g := &generator{File: emit.New("chunk", "asm", *isa)}
	if !g.Wide() {
		g.leading = g.MaskTable()
	}
	g.ones = g.StaticGlobal("ones")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for range g.Lanes {
		g.AppendDatum(operand.F32(1))
	}
	g.vectors = tokens / g.Lanes
	g.heights, g.wide = []int{6, 4, 2}, []int{6, 4, 2}
	if g.Wide() {
		g.heights, g.wide = []int{16}, []int{8}
	}
	g.forward()
	g.begin()
	g.query()
	g.end()
	g.Write(*dir, "chunk")
}
