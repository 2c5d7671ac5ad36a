package main

import (
	"math/bits"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// turn transposes square blocks as wide as a vector.
func (g *generator) turn() {
	p := g.TileFunction("turn", "Turn", "transposes a block as tile.Turn says, of which M and N are multiples of a vector's floats.")
	field := func(offset uintptr) operand.Mem { return operand.Mem{Base: p, Disp: int(offset)} }
	var z tile.Turn
	m, row := g.Quad(field(unsafe.Offsetof(z.M))), g.Quad(field(unsafe.Offsetof(z.Row)))
	src, dst := g.Quad(field(unsafe.Offsetof(z.Src))), g.Quad(field(unsafe.Offsetof(z.Dst)))
	lds, ldd := g.Bytes(field(unsafe.Offsetof(z.LDS))), g.Bytes(field(unsafe.Offsetof(z.LDD)))
	scale := func(r, t []reg.VecPhysical) {
		g.TESTQ(row, row)
		g.JEQ(emit.Ref("plain"))
		for i := range r {
			g.VBROADCASTSS(operand.Mem{Base: row, Disp: 4 * i}, t[i%4])
			g.VMULPS(t[i%4], r[i], r[i])
		}
		g.Label("plain")
	}
	next := func() {
		g.TESTQ(row, row)
		g.JEQ(emit.Ref("rows"))
		g.ADDQ(operand.U8(4*g.Lanes), row)
	}
	g.squares(m, field(unsafe.Offsetof(z.N)), src, dst, lds, ldd, scale, next)
}

// squares walks the whole square blocks, as wide as a vector, of m rows of n 32-bit elements, and writes each transposed. change is what is done to a
// block's rows, r, with t free; next, what follows a row of blocks.
func (g *generator) squares(m reg.GPVirtual, n operand.Mem, src, dst, lds, ldd reg.GPVirtual, change func(r, t []reg.VecPhysical), next func()) {
	lanes := g.Lanes
	r, t := g.Vec[:lanes], g.Vec[lanes:]
	g.Label("rows")
	g.SUBQ(operand.U8(lanes), m)
	g.JL(emit.Ref("done"))
	from, to, left := g.GP64(), g.GP64(), g.GP64()
	g.MOVQ(src, from)
	g.MOVQ(dst, to)
	g.MOVQ(n, left)
	g.Label("block")
	g.SUBQ(operand.U8(lanes), left)
	g.JL(emit.Ref("next"))
	at := g.GP64()
	g.MOVQ(from, at)
	for i := range r {
		g.VMOVUPS(operand.Mem{Base: at}, r[i])
		g.ADDQ(lds, at)
	}
	change(r, t)
	for _, x := range g.Transposed(r, t) {
		g.VMOVUPS(x, operand.Mem{Base: to})
		g.ADDQ(ldd, to)
	}
	g.ADDQ(operand.U8(4*lanes), from)
	g.JMP(emit.Ref("block"))
	g.Label("next")
	rows := g.GP64()
	g.MOVQ(lds, rows)
	g.SHLQ(operand.U8(bits.TrailingZeros(uint(lanes))), rows)
	g.ADDQ(rows, src)
	g.ADDQ(operand.U8(4*lanes), dst)
	next()
	g.JMP(emit.Ref("rows"))
	g.Label("done")
	g.Done()
}
