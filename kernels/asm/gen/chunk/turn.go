package main

import (
	"math/bits"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// A turning transposes the rows of a chunk's tokens. ld is the field of the rows' leading dimension; 0 is the width.
type turning struct {
	src, dst, ld, width int
	lane                place // tokens' factors, of what leaves, or else of rows
	rows                int   // where the rows are copied to as well, scaled by lane
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
		rows := g.everyThird(from, lds, g.Lanes)
		for j := 0; j < g.Lanes; j += emit.Quarter {
			x := g.quarter(func(i int) operand.Mem { return third(rows, lds, i, 4*j) }, j)
			for n, r := range x {
				g.VMOVUPS(r, operand.Mem{Base: dst, Disp: (j+n)*rowBytes + half*g.vectorBytes()})
			}
		}
		for i := 0; i < g.Lanes && t.rows != 0; i++ {
			f := g.Vec[i%8]
			g.VBROADCASTSS(operand.Mem{Base: factors, Disp: 4 * (half*g.Lanes + i)}, f)
			g.VMULPS(third(rows, lds, i, 0), f, f)
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

// turnOut turns channels back to rows: gradients, past the caches if the arguments say so, or rows of a state's update, scaled, or both. What goes past the
// caches is written a whole line of a token at a time.
func (g *generator) turnOut(t turning) {
	src, left, ldc := g.Quad(g.field(t.src)), g.Quad(g.field(t.width)), g.Bytes(g.field(t.width))
	var dst, ldd, copies, factors reg.GPVirtual
	if t.dst != 0 {
		dst, ldd = g.Quad(g.field(t.dst)), g.Bytes(g.field(t.ld))
	}
	if t.rows != 0 {
		copies, factors = g.Quad(g.field(t.rows)), g.room(t.lane)
	}
	again := g.NewLabel("turn")
	g.Label(again)
	to, copied := g.GP64(), g.GP64()
	if t.dst != 0 {
		g.MOVQ(dst, to)
	}
	if t.rows != 0 {
		g.MOVQ(copies, copied)
	}
	const channels = 16 // of a line
	for token := 0; token < tokens; token += emit.Quarter {
		var line [][]reg.VecPhysical // vectors of a line, each of the tokens
		for v := range channels / g.Lanes {
			line = append(line, g.quarter(func(i int) operand.Mem { return operand.Mem{Base: src, Disp: (v*g.Lanes+i)*rowBytes + 4*token} }, v*emit.Quarter))
		}
		write := func(p, ld reg.GPVirtual, store func(n, v int, m operand.Mem)) {
			for n := range emit.Quarter {
				for v := range line {
					store(n, v, operand.Mem{Base: p, Disp: v * g.vectorBytes()})
				}
				g.ADDQ(ld, p)
			}
		}
		if t.dst != 0 {
			cached, written := g.NewLabel("cached"), g.NewLabel("written")
			g.CMPB(g.field(atStream), operand.U8(0))
			g.JEQ(emit.Ref(cached))
			write(to, ldd, func(n, v int, m operand.Mem) { g.VMOVNTPS(line[v][n], m) })
			g.JMP(emit.Ref(written))
			g.Label(cached)
			write(to, ldd, func(n, v int, m operand.Mem) { g.VMOVUPS(line[v][n], m) })
			g.Label(written)
		}
		if t.rows != 0 {
			f := g.Vec[2*emit.Quarter:]
			write(copied, ldc, func(n, v int, m operand.Mem) {
				if v == 0 {
					g.VBROADCASTSS(operand.Mem{Base: factors, Disp: 4 * (token + n)}, f[0])
				}
				g.VMULPS(f[0], line[v][n], f[1])
				g.VMOVUPS(f[1], m)
			})
		}
	}
	g.ADDQ(operand.I32(channels*rowBytes), src)
	for _, p := range []struct {
		given int
		at    reg.GPVirtual
	}{{t.dst, dst}, {t.rows, copies}} {
		if p.given != 0 {
			g.ADDQ(operand.I32(4*channels), p.at)
		}
	}
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
