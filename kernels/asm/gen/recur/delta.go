package main

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// tile.Delta begins with tile.Recur, so that what is written for the one serves the other.
var noDelta tile.Delta

const (
	argE    = int(unsafe.Offsetof(noDelta.E))
	argBeta = int(unsafe.Offsetof(noDelta.Beta))
	argC    = int(unsafe.Offsetof(noDelta.C))
)

// deltaRecur writes one kernel of the delta rules.
func (g *generator) deltaRecur(b block) {
	g.TileFunction(fmt.Sprintf("delta%dx%d", b.tokens, b.vectors*g.Lanes), "Delta",
		fmt.Sprintf("is the recurrence of tile.Delta in blocks of %d tokens against panels of %d state columns.", b.tokens, b.vectors*g.Lanes))
	g.locals()
	for _, m := range []*operand.Mem{&g.frame.e, &g.frame.beta, &g.frame.betaStep, &g.frame.c, &g.frame.pending, &g.frame.lds, &g.frame.singles, &g.frame.upcoming} {
		*m = g.AllocLocal(8)
	}
	wider := []decodePanel{{8, 0}, {4, 0}, {2, 0}}
	if !g.Wide() {
		// A decode step sweeps a panel twice, which is to stay in the first level in between.
		wider = []decodePanel{{4, 0}, {2, 0}}
	}
	g.walk(b, wider, g.deltaTokens)
}

// startDelta sets what a delta rule has besides to a panel's first token.
func (g *generator) startDelta(vectors int) {
	e, k := g.from(g.field(argE)), g.from(g.frame.k)
	g.TESTQ(e, e)
	g.CMOVQEQ(k, e)
	g.to(g.frame.e, e)
	beta, step, one, zero := g.from(g.field(argBeta)), g.GP64(), g.GP64(), g.GP64()
	g.LEAQ(g.one, one)
	g.XORQ(zero, zero)
	g.MOVQ(operand.U32(4), step)
	g.TESTQ(beta, beta)
	g.CMOVQEQ(zero, step)
	g.CMOVQEQ(one, beta)
	g.to(g.frame.beta, beta)
	g.to(g.frame.betaStep, step)
	g.to(g.frame.pending, zero)
	c := g.from(g.field(argC))
	g.to(g.frame.c, c)
	lds := g.Bytes(g.field(argLDS))
	g.to(g.frame.lds, lds)

	next, width := g.from(g.field(argDk)), g.GP64()
	g.IMULQ(lds, next)
	g.SUBQ(g.frame.at, next)
	g.MOVQ(operand.U32(uint32(vectors*g.vectorBytes())), width)
	g.CMPQ(g.frame.columns, operand.I32(int32(vectors*g.Lanes)))
	g.CMOVQGT(width, next)
	g.to(g.frame.upcoming, next)
}

// prefetchUpcoming asks for what follows a place of the state in the next panel.
func (g *generator) prefetchUpcoming(upcoming reg.GPVirtual, at operand.Mem) {
	at.Index, at.Scale = upcoming, 1
	g.PREFETCHT1(at)
}

