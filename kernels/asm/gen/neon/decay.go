package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	decayG   = int(unsafe.Offsetof(tile.Decay{}.G))
	decayC   = int(unsafe.Offsetof(tile.Decay{}.C))
	decayD   = int(unsafe.Offsetof(tile.Decay{}.D))
	decayLDD = int(unsafe.Offsetof(tile.Decay{}.LDD))
	decayN   = int(unsafe.Offsetof(tile.Decay{}.N))
)

// decay makes each row from the one above, times its factor, up to the diagonal; then come a one and zeros.
func (f *file) decay() {
	f.tileFunction("decayNEON", "Decay", "fills a decay matrix as tile.Decay says: D[i,j] = D[i-1,j] G[i] below a diagonal of ones.")
	const (
		n, g, c, above, row, ld, i, left, at, from R = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
		product, factor, one, zero                 V = 0, 1, 2, 3
	)
	v := span(4, 4)
	f.get(decayN, n)
	f.ins("CMP $0, %v", n)
	f.ins("BLE done")
	f.get(decayG, g)
	f.get(decayC, c)
	f.get(decayD, row)
	f.getBytes(decayLDD, ld)
	f.ins("FMOVS $1.0, %s", one.F())
	f.copy(product, one)
	f.zero(zero)
	f.ins("MOVD ZR, %v", i)
	f.ins("MOVD %v, %v", row, above)

	f.label("row")
	f.loadNext(1, factor, g)
	f.ins("FMULS %s, %s, %s", factor.F(), product.F(), product.F())
	f.storeNext(1, product, c)
	f.ins("MOVD %v, %v", row, at)
	f.ins("MOVD %v, %v", above, from)
	f.ins("MOVD %v, %v", i, left)
	for _, w := range []width{{4, 4}, {1, 4}, {1, 1}} {
		again, end := f.newLabel("below"), f.newLabel("end")
		f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
		f.ins("BLT %s", end)
		f.label(again)
		x := v[:w.vectors]
		f.load(w, x, from, 0)
		f.ins("ADD $%d, %v, %v", w.bytes(), from, from)
		for _, x := range x {
			f.word(fmulElement(x, x, factor, 0))
		}
		f.store(w, x, at, 0)
		f.ins("ADD $%d, %v, %v", w.bytes(), at, at)
		f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
		f.ins("BGE %s", again)
		f.label(end)
		f.ins("ADD $%d, %v, %v", w.columns(), left, left)
	}
	f.storeNext(1, one, at)
	f.ins("ADD $1, %v, %v", i, i)
	f.ins("SUB %v, %v, %v", i, n, left)
	for _, lanes := range []int{4, 1} {
		again, end := f.newLabel("zeros"), f.newLabel("end")
		f.ins("SUBS $%d, %v, %v", lanes, left, left)
		f.ins("BLT %s", end)
		f.label(again)
		f.storeNext(lanes, zero, at)
		f.ins("SUBS $%d, %v, %v", lanes, left, left)
		f.ins("BGE %s", again)
		f.label(end)
		f.ins("ADD $%d, %v, %v", lanes, left, left)
	}
	f.ins("MOVD %v, %v", row, above)
	f.ins("ADD %v, %v, %v", ld, row, row)
	f.ins("CMP %v, %v", n, i)
	f.ins("BLT row")
	f.label("done")
	f.ins("RET")
}
