package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	packSrc       = int(unsafe.Offsetof(tile.Pack{}.Src))
	packDst       = int(unsafe.Offsetof(tile.Pack{}.Dst))
	packRow       = int(unsafe.Offsetof(tile.Pack{}.Row))
	packLDS       = int(unsafe.Offsetof(tile.Pack{}.LDS))
	packLDD       = int(unsafe.Offsetof(tile.Pack{}.LDD))
	packM         = int(unsafe.Offsetof(tile.Pack{}.M))
	packN         = int(unsafe.Offsetof(tile.Pack{}.N))
	packNonFinite = int(unsafe.Offsetof(tile.Pack{}.NonFinite))
)

// pack copies row by row, four vectors at a time. Every product times zero is
// added to one of four sums, which are NaN in the end where a product was not finite.
func (f *file) pack() {
	f.tileFunction("packNEON", "Pack", "copies a block as tile.Pack says: Dst = diag(Row) Src, looking for NaN and Inf.")
	const (
		rows, cols, src, dst, row, lds, ldd, from, to, left R = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
		scale, zero                                         V = 8, 9
	)
	sums, v := span(0, 4), span(4, 4)
	f.zero(append(sums, zero)...)
	f.ins("FMOVS $1.0, %s", scale.F())
	f.get(packM, rows)
	f.get(packN, cols)
	f.ins("CMP $0, %v", rows)
	f.ins("BLE sum")
	f.ins("CMP $0, %v", cols)
	f.ins("BLE sum")
	f.get(packSrc, src)
	f.get(packDst, dst)
	f.get(packRow, row)
	f.getBytes(packLDS, lds)
	f.getBytes(packLDD, ldd)
	f.label("row")
	f.ins("CBZ %v, scaled", row)
	f.loadNext(1, scale, row)
	f.label("scaled")
	f.ins("MOVD %v, %v", src, from)
	f.ins("MOVD %v, %v", dst, to)
	f.ins("MOVD %v, %v", cols, left)
	for _, w := range []width{{4, 4}, {1, 4}, {1, 1}} {
		again, end := f.newLabel("columns"), f.newLabel("end")
		f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
		f.ins("BLT %s", end)
		f.label(again)
		x := v[:w.vectors]
		f.load(w, x, from, 0)
		f.ins("ADD $%d, %v, %v", w.bytes(), from, from)
		for _, x := range x {
			f.word(fmulElement(x, x, scale, 0))
		}
		for i, x := range x {
			f.fmla(sums[i], x, zero)
		}
		f.store(w, x, to, 0)
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
	f.label("sum")
	f.word(fadd(0, 0, 1))
	f.word(fadd(2, 2, 3))
	f.word(fadd(0, 0, 2))
	f.word(faddp(0, 0, 0))
	f.word(faddp(0, 0, 0))
	f.ins("FCMPS F0, F0")
	f.ins("CSET VS, %v", left) // unordered
	f.ins("MOVB %v, %d(%v)", left, packNonFinite, p)
	f.ins("RET")
}
