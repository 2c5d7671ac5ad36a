package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Widen and Narrow have the same fields but for the types of Src and Dst.
const (
	halfSrc      = int(unsafe.Offsetof(tile.Widen{}.Src))
	halfDst      = int(unsafe.Offsetof(tile.Widen{}.Dst))
	halfLDS      = int(unsafe.Offsetof(tile.Widen{}.LDS))
	halfLDD      = int(unsafe.Offsetof(tile.Widen{}.LDD))
	halfM        = int(unsafe.Offsetof(tile.Widen{}.M))
	halfN        = int(unsafe.Offsetof(tile.Widen{}.N))
	halfBFloat16 = int(unsafe.Offsetof(tile.Widen{}.BFloat16))
)

// The registers of a copy between types: where it reads and writes, and a number on its own.
const (
	halfFrom   R = 7
	halfTo     R = 8
	halfSingle R = 10
)

// half is the loop of a copy between types of 2 or 4 bytes, four vectors at a time, then one, then number by number.
func (f *file) half(srcBytes, dstBytes int, convert func(bfloat bool, vectors, lanes int)) {
	const rows, cols, src, dst, lds, ldd, left R = 1, 2, 3, 4, 5, 6, 9
	f.get(halfM, rows)
	f.get(halfN, cols)
	f.ins("CMP $0, %v", rows)
	f.ins("BLE done")
	f.ins("CMP $0, %v", cols)
	f.ins("BLE done")
	f.get(halfSrc, src)
	f.get(halfDst, dst)
	f.get(halfLDS, lds)
	f.get(halfLDD, ldd)
	f.ins("LSL $%d, %v, %v", srcBytes/2, lds, lds)
	f.ins("LSL $%d, %v, %v", dstBytes/2, ldd, ldd)
	f.ins("MOVBU %d(%v), %v", halfBFloat16, p, left)
	f.ins("CBZ %v, float16", left)
	for _, bfloat := range []bool{true, false} {
		if !bfloat {
			f.label("float16")
		}
		row := f.newLabel("row")
		f.label(row)
		f.ins("MOVD %v, %v", src, halfFrom)
		f.ins("MOVD %v, %v", dst, halfTo)
		f.ins("MOVD %v, %v", cols, left)
		for _, w := range []width{{4, 4}, {1, 4}, {1, 1}} {
			again, end := f.newLabel("numbers"), f.newLabel("end")
			f.ins("SUBS $%d, %v, %v", w.columns(), left, left)
			f.ins("BLT %s", end)
			f.label(again)
			convert(bfloat, w.vectors, w.lanes)
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
	f.label("done")
	f.ins("RET")
}

func (f *file) widen() {
	f.tileFunction("widenNEON", "Widen", "copies 16-bit numbers to float32 as tile.Widen says.")
	f.half(2, 4, func(bfloat bool, vectors, lanes int) {
		v := span(0, vectors)
		for _, v := range v {
			if lanes == 1 {
				f.ins("MOVHU.P 2(%v), %v", halfFrom, halfSingle)
				f.ins("FMOVS %v, %s", halfSingle, v.F())
			} else {
				f.loadNext(2, v, halfFrom) // 8 bytes
			}
		}
		for _, v := range v {
			if bfloat {
				f.word(shll(v, v))
			} else {
				f.word(fcvtl(v, v))
			}
		}
		for _, v := range v {
			f.storeNext(lanes, v, halfTo)
		}
	})
}

// narrow rounds to bfloat16 by adding to the bits, as the instruction for it is an extension.
func (f *file) narrow() {
	f.tileFunction("narrowNEON", "Narrow", "rounds float32 to 16-bit numbers as tile.Narrow says.")
	const bias, one, quiet V = 16, 17, 18
	for _, c := range []struct {
		bits uint32
		to   V
	}{{0x7fff, bias}, {1, one}, {1 << 6, quiet}} {
		f.ins("MOVD $%#x, %v", c.bits, halfSingle)
		f.ins("VDUP %v, %s", halfSingle, c.to.S4())
	}
	f.half(4, 2, func(bfloat bool, vectors, lanes int) {
		each := func(do func(x, y, z V)) {
			for i := range V(vectors) {
				do(3*i, 3*i+1, 3*i+2)
			}
		}
		each(func(x, _, _ V) { f.loadNext(lanes, x, halfFrom) })
		if bfloat {
			each(func(x, y, _ V) { f.ins("VUSHR $16, %s, %s", x.S4(), y.S4()) })
			each(func(_, y, z V) { f.ins("VAND %s, %s, %s", one.B16(), y.B16(), z.B16()) })
			each(func(_, _, z V) { f.ins("VADD %s, %s, %s", bias.S4(), z.S4(), z.S4()) })
			each(func(x, _, z V) { f.ins("VADD %s, %s, %s", x.S4(), z.S4(), z.S4()) })
			each(func(_, _, z V) { f.ins("VUSHR $16, %s, %s", z.S4(), z.S4()) })
			each(func(_, y, _ V) { f.ins("VORR %s, %s, %s", quiet.B16(), y.B16(), y.B16()) })
			each(func(x, _, _ V) { f.word(fcmeq(x, x, x)) })                              // but for NaN
			each(func(x, y, z V) { f.ins("VBIT %s, %s, %s", x.B16(), z.B16(), y.B16()) }) // rounded, or NaN made quiet
			each(func(_, y, _ V) { f.word(xtn(y, y)) })
		} else {
			each(func(x, y, _ V) { f.word(fcvtn(y, x)) })
		}
		each(func(_, y, _ V) {
			if lanes == 1 {
				f.ins("FMOVS %s, %v", y.F(), halfSingle)
				f.ins("MOVH.P %v, 2(%v)", halfSingle, halfTo)
			} else {
				f.storeNext(2, y, halfTo)
			}
		})
	})
}
