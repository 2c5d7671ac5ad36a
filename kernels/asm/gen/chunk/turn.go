package main

import (
	"math/bits"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// A turning transposes the rows of a chunk's tokens, whose leading dimension is the field ld.
type turning struct {
	src, dst, ld, width int
	rows                int   // inwards: where the rows are copied to as well,
	lane                place // scaled by these factors of the tokens
}

// turnIn turns rows, square block by square block.
func (g *generator) turnIn(t turning) {
	src, dst, left, lds := g.Quad(g.field(t.src)), g.Quad(g.field(t.dst)), g.Quad(g.field(t.width)), g.Bytes(g.field(t.ld))
	var copies, factors, ldc reg.GPVirtual
	if t.rows != 0 {
		copies, factors, ldc = g.Quad(g.field(t.rows)), g.room(t.lane), g.Bytes(g.field(t.width))
	}
	again := g.NewLabel("turn")
	g.Label(again)
	from, copied := g.GP64(), g.GP64()
	g.MOVQ(src, from)
	if t.rows != 0 {
		g.MOVQ(copies, copied)
	}
	for half := range g.vectors {
		rows := emit.NewRows(g.Context, from, lds, g.Lanes)
		for j := 0; j < g.Lanes; j += emit.Quarter {
			x := g.quarter(func(i int) operand.Mem { return rows.At(i, 4*j) }, j)
			for n, r := range x {
				g.VMOVUPS(r, operand.Mem{Base: dst, Disp: (j+n)*rowBytes + half*g.vectorBytes()})
			}
		}
		for i := 0; i < g.Lanes && t.rows != 0; i++ {
			f := g.Vec[i%8]
			g.VBROADCASTSS(operand.Mem{Base: factors, Disp: 4 * (half*g.Lanes + i)}, f)
			g.VMULPS(rows.At(i, 0), f, f)
			g.VMOVUPS(f, operand.Mem{Base: copied})
			g.ADDQ(ldc, copied)
		}
		if half < g.vectors-1 {
			g.LEAQ(operand.Mem{Base: from, Index: lds, Scale: 8}, from)
		}
	}
	g.ADDQ(operand.I32(int32(g.vectorBytes())), src)
	if t.rows != 0 {
		g.ADDQ(operand.I32(int32(g.vectorBytes())), copies)
	}
	g.ADDQ(operand.I32(int32(g.Lanes*rowBytes)), dst)
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JNE(emit.Ref(again))
}

// quarter is a TransposedQuarter in one of a few sets of registers.
func (g *generator) quarter(at func(i int) operand.Mem, set int) []reg.VecPhysical {
	const n = emit.Quarter
	x := g.Vec[set/n%2*n:][:n]
	g.TransposedQuarter(at, x, g.Vec[2*n:])
	return x
}

// turnOut turns the channels of a gradient back to rows. What goes past the caches is written a whole line of a token at a time.
func (g *generator) turnOut(t turning) {
	src, dst, left, ldd := g.Quad(g.field(t.src)), g.Quad(g.field(t.dst)), g.Quad(g.field(t.width)), g.Bytes(g.field(t.ld))
	again := g.NewLabel("turn")
	g.Label(again)
	to := g.GP64()
	g.MOVQ(dst, to)
	const channels = 16 // of a line
	for token := 0; token < tokens; token += emit.Quarter {
		var line [][]reg.VecPhysical // vectors of a line, each of the tokens
		for v := range channels / g.Lanes {
			line = append(line, g.quarter(func(i int) operand.Mem { return operand.Mem{Base: src, Disp: (v*g.Lanes+i)*rowBytes + 4*token} }, v*emit.Quarter))
		}
		g.gradient(func(store func(r reg.VecPhysical, m operand.Mem)) {
			for n := range emit.Quarter {
				for v := range line {
					store(line[v][n], operand.Mem{Base: to, Disp: v * g.vectorBytes()})
				}
				g.ADDQ(ldd, to)
			}
		})
	}
	g.ADDQ(operand.I32(channels*rowBytes), src)
	g.ADDQ(operand.I32(4*channels), dst)
	g.SUBQ(operand.U8(channels), left)
	g.JNE(emit.Ref(again))
}

// turnSquare sets the last square to the transpose of another.
func (g *generator) turnSquare(square place) {
	src, dst := g.room(square), g.room(squareT)
	for half := range g.vectors {
		for j := 0; j < tokens; j += emit.Quarter {
			x := g.quarter(func(i int) operand.Mem { return operand.Mem{Base: src, Disp: (half*g.Lanes+i)*rowBytes + 4*j} }, j)
			for n, r := range x {
				g.VMOVUPS(r, operand.Mem{Base: dst, Disp: (j+n)*rowBytes + half*g.vectorBytes()})
			}
		}
	}
}

// Fields of the walk through what is prefetched.
const (
	walkAt    = iota * 8 // the place
	walkLD               // from row to row, in bytes
	walkRows             // rows left of these columns
	walkPairs            // pairs of lines left of each row
	walkEntry            // what comes next
)

const (
	aheadLD    = int(unsafe.Offsetof(tile.Prefetch{}.LD))
	aheadLines = int(unsafe.Offsetof(tile.Prefetch{}.Lines))
	aheadSize  = int(unsafe.Sizeof(tile.Prefetch{}))
)

// startWalk begins with the first block.
func (g *generator) startWalk() {
	at := g.GP64()
	g.LEAQ(g.field(atAhead), at)
	g.MOVQ(at, g.field(atWalk+walkEntry))
	g.nextBlock()
}

// nextBlock goes on with the block that comes next. After the last the walk stays at the arguments.
func (g *generator) nextBlock() {
	entry, v, p, end, done := g.Quad(g.field(atWalk+walkEntry)), g.GP64(), g.GP64(), g.NewLabel("end"), g.NewLabel("next")
	g.MOVQ(operand.Mem{Base: entry, Disp: aheadLines}, v)
	g.SHRQ(operand.U8(1), v)
	g.JEQ(emit.Ref(end))
	g.MOVQ(v, g.field(atWalk+walkPairs))
	g.MOVQ(operand.Mem{Base: entry}, p)
	g.MOVQ(p, g.field(atWalk+walkAt))
	g.MOVQ(operand.Mem{Base: entry, Disp: aheadLD}, p)
	g.SHLQ(operand.U8(2), p)
	g.MOVQ(p, g.field(atWalk+walkLD))
	g.MOVQ(operand.U32(tokens), v)
	g.MOVQ(v, g.field(atWalk+walkRows))
	g.ADDQ(operand.U8(aheadSize), entry)
	g.MOVQ(entry, g.field(atWalk+walkEntry))
	g.JMP(emit.Ref(done))
	g.Label(end)
	g.LEAQ(g.field(atAhead), p)
	g.MOVQ(p, g.field(atWalk+walkAt))
	g.XORQ(v, v)
	g.MOVQ(v, g.field(atWalk+walkLD))
	g.DECQ(v)
	g.MOVQ(v, g.field(atWalk+walkRows))
	g.Label(done)
}

// walk prefetches two lines.
func (g *generator) walk() {
	p, skip, next := g.Quad(g.field(atWalk+walkAt)), g.NewLabel("walked"), g.NewLabel("columns")
	g.PREFETCHT1(operand.Mem{Base: p})
	g.PREFETCHT1(operand.Mem{Base: p, Disp: 64})
	g.ADDQ(g.field(atWalk+walkLD), p)
	g.MOVQ(p, g.field(atWalk+walkAt))
	g.DECQ(g.field(atWalk + walkRows))
	g.JNE(emit.Ref(skip))
	g.DECQ(g.field(atWalk + walkPairs))
	g.JNE(emit.Ref(next))
	g.nextBlock()
	g.JMP(emit.Ref(skip))
	g.Label(next)
	back := g.Quad(g.field(atWalk + walkLD))
	g.SHLQ(operand.U8(bits.TrailingZeros(tokens)), back)
	g.SUBQ(back, p)
	g.ADDQ(operand.U8(128), p)
	g.MOVQ(p, g.field(atWalk+walkAt))
	g.MOVQ(operand.U32(tokens), back)
	g.MOVQ(back, g.field(atWalk+walkRows))
	g.Label(skip)
}
