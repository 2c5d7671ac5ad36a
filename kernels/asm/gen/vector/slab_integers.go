package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// integers writes a pass over int8 with integer weights, four tables at a time: total brings the i-th sums to 32 bits, with all registers but the
// sums and what set fills free. Where registers hold sums of half a row, a token's rows are read twice, half of each at a time.
func (g *generator) integers(name, doc string, sums, others []reg.VecPhysical, free reg.VecPhysical, set func(), total func(i int), rows func(s *slabPass)) {
	var scale reg.GPVirtual
	g.slab(name, doc, slabBytes, slabQuant, tile.SlabBytes, func(s *slabPass) {
		scale = g.Quad(s.field(slabScale))
		s.parts = 64 / (4 * g.Lanes)
		set()
	}, func(*slabPass) {
		for _, r := range sums {
			g.Zero(r)
		}
		for _, r := range others {
			g.Zero(r)
		}
	}, func(s *slabPass) {
		g.VBROADCASTSS(operand.Mem{Base: scale}, free)
		if s.part+1 == s.parts {
			g.ADDQ(operand.U8(4), scale)
		}
		for i, sum := range sums {
			total(i)
			g.VCVTDQ2PS(sum, sum)
			g.VFMADD213PS(operand.Mem{Base: s.from, Disp: 4 * (16*i + g.Lanes*s.part)}, free, sum)
		}
		g.storeSums(s, sums, 16, g.Lanes*s.part)
	}, func(s *slabPass, _ int) { rows(s) }, []int{4}, func(int) uint64 { return 8 })
}

// byteRow is the row at place i of four, or the half at hand.
func (g *generator) byteRow(s *slabPass, i int) operand.Mem {
	return operand.Mem{Base: s.table, Index: g.rowAt(s, i, 4), Scale: 1, Disp: 4 * g.Lanes * s.part}
}

// slabIntegers brings bytes of four tables side by side by unpacking and multiplies them by VPDPBUSD: of AVX512_VNNI, or of AVX-VNNI.
func (g *generator) slabIntegers(bits int) {
	name, by, dot := "slabBytes", "", func(b, a, sum reg.VecPhysical) { g.VPDPBUSD(b, a, sum) }
	if !g.Wide() {
		name, by, dot = "slabDots", " with AVX-VNNI", func(b, a, sum reg.VecPhysical) { emit.VPDPBUSDVEX(g.Context, b, a, sum) }
	}
	high, low := g.Vec[0:4], g.Vec[4:8]
	if bits == 8 {
		low = nil
	}
	a, b, c, d, e, f := g.Vec[8], g.Vec[9], g.Vec[10], g.Vec[11], g.Vec[12], g.Vec[13]
	wide, narrow := g.Vec[14], g.Vec[15]
	doc := fmt.Sprintf("passes over a slab of int8 with weights of %d bits as tile.Slab says%s.", bits, by)
	g.integers(fmt.Sprint(name, bits), doc, high, low, wide, func() {}, func(i int) {
		if bits == 16 {
			g.VPSLLD(operand.U8(8), high[i], high[i])
			g.VPADDD(low[i], high[i], high[i])
		}
	}, func(s *slabPass) {
		for i, r := range []reg.VecPhysical{a, b, c, d} {
			g.VMOVUPS(g.byteRow(s, i), r)
		}
		g.VPBROADCASTD(operand.Mem{Base: s.weight}, wide)
		if bits == 16 {
			g.VPBROADCASTD(operand.Mem{Base: s.weight, Disp: 4}, narrow)
		}
		g.VPUNPCKLBW(b, a, e)
		g.VPUNPCKHBW(b, a, a)
		g.VPUNPCKLBW(d, c, f)
		g.VPUNPCKHBW(d, c, c)
		g.VPUNPCKLWD(f, e, b)
		g.VPUNPCKHWD(f, e, e)
		g.VPUNPCKLWD(c, a, d)
		g.VPUNPCKHWD(c, a, a)
		for i, x := range []reg.VecPhysical{b, e, d, a} {
			dot(x, wide, high[i])
			if bits == 16 {
				dot(x, narrow, low[i])
			}
		}
	})
}

// slabWords is for CPUs without VPDPBUSD. VPMADDUBSW would saturate, so unpacked bytes become words, of the first and third table and of the second
// and fourth, which VPMADDWD multiplies with weights as words: exact, and to the same sums as slabIntegers. A weight of 16 bits is one from -2^15 to
// 2^15-1 with 2^15 added, so the words are summed too, at most 32 of a column in a word.
func (g *generator) slabWords(bits int) {
	sums, plain := g.Vec[0:4], g.Vec[4:8]
	if bits == 8 {
		plain = nil
	}
	a, b, c, d, e := g.Vec[8], g.Vec[9], g.Vec[10], g.Vec[11], g.Vec[12]
	seconds, firsts, ones := g.Vec[13], g.Vec[14], g.Vec[15]

	name := fmt.Sprint("slabBytes", bits)
	// Where the bytes of a table's weight are among those that Quant has for four tables, for both tables of a word's place in turn.
	word := func(i int) uint32 {
		if bits == 8 {
			return 0x8000 | uint32(i)
		}
		return uint32(i)<<8 | uint32(4+i)
	}
	weights := func(first int) operand.Mem {
		return g.repeated(fmt.Sprint(name, "Weights", first), word(first)|word(first+2)<<16)
	}
	firstWeights, secondWeights := weights(0), weights(1)
	var half operand.Mem
	if bits == 16 {
		half = g.repeated("slabHalfWeight", 0x80008000)
	}

	doc := fmt.Sprintf("passes over a slab of int8 with weights of %d bits as tile.Slab says.", bits)
	g.integers(name, doc, sums, plain, a, func() { g.broadcastBits(0x00010001, ones) }, func(i int) {
		if bits == 16 {
			g.VPMADDWD(half, plain[i], plain[i]) // times -2^15
			g.VPSUBD(plain[i], sums[i], sums[i])
		}
	}, func(s *slabPass) {
		if bits == 16 {
			g.VPBROADCASTQ(operand.Mem{Base: s.weight}, seconds)
		} else {
			g.VPBROADCASTD(operand.Mem{Base: s.weight}, seconds)
		}
		g.VPSHUFB(firstWeights, seconds, firsts)
		g.VPSHUFB(secondWeights, seconds, seconds)
		if bits == 16 {
			g.VPXOR(half, firsts, firsts)
			g.VPXOR(half, seconds, seconds)
		}
		pair := func(i int, low, high reg.VecPhysical) { // of tables i and i+1
			g.VMOVDQU(g.byteRow(s, i), high)
			next := g.byteRow(s, i+1)
			g.VPUNPCKLBW(next, high, low)
			g.VPUNPCKHBW(next, high, high)
		}
		pair(0, b, a)
		pair(2, d, c)
		g.VPUNPCKLWD(d, b, e)
		g.VPUNPCKHWD(d, b, b)
		g.VPUNPCKLWD(c, a, d)
		g.VPUNPCKHWD(c, a, a)
		for i, x := range []reg.VecPhysical{e, b, d, a} {
			g.VPMADDUBSW(x, ones, c) // the lower byte of a word, and none of the upper one
			g.VPSRAW(operand.U8(8), x, x)
			if bits == 16 {
				g.VPADDW(c, plain[i], plain[i])
				g.VPADDW(x, plain[i], plain[i])
			}
			g.VPMADDWD(firsts, c, c)
			g.VPMADDWD(seconds, x, x)
			g.VPADDD(c, sums[i], sums[i])
			g.VPADDD(x, sums[i], sums[i])
		}
	})
}
