package main

import "fmt"

// The further registers of the dot products. A's and B's rows take 1 to 11.
const (
	dotDepth R = 14
	maskRow  R = 20
	maskStep R = 21
	kept     R = 22
	table    R = 23
	count    R = 24
	four     R = 25
	dotTmp   R = 26
)

// dots writes NT on a register tile: each element of the tile has a vector of partial sums along k, which are
// added up in pairs at the end. Rows go outside, so that B's rows stream past the few of A.
func (f *file) dots(t registerTile) {
	// Four ones, four zeros: a vector of n leading ones starts 4n bytes before the zeros.
	f.words("leading", []uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0, 0, 0, 0})
	name := fmt.Sprintf("productNT%dx%dNEON", t.rows, t.cols)
	f.tileFunction(name, "Product", fmt.Sprintf("is the NT product of tile.Product on register tiles of %d x %d:", t.rows, t.cols),
		"C = Beta C + diag(Row) (Mask . A Bᵀ), all or the lower triangle.")
	f.ins("MOVD ZR, %v", tileRow)
	f.ins("MOVD $4, %v", four)
	for _, mr := range heights(t.rows, width{2, 4}) {
		block, fewer := f.newLabel("rows"), f.newLabel("fewer")
		f.label(block)
		f.get(f.at.m, scratch)
		f.ins("SUB %v, %v, %v", tileRow, scratch, scratch)
		f.ins("CMP $%d, %v", mr, scratch)
		f.ins("BLT %s", fewer)
		f.ins("MOVD ZR, %v", tileCol)
		for _, nr := range dotWidths(t.cols) {
			panel, next := f.newLabel("cols"), f.newLabel("narrower")
			f.label(panel)
			f.get(f.at.n, scratch)
			f.ins("SUB %v, %v, %v", tileCol, scratch, scratch)
			f.ins("CMP $%d, %v", nr, scratch)
			f.ins("BLT %s", next)
			f.dot(mr, nr, mr == t.rows && nr == t.cols)
			f.ins("ADD $%d, %v, %v", nr, tileCol, tileCol)
			f.ins("B %s", panel)
			f.label(next)
		}
		f.ins("ADD $%d, %v, %v", mr, tileRow, tileRow)
		f.ins("B %s", block)
		f.label(fewer)
	}
	f.ins("RET")
}

// dotWidths are the columns of the tiles in a row of them, largest first.
func dotWidths(cols int) []int {
	if cols > 4 {
		return []int{cols, 4, 1}
	}
	return []int{cols, 1}
}

