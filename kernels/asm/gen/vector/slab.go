package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	slabFloats  = int(unsafe.Offsetof(tile.Slab{}.Floats))
	slabHalves  = int(unsafe.Offsetof(tile.Slab{}.Halves))
	slabBytes   = int(unsafe.Offsetof(tile.Slab{}.Bytes))
	slabOffset  = int(unsafe.Offsetof(tile.Slab{}.Offset))
	slabWeight  = int(unsafe.Offsetof(tile.Slab{}.Weight))
	slabQuant   = int(unsafe.Offsetof(tile.Slab{}.Quant))
	slabScale   = int(unsafe.Offsetof(tile.Slab{}.Scale))
	slabY       = int(unsafe.Offsetof(tile.Slab{}.Y))
	slabInit    = int(unsafe.Offsetof(tile.Slab{}.Init))
	slabInitLen = slabInit + 8
	slabOut     = int(unsafe.Offsetof(tile.Slab{}.Out))
	slabOutLen  = slabOut + 8
	slabLDO     = int(unsafe.Offsetof(tile.Slab{}.LDO))
	slabNext    = int(unsafe.Offsetof(tile.Slab{}.Next))
	slabNextLen = slabNext + 8
	slabT       = int(unsafe.Offsetof(tile.Slab{}.T))
	slabG       = int(unsafe.Offsetof(tile.Slab{}.G))
	slabPace    = int(unsafe.Offsetof(tile.Slab{}.Pace))
	slabFar     = int(unsafe.Offsetof(tile.Slab{}.Far))
)

// A slabPass is the registers of a pass over a slab, whatever its elements.
type slabPass struct {
	table, offset, weight reg.GPVirtual
	left                  reg.GPVirtual // tables of this token
	row                   []reg.GPVirtual
	y, from               reg.GPVirtual // where sums are stored, and where they begin
	tokens                reg.GPVirtual // that are left
	parts, part           int           // of a row's columns that a token takes one after the other, and the one at hand
	field                 func(offset int) operand.Mem
}

