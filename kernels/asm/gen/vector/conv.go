package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	convSrc    = int(unsafe.Offsetof(tile.Conv{}.Src))
	convDst    = int(unsafe.Offsetof(tile.Conv{}.Dst))
	convWeight = int(unsafe.Offsetof(tile.Conv{}.Weight))
	convBias   = int(unsafe.Offsetof(tile.Conv{}.Bias))
	convLDS    = int(unsafe.Offsetof(tile.Conv{}.LDS))
	convLDD    = int(unsafe.Offsetof(tile.Conv{}.LDD))
	convM      = int(unsafe.Offsetof(tile.Conv{}.M))
	convN      = int(unsafe.Offsetof(tile.Conv{}.N))
	convK      = int(unsafe.Offsetof(tile.Conv{}.K))
	convSiLU   = int(unsafe.Offsetof(tile.Conv{}.SiLU))
	convStream = int(unsafe.Offsetof(tile.Conv{}.Stream))
)

// conv takes four vectors of a row at a time, tap by tap: they are loaded from one element further on for each tap, and the weight is
// broadcast. Memory, not these loads, bounds it.
func (g *generator) conv() {
	g.TileFunction("conv", "Conv", "is the causal convolution of tile.Conv.")
	args := func() reg.GPVirtual {
		p := g.GP64()
		g.Load(g.Param("p"), p)
		return p
	}
	field := func(offset int) operand.Mem { return operand.Mem{Base: args(), Disp: offset} }
	acc, x, n, y, power := g.Vec[0:4], g.Vec[4], g.Vec[5], g.Vec[6], g.Vec[7]
	one, most, least, weight, bias, mask := g.Vec[8], g.Vec[9], g.Vec[10], g.Vec[11], g.Vec[12], g.Vec[15]
	rows, streams := g.AllocLocal(8), g.AllocLocal(8)

	m, width := g.Quad(field(convM)), g.Quad(field(convN))
	g.MOVQ(m, rows)
	g.TESTQ(m, m)
	g.JLE(emit.Ref("done"))
	g.TESTQ(width, width)
	g.JLE(emit.Ref("done"))
	g.broadcast(1, one)
	table := g.GP64()
	g.LEAQ(g.expConstants(), table)
	constant := []operand.Op{most, least}
	for i := 2; i < 5+len(expPolynomial); i++ {
		constant = append(constant, operand.Mem{Base: table, Disp: 4 * g.Lanes * i})
	}
	g.VMOVUPS(operand.Mem{Base: table}, most)
	g.VMOVUPS(operand.Mem{Base: table, Disp: 4 * g.Lanes}, least)
	src, dst, weights, biases := g.Quad(field(convSrc)), g.Quad(field(convDst)), g.Quad(field(convWeight)), g.Quad(field(convBias))

	g.Label("row")
	g.Zero(bias)
	g.TESTQ(biases, biases)
	g.JZ(emit.Ref("unbiased"))
	g.VBROADCASTSS(operand.Mem{Base: biases}, bias)
	g.ADDQ(operand.U8(4), biases)
	g.Label("unbiased")
	stream := g.GP64()
	g.XORQ(stream, stream)
	g.CMPB(field(convStream), operand.U8(0))
	g.JEQ(emit.Ref("plain"))
	g.TESTQ(operand.U32(63), dst)
	g.JNZ(emit.Ref("plain"))
	g.INCQ(stream)
	g.Label("plain")
	g.MOVQ(stream, streams)
	from, to, left := g.GP64(), g.GP64(), g.GP64()
	g.MOVQ(src, from)
	g.MOVQ(dst, to)
	g.MOVQ(g.Quad(field(convN)), left)

	// vectors computes some vectors of outputs.
	vectors := func(acc []reg.VecPhysical, t emit.Tail) {
		tap, at, w, ends := g.GP64(), g.GP64(), g.GP64(), g.NewLabel("taps")
		for _, a := range acc {
			g.VMOVUPS(bias, a)
		}
		g.MOVQ(g.Quad(field(convK)), tap)
		g.MOVQ(from, at)
		g.MOVQ(weights, w)
		g.Label(ends)
		g.VBROADCASTSS(operand.Mem{Base: w}, weight)
		for i, a := range acc {
			t.MulAdd(operand.Mem{Base: at, Disp: 4 * g.Lanes * i}, weight, a, x)
		}
		g.ADDQ(operand.U8(4), at)
		g.ADDQ(operand.U8(4), w)
		g.DECQ(tap)
		g.JNZ(emit.Ref(ends))
		write, plain, end := g.NewLabel("write"), g.NewLabel("store"), g.NewLabel("stored")
		g.CMPB(field(convSiLU), operand.U8(0))
		g.JEQ(emit.Ref(write))
		for _, a := range acc {
			g.Zero(x)
			g.VSUBPS(a, x, x)
			g.expVector(x, n, y, power, one, constant)
			g.VADDPS(one, y, y)
			g.VDIVPS(y, a, a)
		}
		g.Label(write)
		if t.Mask() == nil {
			g.CMPQ(streams, operand.U8(0))
			g.JEQ(emit.Ref(plain))
			for i, a := range acc {
				g.VMOVNTPS(a, operand.Mem{Base: to, Disp: 4 * g.Lanes * i})
			}
			g.JMP(emit.Ref(end))
			g.Label(plain)
		}
		for i, a := range acc {
			t.Store(a, operand.Mem{Base: to, Disp: 4 * g.Lanes * i})
		}
		g.Label(end)
	}
	for _, count := range []int{4, 1} {
		loop, end := g.NewLabel("loop"), g.NewLabel("end")
		g.SUBQ(operand.U8(count*g.Lanes), left)
		g.JL(emit.Ref(end))
		g.Label(loop)
		vectors(acc[:count], g.Full())
		g.ADDQ(operand.I32(4*count*g.Lanes), from)
		g.ADDQ(operand.I32(4*count*g.Lanes), to)
		g.SUBQ(operand.U8(count*g.Lanes), left)
		g.JGE(emit.Ref(loop))
		g.Label(end)
		g.ADDQ(operand.U8(count*g.Lanes), left)
	}
	g.TESTQ(left, left)
	g.JZ(emit.Ref("next"))
	vectors(acc[:1], g.NewTail(g.masks, left, mask))
	g.Label("next")
	k := g.Bytes(field(convK))
	g.ADDQ(k, weights)
	g.ADDQ(g.Bytes(field(convLDS)), src)
	g.ADDQ(g.Bytes(field(convLDD)), dst)
	g.DECQ(rows)
	g.JNZ(emit.Ref("row"))
	g.SFENCE()
	g.Label("done")
	g.Done()
}