// deltaTokens walks all tokens of a panel: whole blocks where they have records and no factor inside is other than 1, else
// their tokens one at a time.
func (g *generator) deltaTokens(b block, tail emit.Tail) {
	next, single, end := g.NewLabel("next"), g.NewLabel("single"), g.NewLabel("end")
	g.Label(next)
	for heads := 1; heads <= 1+len(b.shared); heads++ {
		others, apart, record, taken := g.NewLabel("others"), g.NewLabel("apart"), g.NewLabel("record"), g.NewLabel("taken")
		tokens := b.of(heads)
		g.CMPQ(g.field(argHeads), operand.U8(heads))
		g.JNE(emit.Ref(others))
		g.CMPQ(g.frame.left, operand.U8(tokens))
		g.JL(emit.Ref(apart))
		g.CMPQ(g.frame.c, operand.U8(0))
		g.JEQ(emit.Ref(apart))
		decay, step := g.from(g.frame.decay), g.from(g.frame.decayStep)
		for range tokens - 1 {
			g.ADDQ(step, decay)
			g.CMPL(operand.Mem{Base: decay}, operand.U32(math.Float32bits(1)))
			g.JNE(emit.Ref(apart))
		}
		r := g.allotDelta(tokens, heads, b.vectors, tail)
		g.deltaBlock(r, tokens, heads, tail)
		g.ADDQ(operand.U32(4*tile.Record(tokens, heads)), g.frame.c)
		g.JMP(emit.Ref(next))

		g.Label(apart)
		if r.fused {
			g.CMPQ(g.frame.pending, operand.U8(0))
			g.JEQ(emit.Ref(taken))
			g.take(r, g.frame.pending, tail)
			g.MOVQ(operand.U32(0), g.frame.pending)
			g.Label(taken)
		}
		g.MOVQ(operand.U32(uint32(tokens)), g.frame.singles)
		g.CMPQ(g.frame.c, operand.U8(0))
		g.JEQ(emit.Ref(record))
		g.ADDQ(operand.U32(4*tile.Record(tokens, heads)), g.frame.c)
		g.Label(record)
		g.JMP(emit.Ref(single))
		g.Label(others)
	}
	g.MOVQ(operand.U32(1), g.frame.singles)
	g.Label(single)
	g.CMPQ(g.frame.left, operand.U8(0))
	g.JLE(emit.Ref(end))
	g.oneToken(b, tail)
	g.DECQ(g.frame.singles)
	g.JNZ(emit.Ref(single))
	g.JMP(emit.Ref(next))
	g.Label(end)
}

// deltaRegisters are those of a block: an accumulator for each token's erase key beside those of its queries, and the tokens' updates.
// Where there are registers enough, a block's updates are kept while the next block sweeps the state, which then takes and reads them
// in one sweep (fused); else the state is swept again to take them.
type deltaRegisters struct {
	registers
	tokens int
	fused  bool
	erased [][]reg.VecPhysical
	u      [][]reg.VecPhysical
}

func (g *generator) allotDelta(tokens, heads, vectors int, tail emit.Tail) deltaRegisters {
	r := deltaRegisters{tokens: tokens, fused: g.Wide()}
	values := 0
	if r.fused {
		values = tokens
	}
	r.registers = g.allot(tokens*(1+heads), values, vectors, tail)
	r.erased, r.acc = r.acc[:tokens], r.acc[tokens:]
	if r.fused {
		r.u = r.value
		return r
	}
	// An update takes the registers of the sum before its own, which is of no use any more.
	r.u = append([][]reg.VecPhysical{r.s}, r.erased[:tokens-1]...)
	return r
}

// deltaBlock takes one block of tokens.
func (g *generator) deltaBlock(r deltaRegisters, tokens, heads int, tail emit.Tail) {
	for _, sums := range [][][]reg.VecPhysical{r.erased, r.acc} {
		for _, sum := range sums {
			for _, a := range sum {
				g.Zero(a)
			}
		}
	}
	g.readState(r, tokens, heads, tail)
	g.solve(r, heads, tail)
	g.output(r.registers, heads, tail)
	if r.fused {
		k := g.from(g.frame.k)
		g.to(g.frame.pending, k)
	} else {
		g.take(r, g.frame.k, tail)
	}
	g.skip(g.frame.q, g.frame.ldq, tokens)
	g.skip(g.frame.k, g.frame.ldk, tokens)
	g.skip(g.frame.e, g.frame.ldk, tokens)
	g.nextTokens(tokens)
}

// A rowKind says what a sweep does with a row of the state.
type rowKind struct{ take, decay, read bool }

