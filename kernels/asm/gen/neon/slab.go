package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	slabFloats  = int(unsafe.Offsetof(tile.Slab{}.Floats))
	slabHalves  = int(unsafe.Offsetof(tile.Slab{}.Halves))
	slabBytes   = int(unsafe.Offsetof(tile.Slab{}.Bytes))
	slabOffset  = int(unsafe.Offsetof(tile.Slab{}.Offset))
	slabWeight  = int(unsafe.Offsetof(tile.Slab{}.Weight))
	slabQuant   = int(unsafe.Offsetof(tile.Slab{}.Quant))
	slabScale   = int(unsafe.Offsetof(tile.Slab{}.Scale))
	slabY       = int(unsafe.Offsetof(tile.Slab{}.Y))
	slabInit    = int(unsafe.Offsetof(tile.Slab{}.Init))
	slabInitLen = slabInit + 8
	slabOut     = int(unsafe.Offsetof(tile.Slab{}.Out))
	slabOutLen  = slabOut + 8
	slabLDO     = int(unsafe.Offsetof(tile.Slab{}.LDO))
	slabNext    = int(unsafe.Offsetof(tile.Slab{}.Next))
	slabNextLen = slabNext + 8
	slabT       = int(unsafe.Offsetof(tile.Slab{}.T))
	slabG       = int(unsafe.Offsetof(tile.Slab{}.G))
	slabPace    = int(unsafe.Offsetof(tile.Slab{}.Pace))
	slabFar     = int(unsafe.Offsetof(tile.Slab{}.Far))
)

// Registers of a pass over a slab. slabRow and the three after it are where rows start, slabFrom and slabTo where a token's sums begin and go.
const (
	slabTokens  R = 1
	slabTable   R = 2
	slabOffsets R = 3
	slabWeights R = 4
	slabSums    R = 5 // a token's place in Y
	slabFrom    R = 6
	slabLeft    R = 7
	slabRow     R = 8
	slabDue     R = 12 // 256ths of a line
	slabLines   R = 13
	slabAhead   R = 14
	slabQuarter R = 15
	slabOther   R = 16 // another quarter of Next
	slabTo      R = 17
	slabRows    R = 19 // a token's row of Out, 0 without
	slabScales  R = 20
)

// slabPass writes a pass over a slab whose rows have so many columns. Tables are taken in blocks, for each of which rows gets the registers where
// they start and moves the weights on; load and store are for a token's sums.
func (f *file) slabPass(name, doc string, elements, weights, width int, load, store func(), rows func(row []R), blocks ...int) {
	f.tileFunction(name, "Slab", doc)
	f.get(slabT, slabTokens)
	f.ins("CMP $0, %v", slabTokens)
	f.ins("BLE done")
	f.get(elements, slabTable)
	f.get(slabOffset, slabOffsets)
	f.get(weights, slabWeights)
	f.get(slabScale, slabScales)
	f.get(slabY, slabSums)
	f.ins("MOVD $0, %v", slabDue)
	f.get(slabNext, slabAhead)
	f.get(slabNextLen, slabQuarter)
	f.ins("LSR $2, %v, %v", slabQuarter, slabQuarter)
	f.ins("LSR $6, %v, %v", slabQuarter, slabLines)
	f.ins("MOVD $0, %v", slabRows)
	f.get(slabOutLen, slabTo)
	f.ins("CBZ %v, token", slabTo)
	f.get(slabOut, slabRows)

	f.label("token")
	f.comment("Lines of the next slab, in four streams.")
	f.get(slabPace, slabOther)
	f.ins("ADD %v, %v, %v", slabOther, slabDue, slabDue)
	f.label("fetch")
	f.ins("CMP $256, %v", slabDue)
	f.ins("BLT fetched")
	f.ins("SUB $256, %v, %v", slabDue, slabDue)
	f.ins("CBZ %v, fetched", slabLines)
	f.ins("SUB $1, %v, %v", slabLines, slabLines)
	f.ins("MOVBU %d(%v), %v", slabFar, p, slabOther)
	f.ins("CBNZ %v, far", slabOther)
	for _, level := range []string{"PLDL1KEEP", "PLDL2KEEP"} {
		if level == "PLDL2KEEP" {
			f.label("far")
		}
		f.ins("PRFM (%v), %s", slabAhead, level)
		f.ins("ADD %v, %v, %v", slabQuarter, slabAhead, slabOther)
		for range 2 {
			f.ins("PRFM (%v), %s", slabOther, level)
			f.ins("ADD %v, %v, %v", slabQuarter, slabOther, slabOther)
		}
		f.ins("PRFM (%v), %s", slabOther, level)
		f.ins("ADD $64, %v, %v", slabAhead, slabAhead)
		f.ins("B fetch")
	}
	f.label("fetched")

	f.comment("Sums begin at Init, which stays, or at Y, which goes on, and go to Out or Y.")
	f.ins("MOVD %v, %v", slabSums, slabFrom)
	f.get(slabInitLen, slabOther)
	f.ins("CBZ %v, begun", slabOther)
	f.get(slabInit, slabFrom)
	f.label("begun")
	load()
	f.get(slabG, slabLeft)
	for _, n := range blocks {
		again, over := f.newLabel("rows"), f.newLabel("over")
		f.label(again)
		f.ins("SUBS $%d, %v, %v", n, slabLeft, slabLeft)
		f.ins("BLT %s", over)
		row := []R{slabRow, slabRow + 1, slabRow + 2, slabRow + 3}[:n]
		for _, r := range row {
			f.ins("MOVWU.P 4(%v), %v", slabOffsets, r)
			f.ins("ADD %v, %v, %v", slabTable, r, r)
		}
		rows(row)
		f.ins("B %s", again)
		f.label(over)
		f.ins("ADD $%d, %v, %v", n, slabLeft, slabLeft)
	}
	store()
	f.ins("ADD $%d, %v, %v", 4*width, slabSums, slabSums)
	f.ins("SUBS $1, %v, %v", slabTokens, slabTokens)
	f.ins("BNE token")
	f.label("done")
	f.ins("RET")
}

