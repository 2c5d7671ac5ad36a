package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	octetsX    = int(unsafe.Offsetof(tile.Octets{}.X))
	octetsCode = int(unsafe.Offsetof(tile.Octets{}.Code))
	octetsP    = int(unsafe.Offsetof(tile.Octets{}.P))
	octetsNorm = int(unsafe.Offsetof(tile.Octets{}.Norm))
	octetsN    = int(unsafe.Offsetof(tile.Octets{}.N))
)

// octets takes as many octets at a time as a vector has lanes: of each vector the signs, in reverse so that the first is the
// most significant bit, and 1+exp(-2|x|); then a tree of shuffles and products turns eight vectors of factors into one
// of their products. Only whole groups are done.
func (g *generator) octets() {
	table := g.expConstants()
	var reversed []uint32
	for i := range g.Lanes {
		reversed = append(reversed, uint32(i^7))
	}
	reverse := g.table("octetsReverse", reversed)
	var order operand.Mem
	if g.Wide() {
		order = g.table("octetsOrder", []uint32{0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15})
	}
	p := g.TileFunction("octets", "Octets", "takes codes, products and sums of octets as tile.Octets says, of as many as whole vectors of results hold.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	x, n, y, power, most, least, one, sign, index := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3], g.Vec[4], g.Vec[5], g.Vec[6], g.Vec[7], g.Vec[8]
	acc, other := g.Vec[9:13], g.Vec[13]

	count := g.Quad(field(octetsN))
	src, codes, products, norms := g.Quad(field(octetsX)), g.Quad(field(octetsCode)), g.Quad(field(octetsP)), g.Quad(field(octetsNorm))
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JL(emit.Ref("done"))
	address := g.GP64()
	g.LEAQ(table, address)
	constant := make([]operand.Op, 5+len(expPolynomial))
	for i := range constant {
		constant[i] = operand.Mem{Base: address, Disp: 4 * g.Lanes * i}
		if g.Wide() && i >= 2 {
			r := g.Vec[16+i]
			g.VMOVUPS(constant[i], r)
			constant[i] = r
		}
	}
	g.VMOVUPS(operand.Mem{Base: address}, most)
	g.VMOVUPS(operand.Mem{Base: address, Disp: 4 * g.Lanes}, least)
	constant[0], constant[1] = most, least
	g.broadcast(1, one)
	g.broadcastBits(1<<31, sign)
	where := g.GP64()
	g.LEAQ(reverse, where)
	g.VMOVUPS(operand.Mem{Base: where}, index)
	if g.Wide() {
		g.LEAQ(order, where)
		g.VMOVUPS(operand.Mem{Base: where}, g.Vec[14])
		g.Zero(g.Vec[15])
	}

	// tree combines eight leaves, leaf by leaf so that few registers are live, into the first of acc.
	tree := func(leaf func(i int, to reg.VecPhysical), combine func(a, b, to reg.VecPhysical)) {
		shuffled := func(a, b reg.VecPhysical) {
			g.VSHUFPS(operand.U8(0x88), b, a, other)
			g.VSHUFPS(operand.U8(0xdd), b, a, a)
			combine(other, a, a)
		}
		quarter := func(first int, a []reg.VecPhysical) {
			leaf(first, a[0])
			leaf(first+1, a[1])
			shuffled(a[0], a[1])
			leaf(first+2, a[1])
			leaf(first+3, a[2])
			shuffled(a[1], a[2])
			shuffled(a[0], a[1])
		}
		quarter(0, acc)
		quarter(4, acc[1:])
		if g.Wide() {
			g.VSHUFF32X4(operand.U8(0x88), acc[1], acc[0], other)
			g.VSHUFF32X4(operand.U8(0xdd), acc[1], acc[0], acc[0])
			combine(other, acc[0], acc[0])
			g.VPERMPS(acc[0], g.Vec[14], acc[0])
			return
		}
		g.VPERM2F128(operand.U8(0x20), acc[1], acc[0], other)
		g.VPERM2F128(operand.U8(0x31), acc[1], acc[0], acc[0])
		combine(other, acc[0], acc[0])
	}
	vector := func(i int) operand.Mem { return operand.Mem{Base: src, Disp: 4 * g.Lanes * i} }
	bits := g.GP64()
	gathered := []reg.GPVirtual{g.GP64(), g.GP64()} // the codes of the 16 octets of AVX-512

	g.Label("group")
	tree(func(i int, to reg.VecPhysical) {
		g.VPERMPS(vector(i), index, x)
		if g.Wide() {
			g.VCMPPS(operand.U8(greaterEqual), g.Vec[15], x, reg.K1)
			g.KMOVW(reg.K1, bits.As32())
			if half := gathered[i/4]; i%4 == 0 {
				g.MOVQ(bits, half)
			} else {
				g.SHLQ(operand.U8(16*(i%4)), bits)
				g.ORQ(bits, half)
			}
		} else {
			g.VXORPS(y, y, y)
			g.VCMPPS(operand.U8(greaterEqual), y, x, y)
			g.VMOVMSKPS(y, bits.As32())
			g.MOVL(bits.As32(), operand.Mem{Base: codes, Disp: 4 * i})
		}
		g.VORPS(sign, x, x)
		g.VADDPS(x, x, x)
		g.expVector(x, n, y, power, one, constant)
		g.VADDPS(one, y, to)
	}, func(a, b, to reg.VecPhysical) { g.VMULPS(a, b, to) })
	g.VDIVPS(acc[0], one, acc[0])
	g.VMOVUPS(acc[0], operand.Mem{Base: products})
	if g.Wide() {
		g.VMOVQ(gathered[0], x.AsX())
		g.VPINSRQ(operand.U8(1), gathered[1], x.AsX(), x.AsX())
		g.VPMOVZXBD(x.AsX(), x)
		g.VMOVUPS(x, operand.Mem{Base: codes})
	}
	skip := g.NewLabel("nonorm")
	g.CMPQ(field(octetsNorm+8), operand.U8(0))
	g.JE(emit.Ref(skip))
	tree(func(i int, to reg.VecPhysical) {
		g.VMOVUPS(vector(i), to)
		g.VANDNPS(to, sign, to)
	}, func(a, b, to reg.VecPhysical) { g.VADDPS(a, b, to) })
	g.VMOVUPS(acc[0], operand.Mem{Base: norms})
	g.ADDQ(operand.U8(4*g.Lanes), norms)
	g.Label(skip)
	g.ADDQ(operand.U32(32*g.Lanes), src)
	g.ADDQ(operand.U8(4*g.Lanes), codes)
	g.ADDQ(operand.U8(4*g.Lanes), products)
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JGE(emit.Ref("group"))
	g.Label("done")
	g.Done()
}
