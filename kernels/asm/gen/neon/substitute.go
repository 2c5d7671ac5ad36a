package main

import (
	"fmt"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	substituteL          = int(unsafe.Offsetof(tile.Substitute{}.L))
	substituteX          = int(unsafe.Offsetof(tile.Substitute{}.X))
	substituteY          = int(unsafe.Offsetof(tile.Substitute{}.Y))
	substituteRow        = int(unsafe.Offsetof(tile.Substitute{}.Row))
	substituteLDL        = int(unsafe.Offsetof(tile.Substitute{}.LDL))
	substituteLDX        = int(unsafe.Offsetof(tile.Substitute{}.LDX))
	substituteLDY        = int(unsafe.Offsetof(tile.Substitute{}.LDY))
	substituteN          = int(unsafe.Offsetof(tile.Substitute{}.N))
	substituteW          = int(unsafe.Offsetof(tile.Substitute{}.W))
	substituteTransposed = int(unsafe.Offsetof(tile.Substitute{}.Transposed))
)

// substitute writes the substitution with scaled rows, down and up.
func (f *file) substitute(t registerTile) {
	f.tileFunction("substituteNEON", "Substitute", fmt.Sprintf("is the substitution of tile.Substitute in blocks of %d rows and panels of %d columns:", t.rows, t.cols),
		"the rows that are solved are subtracted as a product, then the block's own triangle is", "substituted in registers.")
	up := f.newLabel("up")
	f.ins("MOVBU %d(%v), %v", substituteTransposed, p, scratch)
	f.ins("CBNZ %v, %s", scratch, up)
	f.walk(formSubstitute, t, substituteN, substituteW)
	f.ins("RET")
	f.label(up)
	f.walk(formTransposed, t, substituteN, substituteW)
	f.label("done")
	f.ins("RET")
}

// substituteBlock solves mr rows of X at (tileRow, tileCol), of which the rows above are solved, or those below.
func (f *file) substituteBlock(form form, mr int, w width) {
	var acc [][]V
	for i := range mr {
		acc = append(acc, span(i*w.vectors, w.vectors))
	}
	y := span(mr*w.vectors, w.vectors)
	a := span((mr+1)*w.vectors, min(4, 32-(mr+1)*w.vectors))
	subtract := func(i int, by V, index uint) {
		for j, v := range y {
			f.word(fmlsElement(acc[i][j], v, by, index))
		}
	}
	f.comment("%d rows x %d columns", mr, w.columns())
	f.element(substituteX, substituteLDX, tileRow, tileCol, cRow, cStep)
	for i, row := range acc {
		f.load(w, row, cRow, 0)
		if i < mr-1 {
			f.ins("ADD %v, %v, %v", cStep, cRow, cRow)
		}
	}
	rows := []R{aRow}
	if form == formSubstitute {
		f.ins("MOVD %v, %v", tileRow, depth)
		f.element(substituteL, substituteLDL, tileRow, p, aRow, aStep)
		for i := 1; i < mr; i++ {
			rows = append(rows, aRow+R(i))
		}
		f.pointers(rows, aStep)
		f.getBytes(substituteLDY, bStep)
		f.get(substituteY, bRow)
		f.ins("ADD %v<<2, %v, %v", tileCol, bRow, bRow)
	} else {
		f.ins("ADD $%d, %v, %v", mr, tileRow, scratch2)
		f.get(substituteN, depth)
		f.ins("SUB %v, %v, %v", scratch2, depth, depth)
		f.element(substituteL, substituteLDL, scratch2, tileRow, aRow, aStep)
		f.element(substituteY, substituteLDY, scratch2, tileCol, bRow, bStep)
	}
	own, again := f.newLabel("own"), f.newLabel("step")
	f.ins("CBZ %v, %s", depth, own)
	f.label(again)
	f.load(w, y, bRow, 0)
	if form == formSubstitute {
		for i := range mr {
			f.loadNext(1, a[i%len(a)], rows[i])
			subtract(i, a[i%len(a)], 0)
		}
	} else { // a row of L, four at a time
		for i := 0; i < mr; i += 4 {
			f.ins("%s %d(%v), %s", move(min(4, mr-i)), 4*i, aRow, a[i/4].F())
		}
		for i := range mr {
			subtract(i, a[i/4], uint(i%4))
		}
		f.ins("ADD %v, %v, %v", aStep, aRow, aRow)
	}
	f.ins("ADD %v, %v, %v", bStep, bRow, bRow)
	f.ins("SUBS $1, %v, %v", depth, depth)
	f.ins("BNE %s", again)
	f.label(own)

	f.get(substituteRow, factors)
	f.ins("ADD %v<<2, %v, %v", tileRow, factors, factors)
	scale := func(r int) {
		f.ins("FMOVS %d(%v), %s", 4*r, factors, a[0].F())
		for j, v := range y {
			f.word(fmulElement(v, acc[r][j], a[0], 0))
		}
		f.store(w, y, bRow, 0)
	}
	if form == formSubstitute { // Y's row is the block's first, and L's rows are at their diagonal
		for r := range mr {
			scale(r)
			f.ins("ADD %v, %v, %v", bStep, bRow, bRow)
			for i := r + 1; i < mr; i++ {
				f.ins("FMOVS %d(%v), %s", 4*r, rows[i], a[i%len(a)].F())
				subtract(i, a[i%len(a)], 0)
			}
		}
	} else {
		f.ins("ADD $%d, %v, %v", mr-1, tileRow, scratch2)
		f.element(substituteL, substituteLDL, scratch2, tileRow, aRow, aStep)
		f.element(substituteY, substituteLDY, scratch2, tileCol, bRow, bStep)
		for r := mr - 1; r >= 0; r-- {
			scale(r)
			f.ins("SUB %v, %v, %v", bStep, bRow, bRow)
			for i := range r {
				f.ins("FMOVS %d(%v), %s", 4*i, aRow, a[i%len(a)].F())
				subtract(i, a[i%len(a)], 0)
			}
			f.ins("SUB %v, %v, %v", aStep, aRow, aRow)
		}
	}
	for i := mr - 1; i >= 0; i-- {
		f.store(w, acc[i], cRow, 0)
		if i > 0 {
			f.ins("SUB %v, %v, %v", cStep, cRow, cRow)
		}
	}
}
