package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// dots writes NT for each register tile: each element of the tile has a vector
// of partial sums along k, which are added up at the end.
func (g *generator) dots(tiles []registerTile) {
	c := g.ctx
	for _, t := range tiles {
		name := fmt.Sprintf("productNT%dx%d%s", t.rows, t.cols, g.isa.suffix)
		g.function(name, "Product", fmt.Sprintf("%s is the NT product of tile.Product on register tiles of %d x %d:", name, t.rows, t.cols),
			"C = Beta C + diag(Row) (Mask . A Bᵀ), all or the lower triangle.")
		s := skipped{c.AllocLocal(8), c.AllocLocal(8)}
		thin, narrow, done := g.label("thin"), g.label("narrow"), g.label("done")
		row, col := c.GP64(), c.GP64()
		c.XORQ(row, row)
		c.CMPQ(g.field(offM), operand.U8(0))
		c.JLE(ref(done))
		c.CMPQ(g.field(offN), operand.U8(0))
		c.JLE(ref(done))
		c.CMPQ(g.field(offN), operand.I8(t.cols))
		c.JLT(ref(narrow))
		c.CMPQ(g.field(offM), operand.I8(t.rows))
		c.JLT(ref(thin))
		g.dotRows(t.rows, t.cols, row, col, s)
		c.JMP(ref(done))
		c.Label(thin)
		g.dotRows(1, t.cols, row, col, s)
		c.JMP(ref(done))
		c.Label(narrow)
		g.dotRows(1, 1, row, col, s)
		c.Label(done)
		g.done()
	}
}

// skipped are the numbers of a tile's first rows and columns that an earlier tile has
// computed already. They lie on the stack: only accumulation reads them.
type skipped struct{ rows, cols operand.Mem }

// dotRows writes the loops over the tiles of C, of mr x nr, with M >= mr and N >= nr. The
// last tile of a row or a column is moved back to end at the edge: it computes some elements again. Where C is not
// read they are written again, with the same values; accumulation leaves them out.
func (g *generator) dotRows(mr, nr int, row, col reg.GPVirtual, s skipped) {
	c := g.ctx
	if mr > 1 {
		c.MOVQ(operand.I32(0), s.rows)
	}
	rowLoop, inside, full := g.label("rows"), g.label("inside"), g.label("full")
	colLoop, colInside, zeros := g.label("cols"), g.label("inside"), g.label("zeros")
	c.Label(rowLoop)
	last := g.loadField(offM)
	c.SUBQ(operand.U8(mr), last)
	c.CMPQ(row, last)
	c.JLE(ref(inside))
	if mr > 1 {
		c.SUBQ(last, row)
		c.MOVQ(row, s.rows)
	}
	c.MOVQ(last, row)
	c.Label(inside)

	// Tiles wholly above the diagonal are not computed.
	limit := g.loadField(offN)
	c.CMPB(g.field(offLower), operand.U8(0))
	c.JEQ(ref(full))
	triangle := c.GP64()
	c.LEAQ(operand.Mem{Base: row, Disp: mr}, triangle)
	c.SUBQ(g.field(offStrict), triangle)
	c.CMPQ(triangle, limit)
	c.JGE(ref(full))
	c.MOVQ(triangle, limit)
	c.Label(full)

	if nr > 1 {
		c.MOVQ(operand.I32(0), s.cols)
	}
	c.XORQ(col, col)
	c.Label(colLoop)
	c.CMPQ(col, limit)
	c.JGE(ref(zeros))
	last = g.loadField(offN)
	c.SUBQ(operand.U8(nr), last)
	c.CMPQ(col, last)
	c.JLE(ref(colInside))
	if nr > 1 {
		c.SUBQ(last, col)
		c.MOVQ(col, s.cols)
	}
	c.MOVQ(last, col)
	c.Label(colInside)
	g.dot(mr, nr, row, col, s)
	c.ADDQ(operand.U8(nr), col)
	c.JMP(ref(colLoop))

	c.Label(zeros)
	g.zeros(mr, row, col)
	c.ADDQ(operand.U8(mr), row)
	c.CMPQ(row, g.field(offM))
	c.JLT(ref(rowLoop))
}

