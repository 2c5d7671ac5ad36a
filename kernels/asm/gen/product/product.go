package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// A form says which product a function computes.
type form int

const (
	formNN         form = iota // C = Beta C + diag(Row) A B
	formTN                     // C = Beta C + diag(Row) Aᵀ B
	formSolve                  // X = R - L X, block by block
	formSubstitute             // X = R - L Y with Y = diag(Row) X
	formTransposed             // X = R - Lᵀ Y, from the last row up
)

// products writes NN and TN for each register tile.
func (g *generator) products(tiles []registerTile) {
	g.tables()
	for _, t := range tiles {
		name := fmt.Sprintf("productNN%dx%d%s", t.rows, t.cols, g.isa.suffix)
		g.function(name, "Product", fmt.Sprintf("%s is the NN product of tile.Product on register tiles of %d x %d:", name, t.rows, t.cols),
			"C = Beta C + diag(Row) A B.")
		g.panels(formNN, t)
		g.done()

		name = fmt.Sprintf("productTN%dx%d%s", t.rows, t.cols, g.isa.suffix)
		g.function(name, "Product", fmt.Sprintf("%s is the TN product of tile.Product on register tiles of %d x %d:", name, t.rows, t.cols),
			"C = Beta C + diag(Row) Aᵀ B.")
		g.panels(formTN, t)
		g.done()
	}
}

// solve writes the triangular solve.
func (g *generator) solve(t registerTile) {
	name := "solve" + g.isa.suffix
	g.function(name, "Solve", fmt.Sprintf("%s is the substitution of tile.Solve in blocks of %d rows and panels of %d columns:", name, t.rows, t.cols),
		"the rows above are subtracted as a product, then the block's own triangle is",
		"substituted in registers.")
	g.panels(formSolve, t)
	g.done()
}

// panels writes the loops over the tiles of C: column panels outermost, so that
// a panel of B stays in the first-level cache while all rows use it, then rows. A
// panel as wide as the tile has no masks; what is left is done in half panels
// where the tile is wide, then in single vectors, the last with a mask. Rows left
// over are done in blocks of 4, 2 and 1.
func (g *generator) panels(f form, t registerTile) {
	c := g.ctx
	m, n := g.at.m, g.at.n
	switch f {
	case formSolve:
		m, n = offSolveN, offSolveW
	case formSubstitute, formTransposed:
		m, n = offSubstituteN, offSubstituteW
	}
	vectors := t.cols / g.isa.lanes
	widths := []int{vectors}
	if vectors >= 4 {
		widths = append(widths, vectors/2)
	}
	if g.isa == avx2 {
		widths = append(widths, 1) // without a mask: masked stores are slow on AMD
	}
	widths = append(widths, 1)
	row, col := c.GP64(), c.GP64()
	c.XORQ(col, col)
	for i, v := range widths {
		masked := i == len(widths)-1
		panel, next := g.label("panel"), g.label("narrower")
		c.Label(panel)
		left := g.loadField(n)
		c.SUBQ(col, left)
		if masked {
			c.JLE(ref(next))
			full := g.label("masked")
			c.CMPQ(left, operand.I32(g.isa.lanes))
			c.JLE(ref(full))
			c.MOVQ(operand.I32(g.isa.lanes), left)
			c.Label(full)
			g.setTail(left)
		} else {
			c.CMPQ(left, operand.I32(v*g.isa.lanes))
			c.JLT(ref(next))
		}
		if f == formTransposed {
			c.MOVQ(g.field(m), row)
		} else {
			c.XORQ(row, row)
		}
		for _, mr := range heights(t.rows, v) {
			block, fewer := g.label("rows"), g.label("fewer")
			c.Label(block)
			if f == formTransposed {
				c.CMPQ(row, operand.I32(mr))
				c.JLT(ref(fewer))
				c.SUBQ(operand.U8(mr), row)
				g.substituteBlock(f, mr, v, masked, row, col)
				c.JMP(ref(block))
				c.Label(fewer)
				continue
			}
			left := g.loadField(m)
			c.SUBQ(row, left)
			c.CMPQ(left, operand.I32(mr))
			c.JLT(ref(fewer))
			if f == formSubstitute {
				g.substituteBlock(f, mr, v, masked, row, col)
			} else {
				g.block(f, mr, v, v == vectors, mr == t.rows && v == vectors, masked, row, col)
			}
			c.ADDQ(operand.I32(mr), row)
			c.JMP(ref(block))
			c.Label(fewer)
		}
		c.ADDQ(operand.I32(v*g.isa.lanes), col)
		c.JMP(ref(panel))
		c.Label(next)
	}
}

