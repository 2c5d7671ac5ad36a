package main

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// A block is a number of tokens and of vectors of state columns that a sweep of the state takes, and the tokens that it takes where
// 2, 3 and so on heads share the state; beyond these tokens go one at a time.
type block struct {
	tokens, vectors int
	shared          []int
}

// of gives the tokens of a block of some heads.
func (b block) of(heads int) int {
	if heads == 1 {
		return b.tokens
	}
	return b.shared[heads-2]
}

// A generator writes the file of one instruction set.
type generator struct {
	*emit.File
	masks operand.Mem // what tails are set from with AVX2
	one   operand.Mem // what a factor that was not given points to
	frame frame
	delta bool // the kernel is of a delta rule

	decoding   bool // a decode step is written
	broadcasts int  // that are written
}

// maxHeads is the most heads that the walk of single tokens reads at once.
const maxHeads = 4

var none tile.Recur

const (
	argQ          = int(unsafe.Offsetof(none.Q))
	argK          = int(unsafe.Offsetof(none.K))
	argV          = int(unsafe.Offsetof(none.V))
	argO          = int(unsafe.Offsetof(none.O))
	argS          = int(unsafe.Offsetof(none.S))
	argD          = int(unsafe.Offsetof(none.D))
	argDecay      = int(unsafe.Offsetof(none.Decay))
	argRowV       = int(unsafe.Offsetof(none.RowV))
	argRowO       = int(unsafe.Offsetof(none.RowO))
	argLDQ        = int(unsafe.Offsetof(none.LDQ))
	argLDK        = int(unsafe.Offsetof(none.LDK))
	argLDV        = int(unsafe.Offsetof(none.LDV))
	argLDO        = int(unsafe.Offsetof(none.LDO))
	argLDS        = int(unsafe.Offsetof(none.LDS))
	argLDD        = int(unsafe.Offsetof(none.LDD))
	argHeadQ      = int(unsafe.Offsetof(none.HeadQ))
	argHeadO      = int(unsafe.Offsetof(none.HeadO))
	argT          = int(unsafe.Offsetof(none.T))
	argHeads      = int(unsafe.Offsetof(none.Heads))
	argDk         = int(unsafe.Offsetof(none.Dk))
	argN          = int(unsafe.Offsetof(none.N))
	argReverse    = int(unsafe.Offsetof(none.Reverse))
	argAccumulate = int(unsafe.Offsetof(none.Accumulate))
	argStream     = int(unsafe.Offsetof(none.Stream))
	argPrefetch   = int(unsafe.Offsetof(none.Prefetch))

	prefetchRows  = int(unsafe.Offsetof(tile.Prefetch{}.Rows))
	prefetchLD    = int(unsafe.Offsetof(tile.Prefetch{}.LD))
	prefetchLines = int(unsafe.Offsetof(tile.Prefetch{}.Lines))
	prefetchSize  = int(unsafe.Sizeof(tile.Prefetch{}))
)

// How output rows are written.
const (
	plain = iota
	stream
	accumulate
)

// frame holds what a sweep does not keep in registers. Strides are bytes, negative if the tokens are walked backwards.
type frame struct {
	q, k, v, o               operand.Mem // rows of the next token
	ldq, ldk, ldv, ldo       operand.Mem
	s                        operand.Mem // of the panel
	columns                  operand.Mem // left, of the panel's first on
	left                     operand.Mem // tokens
	decay, decayStep         operand.Mem // the next token's factor, and 4 or 0
	d                        operand.Mem // its row of key decays, or nil
	rowV, rowVStep           operand.Mem
	rowO, rowOStep           operand.Mem
	mode                     operand.Mem
	ahead                    operand.Mem // tokens walked in the first panel, whose sweeps prefetch; negative in the others
	prefetch                 operand.Mem // the block of rows that the sweep's next segment prefetches
	segment, rows, heads, at operand.Mem
	spill                    operand.Mem // value rows that have no register

	e, beta, betaStep, c operand.Mem // of a delta rule: the next token's erase key and factor, the next block's record
	pending              operand.Mem // keys of the block whose update the state has yet to take, or nil
	lds, singles         operand.Mem // singles: tokens to walk until the next block begins
	upcoming             operand.Mem // from a row of the state to that which follows it in the next panel, or the next head
}