// dot writes one register tile of NT at (tileRow, tileCol).
func (f *file) dot(mr, nr int, whole bool) {
	acc := func(i, j int) V { return V(i*nr + j) }
	used := mr * nr
	all := span(0, used)
	rows := func(first R, n int) []R {
		r := make([]R, n)
		for i := range r {
			r[i] = first + R(i)
		}
		return r
	}
	a, b := rows(aRow, mr), rows(aRow+R(mr), nr)

	f.comment("%d x %d dot products", mr, nr)
	end, compute := f.newLabel("end"), f.newLabel("compute")
	// kept is how many columns the tile's first row keeps below the diagonal; each row after it keeps one more. It
	// may be less than none or more than all, and is all if the whole matrix is wanted.
	f.ins("MOVD $%d, %v", nr, kept)
	f.ins("MOVBU %d(%v), %v", f.at.lower, p, scratch)
	f.ins("CBZ %v, %s", scratch, compute)
	f.get(productStrict, scratch)
	f.ins("ADD $1, %v, %v", tileRow, kept)
	f.ins("SUB %v, %v, %v", scratch, kept, kept)
	f.ins("SUB %v, %v, %v", tileCol, kept, kept)
	f.ins("CMP $%d, %v", 1-mr, kept)
	f.ins("BGT %s", compute)
	// All above the diagonal.
	above := f.newLabel("zeros")
	f.testBeta(above)
	f.ins("B %s", end)
	f.label(above)
	f.zero(0)
	f.element(f.at.c, f.at.ldc, tileRow, tileCol, cRow, cStep)
	for i := range mr {
		for j := 0; j < nr; j += 4 {
			f.store(width{1, min(nr, 4)}, span(0, 1), cRow, 4*j)
		}
		if i < mr-1 {
			f.ins("ADD %v, %v, %v", cStep, cRow, cRow)
		}
	}
	f.ins("B %s", end)
	f.label(compute)

	f.element(f.at.a, f.at.lda, tileRow, 0, a[0], scratch)
	f.pointers(a, scratch)
	f.element(f.at.b, f.at.ldb, tileCol, 0, b[0], scratch)
	f.pointers(b, scratch)
	f.get(f.at.k, dotDepth)
	f.zero(all...)

	// One step of k. The shorter side is held in registers, the longer one streams by.
	step := func(lanes int) {
		holdRows, streamRows := a, b
		sum := acc
		if nr < mr {
			holdRows, streamRows = b, a
			sum = func(i, j int) V { return acc(j, i) }
		}
		hold := span(used, len(holdRows))
		stream := span(used+len(hold), min(4, 32-used-len(hold)))
		for i, v := range hold {
			f.loadNext(lanes, v, holdRows[i])
		}
		for j, row := range streamRows {
			t := stream[j%len(stream)]
			f.loadNext(lanes, t, row)
			for i, v := range hold {
				f.fmla(sum(i, j), v, t)
			}
		}
	}
	loop := func(lanes, unroll int) {
		again, done := f.newLabel("steps"), f.newLabel("rest")
		f.ins("SUBS $%d, %v, %v", lanes*unroll, dotDepth, dotDepth)
		f.ins("BLT %s", done)
		f.label(again)
		for range unroll {
			step(lanes)
		}
		f.ins("SUBS $%d, %v, %v", lanes*unroll, dotDepth, dotDepth)
		f.ins("BGE %s", again)
		f.label(done)
		f.ins("ADD $%d, %v, %v", lanes*unroll, dotDepth, dotDepth)
	}
	if whole {
		loop(4, 2)
	}
	loop(4, 1)
	loop(1, 1)

	// Add up in pairs. Each row's sums end in the first of its vectors, or in the first of every four.
	w := width{1, min(nr, 4)}
	var result [][]V
	for i := range mr {
		var row []V
		for j := 0; j < nr; j += 4 {
			d := acc(i, j)
			if nr == 1 {
				f.word(faddp(d, d, d))
			} else {
				e := acc(i, j+2)
				f.word(faddp(d, d, acc(i, j+1)))
				f.word(faddp(e, e, acc(i, j+3)))
				f.word(faddp(d, d, e))
				row = append(row, d)
				continue
			}
			f.word(faddp(d, d, d))
			row = append(row, d)
		}
		result = append(result, row)
	}
	free := span(used, 32-used)
	t, beta, old := free[0], free[1], free[2]

	plain := f.newLabel("unmasked")
	f.get(productMask, scratch)
	f.ins("CBZ %v, %s", scratch, plain)
	f.element(productMask, productLDM, tileRow, tileCol, maskRow, maskStep)
	for i, row := range result {
		for j, r := range row {
			f.load(w, span(int(t), 1), maskRow, 16*j)
			f.word(fmul(r, r, t))
		}
		if i < mr-1 {
			f.ins("ADD %v, %v, %v", maskStep, maskRow, maskRow)
		}
	}
	f.label(plain)

	unscaled := f.newLabel("unscaled")
	f.get(f.at.row, scratch)
	f.ins("CBZ %v, %s", scratch, unscaled)
	f.ins("ADD %v<<2, %v, %v", tileRow, scratch, scratch)
	for _, row := range result {
		f.loadNext(1, t, scratch)
		for _, r := range row {
			f.word(fmulElement(r, r, t, 0))
		}
	}
	f.label(unscaled)

	f.element(f.at.c, f.at.ldc, tileRow, tileCol, cRow, cStep)
	write, store, part := f.newLabel("write"), f.newLabel("store"), f.newLabel("part")
	f.testBeta(write)
	f.ins("FMOVS %d(%v), %s", f.at.beta, p, beta.F())
	f.ins("CMP $%d, %v", nr, kept)
	f.ins("BLT %s", part)
	f.ins("MOVD %v, %v", cRow, scratch)
	for _, row := range result {
		for j, r := range row {
			f.load(w, span(int(old), 1), scratch, 16*j)
			f.word(fmlaElement(r, old, beta, 0))
		}
		f.ins("ADD %v, %v, %v", cStep, scratch, scratch)
	}
	f.ins("B %s", store)

	// On the diagonal C is read and written float by float, and not above it.
	f.label(part)
	for i, row := range result {
		next := f.newLabel("row")
		for j := range nr {
			f.ins("CMP $%d, %v", j-i, kept)
			f.ins("BLE %s", next)
			f.ins("FMOVS %d(%v), %s", 4*j, cRow, old.F())
			f.word(lane(t, row[j/4], uint(j%4)))
			f.word(fmlaElement(t, old, beta, 0))
			f.ins("FMOVS %s, %d(%v)", t.F(), 4*j, cRow)
		}
		f.label(next)
		f.ins("ADD %v, %v, %v", cStep, cRow, cRow)
	}
	f.ins("B %s", end)

	f.label(write)
	f.ins("CMP $%d, %v", nr, kept)
	f.ins("BGE %s", store)
	f.ins("MOVD $leading<>+16(SB), %v", table)
	for i, row := range result {
		for j, r := range row {
			f.ins("ADD $%d, %v, %v", i-4*j, kept, count)
			f.ins("CMP $0, %v", count)
			f.ins("CSEL LT, ZR, %v, %v", count, count)
			f.ins("CMP $4, %v", count)
			f.ins("CSEL GT, %v, %v, %v", four, count, count)
			f.ins("SUB %v<<2, %v, %v", count, table, dotTmp)
			f.ins("FMOVQ (%v), %s", dotTmp, t.F())
			f.ins("VAND %s, %s, %s", t.B16(), r.B16(), r.B16())
		}
	}
	f.label(store)
	for i, row := range result {
		for j, r := range row {
			f.store(w, []V{r}, cRow, 16*j)
		}
		if i < mr-1 {
			f.ins("ADD %v, %v, %v", cStep, cRow, cRow)
		}
	}
	f.label(end)
}