// slab writes a pass over a slab whose rows have so many columns: load and store are for a token's sums, rows for n tables, whose
// offsets it must read.
func (g *generator) slab(name, doc string, elements, weights, width int, set func(*slabPass), load, store func(*slabPass), rows func(s *slabPass, n int), blocks []int, weightBytes func(n int) uint64) {
	p := g.TileFunction(name, "Slab", doc)
	s := &slabPass{parts: 1, field: func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }}
	t := g.Quad(s.field(slabT))
	g.TESTQ(t, t)
	g.JLE(emit.Ref("done"))
	s.tokens = t
	s.table, s.offset, s.weight, s.y = g.Quad(s.field(elements)), g.Quad(s.field(slabOffset)), g.Quad(s.field(weights)), g.Quad(s.field(slabY))
	s.left = g.GP64()
	set(s)
	// Sums begin at Init, which stays, or at Y, which goes on.
	s.from = g.Quad(s.field(slabInit))
	begin := func() {
		g.CMPQ(s.field(slabInitLen), operand.U8(0))
		g.CMOVQEQ(s.y, s.from)
	}
	begin()
	// Lines to prefetch: of four streams, each a quarter of Next.
	next, quarter, due, lines := g.Quad(s.field(slabNext)), g.Quad(s.field(slabNextLen)), g.GP64(), g.GP64()
	g.SHRQ(operand.U8(2), quarter)
	g.MOVQ(quarter, lines)
	g.SHRQ(operand.U8(6), lines)
	g.XORQ(due, due)

	g.Label("token")
	g.ADDQ(s.field(slabPace), due)
	g.Label("fetch")
	g.CMPQ(due, operand.U32(256))
	g.JL(emit.Ref("fetched"))
	g.SUBQ(operand.U32(256), due)
	g.TESTQ(lines, lines)
	g.JZ(emit.Ref("fetched"))
	g.DECQ(lines)
	last := s.left // free here
	g.LEAQ(operand.Mem{Base: next, Index: quarter, Scale: 2}, last)
	g.CMPB(s.field(slabFar), operand.U8(0))
	g.JNE(emit.Ref("far"))
	for _, far := range []bool{false, true} {
		fetch := g.PREFETCHT0
		if far {
			fetch = g.PREFETCHT1
			g.Label("far")
		}
		for _, from := range []reg.Register{next, last} {
			fetch(operand.Mem{Base: from})
			fetch(operand.Mem{Base: from, Index: quarter, Scale: 1})
		}
		g.ADDQ(operand.U8(64), next)
		g.JMP(emit.Ref("fetch"))
	}
	g.Label("fetched")

	for s.part = range s.parts {
		if s.part > 0 { // the same rows once more
			g.MOVQ(s.field(slabG), s.left)
			g.SHLQ(operand.U8(2), s.left)
			g.SUBQ(s.left, s.offset)
			g.SHRQ(operand.U8(1), s.left) // integer weights
			g.SUBQ(s.left, s.weight)
		}
		load(s)
		g.MOVQ(s.field(slabG), s.left)
		for _, n := range blocks {
			loop, over := g.NewLabel("rows"), g.NewLabel("over")
			g.Label(loop)
			g.SUBQ(operand.U8(n), s.left)
			g.JL(emit.Ref(over))
			rows(s, n)
			g.ADDQ(operand.U8(4*n), s.offset)
			g.ADDQ(operand.U8(weightBytes(n)), s.weight)
			g.JMP(emit.Ref(loop))
			g.Label(over)
			g.ADDQ(operand.U8(n), s.left)
		}
		store(s)
	}
	g.ADDQ(operand.U32(4*width), s.y)
	begin()
	g.DECQ(t)
	g.JNZ(emit.Ref("token"))
	g.SFENCE()
	g.Label("done")
	g.Done()
}

// sumsOf loads and stores a token's sums in as many registers as they take.
func (g *generator) sumsOf(sums []reg.VecPhysical) (load, store func(*slabPass)) {
	at := func(base reg.Register, i int) operand.Mem { return operand.Mem{Base: base, Disp: 4 * g.Lanes * i} }
	load = func(s *slabPass) {
		for i, r := range sums {
			g.VMOVUPS(at(s.from, i), r)
		}
	}
	store = func(s *slabPass) {
		g.storeSums(s, sums, g.Lanes, 0)
	}
	return load, store
}

// storeSums stores a token's sums, which stand so many columns apart from a column on: in Y, or past the caches in its row of Out.
func (g *generator) storeSums(s *slabPass, sums []reg.VecPhysical, apart, first int) {
	far, stored := g.NewLabel("out"), g.NewLabel("stored")
	g.CMPQ(s.field(slabOutLen), operand.U8(0))
	g.JNE(emit.Ref(far))
	for i, r := range sums {
		g.VMOVUPS(r, operand.Mem{Base: s.y, Disp: 4 * (apart*i + first)})
	}
	g.JMP(emit.Ref(stored))
	g.Label(far)
	row := g.Quad(s.field(slabT))
	g.SUBQ(s.tokens, row)
	g.IMULQ(s.field(slabLDO), row)
	g.SHLQ(operand.U8(2), row)
	g.ADDQ(s.field(slabOut), row)
	for i, r := range sums {
		g.VMOVNTPS(r, operand.Mem{Base: row, Disp: 4 * (apart*i + first)})
	}
	g.Label(stored)
}

// rowAt is where the row at place i of n begins. Rows are asked for in order, since one load takes two places: loads bound a pass.
func (g *generator) rowAt(s *slabPass, i, n int) reg.GPVirtual {
	if len(s.row) < 2 {
		s.row = []reg.GPVirtual{g.GP64(), g.GP64()}
	}
	place := operand.Mem{Base: s.offset, Disp: 4 * i}
	switch {
	case n == 1:
		g.MOVL(place, s.row[0].As32())
	case i%2 == 0:
		g.MOVQ(place, s.row[1])
		g.MOVL(s.row[1].As32(), s.row[0].As32())
		g.SHRQ(operand.U8(32), s.row[1])
	}
	return s.row[i%2]
}