func (g *generator) constantOne() operand.Mem {
	m := g.StaticGlobal("one")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	g.AppendDatum(operand.U32(math.Float32bits(1)))
	return m
}

// field is a field of the arguments, whose address takes no register for longer than its use.
func (g *generator) field(offset int) operand.Mem {
	args := g.GP64()
	g.Load(g.Param("p"), args)
	return operand.Mem{Base: args, Disp: offset}
}

func (g *generator) locals() {
	g.frame = frame{}
	for _, m := range []*operand.Mem{
		&g.frame.q, &g.frame.k, &g.frame.v, &g.frame.o, &g.frame.ldq, &g.frame.ldk, &g.frame.ldv, &g.frame.ldo, &g.frame.s, &g.frame.columns,
		&g.frame.left, &g.frame.decay, &g.frame.decayStep, &g.frame.d, &g.frame.rowV, &g.frame.rowVStep, &g.frame.rowO, &g.frame.rowOStep,
		&g.frame.mode, &g.frame.ahead, &g.frame.prefetch, &g.frame.segment, &g.frame.rows, &g.frame.heads, &g.frame.at,
	} {
		*m = g.AllocLocal(8)
	}
}

// vectorBytes is the size of a vector.
func (g *generator) vectorBytes() int { return 4 * g.Lanes }

// to and from move a local variable.
func (g *generator) from(m operand.Mem) reg.GPVirtual  { return g.Quad(m) }
func (g *generator) to(m operand.Mem, r reg.GPVirtual) { g.MOVQ(r, m) }

// recur writes one kernel. Columns go panel by panel, a panel's tokens block by block; what is left of the
// columns goes by single vectors.
func (g *generator) recur(b block) {
	name := fmt.Sprintf("recur%dx%d", b.tokens, b.vectors*g.Lanes)
	g.TileFunction(name, "Recur",
		fmt.Sprintf("is the recurrence of tile.Recur in blocks of %d tokens against panels of %d state columns.", b.tokens, b.vectors*g.Lanes))
	g.locals()
	g.walk(b, []decodePanel{{vectors: 8}, {vectors: 4}}, g.tokens)
}

// A decodePanel is the width of a panel of a decode step, in vectors, and the most keys of a state that it is for, 0 for any.
type decodePanel struct{ vectors, keys int }

// walk writes a kernel's way through the panels of columns.
func (g *generator) walk(b block, decode []decodePanel, tokens func(block, emit.Tail)) {
	for _, size := range []int{argT, argN} {
		g.CMPQ(g.field(size), operand.U8(0))
		g.JLE(emit.Ref("done"))
	}
	g.MOVQ(operand.U32(0), g.frame.at)
	n := g.from(g.field(argN))
	g.to(g.frame.columns, n)
	g.setAhead()

	// A single token of one head is a decode step: whole rows of the state at once, as wide as registers allow. So are a few tokens of a delta rule
	// without records.
	if g.delta && g.Wide() {
		g.CMPQ(g.field(argC), operand.U8(0))
		g.JNE(emit.Ref("panels"))
		g.CMPQ(g.field(argT), operand.U8(maxSteps))
		g.JG(emit.Ref("panels"))
	} else {
		g.CMPQ(g.field(argT), operand.U8(1))
		g.JNE(emit.Ref("panels"))
	}
	g.CMPQ(g.field(argHeads), operand.U8(1))
	g.JNE(emit.Ref("panels"))
	for _, d := range decode {
		past := fmt.Sprintf("past%d", d.vectors)
		if d.keys > 0 {
			g.CMPQ(g.field(argDk), operand.U8(d.keys))
			g.JG(emit.Ref(past))
		}
		g.decoding = true
		g.panel(fmt.Sprintf("wide%d", d.vectors), d.vectors, func() {
			if g.delta && g.Wide() {
				g.decodeSteps(d.vectors)
				return
			}
			g.token(1, true, d.vectors, g.Full())
			g.finishToken()
		})
		g.decoding = false
		if d.keys > 0 {
			g.Label(past)
		}
	}

	g.Label("panels")
	g.panel("main", b.vectors, func() { tokens(b, g.Full()) })
	if b.vectors > 2 { // what is left of the columns may be more than a vector
		g.panel("two", 2, func() { tokens(block{b.tokens, 2, b.shared}, g.Full()) })
	}

	g.Label("narrow")
	columns := g.from(g.frame.columns)
	g.TESTQ(columns, columns)
	g.JLE(emit.Ref("finish"))
	width := g.GP64()
	g.MOVQ(operand.U32(uint32(g.Lanes)), width)
	g.CMPQ(columns, width)
	g.CMOVQLT(columns, width)
	tail := g.mask(width)
	g.start(1)
	tokens(block{b.tokens, 1, b.shared}, tail)
	g.advance(1)
	g.JMP(emit.Ref("narrow"))

	g.Label("finish")
	g.CMPQ(g.frame.mode, operand.U8(stream))
	g.JNE(emit.Ref("done"))
	g.SFENCE()
	g.Label("done")
	g.Done()
}

