package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Widen and Narrow have the same fields but for the types of Src and Dst.
const (
	halfSrc      = int(unsafe.Offsetof(tile.Widen{}.Src))
	halfDst      = int(unsafe.Offsetof(tile.Widen{}.Dst))
	halfLDS      = int(unsafe.Offsetof(tile.Widen{}.LDS))
	halfLDD      = int(unsafe.Offsetof(tile.Widen{}.LDD))
	halfM        = int(unsafe.Offsetof(tile.Widen{}.M))
	halfN        = int(unsafe.Offsetof(tile.Widen{}.N))
	halfBFloat16 = int(unsafe.Offsetof(tile.Widen{}.BFloat16))
)

// half is the loop of a copy between types of srcBytes and dstBytes, vector by vector; with AVX2 what is left of a row goes number by
// number.
func (g *generator) half(name, argument, doc string, srcBytes, dstBytes int, setUp func(), vector, single func(bfloat bool, from, to operand.Mem, masked bool)) {
	p := g.TileFunction(name, argument, doc)
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	m, n := g.Quad(field(halfM)), g.Quad(field(halfN))
	g.TESTQ(m, m)
	g.JLE(emit.Ref("done"))
	g.TESTQ(n, n)
	g.JLE(emit.Ref("done"))
	src, dst := g.Quad(field(halfSrc)), g.Quad(field(halfDst))
	lds, ldd := g.Quad(field(halfLDS)), g.Quad(field(halfLDD))
	shift := map[int]uint64{2: 1, 4: 2}
	g.SHLQ(operand.U8(shift[srcBytes]), lds)
	g.SHLQ(operand.U8(shift[dstBytes]), ldd)
	setUp()
	if g.Wide() {
		rest := g.GP64()
		g.MOVQ(n, rest)
		g.ANDQ(operand.U8(g.Lanes-1), rest)
		g.NewTail(g.masks, rest, nil)
	}
	g.CMPB(field(halfBFloat16), operand.U8(0))
	g.JEQ(emit.Ref("float16"))
	for _, bfloat := range []bool{true, false} {
		if !bfloat {
			g.Label("float16")
		}
		row, loop, ragged, rest, next := g.NewLabel("row"), g.NewLabel("loop"), g.NewLabel("ragged"), g.NewLabel("rest"), g.NewLabel("next")
		from, to, left := g.GP64(), g.GP64(), g.GP64()
		g.Label(row)
		g.MOVQ(src, from)
		g.MOVQ(dst, to)
		g.MOVQ(n, left)
		g.SUBQ(operand.U8(g.Lanes), left)
		g.JL(emit.Ref(ragged))
		g.Label(loop)
		vector(bfloat, operand.Mem{Base: from}, operand.Mem{Base: to}, false)
		g.ADDQ(operand.U8(srcBytes*g.Lanes), from)
		g.ADDQ(operand.U8(dstBytes*g.Lanes), to)
		g.SUBQ(operand.U8(g.Lanes), left)
		g.JGE(emit.Ref(loop))
		g.Label(ragged)
		g.ADDQ(operand.U8(g.Lanes), left)
		g.JZ(emit.Ref(next))
		if g.Wide() {
			vector(bfloat, operand.Mem{Base: from}, operand.Mem{Base: to}, true)
		} else {
			g.Label(rest)
			single(bfloat, operand.Mem{Base: from}, operand.Mem{Base: to}, false)
			g.ADDQ(operand.U8(srcBytes), from)
			g.ADDQ(operand.U8(dstBytes), to)
			g.DECQ(left)
			g.JNZ(emit.Ref(rest))
		}
		g.Label(next)
		g.ADDQ(lds, src)
		g.ADDQ(ldd, dst)
		g.DECQ(m)
		g.JNZ(emit.Ref(row))
		g.JMP(emit.Ref("done"))
	}
	g.Label("done")
	g.Done()
}

