package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	mapSrc  = int(unsafe.Offsetof(tile.Map{}.Src))
	mapDst  = int(unsafe.Offsetof(tile.Map{}.Dst))
	mapLDS  = int(unsafe.Offsetof(tile.Map{}.LDS))
	mapLDD  = int(unsafe.Offsetof(tile.Map{}.LDD))
	mapM    = int(unsafe.Offsetof(tile.Map{}.M))
	mapN    = int(unsafe.Offsetof(tile.Map{}.N))
	mapKind = int(unsafe.Offsetof(tile.Map{}.Kind))
)

// elementwise goes row by row, some vectors at a time, in a loop of its own for each map.
func (f *file) elementwise() {
	f.tileFunction("mapNEON", "Map", "maps a block element by element as tile.Map says.")
	const (
		rows, cols, src, dst, lds, ldd, from, to, left, kind R = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
		zero, one                                            V = 16, 17
	)
	x, y, above := span(0, 4), span(4, 4), span(8, 4)
	f.get(mapM, rows)
	f.get(mapN, cols)
	f.ins("CMP $0, %v", rows)
	f.ins("BLE done")
	f.ins("CMP $0, %v", cols)
	f.ins("BLE done")
	f.zero(zero)
	f.ins("MOVD $0x3f800000, %v", left) // 1
	f.ins("VDUP %v, %s", left, one.S4())
	f.get(mapSrc, src)
	f.get(mapDst, dst)
	f.getBytes(mapLDS, lds)
	f.getBytes(mapLDD, ldd)
	f.get(mapKind, kind)

	each := func(do func(w width)) {
		row := f.newLabel("row")
		f.label(row)
		f.ins("MOVD %v, %v", src, from)
		f.ins("MOVD %v, %v", dst, to)
		f.ins("MOVD %v, %v", cols, left)
		for _, w := range []width{{4, 4}, {1, 4}, {1, 1}} {
			again, end := f.newLabel("columns"), f.newLabel("end")
			f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
			f.ins("BLT %s", end)
			f.label(again)
			do(w)
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
		f.ins("BNE %s", row)
		f.ins("B done")
	}
	kinds := []func(i int){
		tile.MapPositive: func(i int) { f.word(fmax(y[i], x[i], zero)) }, // NaN stays
		tile.MapSteps: func(i int) {
			f.word(fcmge(above[i], x[i], zero)) // not so of NaN
			f.word(fadd(x[i], x[i], one))
			f.ins("VBIT %s, %s, %s", above[i].B16(), x[i].B16(), y[i].B16())
		},
		tile.MapGate: func(i int) {
			f.word(fcmge(above[i], zero, x[i])) // likewise
			f.ins("VBIT %s, %s, %s", above[i].B16(), zero.B16(), y[i].B16())
		},
		tile.MapSlope: func(i int) {
			f.word(fmin(x[i], x[i], one)) // NaN stays
			f.word(fmul(y[i], y[i], x[i]))
		},
		tile.MapTimes: func(i int) { f.word(fmul(y[i], y[i], x[i])) },
	}
	for k, do := range kinds {
		other := f.newLabel("kind")
		f.ins("CMP $%d, %v", k, kind)
		f.ins("BNE %s", other)
		each(func(w width) {
			f.load(w, x[:w.vectors], from, 0)
			if k != tile.MapPositive {
				f.load(w, y[:w.vectors], to, 0)
			}
			for i := range w.vectors {
				do(i)
			}
			f.store(w, y[:w.vectors], to, 0)
		})
		f.label(other)
	}
	f.label("done")
	f.ins("RET")
}
