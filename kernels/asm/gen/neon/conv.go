package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	convSrc    = int(unsafe.Offsetof(tile.Conv{}.Src))
	convDst    = int(unsafe.Offsetof(tile.Conv{}.Dst))
	convWeight = int(unsafe.Offsetof(tile.Conv{}.Weight))
	convBias   = int(unsafe.Offsetof(tile.Conv{}.Bias))
	convLDS    = int(unsafe.Offsetof(tile.Conv{}.LDS))
	convLDD    = int(unsafe.Offsetof(tile.Conv{}.LDD))
	convM      = int(unsafe.Offsetof(tile.Conv{}.M))
	convN      = int(unsafe.Offsetof(tile.Conv{}.N))
	convK      = int(unsafe.Offsetof(tile.Conv{}.K))
	convSiLU   = int(unsafe.Offsetof(tile.Conv{}.SiLU))
	convStream = int(unsafe.Offsetof(tile.Conv{}.Stream))
)

// conv takes four vectors of a row at a time, then one, then output by output, tap by tap: inputs are loaded from one element further on for
// each tap, and multiplied by one lane of the weights. Memory, not these loads, bounds it.
func (f *file) conv() {
	f.expConstants()
	f.tileFunction("convNEON", "Conv", "is the causal convolution of tile.Conv.")
	const (
		rows, cols, src, dst, lds, ldd, weights, biases R = 1, 2, 3, 4, 5, 6, 7, 8
		from, to, left, tap, at, weight, taps, tmp      R = 9, 10, 11, 12, 13, 14, 15, 16
		silu, stream                                    R = 17, 19
		w                                               V = 8
	)
	sums, inputs := span(28, 4), span(4, 4)

	f.get(convM, rows)
	f.get(convN, cols)
	f.ins("CMP $0, %v", rows)
	f.ins("BLE done")
	f.ins("CMP $0, %v", cols)
	f.ins("BLE done")
	constants := f.loadExp(tmp)
	f.get(convSrc, src)
	f.get(convDst, dst)
	f.getBytes(convLDS, lds)
	f.getBytes(convLDD, ldd)
	f.get(convWeight, weights)
	f.get(convBias, biases)
	f.get(convK, taps)
	f.ins("MOVBU %d(%v), %v", convSiLU, p, silu)
	f.ins("MOVBU %d(%v), %v", convStream, p, stream)

	f.label("row")
	f.ins("MOVD %v, %v", src, from)
	f.ins("MOVD %v, %v", dst, to)
	f.ins("MOVD %v, %v", cols, left)
	for _, wide := range []width{{4, 4}, {1, 4}, {1, 1}} {
		again, end, biased, tapLoop, store, stored := f.newLabel("outputs"), f.newLabel("end"), f.newLabel("taps"), f.newLabel("tap"), f.newLabel("store"), f.newLabel("stored")
		sum, x := sums[:wide.vectors], inputs[:wide.vectors]
		f.ins("SUBS $%d, %v, %v", wide.columns(), left, left)
		f.ins("BLT %s", end)
		f.label(again)
		f.zero(sum...)
		f.ins("CBZ %v, %s", biases, biased)
		f.ins("FMOVS (%v), %s", biases, w.F())
		for _, s := range sum {
			f.ins("VDUP V%s.S[0], %s", w.number(), s.S4())
		}
		f.label(biased)
		f.ins("MOVD %v, %v", from, at)
		f.ins("MOVD %v, %v", weights, weight)
		f.ins("MOVD %v, %v", taps, tap)
		f.label(tapLoop)
		f.loadNext(1, w, weight)
		f.load(wide, x, at, 0)
		for i, s := range sum {
			f.word(fmlaElement(s, x[i], w, 0))
		}
		f.ins("ADD $4, %v, %v", at, at)
		f.ins("SUBS $1, %v, %v", tap, tap)
		f.ins("BNE %s", tapLoop)
		f.ins("CBZ %v, %s", silu, store)
		for i, s := range sum {
			f.zero(V(4 * i))
			f.word(fsub(V(4*i), V(4*i), s))
		}
		f.exponentials(constants, wide.vectors)
		for i := range sum {
			f.word(fadd(V(4*i+3), V(4*i+3), constants.one))
		}
		for i, s := range sum {
			f.word(fdiv(s, s, V(4*i+3)))
		}
		f.label(store)
		if wide.vectors > 1 {
			f.ins("CBZ %v, %splain", stream, store)
			for i := 0; i < wide.vectors; i += 2 {
				f.word(stnp(sum[i], sum[i+1], to, 16*i))
			}
			f.ins("B %s", stored)
			f.label(store + "plain")
		}
		f.store(wide, sum, to, 0)
		if wide.vectors > 1 {
			f.label(stored)
		}
		f.ins("ADD $%d, %v, %v", wide.bytes(), from, from)
		f.ins("ADD $%d, %v, %v", wide.bytes(), to, to)
		f.ins("SUBS $%d, %v, %v", wide.columns(), left, left)
		f.ins("BGE %s", again)
		f.label(end)
		f.ins("ADD $%d, %v, %v", wide.columns(), left, left)
	}
	f.ins("CBZ %v, next", biases)
	f.ins("ADD $4, %v, %v", biases, biases)
	f.label("next")
	f.ins("ADD %v<<2, %v, %v", taps, weights, weights)
	f.ins("ADD %v, %v, %v", lds, src, src)
	f.ins("ADD %v, %v, %v", ldd, dst, dst)
	f.ins("SUBS $1, %v, %v", rows, rows)
	f.ins("BNE row")
	f.label("done")
	f.ins("RET")
}