// mask returns the tail of the first n lanes, 1 <= n <= Lanes.
func (g *generator) mask(n reg.GPVirtual) emit.Tail {
	if !g.Wide() {
		return g.NewTail(g.masks, n, g.Vec[len(g.Vec)-1])
	}
	m := g.GP64()
	g.MOVQ(operand.I32(-1), m)
	g.SHLXQ(n, m, m)
	g.NOTQ(m)
	g.KMOVW(m.As32(), reg.K1)
	return g.MaskTail(reg.K1)
}

// panel walks whole panels of some vectors while there are columns for one.
func (g *generator) panel(label string, vectors int, walk func()) {
	end := label + "end"
	g.Label(label)
	g.CMPQ(g.frame.columns, operand.I32(int32(vectors*g.Lanes)))
	g.JL(emit.Ref(end))
	g.start(vectors)
	walk()
	g.advance(vectors)
	g.JMP(emit.Ref(label))
	g.Label(end)
}

// setAhead says whether this call prefetches: the rows of a sweep are then cut in as many segments as there are
// blocks of rows to prefetch, else they are one.
func (g *generator) setAhead() {
	lines := g.GP64()
	g.MOVQ(g.field(argPrefetch+prefetchLines), lines)
	for i := 1; i < len(none.Prefetch); i++ {
		g.ORQ(g.field(argPrefetch+i*prefetchSize+prefetchLines), lines)
	}
	ahead, off, segment, third := g.GP64(), g.GP64(), g.GP64(), g.GP64()
	g.XORQ(ahead, ahead)
	g.MOVQ(operand.I32(-1), off)
	g.MOVQ(g.field(argDk), segment)
	// An even share of the rows, rounded up: 171/512 is a little more than a third.
	g.IMUL3Q(operand.U32(171), segment, third)
	g.SHRQ(operand.U8(9), third)
	g.ADDQ(operand.U8(2), third)
	g.ANDQ(operand.I32(-2), third)
	g.TESTQ(lines, lines)
	g.CMOVQEQ(off, ahead)
	g.CMOVQNE(third, segment)
	g.to(g.frame.ahead, ahead)
	g.to(g.frame.segment, segment)
}

