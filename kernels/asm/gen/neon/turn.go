package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	turnSrc = int(unsafe.Offsetof(tile.Turn{}.Src))
	turnDst = int(unsafe.Offsetof(tile.Turn{}.Dst))
	turnRow = int(unsafe.Offsetof(tile.Turn{}.Row))
	turnLDS = int(unsafe.Offsetof(tile.Turn{}.LDS))
	turnLDD = int(unsafe.Offsetof(tile.Turn{}.LDD))
	turnM   = int(unsafe.Offsetof(tile.Turn{}.M))
	turnN   = int(unsafe.Offsetof(tile.Turn{}.N))
)

// turnFields are where a transposition's arguments have what it needs.
type turnFields struct{ src, dst, lds, ldd, m, n int }

// turns writes the transpositions, that of pairs with their bits as they are.
func (f *file) turns() {
	f.turn("turnNEON", "Turn", "is the scaled transposition of tile.Turn.", turnFields{turnSrc, turnDst, turnLDS, turnLDD, turnM, turnN}, true)
	f.turn("pairTurnNEON", "PairTurn", "is the transposition of tile.PairTurn.", turnFields{
		int(unsafe.Offsetof(tile.PairTurn{}.Src)), int(unsafe.Offsetof(tile.PairTurn{}.Dst)), int(unsafe.Offsetof(tile.PairTurn{}.LDS)),
		int(unsafe.Offsetof(tile.PairTurn{}.LDD)), int(unsafe.Offsetof(tile.PairTurn{}.M)), int(unsafe.Offsetof(tile.PairTurn{}.N)),
	}, false)
}

// turn takes four rows at a time, then one, and of those four columns at a time, then one. Four by four numbers are turned in registers.
func (f *file) turn(name, argument, doc string, at turnFields, scaling bool) {
	f.tileFunction(name, argument, doc)
	const (
		rows, cols, src, dst, row, lds, ldd, to, left R = 1, 2, 3, 4, 5, 6, 7, 8, 9
		scale                                         V = 16
	)
	from := []R{10, 11, 12, 13}
	x, y := span(0, 4), span(4, 4)
	f.get(at.m, rows)
	f.get(at.n, cols)
	f.ins("CMP $0, %v", cols)
	f.ins("BLE done")
	f.get(at.src, src)
	f.get(at.dst, dst)
	f.getBytes(at.lds, lds)
	f.getBytes(at.ldd, ldd)
	if scaling {
		f.get(turnRow, row)
		f.ins("FMOVS $1.0, %s", scale.F())
		f.ins("VDUP V%s.S[0], %s", scale.number(), scale.S4())
	}
	for _, mr := range []int{4, 1} {
		block, fewer, scaled := f.newLabel("rows"), f.newLabel("fewer"), f.newLabel("scaled")
		f.ins("SUBS $%d, %v, %v", mr, rows, rows)
		f.ins("BLT %s", fewer)
		f.label(block)
		if scaling {
			f.ins("CBZ %v, %s", row, scaled)
			f.loadNext(mr, scale, row)
			f.label(scaled)
		}
		f.ins("MOVD %v, %v", src, from[0])
		f.pointers(from[:mr], lds)
		f.ins("MOVD %v, %v", dst, to)
		f.ins("MOVD %v, %v", cols, left)
		for _, nr := range []int{4, 1} {
			again, end := f.newLabel("columns"), f.newLabel("end")
			f.ins("SUBS $%d, %v, %v", nr, left, left)
			f.ins("BLT %s", end)
			f.label(again)
			for i := range mr {
				f.loadNext(nr, x[i], from[i])
				if scaling {
					f.word(fmulElement(x[i], x[i], scale, uint(i)))
				}
			}
			f.turned(x, y, mr, nr, to, ldd)
			f.ins("SUBS $%d, %v, %v", nr, left, left)
			f.ins("BGE %s", again)
			f.label(end)
			f.ins("ADD $%d, %v, %v", nr, left, left)
		}
		if mr > 1 {
			f.ins("ADD %v<<2, %v, %v", lds, src, src)
		} else {
			f.ins("ADD %v, %v, %v", lds, src, src)
		}
		f.ins("ADD $%d, %v, %v", 4*mr, dst, dst)
		f.ins("SUBS $%d, %v, %v", mr, rows, rows)
		f.ins("BGE %s", block)
		f.label(fewer)
		f.ins("ADD $%d, %v, %v", mr, rows, rows)
	}
	f.label("done")
	f.ins("RET")
}