// zeros writes zeros into mr rows of C from column col on, or nothing if C is accumulated to.
func (g *generator) zeros(mr int, row, col reg.Register) {
	c := g.ctx
	end := g.label("next")
	left := g.loadField(offN)
	c.SUBQ(col, left)
	c.JLE(ref(end))
	g.testBeta()
	c.JNE(ref(end))
	ld := g.leadingDimension(offLDC)
	out := g.rows(g.element(offC, ld, row, col), ld, mr)
	zero := g.isa.vec[0]
	g.zero(zero)
	fill := func(floats int, write func(operand.Mem)) {
		again, done := g.label("zero"), g.label("zeroed")
		c.Label(again)
		c.CMPQ(left, operand.U8(floats))
		c.JLT(ref(done))
		for i := range mr {
			write(out.At(i, 0))
		}
		out.Advance(4 * floats)
		c.SUBQ(operand.U8(floats), left)
		c.JMP(ref(again))
		c.Label(done)
	}
	fill(g.isa.lanes, func(m operand.Mem) { c.VMOVUPS(zero, m) })
	if g.isa == avx2 { // masked stores are slow on AMD
		fill(4, func(m operand.Mem) { c.VMOVUPS(zero.AsX(), m) })
		fill(1, func(m operand.Mem) { c.VMOVSS(zero.AsX(), m) })
	} else {
		g.setTail(left)
		for i := range mr {
			g.store(zero, out.At(i, 0), true)
		}
	}
	c.Label(end)
}

// dot writes one register tile of NT at (row, col).
func (g *generator) dot(mr, nr int, row, col reg.GPVirtual, s skipped) {
	c := g.ctx
	vec, lanes := g.isa.vec, g.isa.lanes
	acc := func(i, j int) reg.VecPhysical { return vec[i*nr+j] }

	c.Commentf("%d x %d dot products", mr, nr)
	lda := g.leadingDimension(offLDA)
	a := g.rows(g.element(offA, lda, row, nil), lda, mr)
	ldb := g.leadingDimension(offLDB)
	b := g.rows(g.element(offB, ldb, col, nil), ldb, nr)
	k := g.loadField(offK)
	for i := range mr * nr {
		g.zero(vec[i])
	}

	// One vector step of k. The shorter side is held in registers, the longer one streams by.
	step := func(u int, masked bool) {
		free := vec[mr*nr:]
		hold := mr
		outer, inner := a, b
		n := nr
		sum := acc
		if nr < mr {
			hold, n, outer, inner = nr, mr, b, a
			sum = func(i, j int) reg.VecPhysical { return acc(j, i) }
		}
		if masked && g.isa == avx2 {
			// The mask takes a register, so the shorter side is not held.
			for i := range hold {
				g.load(outer.At(i, 4*lanes*u), free[0], true)
				for j := range n {
					g.load(inner.At(j, 4*lanes*u), free[1], true)
					c.VFMADD231PS(free[0], free[1], sum(i, j))
				}
			}
			return
		}
		for i := range hold {
			g.load(outer.At(i, 4*lanes*u), free[i], masked)
		}
		stream := free[hold:min(len(free), hold+4)]
		for j := range n {
			t := stream[j%len(stream)]
			g.load(inner.At(j, 4*lanes*u), t, masked)
			for i := range hold {
				c.VFMADD231PS(free[i], t, sum(i, j))
			}
		}
	}
	loop := func(unroll int) {
		again, done := g.label("steps"), g.label("rest")
		c.SUBQ(operand.I32(unroll*lanes), k)
		c.JLT(ref(done))
		c.Label(again)
		for u := range unroll {
			step(u, false)
		}
		a.Advance(4 * lanes * unroll)
		b.Advance(4 * lanes * unroll)
		c.SUBQ(operand.I32(unroll*lanes), k)
		c.JGE(ref(again))
		c.Label(done)
		c.ADDQ(operand.I32(unroll*lanes), k)
	}
	if mr > 1 {
		loop(2)
	}
	loop(1)
	sum := g.label("sum")
	c.TESTQ(k, k)
	c.JEQ(ref(sum))
	g.setTail(k)
	step(0, true)
	c.Label(sum)
	results := g.reduce(mr, nr, acc)

	ldm := g.leadingDimension(offLDM)
	plain := g.label("unmasked")
	c.CMPQ(g.field(offMask), operand.U8(0))
	c.JEQ(ref(plain))
	mask := g.rows(g.element(offMask, ldm, row, col), ldm, mr)
	t := vec[13].AsX()
	for i, r := range results {
		c.VMULPS(g.few(mask.At(i, 0), nr, t), r, r)
	}
	c.Label(plain)

	unscaled := g.label("unscaled")
	scale := g.loadField(offRow)
	c.TESTQ(scale, scale)
	c.JEQ(ref(unscaled))
	for i, r := range results {
		t := narrowed(vec[13], nr)
		c.VBROADCASTSS(operand.Mem{Base: scale, Index: row, Scale: 4, Disp: 4 * i}, t)
		c.VMULPS(t, r, r)
	}
	c.Label(unscaled)

	ldc := g.leadingDimension(offLDC)
	out := g.rows(g.element(offC, ldc, row, col), ldc, mr)
	write, below, end := g.label("write"), g.label("below"), g.label("end")
	g.testBeta()
	c.JEQ(ref(write))
	g.accumulate(mr, nr, row, col, s, results, out, below)
	c.JMP(ref(end))
	c.Label(write)

	// On the diagonal, row i keeps its first row+i-Strict-col+1 columns.
	c.CMPB(g.field(offLower), operand.U8(0))
	c.JEQ(ref(below))
	keep := g.kept(row, col)
	c.CMPQ(keep, operand.U8(nr))
	c.JGE(ref(below))
	ones := g.leadingOnes(keep, nr)
	for i, r := range results {
		c.VANDPS(ones(i), r, r)
	}
	c.Label(below)
	for i, r := range results {
		switch nr {
		case 1:
			c.VMOVSS(r, out.At(i, 0))
		case 3:
			c.VMOVLPS(r, out.At(i, 0))
			c.VEXTRACTPS(operand.U8(2), r, out.At(i, 8))
		default:
			c.VMOVUPS(r, out.At(i, 0))
		}
	}
	c.Label(end)
}

