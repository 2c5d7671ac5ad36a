package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// registers of a sweep: an accumulator for each token (or head) and vector, the state's vectors, one or two
// broadcasts, and value rows as far as there are registers for them.
type registers struct {
	acc     [][]reg.VecPhysical
	s       []reg.VecPhysical
	k, q, d reg.VecPhysical
	value   [][]reg.VecPhysical // nil for the rows that are spilled
	spilled operand.Mem
	bytes   int               // of a vector
	free    []reg.VecPhysical // not given out
}

// allot gives out the vector registers. With AVX2 the last one holds a tail's mask.
// If the vectors of the state are many, they share a few registers and are taken one after the other.
func (g *generator) allot(outputs, values, vectors int, tail emit.Tail) registers {
	free := g.Vec
	if !g.Wide() && tail.Mask() != nil {
		free = free[:len(free)-1]
	}
	take := func(n int) []reg.VecPhysical {
		t := free[:n:n]
		free = free[n:]
		return t
	}
	r := registers{bytes: g.vectorBytes()}
	for range outputs {
		r.acc = append(r.acc, take(vectors))
	}
	few := take(min(vectors, 4))
	for n := range vectors {
		r.s = append(r.s, few[n%len(few)])
	}
	r.k, r.q = take(1)[0], take(1)[0]
	r.d = r.q
	if outputs == 1 {
		r.d = take(1)[0]
	}
	r.value = make([][]reg.VecPhysical, values)
	spills := 0
	for i := range r.value {
		if len(free) >= vectors {
			r.value[i] = take(vectors)
		} else {
			spills++
		}
	}
	if spills > 0 {
		if g.frame.spill.Base == nil {
			g.frame.spill = g.AllocLocal(maxSpill)
		}
		if values*vectors*r.bytes > maxSpill {
			panic("too many value rows to spill")
		}
		r.spilled = g.frame.spill
	}
	r.free = free
	return r
}

// maxSpill is the room for value rows in the frame.
const maxSpill = 512

// place is where a spilled value vector lies.
func (r registers) place(i, n int) operand.Mem {
	return r.spilled.Offset((i*len(r.s) + n) * r.bytes)
}

// loadValues reads the value rows of the next tokens and scales them. It leaves the first vectors of r.s changed.
func (g *generator) loadValues(r registers, tail emit.Tail) {
	v, ldv, row, step := g.from(g.frame.v), g.from(g.frame.ldv), g.from(g.frame.rowV), g.from(g.frame.rowVStep)
	for i, value := range r.value {
		g.VBROADCASTSS(operand.Mem{Base: row}, r.k)
		g.ADDQ(step, row)
		for n := range r.s {
			to := r.s[n]
			if value != nil {
				to = value[n]
			}
			tail.Load(operand.Mem{Base: v, Disp: n * r.bytes}, to)
			g.VMULPS(to, r.k, to)
			if value == nil {
				g.VMOVUPS(to, r.place(i, n))
			}
		}
		g.ADDQ(ldv, v)
	}
	g.to(g.frame.v, v)
	g.to(g.frame.rowV, row)
}

// addValue is s += k value.
func (g *generator) addValue(r registers, i, n int) {
	if r.value[i] != nil {
		g.VFMADD231PS(r.value[i][n], r.k, r.s[n])
		return
	}
	g.VFMADD231PS(r.place(i, n), r.k, r.s[n])
}

// rows returns operands for some rows from base on that are stride apart, making the registers that these need.
func (g *generator) rows(base, stride reg.GPVirtual, count int) func(i, disp int) operand.Mem {
	var three, five, seven reg.GPVirtual
	if count > 3 {
		three = g.GP64()
		g.LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, three)
	}
	if count > 5 {
		five = g.GP64()
		g.LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 4}, five)
	}
	if count > 7 {
		seven = g.GP64()
		g.LEAQ(operand.Mem{Base: three, Index: stride, Scale: 4}, seven)
	}
	return func(i, disp int) operand.Mem {
		m := operand.Mem{Base: base, Disp: disp}
		switch i {
		case 0:
		case 1, 2, 4:
			m.Index, m.Scale = stride, uint8(i)
		case 3:
			m.Index, m.Scale = three, 1
		case 5:
			m.Index, m.Scale = five, 1
		case 6:
			m.Index, m.Scale = three, 2
		case 7:
			m.Index, m.Scale = seven, 1
		default:
			panic("more rows than a block has")
		}
		return m
	}
}

