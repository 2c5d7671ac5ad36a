package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	packSrc       = int(unsafe.Offsetof(tile.Pack{}.Src))
	packDst       = int(unsafe.Offsetof(tile.Pack{}.Dst))
	packRow       = int(unsafe.Offsetof(tile.Pack{}.Row))
	packLDS       = int(unsafe.Offsetof(tile.Pack{}.LDS))
	packLDD       = int(unsafe.Offsetof(tile.Pack{}.LDD))
	packM         = int(unsafe.Offsetof(tile.Pack{}.M))
	packN         = int(unsafe.Offsetof(tile.Pack{}.N))
	packNonFinite = int(unsafe.Offsetof(tile.Pack{}.NonFinite))
	packStream    = int(unsafe.Offsetof(tile.Pack{}.Stream))
)

// pack copies row by row, four vectors at a time. Every product times zero is
// added to one of four sums, which are NaN in the end where a product was not finite.
func (g *generator) pack() {
	p := g.TileFunction("pack", "Pack", "copies a block as tile.Pack says: Dst = diag(Row) Src, looking for NaN and Inf.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	sums, vectors := g.Vec[0:4], g.Vec[4:8]
	scale, zero, one, mask := g.Vec[8], g.Vec[9], g.Vec[10], g.Vec[15]

	for _, s := range sums {
		g.Zero(s)
	}
	g.Zero(zero)
	g.broadcast(1, one)
	g.VMOVAPS(one, scale)

	m, n := g.Quad(field(packM)), g.Quad(field(packN))
	g.TESTQ(m, m)
	g.JLE(emit.Ref("sum"))
	g.TESTQ(n, n)
	g.JLE(emit.Ref("sum"))
	src, dst, row := g.Quad(field(packSrc)), g.Quad(field(packDst)), g.Quad(field(packRow))
	lds, ldd := g.Bytes(field(packLDS)), g.Bytes(field(packLDD))
	rest := g.GP64()
	g.MOVQ(n, rest)
	g.ANDQ(operand.U8(g.Lanes-1), rest)
	tail := g.NewTail(g.masks, rest, mask)

	// Streaming needs rows at aligned places.
	places := g.GP64()
	g.MOVQ(dst, places)
	g.ORQ(ldd, places)
	g.TESTQ(operand.U32(uint32(4*g.Lanes-1)), places)
	g.JNZ(emit.Ref("stored"))
	g.CMPB(field(packStream), operand.U8(0))
	g.JEQ(emit.Ref("stored"))

	rows := func(store func(r reg.VecPhysical, m operand.Mem)) {
		again, scaled, next := g.NewLabel("row"), g.NewLabel("scaled"), g.NewLabel("next")
		g.Label(again)
		g.TESTQ(row, row)
		g.JZ(emit.Ref(scaled))
		g.VBROADCASTSS(operand.Mem{Base: row}, scale)
		g.ADDQ(operand.U8(4), row)
		g.Label(scaled)
		from, to, left := g.GP64(), g.GP64(), g.GP64()
		g.MOVQ(src, from)
		g.MOVQ(dst, to)
		g.MOVQ(n, left)

		step := func(count int, t emit.Tail, store func(r reg.VecPhysical, m operand.Mem)) {
			for i := range count {
				t.Load(operand.Mem{Base: from, Disp: 4 * g.Lanes * i}, vectors[i])
				g.VMULPS(vectors[i], scale, vectors[i])
			}
			for i := range count {
				store(vectors[i], operand.Mem{Base: to, Disp: 4 * g.Lanes * i})
				g.VFMADD231PS(vectors[i], zero, sums[i])
			}
		}
		for _, count := range []int{4, 1} {
			loop, end := g.NewLabel("vectors"), g.NewLabel("end")
			g.SUBQ(operand.U8(count*g.Lanes), left)
			g.JL(emit.Ref(end))
			g.Label(loop)
			step(count, g.Full(), store)
			g.ADDQ(operand.I32(4*count*g.Lanes), from)
			g.ADDQ(operand.I32(4*count*g.Lanes), to)
			g.SUBQ(operand.U8(count*g.Lanes), left)
			g.JGE(emit.Ref(loop))
			g.Label(end)
			g.ADDQ(operand.U8(count*g.Lanes), left)
		}
		g.TESTQ(left, left)
		g.JZ(emit.Ref(next))
		step(1, tail, tail.Store)
		g.Label(next)
		g.ADDQ(lds, src)
		g.ADDQ(ldd, dst)
		g.DECQ(m)
		g.JNZ(emit.Ref(again))
	}
	rows(func(r reg.VecPhysical, m operand.Mem) { g.VMOVNTPS(r, m) })
	g.SFENCE()
	g.JMP(emit.Ref("sum"))
	g.Label("stored")
	rows(g.Full().Store)

	g.Label("sum")
	g.VADDPS(sums[0], sums[1], sums[0])
	g.VADDPS(sums[2], sums[3], sums[2])
	g.VADDPS(sums[0], sums[2], sums[0])
	bad := g.GP32()
	if g.Wide() {
		g.VCMPPS(operand.U8(unordered), sums[0], sums[0], reg.K2)
		g.KMOVW(reg.K2, bad)
	} else {
		g.VCMPPS(operand.U8(unordered), sums[0], sums[0], sums[0])
		g.VMOVMSKPS(sums[0], bad)
	}
	g.TESTL(bad, bad)
	g.SETNE(field(packNonFinite))
	g.Done()
}

// unordered is the predicate of VCMPPS that is true of NaN.
const unordered = 3