// readState sweeps the panel: every state row takes the updates that are pending and the block's decay, and is read by the
// block's erase keys and queries.
func (g *generator) readState(r deltaRegisters, tokens, heads int, tail emit.Tail) {
	pending, e, s, ldk := g.from(g.frame.pending), g.from(g.frame.e), g.from(g.frame.s), g.from(g.frame.ldk)
	erase := g.rows(e, ldk, tokens)
	key := func(i, disp int) operand.Mem {
		m := erase(i, disp)
		m.Base = pending
		return m
	}
	query, moved := g.queries(tokens, heads)
	moved = append(moved, e)
	if r.fused {
		moved = append(moved, pending)
	}
	dk := g.from(g.field(argDk))
	g.to(g.frame.rows, dk)
	row := func(i int, kind rowKind, factor operand.Mem) {
		g.deltaRow(r, kind, s, tail, func(t int) operand.Mem { return key(t, 4*i) }, factor,
			func(t int) operand.Mem { return erase(t, 4*i) }, func(t, h int) operand.Mem { return query(t, h, 4*i) })
	}
	move := func(bytes int) {
		for _, p := range moved {
			g.ADDQ(operand.U8(bytes), p)
		}
	}
	segment, first, decays, rest := g.NewLabel("segment"), g.NewLabel("first"), g.NewLabel("decays"), g.NewLabel("rest")
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
	if r.fused {
		g.CMPQ(g.frame.pending, operand.U8(0))
		g.JEQ(emit.Ref(first))
	}
	decay := g.from(g.frame.decay)
	g.CMPL(operand.Mem{Base: decay}, operand.U32(math.Float32bits(1)))
	g.JNE(emit.Ref(decays))

	if r.fused && len(r.free) > len(r.s) {
		g.pipelined(r, s, count, tail, func(t, i int) operand.Mem { return key(t, 4*i) }, reads(r, func(t, i int) operand.Mem { return erase(t, 4*i) },
			func(t, h, i int) operand.Mem { return query(t, h, 4*i) }), move)
		g.JMP(emit.Ref(rest))
	} else {
		main := rowKind{take: r.fused, read: true}
		loop, odd := g.NewLabel("loop"), g.NewLabel("odd")
		const unroll = 2
		g.SUBQ(operand.U8(unroll), count)
		g.JL(emit.Ref(odd))
		g.Label(loop)
		for i := range unroll {
			row(i, main, operand.Mem{})
		}
		move(4 * unroll)
		g.SUBQ(operand.U8(unroll), count)
		g.JGE(emit.Ref(loop))
		g.Label(odd)
		g.ADDQ(operand.U8(unroll), count)
		g.JZ(emit.Ref(rest))
		row(0, main, operand.Mem{})
		move(4)
		g.JMP(emit.Ref(rest))
	}

	each := func(label string, kind rowKind) {
		g.Label(label)
		factor, step := g.rowFactors()
		done := g.GP64() // rows that were
		g.MOVQ(g.field(argDk), done)
		g.SUBQ(g.frame.rows, done)
		g.SUBQ(count, done)
		g.IMULQ(step, done)
		g.ADDQ(done, factor)
		g.TESTQ(count, count)
		g.JLE(emit.Ref(rest))
		loop := g.NewLabel("loop")
		g.Label(loop)
		row(0, kind, operand.Mem{Base: factor})
		g.ADDQ(step, factor)
		move(4)
		g.DECQ(count)
		g.JNZ(emit.Ref(loop))
	}
	each(decays, rowKind{take: r.fused, decay: true, read: true})
	if r.fused { // the first block of a panel, which takes a factor of 1 too
		g.JMP(emit.Ref(rest))
		each(first, rowKind{decay: true, read: true})
	}
	g.Label(rest)
	g.CMPQ(g.frame.rows, operand.U8(0))
	g.JG(emit.Ref(segment))
}

// A rowRead is something that a sweep reads each row of the state with, row i of it on from the sweep's place, and the sums that this goes to.
type rowRead struct {
	with func(i int) operand.Mem
	sum  []reg.VecPhysical
}

// reads lists the reads of a block: each token's erase key, and its queries.
func reads(r deltaRegisters, erase func(t, i int) operand.Mem, query func(t, h, i int) operand.Mem) (list []rowRead) {
	heads := len(r.acc) / r.tokens
	for t := range r.tokens {
		list = append(list, rowRead{func(i int) operand.Mem { return erase(t, i) }, r.erased[t]})
		for h := range heads {
			list = append(list, rowRead{func(i int) operand.Mem { return query(t, h, i) }, r.acc[t*heads+h]})
		}
	}
	return list
}

