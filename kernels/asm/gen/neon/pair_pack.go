package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	pairPackSrc       = int(unsafe.Offsetof(tile.PairPack{}.Src))
	pairPackRow       = int(unsafe.Offsetof(tile.PairPack{}.Row))
	pairPackMask      = int(unsafe.Offsetof(tile.PairPack{}.Mask))
	pairPackDst       = int(unsafe.Offsetof(tile.PairPack{}.Dst))
	pairPackLDS       = int(unsafe.Offsetof(tile.PairPack{}.LDS))
	pairPackLDM       = int(unsafe.Offsetof(tile.PairPack{}.LDM))
	pairPackLDD       = int(unsafe.Offsetof(tile.PairPack{}.LDD))
	pairPackM         = int(unsafe.Offsetof(tile.PairPack{}.M))
	pairPackN         = int(unsafe.Offsetof(tile.PairPack{}.N))
	pairPackAcross    = int(unsafe.Offsetof(tile.PairPack{}.Across))
	pairPackNonFinite = int(unsafe.Offsetof(tile.PairPack{}.NonFinite))
)

// A pairRounding is the constants of a rounding to bfloat16, the same in every lane, and what remembers that a result was not finite.
type pairRounding struct{ bias, one, quiet, sign, upperExponent, exponent, zero, nonFinite V }

// round makes bfloat16 of the floats of x, in the lower halves of y. It needs the two between.
func (f *file) round(c pairRounding, x, t, m, y V) {
	f.ins("VUSHR $16, %s, %s", x.S4(), y.S4())
	f.ins("VAND %s, %s, %s", c.one.B16(), y.B16(), t.B16())
	f.ins("VADD %s, %s, %s", c.bias.S4(), t.S4(), t.S4())
	f.ins("VADD %s, %s, %s", x.S4(), t.S4(), t.S4())
	f.ins("VUSHR $16, %s, %s", t.S4(), t.S4())
	f.word(fcmeq(m, x, x)) // but for NaN, which is made quiet
	f.ins("VORR %s, %s, %s", c.quiet.B16(), y.B16(), y.B16())
	f.ins("VBIT %s, %s, %s", m.B16(), t.B16(), y.B16())
	f.comment("Of what is denormal the sign is left.")
	f.ins("VAND %s, %s, %s", c.upperExponent.B16(), x.B16(), m.B16())
	f.ins("VCMEQ %s, %s, %s", c.zero.S4(), m.S4(), m.S4())
	f.ins("VUSHR $16, %s, %s", x.S4(), t.S4())
	f.ins("VAND %s, %s, %s", c.sign.B16(), t.B16(), t.B16())
	f.ins("VBIT %s, %s, %s", m.B16(), t.B16(), y.B16())
	f.ins("VAND %s, %s, %s", c.exponent.B16(), y.B16(), t.B16())
	f.ins("VCMEQ %s, %s, %s", c.exponent.S4(), t.S4(), t.S4())
	f.ins("VORR %s, %s, %s", t.B16(), c.nonFinite.B16(), c.nonFinite.B16())
}