// start sets the walk of a panel to its first token.
func (g *generator) start(vectors int) {
	t := g.from(g.field(argT))
	g.to(g.frame.left, t)
	g.DECQ(t)
	column := g.from(g.frame.at)
	backwards := g.GP8()
	g.MOVB(g.field(argReverse), backwards)
	for _, m := range []struct {
		array, ld  int
		at, stride operand.Mem
		column     bool
	}{
		{argQ, argLDQ, g.frame.q, g.frame.ldq, false}, {argK, argLDK, g.frame.k, g.frame.ldk, false},
		{argV, argLDV, g.frame.v, g.frame.ldv, true}, {argO, argLDO, g.frame.o, g.frame.ldo, true},
	} {
		p, ld, forward := g.from(g.field(m.array)), g.Bytes(g.field(m.ld)), g.NewLabel("forward")
		if m.column {
			g.ADDQ(column, p)
		}
		g.TESTB(backwards, backwards)
		g.JZ(emit.Ref(forward))
		last := g.GP64()
		g.MOVQ(ld, last)
		g.IMULQ(t, last)
		g.ADDQ(last, p)
		g.NEGQ(ld)
		g.Label(forward)
		g.to(m.at, p)
		g.to(m.stride, ld)
	}
	s := g.from(g.field(argS))
	g.ADDQ(column, s)
	g.to(g.frame.s, s)
	one, zero := g.GP64(), g.GP64()
	g.LEAQ(g.one, one)
	g.XORQ(zero, zero)
	for _, m := range []struct {
		array    int
		at, step operand.Mem
	}{{argDecay, g.frame.decay, g.frame.decayStep}, {argRowV, g.frame.rowV, g.frame.rowVStep}, {argRowO, g.frame.rowO, g.frame.rowOStep}} {
		p, step := g.from(g.field(m.array)), g.GP64()
		g.MOVQ(operand.U32(4), step)
		g.TESTQ(p, p)
		g.CMOVQEQ(zero, step)
		g.CMOVQEQ(one, p)
		g.to(m.at, p)
		g.to(m.step, step)
	}
	d := g.from(g.field(argD))
	g.to(g.frame.d, d)

	// Streaming needs whole vectors at aligned places.
	mode, o := g.GP64(), g.from(g.frame.o)
	g.XORQ(mode, mode)
	decided := g.NewLabel("mode")
	g.CMPB(g.field(argAccumulate), operand.U8(0))
	streams := g.NewLabel("streams")
	g.JEQ(emit.Ref(streams))
	g.MOVQ(operand.U32(accumulate), mode)
	g.JMP(emit.Ref(decided))
	g.Label(streams)
	if vectors*g.vectorBytes()%64 == 0 {
		g.CMPB(g.field(argStream), operand.U8(0))
		g.JEQ(emit.Ref(decided))
		g.ORQ(g.frame.ldo, o)
		head := g.Bytes(g.field(argHeadO))
		g.ORQ(head, o)
		g.TESTQ(operand.U32(63), o)
		g.JNZ(emit.Ref(decided))
		g.MOVQ(operand.U32(stream), mode)
	}
	g.Label(decided)
	g.to(g.frame.mode, mode)
	if g.delta {
		g.startDelta(vectors)
	}
}

// advance goes on to the next panel, which does not prefetch again.
func (g *generator) advance(vectors int) {
	g.ADDQ(operand.I32(int32(vectors*g.vectorBytes())), g.frame.at)
	g.SUBQ(operand.I32(int32(vectors*g.Lanes)), g.frame.columns)
	off := g.GP64()
	g.MOVQ(operand.I32(-1), off)
	g.to(g.frame.ahead, off)
	dk := g.from(g.field(argDk))
	g.to(g.frame.segment, dk)
}

// tokens walks all tokens of a panel: whole blocks where no factor inside one is other than 1, else single tokens.
func (g *generator) tokens(b block, tail emit.Tail) {
	next, single, end := g.NewLabel("next"), g.NewLabel("single"), g.NewLabel("end")
	g.Label(next)
	left := g.from(g.frame.left)
	g.TESTQ(left, left)
	g.JLE(emit.Ref(end))
	for heads := 1; heads <= 1+len(b.shared); heads++ {
		others, tokens := g.NewLabel("others"), b.of(heads)
		g.CMPQ(g.field(argHeads), operand.U8(heads))
		g.JNE(emit.Ref(others))
		g.CMPQ(g.frame.left, operand.U8(tokens))
		g.JL(emit.Ref(single))
		decay, step := g.from(g.frame.decay), g.from(g.frame.decayStep)
		for range tokens - 1 {
			g.ADDQ(step, decay)
			g.CMPL(operand.Mem{Base: decay}, operand.U32(math.Float32bits(1)))
			g.JNE(emit.Ref(single))
		}
		g.block(tokens, heads, b.vectors, tail)
		g.JMP(emit.Ref(next))
		g.Label(others)
	}
	g.Label(single)
	g.oneToken(b, tail)
	g.JMP(emit.Ref(next))
	g.Label(end)
}