// pipelined sweeps count rows, at least one, that take the pending updates and are read. A row's updates wait for each other, four cycles each, so
// that those of the next row are taken between the reads of a row. On a core that does two FMA of 512 bits a cycle this makes the sweep
// half as fast again, with state rows in registers by turns.
func (g *generator) pipelined(r deltaRegisters, s, count reg.GPVirtual, tail emit.Tail, key func(t, i int) operand.Mem, reads []rowRead, move func(bytes int)) {
	rows := [2][]reg.VecPhysical{r.s, r.free[:len(r.s)]}
	broadcast := append([]reg.VecPhysical{r.k, r.q}, r.free[len(r.s):]...)
	next := 0
	add := func(m operand.Mem, each func(by reg.VecPhysical)) {
		by := broadcast[next%len(broadcast)]
		next++
		g.broadcast(m, by, len(r.s))
		each(by)
	}
	load := func(row []reg.VecPhysical) {
		for n, v := range row {
			tail.Load(operand.Mem{Base: s, Disp: n * r.bytes}, v)
		}
	}
	take := func(row []reg.VecPhysical, t, i int) {
		add(key(t, i), func(by reg.VecPhysical) {
			for n, v := range row {
				g.VFMADD231PS(r.u[t][n], by, v)
			}
		})
	}
	store := func(row []reg.VecPhysical) {
		for n, v := range row {
			tail.Store(v, operand.Mem{Base: s, Disp: n * r.bytes})
		}
		g.ADDQ(g.frame.lds, s)
	}
	read := func(row []reg.VecPhysical, x rowRead, i int) {
		add(x.with(i), func(by reg.VecPhysical) {
			for n, v := range row {
				g.VFMADD231PS(v, by, x.sum[n])
			}
		})
	}
	// step reads row i while row i+1 takes its updates.
	step := func(i int) {
		row, after := rows[i%2], rows[(i+1)%2]
		load(after)
		taken := 0
		for n, x := range reads {
			for ; taken*len(reads) <= n*len(r.u); taken++ {
				take(after, taken, i+1)
			}
			read(row, x, i)
		}
		for ; taken < len(r.u); taken++ {
			take(after, taken, i+1)
		}
		store(after)
	}
	loop, odd, last, end := g.NewLabel("loop"), g.NewLabel("odd"), g.NewLabel("last"), g.NewLabel("read")
	load(rows[0])
	for t := range r.u {
		take(rows[0], t, 0)
	}
	store(rows[0])
	const unroll = 2
	g.SUBQ(operand.U8(unroll+1), count)
	g.JL(emit.Ref(odd))
	g.Label(loop)
	step(0)
	step(1)
	move(4 * unroll)
	g.SUBQ(operand.U8(unroll), count)
	g.JGE(emit.Ref(loop))
	g.Label(odd)
	g.ADDQ(operand.U8(unroll), count)
	g.JZ(emit.Ref(last))
	step(0)
	for _, x := range reads {
		read(rows[1], x, 1)
	}
	move(4 * unroll)
	g.JMP(emit.Ref(end))
	g.Label(last)
	for _, x := range reads {
		read(rows[0], x, 0)
	}
	move(4)
	g.Label(end)
}

// rowFactors returns pointers to the next token's factor of each state row and the step from one row to the next.
func (g *generator) rowFactors() (at, step reg.GPVirtual) {
	at, step = g.from(g.frame.d), g.GP64()
	decay, scalar, keys := g.from(g.frame.decay), g.NewLabel("scalar"), g.NewLabel("keys")
	g.MOVQ(operand.U32(4), step)
	g.CMPL(operand.Mem{Base: decay}, operand.U32(math.Float32bits(1)))
	g.JEQ(emit.Ref(scalar))
	g.TESTQ(at, at)
	g.JNZ(emit.Ref(keys))
	g.Label(scalar)
	g.MOVQ(decay, at)
	g.XORQ(step, step)
	g.Label(keys)
	return at, step
}

