package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	mapSrc  = int(unsafe.Offsetof(tile.Map{}.Src))
	mapDst  = int(unsafe.Offsetof(tile.Map{}.Dst))
	mapLDS  = int(unsafe.Offsetof(tile.Map{}.LDS))
	mapLDD  = int(unsafe.Offsetof(tile.Map{}.LDD))
	mapM    = int(unsafe.Offsetof(tile.Map{}.M))
	mapN    = int(unsafe.Offsetof(tile.Map{}.N))
	mapKind = int(unsafe.Offsetof(tile.Map{}.Kind))
)

// elementwise goes row by row, a vector at a time, in a loop of its own for each map.
func (g *generator) elementwise() {
	p := g.TileFunction("map", "Map", "maps a block element by element as tile.Map says.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	x, y, zero, one, above, mask := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3], g.Vec[4], g.Vec[15]
	m, n := g.Quad(field(mapM)), g.Quad(field(mapN))
	g.TESTQ(m, m)
	g.JLE(emit.Ref("done"))
	g.TESTQ(n, n)
	g.JLE(emit.Ref("done"))
	g.Zero(zero)
	g.broadcast(1, one)
	src, dst := g.Quad(field(mapSrc)), g.Quad(field(mapDst))
	lds, ldd := g.Bytes(field(mapLDS)), g.Bytes(field(mapLDD))
	rest := g.GP64()
	g.MOVQ(n, rest)
	g.ANDQ(operand.U8(g.Lanes-1), rest)
	tail := g.NewTail(g.masks, rest, mask)
	rows := func(vector func(from, to operand.Mem, t emit.Tail)) {
		row, loop, ragged, next := g.NewLabel("row"), g.NewLabel("loop"), g.NewLabel("ragged"), g.NewLabel("next")
		from, to, left := g.GP64(), g.GP64(), g.GP64()
		g.Label(row)
		g.MOVQ(src, from)
		g.MOVQ(dst, to)
		g.MOVQ(n, left)
		g.SUBQ(operand.U8(g.Lanes), left)
		g.JL(emit.Ref(ragged))
		g.Label(loop)
		vector(operand.Mem{Base: from}, operand.Mem{Base: to}, g.Full())
		g.ADDQ(operand.U8(4*g.Lanes), from)
		g.ADDQ(operand.U8(4*g.Lanes), to)
		g.SUBQ(operand.U8(g.Lanes), left)
		g.JGE(emit.Ref(loop))
		g.Label(ragged)
		g.ADDQ(operand.U8(g.Lanes), left)
		g.JZ(emit.Ref(next))
		vector(operand.Mem{Base: from}, operand.Mem{Base: to}, tail)
		g.Label(next)
		g.ADDQ(lds, src)
		g.ADDQ(ldd, dst)
		g.DECQ(m)
		g.JNZ(emit.Ref(row))
		g.JMP(emit.Ref("done"))
	}
	kinds := []func(){
		tile.MapPositive: func() {
			g.VMAXPS(x, zero, y) // the first operand here is the one that NaN gives
		},
		tile.MapSteps: func() {
			if g.Wide() {
				g.VCMPPS(operand.U8(greaterEqual), zero, x, reg.K2)
				g.VADDPS(one, x, reg.K2, y)
				return
			}
			g.VCMPPS(operand.U8(greaterEqual), zero, x, above)
			g.VADDPS(one, x, x)
			g.VBLENDVPS(above, x, y, y)
		},
		tile.MapGate: func() {
			if g.Wide() {
				g.VCMPPS(operand.U8(notLessEqual), zero, x, reg.K2)
				g.VMOVAPS_Z(y, reg.K2, y)
				return
			}
			g.VCMPPS(operand.U8(notLessEqual), zero, x, above)
			g.VANDPS(above, y, y)
		},
		tile.MapSlope: func() {
			g.VMINPS(x, one, x) // as above
			g.VMULPS(x, y, y)
		},
		tile.MapTimes: func() { g.VMULPS(x, y, y) },
	}
	for kind, do := range kinds {
		other := g.NewLabel("kind")
		g.CMPQ(field(mapKind), operand.U8(uint8(kind)))
		g.JNE(emit.Ref(other))
		rows(func(from, to operand.Mem, t emit.Tail) {
			t.Load(from, x)
			if kind != tile.MapPositive {
				t.Load(to, y)
			}
			do()
			t.Store(y, to)
		})
		g.Label(other)
	}
	g.Label("done")
	g.Done()
}
