package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// trail takes one vector of columns at a time from the last row to the first, its sums in two vectors of float64.
func (g *generator) trail() {
	p := g.TileFunction("trail", "Trail", "adds up rows from the last to the first as tile.Trail says.")
	var z tile.Trail
	field := func(offset uintptr) operand.Mem { return operand.Mem{Base: p, Disp: int(offset)} }
	low, high, term, x, part, mask := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3], g.Vec[4], g.Vec[15]
	at, left, stream := g.AllocLocal(8), g.AllocLocal(8), g.AllocLocal(8)
	m, n := g.Quad(field(unsafe.Offsetof(z.M))), g.Quad(field(unsafe.Offsetof(z.N)))
	for _, size := range []reg.GPVirtual{m, n} {
		g.TESTQ(size, size)
		g.JLE(emit.Ref("done"))
	}
	g.MOVQ(n, left)
	// Streaming needs rows at aligned places.
	ask, none := g.GP64(), g.Quad(field(unsafe.Offsetof(z.Dst)))
	ldd := g.Bytes(field(unsafe.Offsetof(z.LDD)))
	g.ORQ(ldd, none)
	g.MOVBQZX(field(unsafe.Offsetof(z.Stream)), ask)
	g.TESTQ(operand.U32(uint32(4*g.Lanes-1)), none)
	g.MOVQ(operand.U32(0), none)
	g.CMOVQNE(none, ask)
	g.MOVQ(ask, stream)
	g.MOVQ(none, at)

	vector := func(t emit.Tail) {
		start := func(array, ld uintptr) (row, stride reg.GPVirtual) { // the last row
			row, stride = g.Quad(field(array)), g.Bytes(field(ld))
			last := g.Quad(field(unsafe.Offsetof(z.M)))
			g.DECQ(last)
			g.IMULQ(stride, last)
			g.ADDQ(last, row)
			g.ADDQ(at, row)
			return row, stride
		}
		xs, ldx := start(unsafe.Offsetof(z.X), unsafe.Offsetof(z.LDX))
		dxs, lddx := start(unsafe.Offsetof(z.DX), unsafe.Offsetof(z.LDDX))
		ys, _ := start(unsafe.Offsetof(z.Y), unsafe.Offsetof(z.LDY))
		dys, _ := start(unsafe.Offsetof(z.DY), unsafe.Offsetof(z.LDDY))
		dst, _ := start(unsafe.Offsetof(z.Dst), unsafe.Offsetof(z.LDD))
		sums, i := g.Quad(field(unsafe.Offsetof(z.Sum))), g.Quad(field(unsafe.Offsetof(z.M)))
		g.ADDQ(at, sums)
		g.ADDQ(at, sums)
		second := operand.Mem{Base: sums, Disp: 4 * g.Lanes}
		g.VMOVUPS(operand.Mem{Base: sums}, low)
		g.VMOVUPS(second, high)

		row, more, summed := g.NewLabel("row"), g.NewLabel("heads"), g.NewLabel("summed")
		g.Label(row)
		t.Load(operand.Mem{Base: ys}, term)
		t.Load(operand.Mem{Base: dys}, x)
		g.VMULPS(x, term, term)
		t.Load(operand.Mem{Base: xs}, x)
		t.Load(operand.Mem{Base: dxs}, part)
		g.VFMSUB231PS(x, part, term)
		heads := g.Quad(field(unsafe.Offsetof(z.Heads)))
		head, other := g.GP64(), g.GP64()
		g.MOVQ(xs, head)
		g.MOVQ(dxs, other)
		g.Label(more)
		g.DECQ(heads)
		g.JLE(emit.Ref(summed))
		g.ADDQ(g.Bytes(field(unsafe.Offsetof(z.HeadX))), head)
		g.ADDQ(g.Bytes(field(unsafe.Offsetof(z.HeadDX))), other)
		t.Load(operand.Mem{Base: head}, x)
		t.Load(operand.Mem{Base: other}, part)
		g.VFMADD231PS(x, part, term)
		g.JMP(emit.Ref(more))
		g.Label(summed)
		if g.Wide() {
			g.VCVTPS2PD(term.AsY(), x)
			g.VEXTRACTF64X4(operand.U8(1), term, term.AsY())
			g.VCVTPS2PD(term.AsY(), part)
		} else {
			g.VCVTPS2PD(term.AsX(), x)
			g.VEXTRACTF128(operand.U8(1), term, term.AsX())
			g.VCVTPS2PD(term.AsX(), part)
		}
		g.VADDPD(x, low, low)
		g.VADDPD(part, high, high)
		if g.Wide() {
			g.VCVTPD2PS(low, x.AsY())
			g.VCVTPD2PS(high, part.AsY())
			g.VINSERTF64X4(operand.U8(1), part.AsY(), x, x)
		} else {
			g.VCVTPD2PSY(low, x.AsX())
			g.VCVTPD2PSY(high, part.AsX())
			g.VINSERTF128(operand.U8(1), part.AsX(), x, x)
		}
		to := operand.Mem{Base: dst}
		stored := g.NewLabel("stored")
		if t.Mask() == nil {
			plain := g.NewLabel("plain")
			g.CMPQ(stream, operand.U8(0))
			g.JEQ(emit.Ref(plain))
			g.VMOVNTPS(x, to)
			g.JMP(emit.Ref(stored))
			g.Label(plain)
		}
		t.Store(x, to)
		g.Label(stored)
		g.SUBQ(ldx, xs)
		g.SUBQ(lddx, dxs)
		g.SUBQ(g.Bytes(field(unsafe.Offsetof(z.LDY))), ys)
		g.SUBQ(g.Bytes(field(unsafe.Offsetof(z.LDDY))), dys)
		g.SUBQ(g.Bytes(field(unsafe.Offsetof(z.LDD))), dst)
		g.DECQ(i)
		g.JNZ(emit.Ref(row))
		g.VMOVUPS(low, operand.Mem{Base: sums})
		g.VMOVUPS(high, second)
	}
	g.Label("vectors")
	g.CMPQ(left, operand.U8(g.Lanes))
	g.JL(emit.Ref("ragged"))
	vector(g.Full())
	g.ADDQ(operand.U8(4*g.Lanes), at)
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JMP(emit.Ref("vectors"))
	g.Label("ragged")
	rest := g.Quad(left)
	g.TESTQ(rest, rest)
	g.JLE(emit.Ref("done"))
	vector(g.NewTail(g.masks, rest, mask))
	g.Label("done")
	g.SFENCE()
	g.Done()
}