// broadcast sets a vector to one number, for so many vectors of the state. A core that does two FMA of 512 bits a cycle (measured: Ice Lake) moves
// but one vector of that size between registers and the first level a cycle, or little more, and the FMA wait. Some numbers are therefore loaded alone and
// spread by the unit that does every other FMA, as many as balance the two: in L1 this takes 4 tokens by 32 columns from 138 to 156 GFLOP/s,
// and 2 by 64 from 151 to 169, where FMA alone reach 179.
func (g *generator) broadcast(m operand.Mem, to reg.VecPhysical, vectors int) {
	every := map[int]int{2: 4, 3: 9, 4: 3}[vectors]
	if g.broadcasts++; !g.Wide() || every == 0 || g.broadcasts%every > 0 {
		g.VBROADCASTSS(m, to)
		return
	}
	g.VMOVSS(m, to.AsX())
	g.VBROADCASTSS(to.AsX(), to)
}

// deltaRow writes one row of a sweep and goes on to the next.
func (g *generator) deltaRow(r deltaRegisters, kind rowKind, s reg.GPVirtual, tail emit.Tail,
	key func(t int) operand.Mem, factor operand.Mem, erase func(t int) operand.Mem, query func(t, h int) operand.Mem) {
	for n := range r.s {
		tail.Load(operand.Mem{Base: s, Disp: n * r.bytes}, r.s[n])
	}
	if kind.take {
		for t, u := range r.u {
			g.broadcast(key(t), r.k, len(r.s))
			for n := range r.s {
				g.VFMADD231PS(u[n], r.k, r.s[n])
			}
		}
	}
	if kind.decay {
		g.VBROADCASTSS(factor, r.q)
		for _, v := range r.s {
			g.VMULPS(v, r.q, v)
		}
	}
	if kind.take || kind.decay {
		for n := range r.s {
			tail.Store(r.s[n], operand.Mem{Base: s, Disp: n * r.bytes})
		}
	}
	if kind.read {
		heads := len(r.acc) / r.tokens
		for t := range r.tokens {
			g.broadcast(erase(t), r.k, len(r.s))
			for n := range r.s {
				g.VFMADD231PS(r.s[n], r.k, r.erased[t][n])
			}
			for h := range heads {
				g.broadcast(query(t, h), r.q, len(r.s))
				for n := range r.s {
					g.VFMADD231PS(r.s[n], r.q, r.acc[t*heads+h][n])
				}
			}
		}
	}
	g.ADDQ(g.frame.lds, s)
}

// take sweeps the panel for the updates of a block whose keys begin at a place.
func (g *generator) take(r deltaRegisters, keys operand.Mem, tail emit.Tail) {
	if !r.fused {
		r.s = r.erased[r.tokens-1]
	}
	k, s, ldk, left := g.from(keys), g.from(g.frame.s), g.from(g.frame.ldk), g.from(g.field(argDk))
	key := g.rows(k, ldk, r.tokens)
	loop, end := g.NewLabel("row"), g.NewLabel("rows")
	g.TESTQ(left, left)
	g.JLE(emit.Ref(end))
	g.Label(loop)
	g.deltaRow(r, rowKind{take: true}, s, tail, func(t int) operand.Mem { return key(t, 0) }, operand.Mem{}, nil, nil)
	g.ADDQ(operand.U8(4), k)
	g.DECQ(left)
	g.JNZ(emit.Ref(loop))
	g.Label(end)
}

// solve turns what a block has read into its updates, and adds what its queries read of these.
func (g *generator) solve(r deltaRegisters, heads int, tail emit.Tail) {
	c := g.from(g.frame.c)
	at := 0
	add := func(u, sum []reg.VecPhysical) {
		g.VBROADCASTSS(operand.Mem{Base: c, Disp: 4 * at}, r.k)
		for n := range sum {
			g.VFMADD231PS(u[n], r.k, sum[n])
		}
		at++
	}
	v, ldv := g.from(g.frame.v), g.from(g.frame.ldv)
	for i, u := range r.u {
		at = i*(i-1)/2 + heads*i*(i+1)/2
		for _, before := range r.u[:i] {
			add(before, r.erased[i])
		}
		g.update(r.registers, v, u, r.erased[i], tail)
		g.ADDQ(ldv, v)
	}
	g.to(g.frame.v, v)
	for i := range r.u {
		at = i*(i-1)/2 + heads*i*(i+1)/2 + i
		for h := range heads {
			for _, u := range r.u[:i+1] {
				add(u, r.acc[i*heads+h])
			}
		}
	}
}