func (g *generator) slabs() {
	perRow := func(n int) uint64 { return uint64(4 * n) }
	none := func(*slabPass) {}
	weight := func(s *slabPass, i int, to reg.VecPhysical) {
		g.VBROADCASTSS(operand.Mem{Base: s.weight, Disp: 4 * i}, to)
	}
	blocks := []int{4, 2, 1}

	sums := g.Vec[0 : tile.SlabFloats/g.Lanes]
	w, x, high := g.Vec[8], g.Vec[9], g.Vec[10]
	// Rows are added to two sets of sums in turn, since a sum waits for the one before it.
	others := g.Vec[12 : 12+len(sums)]
	if !g.Wide() {
		others = g.Vec[4:8]
	}
	begin, end := g.sumsOf(sums)
	load := func(s *slabPass) {
		begin(s)
		for _, r := range others {
			g.Zero(r)
		}
	}
	store := func(s *slabPass) {
		for v, r := range others {
			g.VADDPS(r, sums[v], sums[v])
		}
		end(s)
	}
	set := func(i int) []reg.VecPhysical { return [][]reg.VecPhysical{sums, others}[i%2] }
	g.slab("slabFloats", "passes over a slab of float32 as tile.Slab says.", slabFloats, slabWeight, tile.SlabFloats, none, load, store, func(s *slabPass, n int) {
		for i := range n {
			row := g.rowAt(s, i, n)
			weight(s, i, w)
			for v, sum := range set(i) {
				g.VFMADD231PS(operand.Mem{Base: s.table, Index: row, Scale: 1, Disp: 4 * g.Lanes * v}, w, sum)
			}
		}
	}, blocks, perRow)

	mask := g.Vec[11]
	words := tile.SlabHalves / 2 / g.Lanes
	g.slab("slabHalves", "passes over a slab of bfloat16 as tile.Slab says.", slabHalves, slabWeight, tile.SlabHalves, func(*slabPass) { g.broadcastBits(0xffff0000, mask) }, load, store, func(s *slabPass, n int) {
		for i := range n {
			row := g.rowAt(s, i, n)
			weight(s, i, w)
			for v := range words {
				from := operand.Mem{Base: s.table, Index: row, Scale: 1, Disp: 4 * g.Lanes * v}
				g.VMOVUPS(from, x)
				if g.Wide() {
					g.VPANDD(x, mask, high)
				} else {
					g.VPAND(x, mask, high)
				}
				g.VPSLLD(operand.U8(16), x, x)
				g.VFMADD231PS(x, w, set(i)[v])
				g.VFMADD231PS(high, w, set(i)[words+v])
			}
		}
	}, blocks, perRow)

	byteSums := g.Vec[0 : tile.SlabBytes/g.Lanes]
	byteLoad, byteStore := g.sumsOf(byteSums)
	g.slab("slabBytes", "passes over a slab of int8 with weights of float32 as tile.Slab says.", slabBytes, slabWeight, tile.SlabBytes, none, byteLoad, byteStore, func(s *slabPass, n int) {
		for i := range n {
			row := g.rowAt(s, i, n)
			weight(s, i, w)
			for v, sum := range byteSums {
				g.widenBytes(operand.Mem{Base: s.table, Index: row, Scale: 1, Disp: g.Lanes * v}, x)
				g.VFMADD231PS(x, w, sum)
			}
		}
	}, blocks, perRow)
	for _, bits := range []int{16, 8} {
		g.slabIntegers(bits)
		if !g.Wide() {
			g.slabWords(bits)
		}
	}
}
