package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	expSrc    = int(unsafe.Offsetof(tile.Exp{}.Src))
	expDst    = int(unsafe.Offsetof(tile.Exp{}.Dst))
	expStride = int(unsafe.Offsetof(tile.Exp{}.Stride))
	expN      = int(unsafe.Offsetof(tile.Exp{}.N))
	expScale  = int(unsafe.Offsetof(tile.Exp{}.Scale))
	expAbs    = int(unsafe.Offsetof(tile.Exp{}.Abs))
)

// The polynomial (exp(r) - 1 - r)/r² for |r| <= ln2/2, highest power first:
// the coefficients of expf in Stephen Moshier's Cephes library. Two more steps
// of Horner's scheme with 1 complete exp(r).
var expPolynomial = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// The constants kept in registers while a block is done. ln2 is split so that
// n times its upper part is exact: 9 bits of 355/512.
const (
	log2e    = 1.44269504088896341
	ln2Upper = 0.693359375
	ln2Lower = -2.12194440e-4
	expMost  = 89   // above, the result is +Inf
	expLeast = -105 // below, the result is 0
)

// expConstants gives the constants of expVector, in its order: the first two are for registers.
func (g *generator) expConstants() operand.Mem {
	if g.expTable.Base == nil && g.expTable.Symbol.Name == "" {
		g.expTable = g.vectors("expConstants", append([]float32{expMost, expLeast, log2e, -ln2Upper, -ln2Lower}, expPolynomial...))
	}
	return g.expTable
}

// expVector takes the exponentials of x, which it changes, into y. The first two constants must be in registers.
func (g *generator) expVector(x, n, y, power, one reg.VecPhysical, constant []operand.Op) {
	most, least := constant[0].(reg.VecPhysical), constant[1].(reg.VecPhysical)
	g.VMINPS(x, most, x)
	g.VMAXPS(x, least, x)
	g.VMULPS(constant[2], x, n)
	if g.Wide() {
		g.VRNDSCALEPS(operand.U8(0), n, n)
	} else {
		g.VROUNDPS(operand.U8(0), n, n)
	}
	g.VFMADD231PS(constant[3], n, x)
	g.VFMADD231PS(constant[4], n, x)
	g.VMOVUPS(constant[5], y)
	for _, c := range append(constant[6:len(constant):len(constant)], one, one) {
		g.VFMADD213PS(c, x, y)
	}
	if g.Wide() {
		g.VSCALEFPS(n, y, y)
		return
	}
	// 2ⁿ as two factors, so that neither leaves the range of exponents.
	g.VCVTPS2DQ(n, n)
	g.VPSRAD(operand.U8(1), n, power)
	g.VPSUBD(power, n, n)
	for _, half := range []reg.VecPhysical{n, power} {
		g.VPSLLD(operand.U8(23), half, half)
		g.VPADDD(one, half, half) // the bits of 1 hold the exponent's bias
		g.VMULPS(half, y, y)
	}
}

// exp does a vector at a time: n = round(x/ln2), r = x - n ln2 by two fused
// multiply-adds, a polynomial in r, times 2ⁿ. The clamp keeps n small; it
// hands NaN on, as VMINPS and VMAXPS return their last operand for NaN.
func (g *generator) exp() {
	table := g.expConstants()
	p := g.TileFunction("exp", "Exp", "takes exponentials as tile.Exp says: Dst[i] = exp(Scale Src[i Stride]),", "Scale Src being rounded first.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	x, n, y, power := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3]
	scale, sign, index, mask := g.Vec[4], g.Vec[5], g.Vec[6], g.Vec[7]
	one := g.Vec[8]
	free := g.Vec[9:]

	count := g.Quad(field(expN))
	g.TESTQ(count, count)
	g.JLE(emit.Ref("done"))
	src, dst := g.Quad(field(expSrc)), g.Quad(field(expDst))

	// Constants stand in registers where there are enough of them.
	address := g.GP64()
	g.LEAQ(table, address)
	constant := make([]operand.Op, 5+len(expPolynomial))
	for i := range constant {
		m := operand.Mem{Base: address, Disp: 4 * g.Lanes * i}
		constant[i] = m
		if i < len(free) {
			g.VMOVUPS(m, free[i])
			constant[i] = free[i]
		}
	}
	g.broadcast(1, one)
	g.VBROADCASTSS(field(expScale), scale)
	g.broadcastBits(0x7fffffff, sign)
	g.CMPB(field(expAbs), operand.U8(0))
	g.JNE(emit.Ref("signs"))
	g.broadcastBits(0xffffffff, sign)
	g.Label("signs")

	// block takes the exponentials of x into y.
	block := func() {
		g.VANDPS(sign, x, x)
		g.VMULPS(x, scale, x)
		g.expVector(x, n, y, power, one, constant)
	}

	step := g.Quad(field(expStride))
	g.CMPQ(step, operand.U8(1))
	g.JNE(emit.Ref("strided"))
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JL(emit.Ref("ragged"))
	g.Label("whole")
	g.VMOVUPS(operand.Mem{Base: src}, x)
	block()
	g.VMOVUPS(y, operand.Mem{Base: dst})
	g.ADDQ(operand.U8(4*g.Lanes), src)
	g.ADDQ(operand.U8(4*g.Lanes), dst)
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JGE(emit.Ref("whole"))
	g.Label("ragged")
	g.ADDQ(operand.U8(g.Lanes), count)
	g.JZ(emit.Ref("done"))
	t := g.NewTail(g.masks, count, mask)
	t.Load(operand.Mem{Base: src}, x)
	block()
	t.Store(y, operand.Mem{Base: dst})
	g.JMP(emit.Ref("done"))

	// A strided vector is gathered by its lanes' distances from the first.
	g.Label("strided")
	lane := g.GP64()
	g.LEAQ(g.lane, lane)
	g.VMOVD(step.As32(), index.AsX())
	g.VPBROADCASTD(index.AsX(), index)
	g.VPMULLD(operand.Mem{Base: lane}, index, index)
	g.IMUL3Q(operand.U8(4*g.Lanes), step, step)
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JL(emit.Ref("raggedstrided"))
	g.Label("wholestrided")
	if g.Wide() {
		g.KXNORW(reg.K2, reg.K2, reg.K2)
		g.VGATHERDPS(operand.Mem{Base: src, Index: index, Scale: 4}, reg.K2, x)
	} else {
		g.VPCMPEQD(mask, mask, mask)
		g.VGATHERDPS(mask, operand.Mem{Base: src, Index: index, Scale: 4}, x)
	}
	block()
	g.VMOVUPS(y, operand.Mem{Base: dst})
	g.ADDQ(step, src)
	g.ADDQ(operand.U8(4*g.Lanes), dst)
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JGE(emit.Ref("wholestrided"))
	g.Label("raggedstrided")
	g.ADDQ(operand.U8(g.Lanes), count)
	g.JZ(emit.Ref("done"))
	t = g.NewTail(g.masks, count, mask)
	g.Zero(x)
	if g.Wide() {
		g.KMOVW(t.Mask(), reg.K2)
		g.VGATHERDPS(operand.Mem{Base: src, Index: index, Scale: 4}, reg.K2, x)
	} else {
		g.VMOVAPS(mask, y)
		g.VGATHERDPS(y, operand.Mem{Base: src, Index: index, Scale: 4}, x)
	}
	block()
	t.Store(y, operand.Mem{Base: dst})
	g.Label("done")
	g.Done()
}