// update sets u to the next token's factor times its value, less beta times what was read of the state, and goes on to the next factors.
func (g *generator) update(r registers, v reg.GPVirtual, u, erased []reg.VecPhysical, tail emit.Tail) {
	rowV, beta := g.from(g.frame.rowV), g.from(g.frame.beta)
	g.VBROADCASTSS(operand.Mem{Base: rowV}, r.q)
	g.VBROADCASTSS(operand.Mem{Base: beta}, r.k)
	for n := range u {
		tail.Load(operand.Mem{Base: v, Disp: n * r.bytes}, u[n])
		g.VMULPS(u[n], r.q, u[n])
		g.VFNMADD231PS(erased[n], r.k, u[n])
	}
	for _, m := range [][2]operand.Mem{{g.frame.rowV, g.frame.rowVStep}, {g.frame.beta, g.frame.betaStep}} {
		step := g.from(m[1])
		g.ADDQ(step, m[0])
	}
}

// maxSteps is how many tokens without records are walked as decode steps.
const maxSteps = 3

// decodeSteps walks the tokens of a panel as decode steps. A step reads the decayed state for its erase key and its query in one sweep over whole
// rows, the way they lie in memory, since
//
//	o = qᵀ(S + k uᵀ) = qᵀS + (k.q) u
//
// and takes its update in a second one, from the last row to the first: what was read last is still in the first level then. Where k.q is not
// finite, 0 as u would not stay 0, and the step reads the query after the update.
func (g *generator) decodeSteps(vectors int) {
	step, apart, next := g.NewLabel("step"), g.NewLabel("apart"), g.NewLabel("stepped")
	g.Label(step)
	free := g.Vec
	take := func(n int) []reg.VecPhysical {
		t := free[:n:n]
		free = free[n:]
		return t
	}
	var r registers
	r.bytes = g.vectorBytes()
	erased, acc, u := take(vectors), take(vectors), take(vectors)
	few := take(3)
	for n := range vectors {
		r.s = append(r.s, few[n%len(few)])
	}
	r.k, r.q, r.d, r.acc = take(1)[0], take(1)[0], take(1)[0], [][]reg.VecPhysical{acc}
	erase, product := take(1)[0], take(1)[0]
	for _, v := range append(append([]reg.VecPhysical{product}, erased...), acc...) {
		g.Zero(v)
	}

	k, q, e, s, left := g.from(g.frame.k), g.from(g.frame.q), g.from(g.frame.e), g.from(g.frame.s), g.from(g.field(argDk))
	factor, factorStep := g.rowFactors()
	lds := g.from(g.frame.lds)
	read, reads := g.NewLabel("read"), g.NewLabel("reads")
	g.TESTQ(left, left)
	g.JLE(emit.Ref(reads))
	g.Label(read)
	g.VBROADCASTSS(operand.Mem{Base: factor}, r.d)
	g.VBROADCASTSS(operand.Mem{Base: k}, r.k)
	g.VBROADCASTSS(operand.Mem{Base: q}, r.q)
	g.VBROADCASTSS(operand.Mem{Base: e}, erase)
	g.VFMADD231PS(r.k, r.q, product)
	g.VMULPS(r.d, r.q, r.q)
	g.VMULPS(r.d, erase, erase)
	for n, row := range r.s {
		at := operand.Mem{Base: s, Disp: n * r.bytes}
		g.PREFETCHT0(at.Offset(g.decodeAhead()))
		g.VMOVUPS(at, row)
		g.VFMADD231PS(row, erase, erased[n])
		g.VFMADD231PS(row, r.q, acc[n])
	}
	g.ADDQ(lds, s)
	for _, p := range []reg.GPVirtual{k, q, e} {
		g.ADDQ(operand.U8(4), p)
	}
	g.ADDQ(factorStep, factor)
	g.DECQ(left)
	g.JNZ(emit.Ref(read))
	g.Label(reads)
	g.VSUBSS(product.AsX(), product.AsX(), r.d.AsX())
	g.VUCOMISS(r.d.AsX(), r.d.AsX())
	g.JPS(emit.Ref(apart))

	v := g.from(g.frame.v)
	g.update(r, v, u, erased, g.Full())
	g.skip(g.frame.v, g.frame.ldv, 1)
	for n, a := range acc {
		g.VFMADD231PS(u[n], product, a)
	}
	g.output(r, 1, g.Full())

	g.MOVQ(g.field(argDk), left)
	write, written := g.NewLabel("write"), g.NewLabel("rows")
	g.TESTQ(left, left)
	g.JLE(emit.Ref(written))
	g.Label(write)
	g.SUBQ(lds, s)
	g.SUBQ(operand.U8(4), k)
	g.SUBQ(factorStep, factor)
	g.VBROADCASTSS(operand.Mem{Base: factor}, r.d)
	g.VBROADCASTSS(operand.Mem{Base: k}, r.k)
	for n, row := range r.s {
		at := operand.Mem{Base: s, Disp: n * r.bytes}
		g.VMULPS(at, r.d, row)
		g.VFMADD231PS(u[n], r.k, row)
		g.VMOVUPS(row, at)
	}
	g.DECQ(left)
	g.JNZ(emit.Ref(write))
	g.Label(written)
	g.skip(g.frame.e, g.frame.ldk, 1)
	g.finishToken()
	g.JMP(emit.Ref(next))

	g.Label(apart)
	start := map[operand.Mem]operand.Mem{g.frame.q: g.AllocLocal(8), g.frame.o: g.AllocLocal(8)}
	for _, m := range []operand.Mem{g.frame.q, g.frame.o} {
		p := g.from(m)
		g.to(start[m], p)
	}
	g.token(1, true, vectors, g.Full())
	for _, m := range []operand.Mem{g.frame.q, g.frame.o} {
		p := g.from(start[m])
		g.to(m, p)
	}
	g.skip(g.frame.o, g.frame.ldo, 1)
	g.finishToken()
	g.Label(next)
	g.CMPQ(g.frame.left, operand.U8(0))
	g.JG(emit.Ref(step))
}