// heights returns the rows of the blocks in a panel of v vectors, largest first. One
// vector wide, a tile takes 8 rows or more, to have enough sums in flight.
func heights(rows, v int) []int {
	if v == 1 {
		rows = max(rows, 8)
	}
	h := []int{rows}
	for _, mr := range []int{4, 2, 1} {
		if mr < rows {
			h = append(h, mr)
		}
	}
	return h
}

// block writes one register tile: mr rows by v vectors of C at (row, col). whole says that it has all columns of the form's tile, main that it has
// all rows too.
func (g *generator) block(f form, mr, v int, whole, main, masked bool, row, col reg.Register) {
	c := g.ctx
	vec := g.isa.vec
	acc := func(i, j int) reg.VecPhysical { return vec[i*v+j] }
	b := func(j int) reg.VecPhysical { return vec[mr*v+j] }
	free := vec[mr*v+v:]
	if masked && g.isa == avx2 {
		free = free[:len(free)-1] // the last register holds the mask
	}
	bytes := g.isa.lanes * 4

	c.Commentf("%d rows x %d vectors", mr, v)
	if f != formSolve && whole {
		g.prefetchAhead(mr, row, col)
	}
	// The addresses of A's rows (NN: along k; TN: one row of A a step) and of B's.
	var a emit.Rows
	var lda, k reg.GPVirtual
	switch f {
	case formNN:
		lda = g.leadingDimension(g.at.lda)
		a = g.rows(g.element(g.at.a, lda, row, nil), lda, mr)
		k = g.loadField(g.at.k)
		all := g.label("full")
		c.CMPB(g.field(g.at.lower), operand.U8(0))
		c.JEQ(ref(all))
		// Columns of A beyond this tile's diagonal are zeros.
		triangle := c.GP64()
		c.LEAQ(operand.Mem{Base: row, Disp: mr}, triangle)
		if g.pairs {
			c.INCQ(triangle)
			c.SHRQ(operand.U8(1), triangle)
			c.ADDQ(g.field(offPairLead), triangle)
		}
		c.CMPQ(triangle, k)
		c.JGE(ref(all))
		c.MOVQ(triangle, k)
		c.Label(all)
	case formTN:
		lda = g.leadingDimension(g.at.lda)
		a = g.rows(g.element(g.at.a, nil, nil, row), lda, 1)
		k = g.loadField(g.at.k)
	case formSolve:
		lda = g.leadingDimension(offSolveLDL)
		a = g.rows(g.element(offSolveL, lda, row, nil), lda, mr)
		k = c.GP64()
		c.MOVQ(row, k)
	}
	atB, atLDB := g.at.b, g.at.ldb
	if f == formSolve {
		atB, atLDB = offSolveX, offSolveLDX
	}
	bp := g.element(atB, nil, nil, col)
	ldb := g.leadingDimension(atLDB)

	if f == formSolve {
		x := g.rows(g.element(offSolveX, ldb, row, col), ldb, mr)
		for i := range mr {
			for j := range v {
				g.load(x.At(i, j*bytes), acc(i, j), masked)
			}
		}
	} else {
		for i := range mr {
			for j := range v {
				g.zero(acc(i, j))
			}
		}
	}

	// One step of k: load a row of B, then broadcast each value of A's column.
	step := func(u int) {
		for j := range v {
			g.load(operand.Mem{Base: bp, Disp: j * bytes}, b(j), masked)
		}
		for i := range mr {
			value := operand.Mem{}
			if f == formTN {
				value = a.At(0, 4*i)
			} else {
				value = a.At(i, 4*u)
			}
			g.multiply(value, v, func(j int) reg.VecPhysical { return b(j) }, func(j int) reg.VecPhysical { return acc(i, j) },
				free[i%min(len(free), 4)], f == formSolve)
		}
		c.ADDQ(ldb, bp)
	}
	unroll := 1
	if main {
		unroll = 4
	}
	loop := func(u int) {
		for i := range u {
			step(i)
			if f == formTN {
				a.Down()
			}
		}
		if f != formTN {
			a.Advance(4 * u)
		}
	}
	end := g.label("store")
	if unroll > 1 {
		rest, again := g.label("rest"), g.label("steps")
		c.SUBQ(operand.U8(unroll), k)
		c.JLT(ref(rest))
		c.Label(again)
		loop(unroll)
		c.SUBQ(operand.U8(unroll), k)
		c.JGE(ref(again))
		c.Label(rest)
		c.ADDQ(operand.U8(unroll), k)
		c.JEQ(ref(end))
	} else {
		c.TESTQ(k, k)
		c.JEQ(ref(end))
	}
	again := g.label("step")
	c.Label(again)
	loop(1)
	c.DECQ(k)
	c.JNE(ref(again))
	c.Label(end)

	if f == formSolve {
		// The block's own triangle: row r is final once the rows above it are subtracted.
		for r := range mr {
			for i := r + 1; i < mr; i++ {
				g.multiply(a.At(i, 4*r), v, func(j int) reg.VecPhysical { return acc(r, j) }, func(j int) reg.VecPhysical { return acc(i, j) },
					free[i%min(len(free), 4)], true)
			}
		}
		ldx := g.leadingDimension(offSolveLDX)
		x := g.rows(g.element(offSolveX, ldx, row, col), ldx, mr)
		for i := range mr {
			for j := range v {
				g.store(acc(i, j), x.At(i, j*bytes), masked)
			}
		}
		return
	}
	plain := g.label("unscaled")
	scale := g.loadField(g.at.row)
	c.TESTQ(scale, scale)
	c.JEQ(ref(plain))
	for i := range mr {
		s := vec[mr*v+i%(v+1)]
		c.VBROADCASTSS(operand.Mem{Base: scale, Index: row, Scale: 4, Disp: 4 * i}, s)
		for j := range v {
			c.VMULPS(acc(i, j), s, acc(i, j))
		}
	}
	c.Label(plain)
	ldc := g.leadingDimension(g.at.ldc)
	at := g.element(g.at.c, ldc, row, col) // of C's rows
	write := g.label("write")
	g.testBeta()
	c.JEQ(ref(write))
	s := b(0)
	c.VBROADCASTSS(g.field(g.at.beta), s)
	from := c.GP64()
	c.MOVQ(at, from)
	if g.at.from > 0 {
		own := g.label("own")
		other := g.loadField(g.at.from)
		c.TESTQ(other, other)
		c.JEQ(ref(own))
		c.SUBQ(g.field(g.at.c), from)
		c.ADDQ(other, from)
		c.Label(own)
	}
	read := g.rows(from, ldc, mr)
	for i := range mr {
		for j := range v {
			at := read.At(i, j*bytes)
			switch {
			case !masked:
				c.VFMADD231PS(at, s, acc(i, j))
			default:
				old := free[i%len(free)]
				g.load(at, old, true)
				c.VFMADD231PS(old, s, acc(i, j))
			}
		}
	}
	c.Label(write)
	out := g.rows(at, ldc, mr)
	done := g.label("stored")
	if g.pairs && !masked {
		plain := g.label("cached")
		c.CMPB(g.field(offPairStream), operand.U8(0))
		c.JEQ(ref(plain))
		for i := range mr {
			for j := range v {
				c.VMOVNTPS(acc(i, j), out.At(i, j*bytes))
			}
		}
		c.JMP(ref(done))
		c.Label(plain)
	}
	for i := range mr {
		for j := range v {
			g.store(acc(i, j), out.At(i, j*bytes), masked)
		}
	}
	if g.pairs && !masked {
		c.Label(done)
	}
}

// testBeta sets the zero flag if Beta is 0 or -0, which both leave C unread.
func (g *generator) testBeta() {
	beta := g.ctx.GP32()
	g.ctx.MOVL(g.field(g.at.beta), beta)
	g.ctx.ADDL(beta, beta) // drops the sign
}

// multiply adds value*b to v accumulators, or subtracts it.
func (g *generator) multiply(value operand.Mem, v int, b, acc func(j int) reg.VecPhysical, t reg.VecPhysical, subtract bool) {
	c := g.ctx
	if g.pairs {
		c.VBROADCASTSS(value, t)
		for j := range v {
			emit.VDPBF16PS(c, b(j), t, acc(j))
		}
		return
	}
	if v == 1 && g.isa == avx512 {
		if subtract {
			c.VFNMADD231PS_BCST(value, b(0), acc(0))
		} else {
			c.VFMADD231PS_BCST(value, b(0), acc(0))
		}
		return
	}
	c.VBROADCASTSS(value, t)
	for j := range v {
		if subtract {
			c.VFNMADD231PS(b(j), t, acc(j))
		} else {
			c.VFMADD231PS(b(j), t, acc(j))
		}
	}
}