// storeSums stores a token's sums, vector i at column(i): in Y, or with the hint that they are not read soon in its row of Out.
func (f *file) storeSums(sums []V, column func(i int) int) {
	far, stored := f.newLabel("out"), f.newLabel("stored")
	f.ins("CBNZ %v, %s", slabRows, far)
	for i, v := range sums {
		f.ins("FMOVQ %s, %d(%v)", v.F(), 4*column(i), slabSums)
	}
	f.ins("B %s", stored)
	f.label(far)
	at := make([]V, len(sums)) // by their places
	for i, v := range sums {
		at[column(i)/4] = v
	}
	for i := 0; i < len(at); i += 2 {
		f.word(stnp(at[i], at[i+1], slabRows, 16*i))
	}
	f.get(slabLDO, slabOther)
	f.ins("ADD %v<<2, %v, %v", slabOther, slabRows, slabRows)
	f.label(stored)
}

func inOrder(i int) int { return 4 * i }

// slabs writes the passes over slabs of each type. Rows of 32 columns are added to two sets of sums in turn, so that 16 chains of multiply-adds keep four
// pipes busy. Integer weights are multiplied as 16-bit numbers, which takes 28 instructions a row, or 36, where float32 takes 60: there is no
// need of dot products, for which the rows of four tables would have to be turned.
func (f *file) slabs() {
	sums, others, loaded, weights := span(0, 8), span(8, 8), span(16, 8), V(24)
	mask := V(25)
	vectors := width{8, 4}
	set := func(i int) []V { return [][]V{sums, others}[i%2] }
	load := func() {
		f.load(vectors, sums, slabFrom, 0)
		f.zero(others...)
	}
	store := func() {
		for i, v := range sums {
			f.word(fadd(v, v, others[i]))
		}
		f.storeSums(sums, inOrder)
	}
	f.slabPass("slabFloatsNEON", "passes over a slab of float32 as tile.Slab says.", slabFloats, slabWeight, tile.SlabFloats, load, store, func(row []R) {
		f.loadNext(len(row), weights, slabWeights)
		for i, r := range row {
			f.load(vectors, loaded, r, 0)
			for j, v := range set(i) {
				f.word(fmlaElement(v, loaded[j], weights, uint(i)))
			}
		}
	}, 4, 1)

	f.slabPass("slabHalvesNEON", "passes over a slab of bfloat16 as tile.Slab says.", slabHalves, slabWeight, tile.SlabHalves, func() {
		load()
		f.ins("MOVD $0xffff0000, %v", slabOther)
		f.ins("VDUP %v, %s", slabOther, mask.S4())
	}, store, func(row []R) {
		f.loadNext(len(row), weights, slabWeights)
		for i, r := range row {
			words := loaded[:4]
			f.load(width{4, 4}, words, r, 0)
			for j, w := range words { // the lower half is a column of the first 16, the upper one of the others
				upper := loaded[4+j]
				f.ins("VAND %s, %s, %s", w.B16(), mask.B16(), upper.B16())
				f.ins("VSHL $16, %s, %s", w.S4(), w.S4())
				f.word(fmlaElement(set(i)[j], w, weights, uint(i)))
				f.word(fmlaElement(set(i)[4+j], upper, weights, uint(i)))
			}
		}
	}, 4, 1)

	sixteen := span(0, 16)
	f.slabPass("slabBytesNEON", "passes over a slab of int8 with weights of float32 as tile.Slab says.", slabBytes, slabWeight, tile.SlabBytes, func() {
		f.load(width{16, 4}, sixteen, slabFrom, 0)
	}, func() { f.storeSums(sixteen, inOrder) }, func(row []R) {
		f.loadNext(len(row), weights, slabWeights)
		for i, r := range row {
			for l := range 4 {
				q, halves, words := V(16), span(17, 2), span(19, 4)
				f.ins("FMOVQ %d(%v), %s", 16*l, r, q.F())
				f.word(sxtlBytes(halves[0], q))
				f.word(sxtl2Bytes(halves[1], q))
				for k, h := range halves {
					f.word(sxtlHalves(words[2*k], h))
					f.word(sxtl2Halves(words[2*k+1], h))
				}
				for k, w := range words {
					f.word(scvtf(w, w))
					f.word(fmlaElement(sixteen[4*l+k], w, weights, uint(i)))
				}
			}
		}
	}, 4, 1)

	f.integerSlab("slabBytes16NEON", "passes over a slab of int8 with weights of 16 bits as tile.Slab says.", true)
	f.integerSlab("slabBytes8NEON", "passes over a slab of int8 with weights of 8 bits as tile.Slab says.", false)
}