// eraseValue is loadValues for one token of a delta rule: its update in place of its value. The accumulators of r are taken first.
func (g *generator) eraseValue(r registers, tail emit.Tail) {
	sum := r.acc[0]
	for _, a := range sum {
		g.Zero(a)
	}
	e, s, left := g.from(g.frame.e), g.from(g.frame.s), g.from(g.field(argDk))
	factor, step := g.rowFactors()
	var upcoming reg.GPVirtual
	if g.decoding {
		upcoming = g.from(g.frame.upcoming)
	}
	loop, end := g.NewLabel("erase"), g.NewLabel("erased")
	g.TESTQ(left, left)
	g.JLE(emit.Ref(end))
	g.Label(loop)
	g.VBROADCASTSS(operand.Mem{Base: e}, r.k)
	g.VBROADCASTSS(operand.Mem{Base: factor}, r.d)
	g.VMULPS(r.d, r.k, r.k)
	for n, s0 := range r.s {
		at := operand.Mem{Base: s, Disp: n * r.bytes}
		if g.decoding && n*r.bytes%128 == 0 {
			g.prefetchUpcoming(upcoming, at)
		}
		tail.Load(at, s0)
		g.VFMADD231PS(s0, r.k, sum[n])
	}
	g.ADDQ(g.frame.lds, s)
	g.ADDQ(operand.U8(4), e)
	g.ADDQ(step, factor)
	g.DECQ(left)
	g.JNZ(emit.Ref(loop))
	g.Label(end)
	g.skip(g.frame.e, g.frame.ldk, 1)

	v := g.from(g.frame.v)
	g.update(r, v, r.value[0], sum, tail)
	g.skip(g.frame.v, g.frame.ldv, 1)
}
