package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// oneToken walks one token: its update with the first heads' reading, then the other heads.
func (g *generator) oneToken(b block, tail emit.Tail) {
	heads := g.from(g.field(argHeads))
	g.to(g.frame.heads, heads)
	q, o := g.from(g.frame.q), g.from(g.frame.o)
	startQ, startO := g.AllocLocal(8), g.AllocLocal(8)
	g.to(startQ, q)
	g.to(startO, o)
	end := g.NewLabel("token")
	for _, update := range []bool{true, false} {
		more := g.NewLabel("heads")
		g.Label(more)
		if !update {
			g.CMPQ(g.frame.heads, operand.U8(0))
			g.JLE(emit.Ref(end))
		}
		sized := make([]string, maxHeads+1)
		for n := 1; n < maxHeads; n++ {
			sized[n] = g.NewLabel("heads")
			g.CMPQ(g.frame.heads, operand.U8(n))
			if n == 1 {
				g.JLE(emit.Ref(sized[n])) // no head at all is not asked for
			} else {
				g.JEQ(emit.Ref(sized[n]))
			}
		}
		out := g.NewLabel("out")
		for n := maxHeads; n > 0; n-- {
			if n < maxHeads {
				g.Label(sized[n])
			}
			g.token(n, update, b.vectors, tail)
			if n > 1 {
				g.JMP(emit.Ref(out))
			}
		}
		g.Label(out)
		if !update {
			g.JMP(emit.Ref(more))
		}
	}
	g.Label(end)
	g.MOVQ(startQ, q)
	g.MOVQ(startO, o)
	g.to(g.frame.q, q)
	g.to(g.frame.o, o)
	g.skip(g.frame.o, g.frame.ldo, 1)
	g.finishToken()
}

// finishToken goes on to the next token.
func (g *generator) finishToken() {
	g.skip(g.frame.q, g.frame.ldq, 1)
	g.skip(g.frame.k, g.frame.ldk, 1)
	g.nextTokens(1)
}

// token sweeps the panel for some heads of one token: the update first if it is asked for, then each head's reading. Query and output
// pointers go on by as many heads, and the value's by one token if the state is updated.
func (g *generator) token(heads int, update bool, vectors int, tail emit.Tail) {
	values := 0
	if update {
		values = 1
	}
	r := g.allot(heads, values, vectors, tail)
	switch {
	case update && g.delta:
		g.eraseValue(r, tail)
	case update:
		g.loadValues(r, tail)
	}
	for _, acc := range r.acc {
		for _, a := range acc {
			g.Zero(a)
		}
	}
	q, k, s := g.from(g.frame.q), g.from(g.frame.k), g.from(g.frame.s)
	head, lds, left := g.Bytes(g.field(argHeadQ)), g.Bytes(g.field(argLDS)), g.from(g.field(argDk))
	query := g.rows(q, head, heads)
	var factor, step reg.GPVirtual
	if update {
		factor, step = g.decayOf()
		one, decay, decayed := g.GP64(), g.from(g.frame.decay), g.NewLabel("decayed")
		g.CMPL(operand.Mem{Base: decay}, operand.U32(math.Float32bits(1)))
		g.JNE(emit.Ref(decayed))
		g.LEAQ(g.one, one)
		g.MOVQ(one, factor)
		g.XORQ(step, step)
		g.Label(decayed)
	}
	var upcoming reg.GPVirtual
	if g.decoding && g.delta {
		upcoming = g.from(g.frame.upcoming)
	}
	loop, end := g.NewLabel("row"), g.NewLabel("rows")
	g.TESTQ(left, left)
	g.JLE(emit.Ref(end))
	g.Label(loop)
	if update {
		g.VBROADCASTSS(operand.Mem{Base: factor}, r.d)
		g.ADDQ(step, factor)
		g.VBROADCASTSS(operand.Mem{Base: k}, r.k)
	}
	if heads == 1 {
		g.VBROADCASTSS(query(0, 0), r.q)
	}
	for n, s0 := range r.s {
		at := operand.Mem{Base: s, Disp: n * r.bytes}
		switch line := n * r.bytes / 64; {
		case n*r.bytes%64 != 0:
		case g.decoding && !g.delta:
			g.PREFETCHT0(at.Offset(g.decodeAhead()))
		case g.decoding && line%2 == 1:
			g.prefetchUpcoming(upcoming, at)
		}
		tail.Load(at, s0)
		if update {
			g.VMULPS(s0, r.d, s0)
			g.addValue(r, 0, n)
			tail.Store(s0, at)
		}
		if heads == 1 {
			g.VFMADD231PS(s0, r.q, r.acc[0][n])
		}
	}
	if heads > 1 {
		for h, acc := range r.acc {
			g.VBROADCASTSS(query(h, 0), r.q)
			for n := range r.s {
				g.VFMADD231PS(r.s[n], r.q, acc[n])
			}
		}
	}
	g.ADDQ(lds, s)
	g.ADDQ(operand.U8(4), q)
	g.ADDQ(operand.U8(4), k)
	g.DECQ(left)
	g.JNZ(emit.Ref(loop))
	g.Label(end)

	o, headO := g.from(g.frame.o), g.Bytes(g.field(argHeadO))
	g.output(r, heads, tail)
	for range heads {
		g.ADDQ(headO, o)
	}
	g.to(g.frame.o, o)
	g.MOVQ(g.frame.q, q)
	for range heads {
		g.ADDQ(head, q)
	}
	g.to(g.frame.q, q)
	g.SUBQ(operand.U8(heads), g.frame.heads)
}

// decodeAhead is how far ahead, in bytes, a decode step prefetches the state. With AVX2 a step takes half rows of 128 columns, and the more
// rows ahead the better from memory (5.8 ms with 1 KiB, 4.4 ms with 8 KiB for 64 MiB); with AVX-512 it made no difference.
func (g *generator) decodeAhead() int {
	if g.Wide() {
		return 1024
	}
	return 8192
}