// integerSlab is slabs for weights of 16 or 8 bits. A vector of sums holds four bytes of a row, whose columns lie side by side. Weights have no sign, and products are of
// signed numbers: those of 16 bits count as 32768 less, and that many times the sums of bytes, at most 64 of them, are added in the end.
func (f *file) integerSlab(name, doc string, wide bool) {
	weights, upper, lower, byteRow, halves, sign := V(0), V(1), V(2), V(3), span(4, 2), V(6)
	counts, sums := span(8, 8), span(16, 16)
	column := func(i int) int { return 16*(i%4) + 4*(i/4) }
	f.slabPass(name, doc, slabBytes, slabQuant, tile.SlabBytes, func() {
		f.zero(sums...)
		if wide {
			f.zero(counts...)
			f.ins("MOVD $0x8000, %v", slabOther)
			f.ins("VDUP %v, %s", slabOther, sign.H8())
		}
	}, func() {
		if wide {
			for i, v := range counts {
				f.word(sshllHalves(lower, v, 15))
				f.word(sshll2Halves(upper, v, 15))
				f.ins("VADD %s, %s, %s", lower.S4(), sums[2*i].S4(), sums[2*i].S4())
				f.ins("VADD %s, %s, %s", upper.S4(), sums[2*i+1].S4(), sums[2*i+1].S4())
			}
		}
		f.ins("FMOVS.P 4(%v), %s", slabScales, weights.F())
		for i, v := range sums {
			begin := V(1 + i%8)
			f.ins("FMOVQ %d(%v), %s", 4*column(i), slabFrom, begin.F())
			f.word(scvtf(v, v))
			f.word(fmlaElement(begin, v, weights, 0))
			f.copy(v, begin)
		}
		f.storeSums(sums, column)
	}, func(row []R) {
		f.ins("FMOVS (%v), %s", slabWeights, upper.F())
		if wide {
			f.ins("FMOVS 4(%v), %s", slabWeights, lower.F())
			f.ins("VZIP1 %s, %s, %s", upper.B16(), lower.B16(), weights.B16())
			f.ins("VEOR %s, %s, %s", sign.B16(), weights.B16(), weights.B16())
		} else {
			f.ins("VUXTL %s, %s", upper.B8(), weights.H8())
		}
		f.ins("ADD $8, %v, %v", slabWeights, slabWeights)
		for i, r := range row {
			for l := range 4 {
				f.ins("FMOVQ %d(%v), %s", 16*l, r, byteRow.F())
				f.word(sxtlBytes(halves[0], byteRow))
				f.word(sxtl2Bytes(halves[1], byteRow))
				for k, h := range halves {
					f.word(smlalElement(sums[4*l+2*k], h, weights, uint(i)))
					f.word(smlal2Element(sums[4*l+2*k+1], h, weights, uint(i)))
					if wide {
						f.ins("VADD %s, %s, %s", h.H8(), counts[2*l+k].H8(), counts[2*l+k].H8())
					}
				}
			}
		}
	}, 4)
}
