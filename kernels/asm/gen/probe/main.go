// Program probe writes the loops that ceilings are measured with, with their
// Go declarations, for one instruction set. Run in kernels/asm/gen:
//
//	go run ./probe -isa avx512
package main

import (
	"flag"
	"log"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// The shapes of the loops. Package probe states the same numbers; its tests compare.
const (
	accumulators = 12 // independent multiply-adds: more than any core's latency times its pipes
	rounds       = 4  // of all accumulators in an iteration
	unrolled     = 8  // vectors of a step of a stream
	sideBySide   = 8  // rows
)

type generator struct{ *emit.File }

func main() {
	log.SetFlags(0)
	isa := flag.String("isa", "", "instruction set: avx2 or avx512")
	dir := flag.String("dir", "../probe", "folder to write into")
	flag.Parse()

	g := generator{emit.New("probe", "probe", *isa)}
	g.fma()
	if g.Wide() {
		g.dotBF16()
	}
	g.read()
	g.copy("copy", "loads src and stores it to dst, whole steps of 8 vectors.", func(from reg.VecPhysical, to operand.Mem) { g.VMOVUPS(from, to) }, func() {})
	g.copy("copyNT", "is copy with stores that go past the caches; dst starts at a cache line.", func(from reg.VecPhysical, to operand.Mem) { g.VMOVNTPS(from, to) }, g.SFENCE)
	g.readRows()
	g.readPlaces()
	g.Write(*dir, "loops")
}

func (g generator) vector(base reg.Register, i int) operand.Mem {
	return operand.Mem{Base: base, Disp: 4 * g.Lanes * i}
}

func (g generator) fma() {
	g.Function("fma", "(iters int)", "does 4 rounds of 12 independent vector multiply-adds for each of iters iterations.")
	n := g.GP64()
	g.Load(g.Param("iters"), n)
	for i := range accumulators + 2 {
		g.Zero(g.Vec[i])
	}
	g.TESTQ(n, n)
	g.JLE(emit.Ref("done"))
	g.Label("loop")
	for range rounds {
		for i := range accumulators {
			g.VFMADD231PS(g.Vec[accumulators], g.Vec[accumulators+1], g.Vec[i])
		}
	}
	g.DECQ(n)
	g.JNZ(emit.Ref("loop"))
	g.Label("done")
	g.Done()
}

func (g generator) dotBF16() {
	g.Function("dotBF16", "(iters int)", "does 4 rounds of 12 independent VDPBF16PS for each of iters iterations.")
	n := g.GP64()
	g.Load(g.Param("iters"), n)
	for i := range accumulators + 2 {
		g.Zero(g.Vec[i])
	}
	g.TESTQ(n, n)
	g.JLE(emit.Ref("done"))
	g.Label("loop")
	for range rounds {
		for i := range accumulators {
			emit.VDPBF16PS(g.Context, g.Vec[accumulators], g.Vec[accumulators+1], g.Vec[i])
		}
	}
	g.DECQ(n)
	g.JNZ(emit.Ref("loop"))
	g.Label("done")
	g.Done()
}

// steps turns a length in floats into a count of whole steps and jumps to done if there is none.
func (g generator) steps(n reg.GPVirtual) {
	shift := 6 // 8 vectors of 8 floats
	if g.Wide() {
		shift = 7
	}
	g.SHRQ(operand.U8(uint8(shift)), n)
	g.JZ(emit.Ref("done"))
}

func (g generator) read() {
	g.Function("read", "(p []float32)", "loads p, whole steps of 8 vectors.")
	p, n := g.GP64(), g.GP64()
	g.Load(g.Param("p").Base(), p)
	g.Load(g.Param("p").Len(), n)
	g.steps(n)
	g.Label("loop")
	for i := range unrolled {
		g.VMOVUPS(g.vector(p, i), g.Vec[i])
	}
	g.ADDQ(operand.U32(uint32(4*g.Lanes*unrolled)), p)
	g.DECQ(n)
	g.JNZ(emit.Ref("loop"))
	g.Label("done")
	g.Done()
}

func (g generator) copy(name, doc string, store func(from reg.VecPhysical, to operand.Mem), finish func()) {
	g.Function(name, "(dst, src []float32)", doc)
	dst, src, n := g.GP64(), g.GP64(), g.GP64()
	g.Load(g.Param("dst").Base(), dst)
	g.Load(g.Param("src").Base(), src)
	g.Load(g.Param("src").Len(), n)
	g.steps(n)
	g.Label("loop")
	for i := range unrolled {
		g.VMOVUPS(g.vector(src, i), g.Vec[i])
	}
	for i := range unrolled {
		store(g.Vec[i], g.vector(dst, i))
	}
	g.ADDQ(operand.U32(uint32(4*g.Lanes*unrolled)), src)
	g.ADDQ(operand.U32(uint32(4*g.Lanes*unrolled)), dst)
	g.DECQ(n)
	g.JNZ(emit.Ref("loop"))
	finish()
	g.Label("done")
	g.Done()
}

func (g generator) readRows() {
	g.Function("readRows", "(table []float32, rows []int32, ld, n int)",
		"adds up n floats of each row table[rows[i]*ld:], 8 rows side by side; whole groups of rows, whole vectors.",
		"The first two lines of the next 8 rows are prefetched, as hardware cannot foresee where rows start.")
	table, rows, groups := g.GP64(), g.GP64(), g.GP64()
	g.Load(g.Param("table").Base(), table)
	g.Load(g.Param("rows").Base(), rows)
	g.Load(g.Param("rows").Len(), groups)
	at := make([]reg.GPVirtual, sideBySide)
	for i := range at {
		at[i] = g.GP64()
		g.Zero(g.Vec[i])
	}
	g.SHRQ(operand.U8(3), groups)
	g.JZ(emit.Ref("done"))
	g.Label("group")
	left := g.GP64()
	for i, row := range at {
		g.MOVLQSX(operand.Mem{Base: rows, Disp: 4 * i}, row)
		g.Load(g.Param("ld"), left)
		g.IMULQ(left, row)
		g.LEAQ(operand.Mem{Base: table, Index: row, Scale: 4}, row)
	}
	g.ADDQ(operand.U8(4*sideBySide), rows)
	g.CMPQ(groups, operand.U8(1))
	g.JE(emit.Ref("fetched"))
	next, ld := g.GP64(), g.GP64()
	g.Load(g.Param("ld"), ld)
	for i := range at {
		g.MOVLQSX(operand.Mem{Base: rows, Disp: 4 * i}, next)
		g.IMULQ(ld, next)
		g.PREFETCHT0(operand.Mem{Base: table, Index: next, Scale: 4})
		g.PREFETCHT0(operand.Mem{Base: table, Index: next, Scale: 4, Disp: 64})
	}
	g.Label("fetched")
	g.Load(g.Param("n"), left)
	g.SUBQ(operand.U8(uint8(g.Lanes)), left)
	g.JL(emit.Ref("next"))
	g.Label("loop")
	for i, row := range at {
		g.VADDPS(operand.Mem{Base: row}, g.Vec[i], g.Vec[i])
		g.ADDQ(operand.U8(uint8(4*g.Lanes)), row)
	}
	g.SUBQ(operand.U8(uint8(g.Lanes)), left)
	g.JGE(emit.Ref("loop"))
	g.Label("next")
	g.DECQ(groups)
	g.JNZ(emit.Ref("group"))
	g.Label("done")
	g.Done()
}

// readPlaces has hardly an instruction beside the loads: the places are prepared, as those of short rows in slabs of tables are.
func (g generator) readPlaces() {
	g.Function("readPlaces", "(table []float32, places []uint32, lines int)",
		"adds up one line, or two, from each byte of table that places names: whole groups of 8 places. Nothing is prefetched.")
	table, places, groups, lines := g.GP64(), g.GP64(), g.GP64(), g.GP64()
	g.Load(g.Param("table").Base(), table)
	g.Load(g.Param("places").Base(), places)
	g.Load(g.Param("places").Len(), groups)
	g.Load(g.Param("lines"), lines)
	for i := range sideBySide {
		g.Zero(g.Vec[i])
	}
	g.SHRQ(operand.U8(3), groups)
	g.JZ(emit.Ref("done"))
	g.CMPQ(lines, operand.U8(1))
	g.JNE(emit.Ref("two"))
	at := make([]reg.GPVirtual, sideBySide)
	for i := range at {
		at[i] = g.GP64()
	}
	for n, label := range []string{"one", "two"} {
		g.Label(label)
		for i, place := range at {
			g.MOVL(operand.Mem{Base: places, Disp: 4 * i}, place.As32())
		}
		for i, place := range at {
			for j := range (n + 1) * 16 / g.Lanes {
				sum := g.Vec[(i+j)%sideBySide]
				g.VADDPS(operand.Mem{Base: table, Index: place, Scale: 1, Disp: 4 * g.Lanes * j}, sum, sum)
			}
		}
		g.ADDQ(operand.U8(4*sideBySide), places)
		g.DECQ(groups)
		g.JNZ(emit.Ref(label))
		if n == 0 {
			g.JMP(emit.Ref("done"))
		}
	}
	g.Label("done")
	g.Done()
}
