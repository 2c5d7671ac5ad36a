package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// GatherHalf and GatherBytes have the same fields but for the type of Table.
const (
	narrowTable   = int(unsafe.Offsetof(tile.GatherHalf{}.Table))
	narrowRows    = int(unsafe.Offsetof(tile.GatherHalf{}.Rows))
	narrowRowsLen = narrowRows + 8
	narrowWeight  = int(unsafe.Offsetof(tile.GatherHalf{}.Weight))
	narrowOut     = int(unsafe.Offsetof(tile.GatherHalf{}.Out))
	narrowLD      = int(unsafe.Offsetof(tile.GatherHalf{}.LD))
	narrowN       = int(unsafe.Offsetof(tile.GatherHalf{}.N))
	narrowGroup   = int(unsafe.Offsetof(tile.GatherHalf{}.Group))
	narrowAhead   = int(unsafe.Offsetof(tile.GatherHalf{}.Ahead))
)

// gatherNarrow is gather over rows of elements of so many bytes, each widened to float32 on the way. It does whole vectors; what is left
// of N is for the caller.
func (g *generator) gatherNarrow(name, argument, doc string, size uint8, widen func(from operand.Mem, to reg.VecPhysical)) {
	p := g.TileFunction(name, argument, doc)
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	weights, sums, x := g.Vec[0:8], g.Vec[8:12], g.Vec[12]
	vectors := len(sums) // of a step
	// The rows that are prefetched, whose addresses would take more instructions in every step than there are sums.
	next := g.AllocLocal(8 * 8)

	left, at := g.Quad(field(narrowRowsLen)), g.GP64()
	g.XORQ(at, at)
	out, column, t := g.Quad(field(narrowOut)), g.GP64(), g.GP64()
	row := make([]reg.GPVirtual, 8)
	for i := range row {
		row[i] = g.GP64()
	}
	address := func(at reg.GPVirtual, i int, to reg.GPVirtual) { // of the row i places from at
		g.MOVQ(field(narrowRows), to)
		g.MOVLQSX(operand.Mem{Base: to, Index: at, Scale: 1, Disp: 4 * i}, to)
		g.IMULQ(field(narrowLD), to)
		if size == 2 {
			g.SHLQ(operand.U8(1), to)
		}
		g.ADDQ(field(narrowTable), to)
	}
	g.CMPQ(field(narrowGroup), operand.U8(8))
	g.JNE(emit.Ref("group4"))
	for _, n := range []int{8, 4, 1} {
		start, end := fmt.Sprintf("group%d", n), fmt.Sprintf("end%d", n)
		g.Label(start)
		g.CMPQ(left, operand.U8(n))
		g.JL(emit.Ref(end))
		g.MOVQ(field(narrowWeight), t)
		for i := range n {
			g.VBROADCASTSS(operand.Mem{Base: t, Index: at, Scale: 1, Disp: 4 * i}, weights[i])
		}
		for i := range n {
			address(at, i, row[i])
		}
		g.XORQ(column, column)
		step := func(count int) {
			for v := range count {
				g.VMOVUPS(operand.Mem{Base: out, Index: column, Scale: 4, Disp: 4 * g.Lanes * v}, sums[v])
			}
			for r := range n {
				for v := range count {
					widen(operand.Mem{Base: row[r], Index: column, Scale: size, Disp: int(size) * g.Lanes * v}, x)
					g.VFMADD231PS(x, weights[r], sums[v])
				}
			}
			for v := range count {
				g.VMOVUPS(sums[v], operand.Mem{Base: out, Index: column, Scale: 4, Disp: 4 * g.Lanes * v})
			}
			g.ADDQ(operand.U32(uint32(count*g.Lanes)), column)
		}
		for _, fetching := range []bool{true, false} {
			if n == 1 && fetching {
				continue
			}
			loop, over := g.NewLabel("columns"), g.NewLabel("over")
			if fetching { // as long as the group that far is whole
				g.MOVQ(field(narrowAhead), t)
				g.TESTQ(t, t)
				g.JZ(emit.Ref(over))
				g.ADDQ(operand.U8(n), t)
				g.CMPQ(t, left)
				g.JG(emit.Ref(over))
				g.SUBQ(operand.U8(n), t)
				g.LEAQ(operand.Mem{Base: at, Index: t, Scale: 4}, column)
				for i := range n {
					address(column, i, t)
					g.MOVQ(t, next.Offset(8*i))
				}
				g.XORQ(column, column)
			}
			g.Label(loop)
			g.LEAQ(operand.Mem{Base: column, Disp: vectors * g.Lanes}, t)
			g.CMPQ(t, field(narrowN))
			g.JG(emit.Ref(over))
			if fetching {
				for i := range n {
					g.MOVQ(next.Offset(8*i), t)
					for line := 0; line < vectors*g.Lanes*int(size); line += 64 {
						g.PREFETCHT0(operand.Mem{Base: t, Index: column, Scale: size, Disp: line})
					}
				}
			}
			step(vectors)
			g.JMP(emit.Ref(loop))
			g.Label(over)
		}
		loop, over := g.NewLabel("columns"), g.NewLabel("over")
		g.Label(loop)
		g.LEAQ(operand.Mem{Base: column, Disp: g.Lanes}, t)
		g.CMPQ(t, field(narrowN))
		g.JG(emit.Ref(over))
		step(1)
		g.JMP(emit.Ref(loop))
		g.Label(over)
		g.ADDQ(operand.U8(4*n), at)
		g.SUBQ(operand.U8(n), left)
		g.JMP(emit.Ref(start))
		g.Label(end)
	}
	g.Done()
}

func (g *generator) gathersNarrow() {
	g.gatherNarrow("gatherHalf", "GatherHalf", "adds weighted rows of bfloat16 as tile.GatherHalf says, of whole vectors of columns.", 2, g.widenHalf)
	g.gatherNarrow("gatherBytes", "GatherBytes", "adds weighted rows of int8 as tile.GatherBytes says, of whole vectors of columns.", 1, g.widenBytes)
}

// widenHalf and widenBytes make a vector of float32 of as many elements.
func (g *generator) widenHalf(from operand.Mem, to reg.VecPhysical) {
	g.VPMOVZXWD(from, to)
	g.VPSLLD(operand.U8(16), to, to)
}

func (g *generator) widenBytes(from operand.Mem, to reg.VecPhysical) {
	g.VPMOVSXBD(from, to)
	g.VCVTDQ2PS(to, to)
}
