package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// dots takes row by row, four vectors at a time, and adds up each row's sums at its end.
func (g *generator) dots() {
	p := g.TileFunction("dots", "Dots", "takes dot products of rows as tile.Dots says.")
	field := func(offset uintptr) operand.Mem { return operand.Mem{Base: p, Disp: int(offset)} }
	var z tile.Dots
	sums, x, mask := g.Vec[0:4], g.Vec[4:8], g.Vec[15]
	m, n := g.Quad(field(unsafe.Offsetof(z.M))), g.Quad(field(unsafe.Offsetof(z.N)))
	g.TESTQ(m, m)
	g.JLE(emit.Ref("done"))
	first, second, dst := g.Quad(field(unsafe.Offsetof(z.X))), g.Quad(field(unsafe.Offsetof(z.Y))), g.Quad(field(unsafe.Offsetof(z.Dst)))
	ldx, ldy := g.Bytes(field(unsafe.Offsetof(z.LDX))), g.Bytes(field(unsafe.Offsetof(z.LDY)))
	rest := g.GP64()
	g.MOVQ(n, rest)
	g.ANDQ(operand.U8(g.Lanes-1), rest)
	tail := g.NewTail(g.masks, rest, mask)
	g.Label("row")
	for _, s := range sums {
		g.Zero(s)
	}
	a, b, left := g.GP64(), g.GP64(), g.GP64()
	g.MOVQ(first, a)
	g.MOVQ(second, b)
	g.MOVQ(n, left)
	for _, count := range []int{4, 1} {
		loop, end := g.NewLabel("vectors"), g.NewLabel("end")
		g.SUBQ(operand.U8(count*g.Lanes), left)
		g.JL(emit.Ref(end))
		g.Label(loop)
		for i := range count {
			g.VMOVUPS(operand.Mem{Base: a, Disp: 4 * g.Lanes * i}, x[i])
			g.VFMADD231PS(operand.Mem{Base: b, Disp: 4 * g.Lanes * i}, x[i], sums[i])
		}
		g.ADDQ(operand.I32(4*count*g.Lanes), a)
		g.ADDQ(operand.I32(4*count*g.Lanes), b)
		g.SUBQ(operand.U8(count*g.Lanes), left)
		g.JGE(emit.Ref(loop))
		g.Label(end)
		g.ADDQ(operand.U8(count*g.Lanes), left)
	}
	g.TESTQ(left, left)
	g.JZ(emit.Ref("sum"))
	tail.Load(operand.Mem{Base: a}, x[0])
	tail.Load(operand.Mem{Base: b}, x[1])
	g.VFMADD231PS(x[1], x[0], sums[1])
	g.Label("sum")
	g.VADDPS(sums[1], sums[0], sums[0])
	g.VADDPS(sums[3], sums[2], sums[2])
	g.VADDPS(sums[2], sums[0], sums[0])
	if g.Wide() {
		g.VEXTRACTF64X4(operand.U8(1), sums[0], x[0].AsY())
		g.VADDPS(x[0].AsY(), sums[0].AsY(), sums[0].AsY())
	}
	g.VEXTRACTF128(operand.U8(1), sums[0].AsY(), x[0].AsX())
	g.VADDPS(x[0].AsX(), sums[0].AsX(), sums[0].AsX())
	g.VMOVHLPS(sums[0].AsX(), sums[0].AsX(), x[0].AsX())
	g.VADDPS(x[0].AsX(), sums[0].AsX(), sums[0].AsX())
	g.VMOVSHDUP(sums[0].AsX(), x[0].AsX())
	g.VADDSS(x[0].AsX(), sums[0].AsX(), sums[0].AsX())
	g.VMOVSS(sums[0].AsX(), operand.Mem{Base: dst})
	g.ADDQ(operand.U8(4), dst)
	g.ADDQ(ldx, first)
	g.ADDQ(ldy, second)
	g.DECQ(m)
	g.JNZ(emit.Ref("row"))
	g.Label("done")
	g.Done()
}
