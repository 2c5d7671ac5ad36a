package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// blend goes row by row, two vectors at a time.
func (g *generator) blend() {
	p := g.TileFunction("blend", "Blend", "adds blocks as tile.Blend says.")
	field := func(offset uintptr) operand.Mem { return operand.Mem{Base: p, Disp: int(offset)} }
	var z tile.Blend
	a, b, mask := g.Vec[0], g.Vec[1], g.Vec[15]
	m, n := g.Quad(field(unsafe.Offsetof(z.M))), g.Quad(field(unsafe.Offsetof(z.N)))
	for _, size := range []reg.GPVirtual{m, n} {
		g.TESTQ(size, size)
		g.JLE(emit.Ref("done"))
	}
	src, dst := g.Quad(field(unsafe.Offsetof(z.Src))), g.Quad(field(unsafe.Offsetof(z.Dst)))
	lds, ldd := g.Bytes(field(unsafe.Offsetof(z.LDS))), g.Bytes(field(unsafe.Offsetof(z.LDD)))
	rowA, rowB := g.Quad(field(unsafe.Offsetof(z.A))), g.Quad(field(unsafe.Offsetof(z.B)))
	rest := g.GP64()
	g.MOVQ(n, rest)
	g.ANDQ(operand.U8(g.Lanes-1), rest)
	tail := g.NewTail(g.masks, rest, mask)
	g.broadcast(1, a)
	g.broadcast(1, b)

	g.Label("row")
	for _, f := range []struct {
		row   reg.GPVirtual
		value reg.VecPhysical
	}{{rowA, a}, {rowB, b}} {
		given := g.NewLabel("given")
		g.TESTQ(f.row, f.row)
		g.JZ(emit.Ref(given))
		g.VBROADCASTSS(operand.Mem{Base: f.row}, f.value)
		g.ADDQ(operand.U8(4), f.row)
		g.Label(given)
	}
	from, to, left := g.GP64(), g.GP64(), g.GP64()
	g.MOVQ(src, from)
	g.MOVQ(dst, to)
	g.MOVQ(n, left)
	step := func(count int, t emit.Tail) {
		x, y := g.Vec[2:4], g.Vec[4:6]
		for i := range count {
			t.Load(operand.Mem{Base: to, Disp: 4 * g.Lanes * i}, y[i])
			t.Load(operand.Mem{Base: from, Disp: 4 * g.Lanes * i}, x[i])
			g.VMULPS(y[i], a, y[i])
			g.VFMADD231PS(x[i], b, y[i])
			t.Store(y[i], operand.Mem{Base: to, Disp: 4 * g.Lanes * i})
		}
	}
	for _, count := range []int{2, 1} {
		loop, end := g.NewLabel("vectors"), g.NewLabel("end")
		g.SUBQ(operand.U8(count*g.Lanes), left)
		g.JL(emit.Ref(end))
		g.Label(loop)
		step(count, g.Full())
		g.ADDQ(operand.I32(4*count*g.Lanes), from)
		g.ADDQ(operand.I32(4*count*g.Lanes), to)
		g.SUBQ(operand.U8(count*g.Lanes), left)
		g.JGE(emit.Ref(loop))
		g.Label(end)
		g.ADDQ(operand.U8(count*g.Lanes), left)
	}
	g.TESTQ(left, left)
	g.JZ(emit.Ref("next"))
	step(1, tail)
	g.Label("next")
	g.ADDQ(lds, src)
	g.ADDQ(ldd, dst)
	g.DECQ(m)
	g.JNZ(emit.Ref("row"))
	g.Label("done")
	g.Done()
}
