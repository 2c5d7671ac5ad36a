package main

import (
	"math"
	"slices"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// broadcast fills a vector register with a number.
func (g *generator) broadcast(x float32, r reg.VecPhysical) {
	g.broadcastBits(math.Float32bits(x), r)
}

// broadcastBits fills a vector register with a 32-bit pattern.
func (g *generator) broadcastBits(bits uint32, r reg.VecPhysical) {
	t := g.GP32()
	g.MOVL(operand.U32(bits), t)
	if g.Wide() {
		g.VPBROADCASTD(t, r)
		return
	}
	g.VMOVD(t, r.AsX())
	g.VPBROADCASTD(r.AsX(), r)
}

// table writes words of read-only data.
func (g *generator) table(name string, words []uint32) operand.Mem {
	m := g.StaticGlobal(name)
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, w := range words {
		g.AppendDatum(operand.U32(w))
	}
	return m
}

// vectors writes read-only vectors, each filled with one number.
func (g *generator) vectors(name string, values []float32) operand.Mem {
	var words []uint32
	for _, v := range values {
		for range g.Lanes {
			words = append(words, math.Float32bits(v))
		}
	}
	return g.table(name, words)
}

// repeated writes a read-only vector filled with a word.
func (g *generator) repeated(name string, word uint32) operand.Mem {
	return g.table(name, slices.Repeat([]uint32{word}, g.Lanes))
}
