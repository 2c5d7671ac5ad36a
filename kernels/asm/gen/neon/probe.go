package main

import "fmt"

// The shapes of the loops. Package probe states the same numbers; its tests compare.
const (
	accumulators = 24 // independent multiply-adds: more than any core's latency times its pipes
	rounds       = 2  // of all accumulators in an iteration
	streamed     = 16 // vectors of a step of a stream
	sideBySide   = 8  // rows
)

// multiplyAdds is the loop of an arithmetic ceiling.
func (f *file) multiplyAdds(name, what string, multiplyAdd func(sum, x, y V)) {
	f.function(name, "(iters int)", 8, fmt.Sprintf("does %d rounds of %d independent %s for each of iters iterations.", rounds, accumulators, what))
	const n R = 1
	f.ins("MOVD iters+0(FP), %v", n)
	f.zero(span(0, accumulators+2)...)
	f.ins("CMP $0, %v", n)
	f.ins("BLE done")
	f.label("loop")
	for range rounds {
		for i := range V(accumulators) {
			multiplyAdd(i, accumulators, accumulators+1)
		}
	}
	f.ins("SUBS $1, %v, %v", n, n)
	f.ins("BNE loop")
	f.label("done")
	f.ins("RET")
}

// steps turns a length in floats into a count of whole steps and jumps to done if there is none.
func (f *file) steps(n R) {
	f.ins("LSR $6, %v, %v", n, n) // 16 vectors of 4 floats
	f.ins("CBZ %v, done", n)
}

func (f *file) read() {
	f.function("readNEON", "(p []float32)", 24, "loads p, whole steps of 16 vectors.")
	const from, n R = 1, 2
	f.ins("MOVD p_base+0(FP), %v", from)
	f.ins("MOVD p_len+8(FP), %v", n)
	f.steps(n)
	f.label("loop")
	f.load(width{streamed, 4}, span(0, streamed), from, 0)
	f.ins("ADD $%d, %v, %v", 16*streamed, from, from)
	f.ins("SUBS $1, %v, %v", n, n)
	f.ins("BNE loop")
	f.label("done")
	f.ins("RET")
}

func (f *file) copies() {
	const to, from, n R = 1, 2, 3
	for _, c := range []struct {
		name, doc string
		store     func(v []V, offset int)
	}{
		{"copyNEON", "loads src and stores it to dst, whole steps of 16 vectors.", func(v []V, offset int) { f.store(width{2, 4}, v, to, offset) }},
		{"copyNTNEON", "is copy with stores that hint that dst is not read soon.", func(v []V, offset int) { f.word(stnp(v[0], v[1], to, offset)) }},
	} {
		f.function(c.name, "(dst, src []float32)", 48, c.doc)
		f.ins("MOVD dst_base+0(FP), %v", to)
		f.ins("MOVD src_base+24(FP), %v", from)
		f.ins("MOVD src_len+32(FP), %v", n)
		f.steps(n)
		f.label("loop")
		f.load(width{streamed, 4}, span(0, streamed), from, 0)
		f.ins("ADD $%d, %v, %v", 16*streamed, from, from)
		for i := 0; i < streamed; i += 2 {
			c.store(span(i, 2), 16*i)
		}
		f.ins("ADD $%d, %v, %v", 16*streamed, to, to)
		f.ins("SUBS $1, %v, %v", n, n)
		f.ins("BNE loop")
		f.label("done")
		f.ins("RET")
	}
}

func (f *file) readRows() {
	f.function("readRowsNEON", "(table []float32, rows []int32, ld, n int)", 64,
		"adds up n floats of each row table[rows[i]*ld:], 8 rows side by side; whole groups of rows, whole vectors.",
		"The first two lines of the next 8 rows are prefetched, as hardware cannot foresee where rows start.")
	const table, rows, groups, ld, left, next, cols R = 1, 2, 3, 4, 5, 6, 7
	at := []R{8, 9, 10, 11, 12, 13, 14, 15}
	sums, loaded := span(0, sideBySide), span(sideBySide, sideBySide)
	f.ins("MOVD table_base+0(FP), %v", table)
	f.ins("MOVD rows_base+24(FP), %v", rows)
	f.ins("MOVD rows_len+32(FP), %v", groups)
	f.ins("MOVD ld+48(FP), %v", ld)
	f.ins("LSL $2, %v, %v", ld, ld)
	f.ins("MOVD n+56(FP), %v", cols)
	f.zero(sums...)
	f.ins("LSR $3, %v, %v", groups, groups)
	f.ins("CBZ %v, done", groups)
	f.label("group")
	for _, r := range at {
		f.ins("MOVW.P 4(%v), %v", rows, r)
		f.ins("MADD %v, %v, %v, %v", ld, table, r, r)
	}
	f.ins("CMP $1, %v", groups)
	f.ins("BEQ fetched")
	for i := range at {
		f.ins("MOVW %d(%v), %v", 4*i, rows, next)
		f.ins("MADD %v, %v, %v, %v", ld, table, next, next)
		f.ins("PRFM (%v), PLDL1KEEP", next)
		f.ins("PRFM 64(%v), PLDL1KEEP", next)
	}
	f.label("fetched")
	f.ins("SUBS $4, %v, %v", cols, left)
	f.ins("BLT next")
	f.label("loop")
	for i, r := range at {
		f.loadNext(4, loaded[i], r)
	}
	for i, s := range sums {
		f.word(fadd(s, s, loaded[i]))
	}
	f.ins("SUBS $4, %v, %v", left, left)
	f.ins("BGE loop")
	f.label("next")
	f.ins("SUBS $1, %v, %v", groups, groups)
	f.ins("BNE group")
	f.label("done")
	f.ins("RET")
}

// readPlaces has hardly an instruction beside the loads: the places are prepared, as those of short rows in slabs of tables are.
func (f *file) readPlaces() {
	f.function("readPlacesNEON", "(table []float32, places []uint32, lines int)", 56,
		"adds up one line, or two, from each byte of table that places names: whole groups of 8 places. Nothing is prefetched.")
	const table, places, groups, lines R = 1, 2, 3, 4
	at := []R{8, 9, 10, 11, 12, 13, 14, 15}
	sums := span(0, sideBySide)
	f.ins("MOVD table_base+0(FP), %v", table)
	f.ins("MOVD places_base+24(FP), %v", places)
	f.ins("MOVD places_len+32(FP), %v", groups)
	f.ins("MOVD lines+48(FP), %v", lines)
	f.zero(sums...)
	f.ins("LSR $3, %v, %v", groups, groups)
	f.ins("CBZ %v, done", groups)
	f.ins("CMP $1, %v", lines)
	f.ins("BNE two")
	for n, label := range []string{"one", "two"} {
		f.label(label)
		for _, place := range at {
			f.ins("MOVWU.P 4(%v), %v", places, place)
			f.ins("ADD %v, %v, %v", table, place, place)
		}
		for i, place := range at {
			vectors := 4 * (n + 1)
			f.load(width{vectors, 4}, span(sideBySide, vectors), place, 0)
			for j := range vectors {
				sum := sums[(i+j)%sideBySide]
				f.word(fadd(sum, sum, V(sideBySide+j)))
			}
		}
		f.ins("SUBS $1, %v, %v", groups, groups)
		f.ins("BNE %s", label)
		if n == 0 {
			f.ins("RET")
		}
	}
	f.label("done")
	f.ins("RET")
}