// decayOf returns pointers to the factors of the state's rows at the next token and the step from one row to the next.
func (g *generator) decayOf() (at, step reg.GPVirtual) {
	at, step = g.from(g.frame.d), g.GP64()
	keys := g.NewLabel("keys")
	g.MOVQ(operand.U32(4), step)
	g.TESTQ(at, at)
	g.JNZ(emit.Ref(keys))
	g.MOVQ(g.frame.decay, at)
	g.XORQ(step, step)
	g.Label(keys)
	return at, step
}

// block is one sweep of the panel for a block of tokens: every state row is read once, takes every token's update and is
// read by the token's queries on the way, and is written once.
func (g *generator) block(tokens, heads, vectors int, tail emit.Tail) {
	r := g.allot(tokens*heads, tokens, vectors, tail)
	g.loadValues(r, tail)
	for _, acc := range r.acc {
		for _, a := range acc {
			g.Zero(a)
		}
	}
	k, s := g.from(g.frame.k), g.from(g.frame.s)
	ldk, lds := g.from(g.frame.ldk), g.Bytes(g.field(argLDS))
	query, moved := g.queries(tokens, heads)
	key := g.rows(k, ldk, tokens)
	dk := g.from(g.field(argDk))
	g.to(g.frame.rows, dk)

	row := func(i int, factor operand.Mem) {
		at := operand.Mem{Base: s}
		if i == 1 {
			at.Index, at.Scale = lds, 1
		}
		for n := range r.s {
			tail.Load(at.Offset(n*r.bytes), r.s[n])
		}
		if factor.Base != nil {
			g.VBROADCASTSS(factor, r.q)
			for _, v := range r.s {
				g.VMULPS(v, r.q, v)
			}
		}
		for t := range tokens {
			g.VBROADCASTSS(key(t, 4*i), r.k)
			for n := range r.s {
				g.addValue(r, t, n)
			}
			for h := range heads {
				g.VBROADCASTSS(query(t, h, 4*i), r.q)
				for n := range r.s {
					g.VFMADD231PS(r.s[n], r.q, r.acc[t*heads+h][n])
				}
			}
		}
		for n := range r.s {
			tail.Store(r.s[n], at.Offset(n*r.bytes))
		}
	}

	const unroll = 2
	move := func(bytes int) {
		for _, p := range append(moved, k) {
			g.ADDQ(operand.U8(bytes), p)
		}
	}
	segment, decays, rows, next, loop, odd := g.NewLabel("segment"), g.NewLabel("decays"), g.NewLabel("rows"), g.NewLabel("rest"), g.NewLabel("loop"), g.NewLabel("odd")
	ahead := g.GP64()
	g.LEAQ(g.field(argPrefetch), ahead)
	g.to(g.frame.prefetch, ahead)
	g.Label(segment)
	g.prefetch(tokens)
	count, left := g.GP64(), g.GP64()
	g.MOVQ(g.frame.segment, count)
	g.MOVQ(g.frame.rows, left)
	g.CMPQ(left, count)
	g.CMOVQLT(left, count)
	g.SUBQ(count, left)
	g.to(g.frame.rows, left)
	first := g.from(g.frame.decay)
	g.CMPL(operand.Mem{Base: first}, operand.U32(math.Float32bits(1)))
	g.JEQ(emit.Ref(rows))

	g.Label(decays) // a factor at the block's first token
	factor, step := g.decayOf()
	done := g.GP64() // rows that were
	g.MOVQ(g.field(argDk), done)
	g.SUBQ(left, done)
	g.SUBQ(count, done)
	g.IMULQ(step, done)
	g.ADDQ(done, factor)
	g.SUBQ(operand.U8(unroll), count)
	g.JL(emit.Ref(odd + "d"))
	g.Label(loop + "d")
	row(0, operand.Mem{Base: factor})
	row(1, operand.Mem{Base: factor, Index: step, Scale: 1})
	g.LEAQ(operand.Mem{Base: factor, Index: step, Scale: 2}, factor)
	g.LEAQ(operand.Mem{Base: s, Index: lds, Scale: 2}, s)
	move(4 * unroll)
	g.SUBQ(operand.U8(unroll), count)
	g.JGE(emit.Ref(loop + "d"))
	g.Label(odd + "d")
	g.ADDQ(operand.U8(unroll), count)
	g.JZ(emit.Ref(next))
	row(0, operand.Mem{Base: factor})
	g.ADDQ(lds, s)
	move(4)
	g.JMP(emit.Ref(next))

	g.Label(rows)
	g.SUBQ(operand.U8(unroll), count)
	g.JL(emit.Ref(odd))
	g.Label(loop)
	row(0, operand.Mem{})
	row(1, operand.Mem{})
	g.LEAQ(operand.Mem{Base: s, Index: lds, Scale: 2}, s)
	move(4 * unroll)
	g.SUBQ(operand.U8(unroll), count)
	g.JGE(emit.Ref(loop))
	g.Label(odd)
	g.ADDQ(operand.U8(unroll), count)
	g.JZ(emit.Ref(next))
	row(0, operand.Mem{})
	g.ADDQ(lds, s)
	move(4)
	g.Label(next)
	g.CMPQ(g.frame.rows, operand.U8(0))
	g.JG(emit.Ref(segment))

	g.output(r, heads, tail)
	g.skip(g.frame.q, g.frame.ldq, tokens)
	g.skip(g.frame.k, g.frame.ldk, tokens)
	g.nextTokens(tokens)
}

