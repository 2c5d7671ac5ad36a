package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// pairPack rounds two vectors at a time. Bfloat16 that are not finite are found by the largest of all magnitudes, which needs no branch.
func (g *generator) pairPack() {
	interleave := make([]uint32, 16)
	for i := range interleave {
		interleave[i] = uint32(i) | uint32(16+i)<<16
	}
	indices := g.table("interleave", interleave)
	p := g.TileFunction("pairPack", "PairPack", "rounds a block to pairs of bfloat16 as tile.PairPack says.")
	field := func(offset uintptr) operand.Mem { return operand.Mem{Base: p, Disp: int(offset)} }
	var z tile.PairPack
	x, y, w, out := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3]
	sx, sy, largest, magnitude, order := g.Vec[4], g.Vec[5], g.Vec[6], g.Vec[7], g.Vec[8]
	g.Zero(largest)
	m, n := g.Quad(field(unsafe.Offsetof(z.M))), g.Quad(field(unsafe.Offsetof(z.N)))
	g.TESTQ(m, m)
	g.JLE(emit.Ref("done"))
	g.TESTQ(n, n)
	g.JLE(emit.Ref("done"))
	g.broadcastBits(0x7fff7fff, magnitude)
	g.VMOVUPS(indices, order)
	src, dst := g.Quad(field(unsafe.Offsetof(z.Src))), g.Quad(field(unsafe.Offsetof(z.Dst)))
	lds, ldd := g.Bytes(field(unsafe.Offsetof(z.LDS))), g.Bytes(field(unsafe.Offsetof(z.LDD)))
	row, mask := g.Quad(field(unsafe.Offsetof(z.Row))), g.Quad(field(unsafe.Offsetof(z.Mask)))
	g.broadcastBits(0x3f800000, sx) // ones, where there is no Row
	g.broadcastBits(0x3f800000, sy)
	note := func() {
		g.VPANDD(magnitude, out, w)
		g.VPMAXUW(w, largest, largest)
	}
	masks := g.GP64()
	g.LEAQ(g.masks, masks)
	// tail sets an opmask to some leading lanes, n being from 0 to 16 and lost.
	tail := func(n reg.GPVirtual, k reg.Register) {
		one, full := g.GP64(), g.NewLabel("lanes")
		g.CMPQ(n, operand.U8(16))
		g.MOVQ(operand.U32(0xffff), one)
		g.JGE(emit.Ref(full))
		g.MOVWQZX(operand.Mem{Base: masks, Index: n, Scale: 2}, one)
		g.Label(full)
		g.KMOVW(one.As32(), k)
	}
	g.CMPB(field(unsafe.Offsetof(z.Across)), operand.U8(0))
	g.JEQ(emit.Ref("along"))

	rest := g.GP64()
	g.MOVQ(n, rest)
	g.ANDQ(operand.U8(15), rest)
	tail(rest, reg.K1)
	for _, odd := range []bool{false, true} {
		pair, next := g.NewLabel("pair"), g.NewLabel("odd")
		g.Label(pair)
		if odd {
			g.TESTQ(m, m)
			g.JLE(emit.Ref("done"))
			g.Zero(y)
		} else {
			g.CMPQ(m, operand.U8(2))
			g.JLT(emit.Ref(next))
		}
		plain := g.NewLabel("unscaled")
		g.TESTQ(row, row)
		g.JEQ(emit.Ref(plain))
		g.VBROADCASTSS(operand.Mem{Base: row}, sx)
		if !odd {
			g.VBROADCASTSS(operand.Mem{Base: row, Disp: 4}, sy)
			g.ADDQ(operand.U8(8), row)
		}
		g.Label(plain)
		from, second, to, left := g.GP64(), g.GP64(), g.GP64(), g.GP64()
		g.MOVQ(src, from)
		g.LEAQ(operand.Mem{Base: src, Index: lds, Scale: 1}, second)
		g.MOVQ(dst, to)
		g.MOVQ(n, left)
		ragged, loop, ended := g.NewLabel("ragged"), g.NewLabel("loop"), g.NewLabel("ended")
		one := func(t emit.Tail) {
			t.Load(operand.Mem{Base: from}, x)
			g.VMULPS(sx, x, x)
			if !odd {
				t.Load(operand.Mem{Base: second}, y)
				g.VMULPS(sy, y, y)
			}
			emit.VCVTNE2PS2BF16(g.Context, x, y, out)
			note()
			g.VPERMW(out, order, out)
			t.Store(out, operand.Mem{Base: to})
		}
		g.SUBQ(operand.U8(16), left)
		g.JL(emit.Ref(ragged))
		g.Label(loop)
		one(g.Full())
		g.ADDQ(operand.U8(64), from)
		g.ADDQ(operand.U8(64), second)
		g.ADDQ(operand.U8(64), to)
		g.SUBQ(operand.U8(16), left)
		g.JGE(emit.Ref(loop))
		g.Label(ragged)
		g.ADDQ(operand.U8(16), left)
		g.JEQ(emit.Ref(ended))
		one(g.MaskTail(reg.K1))
		g.Label(ended)
		if odd {
			g.JMP(emit.Ref("done"))
			continue
		}
		g.LEAQ(operand.Mem{Base: src, Index: lds, Scale: 2}, src)
		g.ADDQ(ldd, dst)
		g.SUBQ(operand.U8(2), m)
		g.JMP(emit.Ref(pair))
		g.Label(next)
	}

	// Along rows: the columns left over are the lanes of K1 and K2 as they are read and of K3 as they are written.
	g.Label("along")
	g.MOVQ(n, rest)
	g.ANDQ(operand.U8(31), rest)
	count := g.GP64()
	g.MOVQ(rest, count)
	tail(count, reg.K1)
	g.MOVQ(rest, count)
	g.SUBQ(operand.U8(16), count)
	positive := g.NewLabel("second")
	g.JGE(emit.Ref(positive))
	g.XORQ(count, count)
	g.Label(positive)
	tail(count, reg.K2)
	g.LEAQ(operand.Mem{Base: rest, Disp: 1}, count)
	g.SHRQ(operand.U8(1), count)
	tail(count, reg.K3)
	ldm := g.Bytes(field(unsafe.Offsetof(z.LDM)))
	for _, masked := range []bool{true, false} {
		again, loop, ragged, ended := g.NewLabel("row"), g.NewLabel("loop"), g.NewLabel("ragged"), g.NewLabel("ended")
		other := g.NewLabel("unmasked")
		if masked {
			g.TESTQ(mask, mask)
			g.JEQ(emit.Ref(other))
		}
		g.Label(again)
		plain := g.NewLabel("unscaled")
		g.TESTQ(row, row)
		g.JEQ(emit.Ref(plain))
		g.VBROADCASTSS(operand.Mem{Base: row}, sx)
		g.ADDQ(operand.U8(4), row)
		g.Label(plain)
		from, factors, to, left := g.GP64(), g.GP64(), g.GP64(), g.GP64()
		g.MOVQ(src, from)
		g.MOVQ(mask, factors)
		g.MOVQ(dst, to)
		g.MOVQ(n, left)
		both := func(first, second, write emit.Tail) {
			first.Load(operand.Mem{Base: from}, x)
			second.Load(operand.Mem{Base: from, Disp: 64}, y)
			g.VMULPS(sx, x, x)
			g.VMULPS(sx, y, y)
			if masked {
				first.Load(operand.Mem{Base: factors}, w)
				g.VMULPS(w, x, x)
				second.Load(operand.Mem{Base: factors, Disp: 64}, w)
				g.VMULPS(w, y, y)
			}
			emit.VCVTNE2PS2BF16(g.Context, x, y, out)
			note()
			write.Store(out, operand.Mem{Base: to})
		}
		g.SUBQ(operand.U8(32), left)
		g.JL(emit.Ref(ragged))
		g.Label(loop)
		both(g.Full(), g.Full(), g.Full())
		g.ADDQ(operand.U8(128), from)
		if masked {
			g.ADDQ(operand.U8(128), factors)
		}
		g.ADDQ(operand.U8(64), to)
		g.SUBQ(operand.U8(32), left)
		g.JGE(emit.Ref(loop))
		g.Label(ragged)
		g.ADDQ(operand.U8(32), left)
		g.JEQ(emit.Ref(ended))
		both(g.MaskTail(reg.K1), g.MaskTail(reg.K2), g.MaskTail(reg.K3))
		g.Label(ended)
		g.ADDQ(lds, src)
		g.ADDQ(ldd, dst)
		if masked {
			g.ADDQ(ldm, mask)
		}
		g.DECQ(m)
		g.JNZ(emit.Ref(again))
		g.JMP(emit.Ref("done"))
		if masked {
			g.Label(other)
		}
	}
	g.Label("done")
	g.broadcastBits(0x7f807f80, x)
	const notLess = 5
	g.VPCMPUW(operand.U8(notLess), x, largest, reg.K1)
	g.KORTESTD(reg.K1, reg.K1)
	g.SETNE(field(unsafe.Offsetof(z.NonFinite)))
	g.Done()
}

// pairTurn transposes blocks of 16 x 16.
func (g *generator) pairTurn() {
	p := g.TileFunction("pairTurn", "PairTurn", "transposes a block of pairs as tile.PairTurn says.")
	field := func(offset uintptr) operand.Mem { return operand.Mem{Base: p, Disp: int(offset)} }
	var z tile.PairTurn
	m := g.Quad(field(unsafe.Offsetof(z.M)))
	src, dst := g.Quad(field(unsafe.Offsetof(z.Src))), g.Quad(field(unsafe.Offsetof(z.Dst)))
	lds, ldd := g.Bytes(field(unsafe.Offsetof(z.LDS))), g.Bytes(field(unsafe.Offsetof(z.LDD)))
	g.squares(m, field(unsafe.Offsetof(z.N)), src, dst, lds, ldd, func(_, _ []reg.VecPhysical) {}, func() {})
}