func (g *generator) widen() {
	x := g.Vec[0]
	g.half("widen", "Widen", "copies 16-bit numbers to float32 as tile.Widen says.", 2, 4, func() {}, func(bfloat bool, from, to operand.Mem, masked bool) {
		switch {
		case bfloat && masked:
			g.VPMOVZXWD_Z(from, reg.K1, x)
		case bfloat:
			g.VPMOVZXWD(from, x)
		case masked:
			g.VCVTPH2PS_Z(from, reg.K1, x)
		default:
			g.VCVTPH2PS(from, x)
		}
		if bfloat {
			g.VPSLLD(operand.U8(16), x, x)
		}
		if masked {
			g.VMOVUPS(x, reg.K1, to)
		} else {
			g.VMOVUPS(x, to)
		}
	}, func(bfloat bool, from, to operand.Mem, _ bool) {
		bits := g.GP32()
		g.MOVWLZX(from, bits)
		if bfloat {
			g.SHLL(operand.U8(16), bits)
			g.MOVL(bits, to)
			return
		}
		g.VMOVD(bits, x.AsX())
		g.VCVTPH2PS(x.AsX(), x.AsX())
		g.VMOVSS(x.AsX(), to)
	})
}

// narrow rounds to bfloat16 by adding to the bits, on any CPU alike; VCVTPS2PH rounds to float16, denormals included.
func (g *generator) narrow() {
	x, y, z, bias, one, quiet := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3], g.Vec[4], g.Vec[5]
	// round leaves the upper halves of x in the lower ones of y.
	round := func(as func(reg.VecPhysical) reg.VecPhysical) {
		x, y, z, bias, one, quiet := as(x), as(y), as(z), as(bias), as(one), as(quiet)
		g.VPSRLD(operand.U8(16), x, y)
		if g.Wide() {
			g.VPANDD(one, y, z)
		} else {
			g.VPAND(one, y, z)
		}
		g.VPADDD(bias, z, z)
		g.VPADDD(x, z, z)
		g.VPSRLD(operand.U8(16), z, z)
		if g.Wide() {
			g.VCMPPS(operand.U8(unordered), x, x, reg.K2)
			g.VPORD(quiet, y, y)
			g.VPBLENDMD(y, z, reg.K2, y)
			return
		}
		g.VPOR(quiet, y, y)
		g.VCMPPS(operand.U8(unordered), x, x, x)
		g.VBLENDVPS(x, y, z, y)
	}
	self := func(r reg.VecPhysical) reg.VecPhysical { return r }
	g.half("narrow", "Narrow", "rounds float32 to 16-bit numbers as tile.Narrow says.", 4, 2, func() {
		g.broadcastBits(0x7fff, bias)
		g.broadcastBits(1, one)
		g.broadcastBits(1<<6, quiet)
	}, func(bfloat bool, from, to operand.Mem, masked bool) {
		if masked {
			g.VMOVUPS_Z(from, reg.K1, x)
		} else {
			g.VMOVUPS(from, x)
		}
		if bfloat {
			round(self)
		}
		switch {
		case bfloat && masked:
			g.VPMOVDW(y, reg.K1, to)
		case bfloat && g.Wide():
			g.VPMOVDW(y, to)
		case bfloat:
			g.VPACKUSDW(y, y, y)
			g.VPERMQ(operand.U8(0x08), y, y)
			g.VMOVUPS(y.AsX(), to)
		case masked:
			g.VCVTPS2PH(operand.U8(0), x, reg.K1, to)
		default:
			g.VCVTPS2PH(operand.U8(0), x, to)
		}
	}, func(bfloat bool, from, to operand.Mem, _ bool) {
		g.VMOVSS(from, x.AsX())
		out := y
		if bfloat {
			round(func(r reg.VecPhysical) reg.VecPhysical { return r.AsX().(reg.VecPhysical) })
		} else {
			g.VCVTPS2PH(operand.U8(0), x.AsX(), x.AsX())
			out = x
		}
		bits := g.GP32()
		g.VMOVD(out.AsX(), bits)
		g.MOVW(bits.As16(), to)
	})
}