// queries returns operands for the query rows of a block, and the pointers that go on from one state row to the next.
func (g *generator) queries(tokens, heads int) (query func(t, h, disp int) operand.Mem, moved []reg.GPVirtual) {
	q, ldq := g.from(g.frame.q), g.from(g.frame.ldq)
	if heads == 1 {
		row := g.rows(q, ldq, tokens)
		return func(t, _, disp int) operand.Mem { return row(t, disp) }, []reg.GPVirtual{q}
	}
	head := g.Bytes(g.field(argHeadQ))
	var rows []func(h, disp int) operand.Mem
	first := g.rows(q, head, heads)
	for t := range tokens {
		p := q
		if t > 0 {
			p = g.GP64()
			g.LEAQ(operand.Mem{Base: moved[t-1], Index: ldq, Scale: 1}, p)
		}
		moved = append(moved, p)
		rows = append(rows, func(h, disp int) operand.Mem {
			m := first(h, disp)
			m.Base = p
			return m
		})
	}
	return func(t, h, disp int) operand.Mem { return rows[t](h, disp) }, moved
}

// skip advances a row pointer.
func (g *generator) skip(at, stride operand.Mem, tokens int) {
	ld := g.from(stride)
	if tokens > 1 {
		g.IMUL3Q(operand.U32(uint32(tokens)), ld, ld)
	}
	g.ADDQ(ld, at)
}

// nextTokens advances what goes by walk order.
func (g *generator) nextTokens(tokens int) {
	g.skip(g.frame.decay, g.frame.decayStep, tokens)
	d, ldd, end := g.from(g.frame.d), g.Bytes(g.field(argLDD)), g.NewLabel("noD")
	g.TESTQ(d, d)
	g.JZ(emit.Ref(end))
	if tokens > 1 {
		g.IMUL3Q(operand.U32(uint32(tokens)), ldd, ldd)
	}
	g.ADDQ(ldd, d)
	g.to(g.frame.d, d)
	g.Label(end)
	g.SUBQ(operand.U8(tokens), g.frame.left)
	ahead, off := g.from(g.frame.ahead), g.NewLabel("off")
	g.TESTQ(ahead, ahead)
	g.JL(emit.Ref(off))
	g.ADDQ(operand.U8(tokens), ahead)
	g.to(g.frame.ahead, ahead)
	g.Label(off)
}