// accumulate adds Beta C to a tile's results. A whole tile then goes to the label whole, to be
// stored; of any other, the elements that are new and not above the diagonal are stored here.
func (g *generator) accumulate(mr, nr int, row, col reg.GPVirtual, s skipped, results []reg.Register, out emit.Rows, whole string) {
	c := g.ctx
	beta, old := narrowed(g.isa.vec[13], nr), narrowed(g.isa.vec[14], nr)
	mask, done := narrowed(g.isa.vec[15], nr), narrowed(g.isa.vec[12], nr)
	c.VBROADCASTSS(g.field(offBeta), beta)
	part, all := g.label("part"), g.label("all")
	keep := c.GP64()
	c.MOVQ(operand.I32(nr), keep)
	c.CMPB(g.field(offLower), operand.U8(0))
	c.JEQ(ref(all))
	c.MOVQ(g.kept(row, col), keep)
	c.CMPQ(keep, operand.U8(nr))
	c.JLT(ref(part))
	c.Label(all)
	if mr > 1 {
		c.CMPQ(s.rows, operand.U8(0))
		c.JNE(ref(part))
	}
	if nr > 1 {
		c.CMPQ(s.cols, operand.U8(0))
		c.JNE(ref(part))
	}
	for i, r := range results {
		c.VFMADD231PS(g.few(out.At(i, 0), nr, old), beta, r)
	}
	c.JMP(ref(whole))

	c.Label(part)
	ones := g.leadingOnes(keep, nr)
	if nr > 1 {
		n, table := c.GP64(), c.GP64()
		c.LEAQ(g.leading, table)
		c.MOVQ(s.cols, n)
		c.NEGQ(n)
		c.VMOVUPS(operand.Mem{Base: table, Index: n, Scale: 4, Disp: 32}, done)
	}
	for i, r := range results {
		next := g.label("row")
		if i < mr-1 { // the last row is always new
			c.CMPQ(s.rows, operand.U8(i))
			c.JGT(ref(next))
		}
		if nr > 1 {
			c.VANDNPS(ones(i), done, mask)
		} else {
			c.VMOVUPS(ones(i), mask)
		}
		c.VMASKMOVPS(out.At(i, 0), mask, old)
		c.VFMADD231PS(old, beta, r)
		c.VMASKMOVPS(r, mask, out.At(i, 0))
		c.Label(next)
	}
}

// kept returns a new register with the number of columns that the first row of a tile
// on the diagonal keeps; each row after it keeps one more. It may be less than none or more than all.
func (g *generator) kept(row, col reg.Register) reg.GPVirtual {
	c := g.ctx
	keep := c.GP64()
	c.LEAQ(operand.Mem{Base: row, Disp: 1}, keep)
	c.SUBQ(g.field(offStrict), keep)
	c.SUBQ(col, keep)
	return keep
}

