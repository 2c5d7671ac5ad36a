package main

import (
	"fmt"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	gatherTable   = int(unsafe.Offsetof(tile.Gather{}.Table))
	gatherRows    = int(unsafe.Offsetof(tile.Gather{}.Rows))
	gatherRowsLen = gatherRows + 8
	gatherWeight  = int(unsafe.Offsetof(tile.Gather{}.Weight))
	gatherOut     = int(unsafe.Offsetof(tile.Gather{}.Out))
	gatherLD      = int(unsafe.Offsetof(tile.Gather{}.LD))
	gatherN       = int(unsafe.Offsetof(tile.Gather{}.N))
	gatherGroup   = int(unsafe.Offsetof(tile.Gather{}.Group))
	narrowAhead   = int(unsafe.Offsetof(tile.GatherHalf{}.Ahead)) // GatherHalf and GatherBytes have the fields of Gather before it
)

// gather reads a group of rows side by side, so that as many misses are
// under way, and adds them to a few vectors of Out at a time; Out itself
// stays in the first-level cache. Rows that are left go in smaller groups.
func (f *file) gather() {
	f.gatherRows("gatherNEON", "Gather", 4, func(w width, v []V, row, _ R) { f.load(w, v, row, 0) })
	f.gatherNarrow("gatherHalfNEON", "GatherHalf", 2, "MOVHU", "FMOVD", func(v V, _ bool) { f.word(shll(v, v)) })
	f.gatherNarrow("gatherBytesNEON", "GatherBytes", 1, "MOVB", "FMOVS", func(v V, single bool) {
		if !single { // which MOVB has made a word
			f.word(sxtlBytes(v, v))
			f.word(sxtlHalves(v, v))
		}
		f.word(scvtf(v, v))
	})
}

// gatherNarrow is gather over rows of elements of so many bytes: one and four are what loads that many, and widen makes floats of them.
func (f *file) gatherNarrow(name, argument string, size int, one, four string, widen func(v V, single bool)) {
	f.gatherRows(name, argument, size, func(w width, v []V, row, single R) {
		for i, v := range v {
			if w.lanes == 1 {
				f.ins("%s (%v), %v", one, row, single)
				f.ins("FMOVS %v, %s", single, v.F())
			} else {
				f.ins("%s %d(%v), %s", four, 4*size*i, row, v.F())
			}
			widen(v, w.lanes == 1)
		}
	})
}

// gatherRows is gather over rows of elements of so many bytes, which widen loads as float32.
func (f *file) gatherRows(name, argument string, size int, widen func(w width, v []V, row, single R)) {
	f.tileFunction(name, argument, "adds weighted table rows to Out as tile."+argument+" says, Group rows side by side.")
	const (
		rows, weight, left, group, table, ld, out, column, next R = 1, 2, 3, 4, 5, 6, 7, 8, 9
		row0, further                                           R = 10, 20 // rows to 19
	)
	// The last of eight pointers is 19, as 18 is not for use.
	row := []R{row0, 11, 12, 13, 14, 15, 16, 19}
	sums, weights, loaded := span(0, 4), span(4, 2), span(8, 8)

	f.get(gatherN, column)
	f.ins("CMP $0, %v", column)
	f.ins("BLE done")
	f.get(gatherRows, rows)
	f.get(gatherWeight, weight)
	f.get(gatherRowsLen, left)
	f.get(gatherTable, table)
	f.get(gatherLD, ld)
	f.ins("LSL $%d, %v, %v", size/2, ld, ld)
	f.get(gatherGroup, group)
	for _, n := range []int{8, 2, 1} {
		f.ins("CMP $%d, %v", n, group)
		f.ins("BEQ group%d", n)
	}
	f.ins("B group4")

	for _, n := range []int{8, 4, 2, 1} {
		start, end := fmt.Sprintf("group%d", n), fmt.Sprintf("fewer%d", n)
		f.label(start)
		f.ins("CMP $%d, %v", n, left)
		f.ins("BLT %s", end)
		for _, r := range row[:n] {
			f.ins("MOVW.P 4(%v), %v", rows, r)
			f.ins("MADD %v, %v, %v, %v", ld, table, r, r)
		}
		for i := 0; i < n; i += 4 {
			f.loadNext(min(n, 4), weights[i/4], weight)
		}
		if n >= 4 {
			// No hardware prefetcher foresees where further rows start: the next ones, or those Ahead, of which the lines after two are left to it.
			fetched, from := f.newLabel("fetched"), rows
			if size == 4 {
				f.ins("CMP $%d, %v", 2*n, left)
			} else {
				from = further
				f.get(narrowAhead, from)
				f.ins("CBZ %v, %s", from, fetched)
				f.ins("ADD $%d, %v, %v", n, from, next)
				f.ins("CMP %v, %v", next, left)
				f.ins("SUB $%d, %v, %v", n, from, from)
				f.ins("ADD %v<<2, %v, %v", from, rows, from)
			}
			f.ins("BLT %s", fetched)
			for i := range n {
				f.ins("MOVW %d(%v), %v", 4*i, from, next)
				f.ins("MADD %v, %v, %v, %v", ld, table, next, next)
				f.ins("PRFM (%v), PLDL1KEEP", next)
				f.ins("PRFM 64(%v), PLDL1KEEP", next)
			}
			f.label(fetched)
		}
		f.get(gatherOut, out)
		f.get(gatherN, column)
		for _, w := range []width{{4, 4}, {1, 4}, {1, 1}} {
			again, over := f.newLabel("columns"), f.newLabel("over")
			f.ins("SUBS $%d, %v, %v", w.columns(), column, column)
			f.ins("BLT %s", over)
			f.label(again)
			s := sums[:w.vectors]
			f.load(w, s, out, 0)
			for i, r := range row[:n] {
				t := loaded[i%2*4:][:w.vectors]
				widen(w, t, r, next)
				f.ins("ADD $%d, %v, %v", size*w.columns(), r, r)
				for j := range s {
					f.word(fmlaElement(s[j], t[j], weights[i/4], uint(i%4)))
				}
			}
			f.store(w, s, out, 0)
			f.ins("ADD $%d, %v, %v", w.bytes(), out, out)
			f.ins("SUBS $%d, %v, %v", w.columns(), column, column)
			f.ins("BGE %s", again)
			f.label(over)
			f.ins("ADD $%d, %v, %v", w.columns(), column, column)
		}
		f.ins("SUB $%d, %v, %v", n, left, left)
		f.ins("B %s", start)
		f.label(end)
	}
	f.label("done")
	f.ins("RET")
}