// pairPack takes four columns at a time, of one row or, across, of two; N is a multiple of 4. What Row and Mask give is rounded after each.
func (f *file) pairPack() {
	f.tileFunction("pairPackNEON", "PairPack", "rounds whole groups of four columns to pairs as tile.PairPack says.")
	const (
		rows, cols, src, dst, row, mask, lds, ldm, ldd R = 1, 2, 3, 4, 5, 6, 7, 8, 9
		from, second, masked, to, left, tmp            R = 10, 11, 12, 13, 14, 15
		scale, scale2                                  V = 28, 29
	)
	c := pairRounding{16, 17, 18, 19, 20, 21, 22, 23}
	for _, k := range []struct {
		bits uint32
		to   V
	}{{0x7fff, c.bias}, {1, c.one}, {0x40, c.quiet}, {0x8000, c.sign}, {0x7f800000, c.upperExponent}, {0x7f80, c.exponent}} {
		f.ins("MOVD $%#x, %v", k.bits, tmp)
		f.ins("VDUP %v, %s", tmp, k.to.S4())
	}
	f.zero(c.zero, c.nonFinite)
	f.ins("FMOVS $1.0, %s", scale.F())
	f.ins("FMOVS $1.0, %s", scale2.F())
	f.get(pairPackM, rows)
	f.get(pairPackN, cols)
	f.ins("CMP $0, %v", rows)
	f.ins("BLE done")
	f.ins("CMP $0, %v", cols)
	f.ins("BLE done")
	f.get(pairPackSrc, src)
	f.get(pairPackDst, dst)
	f.get(pairPackRow, row)
	f.get(pairPackMask, mask)
	f.getBytes(pairPackLDS, lds)
	f.getBytes(pairPackLDM, ldm)
	f.getBytes(pairPackLDD, ldd)
	f.ins("MOVBU %d(%v), %v", pairPackAcross, p, tmp)
	f.ins("CBNZ %v, across", tmp)

	f.label("row")
	f.ins("CBZ %v, scaled", row)
	f.loadNext(1, scale, row)
	f.label("scaled")
	f.ins("MOVD %v, %v", src, from)
	f.ins("MOVD %v, %v", mask, masked)
	f.ins("MOVD %v, %v", dst, to)
	f.ins("MOVD %v, %v", cols, left)
	f.label("columns")
	f.loadNext(4, 0, from)
	f.word(fmulElement(0, 0, scale, 0))
	f.ins("CBZ %v, unmasked", mask)
	f.loadNext(4, 1, masked)
	f.word(fmul(0, 0, 1))
	f.label("unmasked")
	f.round(c, 0, 1, 2, 3)
	f.word(xtn(3, 3))
	f.storeNext(2, 3, to)
	f.ins("SUBS $4, %v, %v", left, left)
	f.ins("BNE columns")
	f.ins("ADD %v, %v, %v", lds, src, src)
	f.ins("ADD %v, %v, %v", ldm, mask, tmp)
	f.ins("CMP $0, %v", mask)
	f.ins("CSEL EQ, %v, %v, %v", mask, tmp, mask)
	f.ins("ADD %v, %v, %v", ldd, dst, dst)
	f.ins("SUBS $1, %v, %v", rows, rows)
	f.ins("BNE row")
	f.ins("B done")

	f.label("across")
	f.ins("CBZ %v, both", row)
	f.loadNext(1, scale, row)
	f.ins("CMP $1, %v", rows)
	f.ins("BEQ both")
	f.loadNext(1, scale2, row)
	f.label("both")
	f.ins("MOVD %v, %v", src, from)
	f.ins("ADD %v, %v, %v", lds, src, second)
	f.ins("MOVD %v, %v", dst, to)
	f.ins("MOVD %v, %v", cols, left)
	f.label("pairs")
	f.loadNext(4, 0, from)
	f.word(fmulElement(0, 0, scale, 0))
	f.zero(4)
	f.ins("CMP $1, %v", rows) // the last row of an odd number has zeros for company
	f.ins("BEQ alone")
	f.loadNext(4, 4, second)
	f.word(fmulElement(4, 4, scale2, 0))
	f.label("alone")
	f.round(c, 0, 1, 2, 3)
	f.round(c, 4, 5, 6, 7)
	f.ins("VSHL $16, %s, %s", V(7).S4(), V(7).S4())
	f.ins("VORR %s, %s, %s", V(7).B16(), V(3).B16(), V(3).B16())
	f.storeNext(4, 3, to)
	f.ins("SUBS $4, %v, %v", left, left)
	f.ins("BNE pairs")
	f.ins("ADD %v<<1, %v, %v", lds, src, src)
	f.ins("ADD %v, %v, %v", ldd, dst, dst)
	f.ins("SUB $2, %v, %v", rows, rows)
	f.ins("CMP $0, %v", rows)
	f.ins("BGT across")

	f.label("done")
	f.ins("VADDP %s, %s, %s", c.nonFinite.S4(), c.nonFinite.S4(), c.nonFinite.S4())
	f.ins("VMOV %s, %v", c.nonFinite.lane("D", 0), tmp)
	f.ins("CMP $0, %v", tmp)
	f.ins("CSET NE, %v", tmp)
	f.ins("MOVB %v, %d(%v)", tmp, pairPackNonFinite, p)
	f.ins("RET")
}