// turned stores the columns of so many rows of numbers, one below the other.
func (f *file) turned(x, y []V, mr, nr int, to, ldd R) {
	next := func() { f.ins("ADD %v, %v, %v", ldd, to, to) }
	switch {
	case mr == 4 && nr == 4:
		for i := 0; i < 4; i += 2 {
			f.ins("VTRN1 %s, %s, %s", x[i+1].S4(), x[i].S4(), y[i].S4())
			f.ins("VTRN2 %s, %s, %s", x[i+1].S4(), x[i].S4(), y[i+1].S4())
		}
		for i := range 2 {
			f.ins("VTRN1 %s, %s, %s", y[i+2].D2(), y[i].D2(), x[i].D2())
			f.ins("VTRN2 %s, %s, %s", y[i+2].D2(), y[i].D2(), x[i+2].D2())
		}
		for _, v := range x {
			f.ins("FMOVQ %s, (%v)", v.F(), to)
			next()
		}
	case mr == 4:
		for i, v := range x {
			f.ins("FMOVS %s, %d(%v)", v.F(), 4*i, to)
		}
		next()
	default:
		for j := range nr {
			v := x[0]
			if j > 0 {
				v = y[j]
				f.word(lane(v, x[0], uint(j)))
			}
			f.ins("FMOVS %s, (%v)", v.F(), to)
			next()
		}
	}
}

const (
	dotsX   = int(unsafe.Offsetof(tile.Dots{}.X))
	dotsY   = int(unsafe.Offsetof(tile.Dots{}.Y))
	dotsDst = int(unsafe.Offsetof(tile.Dots{}.Dst))
	dotsLDX = int(unsafe.Offsetof(tile.Dots{}.LDX))
	dotsLDY = int(unsafe.Offsetof(tile.Dots{}.LDY))
	dotsM   = int(unsafe.Offsetof(tile.Dots{}.M))
	dotsN   = int(unsafe.Offsetof(tile.Dots{}.N))
)

// rowDots takes row by row, four vectors at a time, then one, then number by number, and adds up each row's sums at its end.
func (f *file) rowDots() {
	f.tileFunction("dotsNEON", "Dots", "takes dot products of rows as tile.Dots says.")
	const rows, cols, first, second, dst, ldx, ldy, a, b, left R = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
	sums, x, y := span(0, 4), span(4, 4), span(16, 4)
	f.get(dotsM, rows)
	f.get(dotsN, cols)
	f.ins("CMP $0, %v", rows)
	f.ins("BLE done")
	f.get(dotsX, first)
	f.get(dotsY, second)
	f.get(dotsDst, dst)
	f.getBytes(dotsLDX, ldx)
	f.getBytes(dotsLDY, ldy)
	f.label("row")
	f.zero(sums...)
	f.ins("MOVD %v, %v", first, a)
	f.ins("MOVD %v, %v", second, b)
	f.ins("MOVD %v, %v", cols, left)
	for _, w := range []width{{4, 4}, {1, 4}, {1, 1}} {
		again, end := f.newLabel("columns"), f.newLabel("end")
		f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
		f.ins("BLT %s", end)
		f.label(again)
		f.load(w, x[:w.vectors], a, 0)
		f.load(w, y[:w.vectors], b, 0)
		f.ins("ADD $%d, %v, %v", w.bytes(), a, a)
		f.ins("ADD $%d, %v, %v", w.bytes(), b, b)
		for i := range w.vectors {
			f.fmla(sums[i], x[i], y[i])
		}
		f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
		f.ins("BGE %s", again)
		f.label(end)
		f.ins("ADD $%d, %v, %v", w.columns(), left, left)
	}
	f.word(fadd(0, 0, 1))
	f.word(fadd(2, 2, 3))
	f.word(fadd(0, 0, 2))
	f.word(faddp(0, 0, 0))
	f.word(faddp(0, 0, 0))
	f.storeNext(1, 0, dst)
	f.ins("ADD %v, %v, %v", ldx, first, first)
	f.ins("ADD %v, %v, %v", ldy, second, second)
	f.ins("SUBS $1, %v, %v", rows, rows)
	f.ins("BNE row")
	f.label("done")
	f.ins("RET")
}