// leadingOnes returns a function that gives the vector of keep+i leading ones, at least 0 and at most nr.
func (g *generator) leadingOnes(keep reg.Register, nr int) func(i int) operand.Mem {
	c := g.ctx
	table, zero, most := c.GP64(), c.GP64(), c.GP64()
	c.LEAQ(g.leading, table)
	c.XORQ(zero, zero)
	c.MOVQ(operand.I32(nr), most)
	return func(i int) operand.Mem {
		n := c.GP64()
		c.LEAQ(operand.Mem{Base: keep, Disp: i}, n)
		c.CMPQ(n, zero)
		c.CMOVQLT(zero, n)
		c.CMPQ(n, most)
		c.CMOVQGT(most, n)
		c.NEGQ(n)
		return operand.Mem{Base: table, Index: n, Scale: 4, Disp: 32}
	}
}

// narrowed is the part of a vector register that holds a row of a tile of NT.
func narrowed(r reg.VecPhysical, nr int) reg.Register {
	if nr == 8 {
		return r.AsY()
	}
	return r.AsX()
}

// few is a row of nr floats in memory as an operand that reads no more: the memory itself where it fills
// a vector, else t with the row loaded.
func (g *generator) few(m operand.Mem, nr int, t reg.Register) operand.Op {
	c := g.ctx
	switch nr {
	case 1:
		c.VMOVSS(m, t)
	case 3:
		c.VMOVSD(m, t)
		third := m
		third.Disp += 8
		c.VINSERTPS(operand.U8(0x20), third, t, t)
	default:
		return m
	}
	return t
}

// reduce adds up the partial sums of a tile. It returns a register for each row with the row's
// sums in its first lanes.
func (g *generator) reduce(mr, nr int, acc func(i, j int) reg.VecPhysical) []reg.Register {
	c := g.ctx
	t := g.isa.vec[mr*nr]
	// Four vectors into one that has, in each 128-bit lane, a partial sum of each of the four.
	var quads []reg.VecPhysical
	add := func(d, e, f, h reg.VecPhysical) {
		c.VUNPCKLPS(e, d, t)
		c.VUNPCKHPS(e, d, d)
		c.VADDPS(t, d, d)
		if f != d {
			c.VUNPCKLPS(h, f, t)
			c.VUNPCKHPS(h, f, f)
			c.VADDPS(t, f, f)
		}
		c.VUNPCKLPD(f, d, t)
		c.VUNPCKHPD(f, d, d)
		c.VADDPS(t, d, d)
		quads = append(quads, d)
	}
	for i := range mr {
		switch nr {
		case 1:
			add(acc(i, 0), acc(i, 0), acc(i, 0), acc(i, 0))
		case 3:
			add(acc(i, 0), acc(i, 1), acc(i, 2), acc(i, 2))
		default:
			for j := 0; j < nr; j += 4 {
				add(acc(i, j), acc(i, j+1), acc(i, j+2), acc(i, j+3))
			}
		}
	}

	results := make([]reg.Register, mr)
	if g.isa == avx2 {
		for i, q := range quads {
			c.VEXTRACTF128(operand.U8(1), q, t.AsX())
			c.VADDPS(t.AsX(), q.AsX(), q.AsX())
			results[i] = q.AsX()
		}
		return results
	}

	// Two vectors into one: half as many lanes of each, added in pairs.
	halve := func(d, e reg.VecPhysical) {
		c.VSHUFF32X4(operand.U8(0x88), e, d, t)
		c.VSHUFF32X4(operand.U8(0xdd), e, d, d)
		c.VADDPS(t, d, d)
	}
	for first := 0; first < len(quads); first += 4 {
		q := quads[first:min(first+4, len(quads))]
		if len(q) == 1 {
			q = append(q[:1:1], q[0])
		}
		halve(q[0], q[1])
		switch len(q) {
		case 2:
			halve(q[0], q[0])
		case 3:
			halve(q[2], q[2])
			halve(q[0], q[2])
		case 4:
			halve(q[2], q[3])
			halve(q[0], q[2])
		}
		// Lane i of q[0] now has quad first+i.
		for i := range q {
			row := (first + i) / max(1, nr/4)
			if row >= mr || nr == 8 && i%2 == 1 {
				continue
			}
			r := g.isa.vec[1+row]
			if nr == 8 {
				c.VEXTRACTF32X8(operand.U8(i/2), q[0], r.AsY())
				results[row] = r.AsY()
			} else {
				c.VEXTRACTF32X4(operand.U8(i), q[0], r.AsX())
				results[row] = r.AsX()
			}
		}
	}
	return results
}
