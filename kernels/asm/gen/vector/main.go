// Program vector writes the assembly of pack, turn, decay, exp and gather, with its
// Go declarations, for one instruction set. Run in kernels/asm/gen:
//
//	go run ./vector -isa avx512
package main

import (
	"flag"
	"log"

	"github.com/mmcloughlin/avo/operand"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// A generator writes the file of one instruction set.
type generator struct {
	*emit.File
	masks operand.Mem // what tails are set from
	lane  operand.Mem // a vector of 0, 1, 2, ...

	expTable operand.Mem
}

func main() {
	log.SetFlags(0)
	isa := flag.String("isa", "", "instruction set: avx2 or avx512")
	dir := flag.String("dir", "..", "folder to write into")
	flag.Parse()

	f := emit.New("vector", "asm", *isa)
	g := &generator{File: f, masks: f.MaskTable()}
	lanes := make([]uint32, f.Lanes)
	for i := range lanes {
		lanes[i] = uint32(i)
	}
	g.lane = g.table("lane", lanes)
	g.pack()
	g.decay()
	g.exp()
	g.fold()
	g.elementwise()
	g.blend()
	g.trail()
	g.widen()
	g.narrow()
	g.conv()
	g.gather()
	g.octets()
	g.gathersNarrow()
	g.slabs()
	if f.Wide() {
		g.pairPack()
		g.pairTurn()
	}
	g.turn()
	g.dots()
	f.Write(*dir, "vector")
}
