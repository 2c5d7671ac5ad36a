package main

import (
	"fmt"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// productFields are where the arguments of a product lie.
type productFields struct{ a, b, c, row, lda, ldb, ldc, m, n, k, beta, lower, from int } // from: 0 where there is none

var (
	floatFields = productFields{
		a: int(unsafe.Offsetof(tile.Product{}.A)), b: int(unsafe.Offsetof(tile.Product{}.B)), c: int(unsafe.Offsetof(tile.Product{}.C)),
		row: int(unsafe.Offsetof(tile.Product{}.Row)), lda: int(unsafe.Offsetof(tile.Product{}.LDA)), ldb: int(unsafe.Offsetof(tile.Product{}.LDB)),
		ldc: int(unsafe.Offsetof(tile.Product{}.LDC)), m: int(unsafe.Offsetof(tile.Product{}.M)), n: int(unsafe.Offsetof(tile.Product{}.N)),
		k: int(unsafe.Offsetof(tile.Product{}.K)), beta: int(unsafe.Offsetof(tile.Product{}.Beta)), lower: int(unsafe.Offsetof(tile.Product{}.Lower)),
		from: int(unsafe.Offsetof(tile.Product{}.From)),
	}
	pairFields = productFields{
		a: int(unsafe.Offsetof(tile.PairProduct{}.A)), b: int(unsafe.Offsetof(tile.PairProduct{}.B)), c: int(unsafe.Offsetof(tile.PairProduct{}.C)),
		row: int(unsafe.Offsetof(tile.PairProduct{}.Row)), lda: int(unsafe.Offsetof(tile.PairProduct{}.LDA)), ldb: int(unsafe.Offsetof(tile.PairProduct{}.LDB)),
		ldc: int(unsafe.Offsetof(tile.PairProduct{}.LDC)), m: int(unsafe.Offsetof(tile.PairProduct{}.M)), n: int(unsafe.Offsetof(tile.PairProduct{}.N)),
		k: int(unsafe.Offsetof(tile.PairProduct{}.K)), beta: int(unsafe.Offsetof(tile.PairProduct{}.Beta)), lower: int(unsafe.Offsetof(tile.PairProduct{}.Lower)),
	}
)

const (
	pairLead = int(unsafe.Offsetof(tile.PairProduct{}.Lead))

	productMask   = int(unsafe.Offsetof(tile.Product{}.Mask))
	productLDM    = int(unsafe.Offsetof(tile.Product{}.LDM))
	productStrict = int(unsafe.Offsetof(tile.Product{}.Strict))

	solveL   = int(unsafe.Offsetof(tile.Solve{}.L))
	solveX   = int(unsafe.Offsetof(tile.Solve{}.X))
	solveLDL = int(unsafe.Offsetof(tile.Solve{}.LDL))
	solveLDX = int(unsafe.Offsetof(tile.Solve{}.LDX))
	solveN   = int(unsafe.Offsetof(tile.Solve{}.N))
	solveW   = int(unsafe.Offsetof(tile.Solve{}.W))
)

// A registerTile is how many rows and columns are summed up in registers.
type registerTile struct{ rows, cols int }

// A form is what a walk over tiles computes.
type form int

const (
	formNN form = iota
	formTN
	formSolve // as NN, but subtracting from what is there, and with a triangle at the end
	formSubstitute
	formTransposed // from the last row up
)

// The registers of the products. A's rows, or the one row of TN that is being read, are from aRow on.
const (
	aRow     R = 1 // to 8
	bRow     R = 9
	bStep    R = 10
	depth    R = 11
	tileRow  R = 12
	tileCol  R = 13
	aStep    R = 14
	cRow     R = 15
	cStep    R = 16
	scratch  R = 17
	scratch2 R = 19
	factors  R = 20
)

// product writes NN or TN on a register tile.
func (f *file) product(form form, t registerTile) { f.multiply("product", "Product", form, t) }

// pairProduct writes NN or TN of bfloat16 pairs on a register tile: a pair is as wide as a float, and an element of A as many bytes, so that
// the walk is that of product with another instruction for each step: BFDOT, or with matrix BFMMLA for rows two by two.
func (f *file) pairProduct(form form, t registerTile, matrix bool) {
	f.at, f.pairs, f.matrix = pairFields, true, matrix
	f.multiply("pair", "PairProduct", form, t)
	f.at, f.pairs, f.matrix = floatFields, false, false
}

// multiply writes a product of NN or TN with arguments of a type of package tile.
func (f *file) multiply(name, argument string, form form, t registerTile) {
	kind, what := "NN", "A B"
	if form == formTN {
		kind, what = "TN", "Aᵀ B"
	}
	f.tileFunction(fmt.Sprintf("%s%s%dx%dNEON", name, kind, t.rows, t.cols), argument,
		fmt.Sprintf("is the %s product of tile.%s on register tiles of %d x %d:", kind, argument, t.rows, t.cols), "C = Beta C + diag(Row) "+what+".")
	f.walk(form, t, f.at.m, f.at.n)
	f.label("done")
	f.ins("RET")
}

// solve writes the substitution in blocks of rows.
func (f *file) solve(t registerTile) {
	f.tileFunction("solveNEON", "Solve", fmt.Sprintf("is the substitution of tile.Solve in blocks of %d rows and panels of %d columns:", t.rows, t.cols),
		"the rows above are subtracted as a product, then the block's own triangle is", "substituted in registers.")
	f.walk(formSolve, t, solveN, solveW)
	f.label("done")
	f.ins("RET")
}

// walk goes over panels of columns and, in each, over blocks of rows: B's panel stays in the first-level cache.
func (f *file) walk(form form, t registerTile, rows, cols int) {
	f.ins("MOVD ZR, %v", tileCol)
	for _, w := range widths(t.cols / 4) {
		panel, next := f.newLabel("panel"), f.newLabel("narrower")
		f.label(panel)
		f.get(cols, scratch)
		f.ins("SUB %v, %v, %v", tileCol, scratch, scratch)
		f.ins("CMP $%d, %v", w.columns(), scratch)
		f.ins("BLT %s", next)
		if form == formTransposed {
			f.get(rows, tileRow)
		} else {
			f.ins("MOVD ZR, %v", tileRow)
		}
		for _, mr := range heights(t.rows, w) {
			block, fewer := f.newLabel("rows"), f.newLabel("fewer")
			f.label(block)
			if form == formTransposed {
				f.ins("CMP $%d, %v", mr, tileRow)
				f.ins("BLT %s", fewer)
				f.ins("SUB $%d, %v, %v", mr, tileRow, tileRow)
				f.substituteBlock(form, mr, w)
				f.ins("B %s", block)
				f.label(fewer)
				continue
			}
			f.get(rows, scratch)
			f.ins("SUB %v, %v, %v", tileRow, scratch, scratch)
			f.ins("CMP $%d, %v", mr, scratch)
			f.ins("BLT %s", fewer)
			if form == formSubstitute {
				f.substituteBlock(form, mr, w)
			} else {
				f.block(form, mr, w, w.columns() == t.cols)
			}
			f.ins("ADD $%d, %v, %v", mr, tileRow, tileRow)
			f.ins("B %s", block)
			f.label(fewer)
		}
		f.ins("ADD $%d, %v, %v", w.columns(), tileCol, tileCol)
		f.ins("B %s", panel)
		f.label(next)
	}
}

// heights returns the rows of the blocks in a panel, largest first. One vector wide, a tile takes 8 rows, to
// have enough sums in flight.
func heights(rows int, w width) []int {
	switch {
	case w.lanes < 4:
		return []int{4, 1}
	case w.vectors == 1:
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

// A block is one register tile: its sums, registers for A and registers for B.
type block struct {
	form    form
	rows    int
	width   width
	acc     [][]V
	a, b    []V
	aRows   []R
	quarter bool // A is read four k at a time
	matrix  bool // sums are matrices of 2 x 2
}

// block writes one register tile of C at (tileRow, tileCol).
//
// Multiplication by an element needs no broadcast. A's rows lie along k in NN: where registers are left for a
// vector of each row, one load serves four steps; else each step loads a float of each row. In TN a step's row of A
// lies in one or two vectors.
func (f *file) block(form form, mr int, w width, whole bool) {
	t := block{form: form, rows: mr, width: w, matrix: f.matrix && mr%2 == 0 && w.lanes == 4}
	used := 0
	take := func(n int) []V {
		v := span(used, n)
		used += n
		return v
	}
	for range mr {
		t.acc = append(t.acc, take(w.vectors))
	}
	free := 32 - used
	switch {
	case t.matrix:
		t.a = take(mr / 2)
	case form == formTN:
		t.a = take((mr + 3) / 4)
	case whole && free >= mr+min(2, w.vectors):
		t.quarter = true
		t.a = take(mr)
	default: // one at a time
		t.a = take(min(mr, free-w.vectors, 8))
	}
	if t.matrix {
		t.b = take(3)
	} else {
		t.b = take(min(w.vectors, 32-used))
	}
	if t.quarter && len(t.b) < w.vectors && len(t.b)%2 == 1 {
		t.b = t.b[:len(t.b)-1] // pairs
	}

	f.comment("%d rows x %d columns", mr, w.columns())
	switch form {
	case formNN:
		f.get(f.at.k, depth)
		all := f.newLabel("full")
		f.ins("MOVBU %d(%v), %v", f.at.lower, p, scratch)
		f.ins("CBZ %v, %s", scratch, all)
		// Columns of A beyond this tile's diagonal are zeros.
		if f.pairs {
			f.ins("ADD $%d, %v, %v", mr-1, tileRow, scratch)
			f.get(pairLead, scratch2)
			f.ins("ADD %v>>1, %v, %v", scratch, scratch2, scratch)
			f.ins("ADD $1, %v, %v", scratch, scratch)
		} else {
			f.ins("ADD $%d, %v, %v", mr, tileRow, scratch)
		}
		f.ins("CMP %v, %v", depth, scratch)
		f.ins("CSEL LT, %v, %v, %v", scratch, depth, depth)
		f.label(all)
		f.element(f.at.a, f.at.lda, tileRow, 0, aRow, aStep)
	case formTN:
		f.get(f.at.k, depth)
		f.getBytes(f.at.lda, aStep)
		f.get(f.at.a, aRow)
		f.ins("ADD %v<<2, %v, %v", tileRow, aRow, aRow)
	case formSolve:
		f.ins("MOVD %v, %v", tileRow, depth)
		f.element(solveL, solveLDL, tileRow, 0, aRow, aStep)
	}
	t.aRows = []R{aRow}
	if form != formTN {
		for i := 1; i < mr; i++ {
			t.aRows = append(t.aRows, aRow+R(i))
		}
		f.pointers(t.aRows, aStep)
	}
	b, ldb := f.at.b, f.at.ldb
	if form == formSolve {
		b, ldb = solveX, solveLDX
	}
	f.getBytes(ldb, bStep)
	f.get(b, bRow)
	f.ins("ADD %v<<2, %v, %v", tileCol, bRow, bRow)

	if form == formSolve {
		f.element(solveX, solveLDX, tileRow, tileCol, cRow, cStep)
		for i, row := range t.acc {
			f.load(w, row, cRow, 0)
			if i < mr-1 {
				f.ins("ADD %v, %v, %v", cStep, cRow, cRow)
			}
		}
	} else {
		for _, row := range t.acc {
			f.zero(row...)
		}
	}

	if t.matrix {
		f.matrixSum(t)
		f.finish(t)
		return
	}
	end := f.newLabel("store")
	if whole {
		unrolled := 2
		if t.quarter {
			unrolled = 4
		}
		rest, again := f.newLabel("rest"), f.newLabel("steps")
		f.ins("SUBS $%d, %v, %v", unrolled, depth, depth)
		f.ins("BLT %s", rest)
		f.label(again)
		if t.quarter {
			for i, v := range t.a {
				f.loadNext(4, v, t.aRows[i])
			}
		}
		for u := range unrolled {
			f.step(t, u)
		}
		f.ins("SUBS $%d, %v, %v", unrolled, depth, depth)
		f.ins("BGE %s", again)
		f.label(rest)
		f.ins("ADDS $%d, %v, %v", unrolled, depth, depth)
		f.ins("BEQ %s", end)
	} else {
		f.ins("CBZ %v, %s", depth, end)
	}
	again := f.newLabel("step")
	f.label(again)
	if t.quarter {
		for i, v := range t.a {
			f.loadNext(1, v, t.aRows[i])
		}
	}
	f.step(t, 0)
	f.ins("SUBS $1, %v, %v", depth, depth)
	f.ins("BNE %s", again)
	f.label(end)
	if form == formSolve {
		f.triangle(t)
		return
	}
	f.finish(t)
}

// step adds one k to the sums: a row of B times a column of A. With quarter set, A is in registers already, and k is
// their element u.
func (f *file) step(t block, u int) {
	if t.form == formTN {
		for i, v := range t.a {
			n := min(4, t.rows-4*i)
			if n == 3 {
				panic("no load of three floats")
			}
			f.ins("%s %d(%v), %s", move(n), 16*i, aRow, v.F())
		}
		f.ins("ADD %v, %v, %v", aStep, aRow, aRow)
	}
	for j := 0; j < t.width.vectors; j += len(t.b) {
		b := t.b[:min(len(t.b), t.width.vectors-j)]
		f.load(t.width, b, bRow, 16*j)
		for i := range t.rows {
			a, index := t.a[i%len(t.a)], uint(u)
			switch {
			case t.form == formTN:
				a, index = t.a[i/4], uint(i%4)
			case !t.quarter:
				index = 0
				f.loadNext(1, a, t.aRows[i])
			}
			for c, v := range b {
				switch {
				case f.pairs:
					f.word(bfdotElement(t.acc[i][j+c], v, a, index))
				case t.form == formSolve:
					f.word(fmlsElement(t.acc[i][j+c], v, a, index))
				default:
					f.word(fmlaElement(t.acc[i][j+c], v, a, index))
				}
			}
		}
	}
	f.ins("ADD %v, %v, %v", bStep, bRow, bRow)
}

// triangle substitutes within a block: row r is final once the rows above it are subtracted. A's rows
// are at the diagonal now, and C's row is the last one.
func (f *file) triangle(t block) {
	n := 0
	for r := range t.rows {
		for i := r + 1; i < t.rows; i++ {
			a := t.a[n%len(t.a)]
			n++
			f.ins("FMOVS %d(%v), %s", 4*r, t.aRows[i], a.F())
			for j := range t.width.vectors {
				f.word(fmlsElement(t.acc[i][j], t.acc[r][j], a, 0))
			}
		}
	}
	for i := t.rows - 1; i >= 0; i-- {
		f.store(t.width, t.acc[i], cRow, 0)
		if i > 0 {
			f.ins("SUB %v, %v, %v", cStep, cRow, cRow)
		}
	}
}

// finish scales the sums of a tile and stores them.
func (f *file) finish(t block) {
	free := span(t.rows*t.width.vectors, 32-t.rows*t.width.vectors)
	plain := f.newLabel("unscaled")
	f.get(f.at.row, factors)
	f.ins("CBZ %v, %s", factors, plain)
	f.ins("ADD %v<<2, %v, %v", tileRow, factors, factors)
	for i, row := range t.acc {
		s := free[i%len(free)]
		f.loadNext(1, s, factors)
		for _, v := range row {
			f.word(fmulElement(v, v, s, 0))
		}
	}
	f.label(plain)
	f.element(f.at.c, f.at.ldc, tileRow, tileCol, cRow, cStep)
	write := f.newLabel("write")
	f.testBeta(write)
	beta, old := free[0], free[1:]
	f.ins("FMOVS %d(%v), %s", f.at.beta, p, beta.F())
	f.ins("MOVD %v, %v", cRow, scratch)
	if f.at.from > 0 {
		own := f.newLabel("own")
		f.get(f.at.from, factors)
		f.ins("CBZ %v, %s", factors, own)
		f.get(f.at.c, scratch2)
		f.ins("SUB %v, %v, %v", scratch2, scratch, scratch)
		f.ins("ADD %v, %v, %v", factors, scratch, scratch)
		f.label(own)
	}
	for _, row := range t.acc {
		for j := 0; j < len(row); j += len(old) {
			part := old[:min(len(old), len(row)-j)]
			f.load(t.width, part, scratch, 16*j)
			for c, v := range part {
				f.word(fmlaElement(row[j+c], v, beta, 0))
			}
		}
		f.ins("ADD %v, %v, %v", cStep, scratch, scratch)
	}
	f.label(write)
	for i, row := range t.acc {
		f.store(t.width, row, cRow, 0)
		if i < t.rows-1 {
			f.ins("ADD %v, %v, %v", cStep, cRow, cRow)
		}
	}
}

// testBeta jumps to zero if Beta is 0 or -0, which both leave C unread.
func (f *file) testBeta(zero string) {
	f.ins("MOVWU %d(%v), %v", f.at.beta, p, scratch)
	f.ins("LSL $33, %v, %v", scratch, scratch) // drops the sign
	f.ins("CBZ %v, %s", scratch, zero)
}

// element sets at to a matrix's element at (row, col), or at the row's start if col is p, and step to the bytes
// between rows.
func (f *file) element(matrix, ld int, row, col, at, step R) {
	f.getBytes(ld, step)
	f.get(matrix, at)
	f.ins("MADD %v, %v, %v, %v", step, at, row, at)
	if col != p {
		f.ins("ADD %v<<2, %v, %v", col, at, at)
	}
}