// output scales the accumulators and writes them as the rows of the next tokens' heads. The output pointer goes on by as many tokens.
func (g *generator) output(r registers, heads int, tail emit.Tail) {
	row, step := g.from(g.frame.rowO), g.from(g.frame.rowOStep)
	for _, acc := range r.acc {
		g.VBROADCASTSS(operand.Mem{Base: row}, r.k)
		g.ADDQ(step, row)
		for _, a := range acc {
			g.VMULPS(a, r.k, a)
		}
	}
	g.to(g.frame.rowO, row)
	adds, streams, end := g.NewLabel("adds"), g.NewLabel("streams"), g.NewLabel("written")
	mode := g.from(g.frame.mode)
	g.CMPQ(mode, operand.U8(accumulate))
	g.JEQ(emit.Ref(adds))
	whole := tail.Mask() == nil
	if whole {
		g.CMPQ(mode, operand.U8(stream))
		g.JEQ(emit.Ref(streams))
	}
	each := func(write func(a reg.VecPhysical, m operand.Mem)) {
		token, ldo := g.from(g.frame.o), g.from(g.frame.ldo)
		o := g.GP64()
		for i, acc := range r.acc {
			if i%heads == 0 {
				g.MOVQ(token, o)
				g.ADDQ(ldo, token)
			}
			for n, a := range acc {
				write(a, operand.Mem{Base: o, Disp: n * r.bytes})
			}
			if (i+1)%heads != 0 {
				head := g.Bytes(g.field(argHeadO))
				g.ADDQ(head, o)
			}
		}
		g.to(g.frame.o, token)
	}
	each(func(a reg.VecPhysical, m operand.Mem) { tail.Store(a, m) })
	g.JMP(emit.Ref(end))
	if whole {
		g.Label(streams)
		each(func(a reg.VecPhysical, m operand.Mem) { g.VMOVNTPS(a, m) })
		g.JMP(emit.Ref(end))
	}
	g.Label(adds)
	each(func(a reg.VecPhysical, m operand.Mem) {
		tail.Load(m, r.k)
		g.VADDPS(a, r.k, r.k)
		tail.Store(r.k, m)
	})
	g.Label(end)
}

// prefetch asks for the lines of the next tokens' rows in one block of rows, and goes on to the next such block.
func (g *generator) prefetch(tokens int) {
	end, loop := g.NewLabel("fetched"), g.NewLabel("fetch")
	rows := g.from(g.frame.prefetch)
	g.ADDQ(operand.U8(prefetchSize), g.frame.prefetch)
	token := g.from(g.frame.ahead)
	g.TESTQ(token, token)
	g.JL(emit.Ref(end))
	lines, ld := g.GP64(), g.GP64()
	g.MOVQ(operand.Mem{Base: rows, Disp: prefetchLines}, lines)
	g.TESTQ(lines, lines)
	g.JLE(emit.Ref(end))
	g.MOVQ(operand.Mem{Base: rows, Disp: prefetchLD}, ld)
	g.SHLQ(operand.U8(2), ld)
	g.IMULQ(ld, token)
	g.ADDQ(operand.Mem{Base: rows, Disp: prefetchRows}, token)
	g.Label(loop)
	line := g.GP64()
	g.MOVQ(token, line)
	for range tokens {
		g.PREFETCHT1(operand.Mem{Base: line})
		g.ADDQ(ld, line)
	}
	g.ADDQ(operand.U8(64), token)
	g.DECQ(lines)
	g.JNZ(emit.Ref(loop))
	g.Label(end)
}
