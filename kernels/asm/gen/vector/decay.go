package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	decayG   = int(unsafe.Offsetof(tile.Decay{}.G))
	decayC   = int(unsafe.Offsetof(tile.Decay{}.C))
	decayD   = int(unsafe.Offsetof(tile.Decay{}.D))
	decayLDD = int(unsafe.Offsetof(tile.Decay{}.LDD))
	decayN   = int(unsafe.Offsetof(tile.Decay{}.N))
)

// decay walks down the matrix one vector of columns at a time and keeps the row
// above in a register: zeros down to the diagonal, then the rows in
// which the diagonal crosses the vector, then plain products.
func (g *generator) decay() {
	p := g.TileFunction("decay", "Decay", "fills a decay matrix as tile.Decay says: D[i,j] = D[i-1,j] G[i] below a diagonal of ones.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	product, above, one, zero := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3]
	lanes, diagonal, step, below, on, factor, mask := g.Vec[4], g.Vec[5], g.Vec[6], g.Vec[7], g.Vec[8], g.Vec[9], g.Vec[15]

	n := g.Quad(field(decayN))
	g.TESTQ(n, n)
	g.JLE(emit.Ref("done"))
	factors, ld := g.Quad(field(decayG)), g.Bytes(field(decayLDD))

	g.broadcast(1, one)
	cumulative, i := g.Quad(field(decayC)), g.GP64()
	g.XORQ(i, i)
	g.VMOVAPS(one, product)
	g.Label("cumulative")
	g.VMULSS(operand.Mem{Base: factors, Index: i, Scale: 4}, product.AsX(), product.AsX())
	g.VMOVSS(product.AsX(), operand.Mem{Base: cumulative, Index: i, Scale: 4})
	g.INCQ(i)
	g.CMPQ(i, n)
	g.JL(emit.Ref("cumulative"))

	g.Zero(zero)
	address := g.GP64()
	g.LEAQ(g.lane, address)
	g.VMOVUPS(operand.Mem{Base: address}, lanes)
	g.broadcastBits(1, step)
	column, first := g.GP64(), g.Quad(field(decayD)) // of the vector, and its place in row 0
	g.XORQ(column, column)

	// panel writes one vector of columns down all rows.
	panel := func(width reg.GPVirtual, t emit.Tail) {
		at := g.GP64()
		row := g.GP64()
		g.MOVQ(first, at)
		g.XORQ(row, row)
		zeros, crossing, products, end := g.NewLabel("zeros"), g.NewLabel("crossing"), g.NewLabel("products"), g.NewLabel("end")
		g.TESTQ(column, column)
		g.JZ(emit.Ref(crossing + "start"))
		g.Label(zeros)
		t.Store(zero, operand.Mem{Base: at})
		g.ADDQ(ld, at)
		g.INCQ(row)
		g.CMPQ(row, column)
		g.JL(emit.Ref(zeros))

		g.Label(crossing + "start")
		g.Zero(above)
		g.Zero(diagonal)
		last := g.GP64()
		g.LEAQ(operand.Mem{Base: column, Index: width, Scale: 1}, last)
		g.Label(crossing)
		g.VBROADCASTSS(operand.Mem{Base: factors, Index: row, Scale: 4}, factor)
		if g.Wide() {
			g.VPCMPGTD(lanes, diagonal, reg.K2)
			g.VPCMPEQD(lanes, diagonal, reg.K3)
			g.VMULPS_Z(factor, above, reg.K2, above)
			g.VMOVAPS(one, reg.K3, above)
		} else {
			g.VPCMPGTD(lanes, diagonal, below)
			g.VPCMPEQD(lanes, diagonal, on)
			g.VMULPS(factor, above, above)
			g.VANDPS(below, above, above)
			g.VBLENDVPS(on, one, above, above)
		}
		t.Store(above, operand.Mem{Base: at})
		g.VPADDD(step, diagonal, diagonal)
		g.ADDQ(ld, at)
		g.INCQ(row)
		g.CMPQ(row, last)
		g.JL(emit.Ref(crossing))

		g.CMPQ(row, n)
		g.JGE(emit.Ref(end))
		g.Label(products)
		g.VBROADCASTSS(operand.Mem{Base: factors, Index: row, Scale: 4}, factor)
		g.VMULPS(factor, above, above)
		t.Store(above, operand.Mem{Base: at})
		g.ADDQ(ld, at)
		g.INCQ(row)
		g.CMPQ(row, n)
		g.JL(emit.Ref(products))
		g.Label(end)
	}

	width := g.GP64()
	g.MOVQ(operand.I32(g.Lanes), width)
	left := g.GP64()
	g.MOVQ(n, left)
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JL(emit.Ref("ragged"))
	g.Label("whole")
	panel(width, g.Full())
	g.ADDQ(operand.U8(4*g.Lanes), first)
	g.ADDQ(operand.U8(g.Lanes), column)
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JGE(emit.Ref("whole"))
	g.Label("ragged")
	g.ADDQ(operand.U8(g.Lanes), left)
	g.JZ(emit.Ref("done"))
	panel(left, g.NewTail(g.masks, left, mask))
	g.Label("done")
	g.Done()
}
