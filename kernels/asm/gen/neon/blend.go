package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// blend goes row by row, some vectors at a time.
func (f *file) blend() {
	f.tileFunction("blendNEON", "Blend", "adds blocks as tile.Blend says.")
	const (
		rows, cols, src, dst, lds, ldd, from, to, left, rowA, rowB R = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
		a, b                                                       V = 16, 17
	)
	var z tile.Blend
	x, y := span(0, 4), span(4, 4)
	f.get(int(unsafe.Offsetof(z.M)), rows)
	f.get(int(unsafe.Offsetof(z.N)), cols)
	for _, size := range []R{rows, cols} {
		f.ins("CMP $0, %v", size)
		f.ins("BLE done")
	}
	f.get(int(unsafe.Offsetof(z.Src)), src)
	f.get(int(unsafe.Offsetof(z.Dst)), dst)
	f.get(int(unsafe.Offsetof(z.A)), rowA)
	f.get(int(unsafe.Offsetof(z.B)), rowB)
	f.getBytes(int(unsafe.Offsetof(z.LDS)), lds)
	f.getBytes(int(unsafe.Offsetof(z.LDD)), ldd)
	f.ins("FMOVS $1.0, %s", a.F())
	f.ins("FMOVS $1.0, %s", b.F())
	f.label("row")
	for _, factor := range []struct {
		row   R
		value V
	}{{rowA, a}, {rowB, b}} {
		given := f.newLabel("given")
		f.ins("CBZ %v, %s", factor.row, given)
		f.loadNext(1, factor.value, factor.row)
		f.label(given)
	}
	f.ins("MOVD %v, %v", src, from)
	f.ins("MOVD %v, %v", dst, to)
	f.ins("MOVD %v, %v", cols, left)
	for _, w := range []width{{4, 4}, {1, 4}, {1, 1}} {
		again, end := f.newLabel("columns"), f.newLabel("end")
		f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
		f.ins("BLT %s", end)
		f.label(again)
		f.load(w, x[:w.vectors], from, 0)
		f.load(w, y[:w.vectors], to, 0)
		for i := range w.vectors {
			f.word(fmulElement(y[i], y[i], a, 0))
			f.word(fmlaElement(y[i], x[i], b, 0))
		}
		f.store(w, y[:w.vectors], to, 0)
		f.ins("ADD $%d, %v, %v", w.bytes(), from, from)
		f.ins("ADD $%d, %v, %v", w.bytes(), to, to)
		f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
		f.ins("BGE %s", again)
		f.label(end)
		f.ins("ADD $%d, %v, %v", w.columns(), left, left)
	}
	f.ins("ADD %v, %v, %v", lds, src, src)
	f.ins("ADD %v, %v, %v", ldd, dst, dst)
	f.ins("SUBS $1, %v, %v", rows, rows)
	f.ins("BNE row")
	f.label("done")
	f.ins("RET")
}
