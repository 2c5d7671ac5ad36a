package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	gatherTable   = int(unsafe.Offsetof(tile.Gather{}.Table))
	gatherRows    = int(unsafe.Offsetof(tile.Gather{}.Rows))
	gatherRowsLen = gatherRows + 8
	gatherWeight  = int(unsafe.Offsetof(tile.Gather{}.Weight))
	gatherOut     = int(unsafe.Offsetof(tile.Gather{}.Out))
	gatherLD      = int(unsafe.Offsetof(tile.Gather{}.LD))
	gatherN       = int(unsafe.Offsetof(tile.Gather{}.N))
	gatherGroup   = int(unsafe.Offsetof(tile.Gather{}.Group))
)

// gather reads a group of rows side by side, so that as many misses are
// under way, and adds them to a few vectors of Out at a time; Out itself
// stays in the first-level cache. Rows that are left go in smaller groups.
func (g *generator) gather() {
	p := g.TileFunction("gather", "Gather", "adds weighted table rows to Out as tile.Gather says, Group rows side by side.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	weights, sums, free, mask := g.Vec[0:8], g.Vec[8:12], g.Vec[12], g.Vec[15]

	rows, weight, left := g.Quad(field(gatherRows)), g.Quad(field(gatherWeight)), g.Quad(field(gatherRowsLen))
	group := g.Quad(field(gatherGroup))
	rest := g.Quad(field(gatherN))
	g.TESTQ(rest, rest)
	g.JLE(emit.Ref("done"))
	g.ANDQ(operand.U8(g.Lanes-1), rest)
	tail := g.NewTail(g.masks, rest, mask)
	for _, n := range []int{8, 2, 1} {
		g.CMPQ(group, operand.U8(n))
		g.JEQ(emit.Ref(fmt.Sprintf("group%d", n)))
	}
	g.JMP(emit.Ref("group4"))

	out, column := g.GP64(), g.GP64()
	row := make([]reg.GPVirtual, 8)
	for i := range row {
		row[i] = g.GP64()
	}
	for _, n := range []int{8, 4, 2, 1} {
		start, end := fmt.Sprintf("group%d", n), fmt.Sprintf("end%d", n)
		g.Label(start)
		g.CMPQ(left, operand.U8(n))
		g.JL(emit.Ref(end))
		for i := range n {
			g.MOVLQSX(operand.Mem{Base: rows, Disp: 4 * i}, row[i])
			g.IMULQ(field(gatherLD), row[i])
			g.SHLQ(operand.U8(2), row[i])
			g.ADDQ(field(gatherTable), row[i])
			g.VBROADCASTSS(operand.Mem{Base: weight, Disp: 4 * i}, weights[i])
		}
		g.ADDQ(operand.U8(4*n), rows)
		g.ADDQ(operand.U8(4*n), weight)
		if n >= 4 {
			// No hardware prefetcher foresees where the next rows start.
			fetched := g.NewLabel("fetched")
			g.CMPQ(left, operand.U8(2*n))
			g.JL(emit.Ref(fetched))
			for i := range n {
				g.MOVLQSX(operand.Mem{Base: rows, Disp: 4 * i}, column)
				g.IMULQ(field(gatherLD), column)
				g.MOVQ(field(gatherTable), out)
				g.PREFETCHT0(operand.Mem{Base: out, Index: column, Scale: 4})
				g.PREFETCHT0(operand.Mem{Base: out, Index: column, Scale: 4, Disp: 64})
			}
			g.Label(fetched)
		}
		g.MOVQ(field(gatherOut), out)
		g.MOVQ(field(gatherN), column)

		step := func(count int, t emit.Tail) {
			at := func(base reg.Register, i int) operand.Mem { return operand.Mem{Base: base, Disp: 4 * g.Lanes * i} }
			for i := range count {
				t.Load(at(out, i), sums[i])
			}
			for r := range n {
				for i := range count {
					t.MulAdd(at(row[r], i), weights[r], sums[i], free)
				}
			}
			for i := range count {
				t.Store(sums[i], at(out, i))
			}
		}
		advance := func(bytes int) {
			g.ADDQ(operand.I32(bytes), out)
			for r := range n {
				g.ADDQ(operand.I32(bytes), row[r])
			}
		}
		for _, count := range []int{4, 1} {
			loop, over := g.NewLabel("columns"), g.NewLabel("over")
			g.SUBQ(operand.U8(count*g.Lanes), column)
			g.JL(emit.Ref(over))
			g.Label(loop)
			step(count, g.Full())
			advance(4 * count * g.Lanes)
			g.SUBQ(operand.U8(count*g.Lanes), column)
			g.JGE(emit.Ref(loop))
			g.Label(over)
			g.ADDQ(operand.U8(count*g.Lanes), column)
		}
		ragged := g.NewLabel("ragged")
		g.TESTQ(column, column)
		g.JZ(emit.Ref(ragged))
		step(1, tail)
		g.Label(ragged)
		g.SUBQ(operand.U8(n), left)
		g.JMP(emit.Ref(start))
		g.Label(end)
	}
	g.Label("done")
	g.Done()
}
