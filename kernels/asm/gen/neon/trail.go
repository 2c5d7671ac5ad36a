package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// trail takes two vectors of columns at a time from the last row to the first, then one, then column by column, its sums in registers as pairs of float64.
func (f *file) trail() {
	f.tileFunction("trailNEON", "Trail", "adds up rows from the last to the first as tile.Trail says.")
	const (
		at, left, xs, dxs, ys, dys, dst, sums         R = 1, 2, 3, 4, 5, 6, 7, 8
		ldx, lddx, ldy, lddy, ldd, headX, headDX      R = 9, 10, 11, 12, 13, 14, 15
		last, rows, heads, head, other, count, stream R = 16, 17, 19, 20, 21, 22, 23
	)
	var z tile.Trail
	term, x, dx, sum, part := span(0, 2), span(2, 2), span(4, 2), span(16, 4), span(20, 4)
	f.get(int(unsafe.Offsetof(z.M)), last)
	f.get(int(unsafe.Offsetof(z.N)), left)
	for _, size := range []R{last, left} {
		f.ins("CMP $0, %v", size)
		f.ins("BLE done")
	}
	f.ins("SUB $1, %v, %v", last, last)
	f.get(int(unsafe.Offsetof(z.Heads)), heads)
	f.ins("MOVBU %d(%v), %v", int(unsafe.Offsetof(z.Stream)), p, stream)
	for _, m := range []struct {
		offset uintptr
		to     R
	}{
		{unsafe.Offsetof(z.LDX), ldx}, {unsafe.Offsetof(z.LDDX), lddx}, {unsafe.Offsetof(z.LDY), ldy}, {unsafe.Offsetof(z.LDDY), lddy},
		{unsafe.Offsetof(z.LDD), ldd}, {unsafe.Offsetof(z.HeadX), headX}, {unsafe.Offsetof(z.HeadDX), headDX},
	} {
		f.getBytes(int(m.offset), m.to)
	}
	f.ins("MOVD ZR, %v", at)
	for _, w := range widths(2) {
		n := w.vectors
		again, end, row, more, plain, stored := f.newLabel("columns"), f.newLabel("narrower"), f.newLabel("row"), f.newLabel("heads"), f.newLabel("plain"), f.newLabel("stored")
		f.label(again)
		f.ins("CMP $%d, %v", w.columns(), left)
		f.ins("BLT %s", end)
		for _, m := range []struct {
			array  uintptr
			ld, to R
		}{
			{unsafe.Offsetof(z.X), ldx, xs}, {unsafe.Offsetof(z.DX), lddx, dxs}, {unsafe.Offsetof(z.Y), ldy, ys}, {unsafe.Offsetof(z.DY), lddy, dys},
			{unsafe.Offsetof(z.Dst), ldd, dst},
		} {
			f.get(int(m.array), m.to)
			f.ins("ADD %v, %v, %v", at, m.to, m.to)
			f.ins("MADD %v, %v, %v, %v", last, m.to, m.ld, m.to)
		}
		f.get(int(unsafe.Offsetof(z.Sum)), sums)
		f.ins("ADD %v<<1, %v, %v", at, sums, sums)
		pairs, held := sum[:2*n], width{2 * n, 4}
		if w.lanes == 1 {
			pairs, held = sum[:1], width{1, 2} // a float64 is as long as two floats
		}
		f.load(held, pairs, sums, 0)
		f.ins("ADD $1, %v, %v", last, rows)
		f.label(row)
		f.load(w, x[:n], ys, 0)
		f.load(w, dx[:n], dys, 0)
		f.zero(term[:n]...)
		for i := range n {
			f.ins("VFMLS %s, %s, %s", dx[i].S4(), x[i].S4(), term[i].S4())
		}
		f.ins("MOVD %v, %v", xs, head)
		f.ins("MOVD %v, %v", dxs, other)
		f.ins("MOVD %v, %v", heads, count)
		f.label(more)
		f.load(w, x[:n], head, 0)
		f.load(w, dx[:n], other, 0)
		for i := range n {
			f.fmla(term[i], x[i], dx[i])
		}
		f.ins("ADD %v, %v, %v", headX, head, head)
		f.ins("ADD %v, %v, %v", headDX, other, other)
		f.ins("SUBS $1, %v, %v", count, count)
		f.ins("BNE %s", more)
		for i := range pairs {
			if i%2 == 0 {
				f.word(fcvtlDouble(part[i], term[i/2]))
			} else {
				f.word(fcvtl2Double(part[i], term[i/2]))
			}
		}
		for i, s := range pairs {
			f.word(faddDouble(s, s, part[i]))
		}
		for i, s := range pairs {
			if i%2 == 0 {
				f.word(fcvtnDouble(x[i/2], s))
			} else {
				f.word(fcvtn2Double(x[i/2], s))
			}
		}
		if n == 2 {
			f.ins("CBZ %v, %s", stream, plain)
			f.word(stnp(x[0], x[1], dst, 0))
			f.ins("B %s", stored)
			f.label(plain)
		}
		f.store(w, x[:n], dst, 0)
		if n == 2 {
			f.label(stored)
		}
		for _, m := range []struct{ by, at R }{{ldx, xs}, {lddx, dxs}, {ldy, ys}, {lddy, dys}, {ldd, dst}} {
			f.ins("SUB %v, %v, %v", m.by, m.at, m.at)
		}
		f.ins("SUBS $1, %v, %v", rows, rows)
		f.ins("BNE %s", row)
		f.store(held, pairs, sums, 0)
		f.ins("ADD $%d, %v, %v", w.bytes(), at, at)
		f.ins("SUB $%d, %v, %v", w.columns(), left, left)
		f.ins("B %s", again)
		f.label(end)
	}
	f.label("done")
	f.ins("RET")
}
