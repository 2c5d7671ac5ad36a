package main

import (
	"math"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	expSrc    = int(unsafe.Offsetof(tile.Exp{}.Src))
	expDst    = int(unsafe.Offsetof(tile.Exp{}.Dst))
	expStride = int(unsafe.Offsetof(tile.Exp{}.Stride))
	expN      = int(unsafe.Offsetof(tile.Exp{}.N))
	expScale  = int(unsafe.Offsetof(tile.Exp{}.Scale))
	expAbs    = int(unsafe.Offsetof(tile.Exp{}.Abs))
)

// The polynomial (exp(r) - 1 - r)/r² for |r| <= ln2/2, highest power first:
// the coefficients of expf in Stephen Moshier's Cephes library. Two more steps
// of Horner's scheme with 1 complete exp(r).
var expPolynomial = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}

// The further constants. ln2 is split so that n times its upper part is exact: 9 bits of 355/512.
const (
	log2e    = 1.44269504088896341
	ln2Upper = 0.693359375
	ln2Lower = -2.12194440e-4
	expMost  = 89   // above, the result is +Inf
	expLeast = -105 // below, the result is 0
)

// expRegisters hold the constants of an exponential, the same in every lane.
type expRegisters struct {
	most, least, toLog2, upper, lower V
	polynomial                        []V
	one                               V
}

// expConstants writes the constants as data.
func (f *file) expConstants() {
	var words []uint32
	for _, v := range expValues() {
		for range 4 {
			words = append(words, math.Float32bits(v))
		}
	}
	f.words("expConstants", words)
}

func expValues() []float32 {
	values := append([]float32{expMost, expLeast, log2e, ln2Upper, ln2Lower}, expPolynomial...)
	return values[:len(values)-1] // 1 twice is one constant
}

// loadExp loads the constants into registers 16 to 27.
func (f *file) loadExp(tmp R) expRegisters {
	c := span(16, len(expValues()))
	f.ins("MOVD $expConstants<>(SB), %v", tmp)
	f.load(width{len(c), 4}, c, tmp, 0)
	e := expRegisters{most: c[0], least: c[1], toLog2: c[2], upper: c[3], lower: c[4], polynomial: c[5:len(c):len(c)]}
	e.one = c[len(c)-1]
	e.polynomial = append(e.polynomial, e.one)
	return e
}

// exponentials takes those of some vectors, each step of all before the next step of one. Vector i is in register 4i, its
// result in 4i+3, and it needs the two between.
func (f *file) exponentials(e expRegisters, vectors int) {
	each := func(do func(x, n, y, t V)) {
		for i := range V(vectors) {
			do(4*i, 4*i+1, 4*i+2, 4*i+3)
		}
	}
	each(func(x, _, _, _ V) { f.word(fmin(x, x, e.most)) })
	each(func(x, _, _, _ V) { f.word(fmax(x, x, e.least)) })
	each(func(x, n, _, _ V) { f.word(fmul(n, x, e.toLog2)) })
	each(func(_, n, _, _ V) { f.word(frintn(n, n)) })
	for _, part := range []V{e.upper, e.lower} {
		each(func(x, n, _, _ V) { f.ins("VFMLS %s, %s, %s", part.S4(), n.S4(), x.S4()) })
	}
	each(func(_, _, y, _ V) { f.copy(y, e.polynomial[0]) })
	for i, c := range e.polynomial[1:] {
		each(func(x, _, y, t V) {
			if i%2 == 1 {
				y, t = t, y
			}
			f.copy(t, c)
			f.fmla(t, y, x)
		})
	}
	// 2ⁿ as two factors, so that neither leaves the range of exponents.
	each(func(_, n, _, _ V) { f.word(fcvtns(n, n)) })
	each(func(_, n, y, _ V) { f.word(sshr(y, n, 1)) })
	each(func(_, n, y, _ V) { f.ins("VSUB %s, %s, %s", y.S4(), n.S4(), n.S4()) })
	for _, second := range []bool{false, true} {
		each(func(_, h, y, result V) {
			if second {
				h = y
			}
			f.ins("VSHL $23, %s, %s", h.S4(), h.S4())
			f.ins("VADD %s, %s, %s", e.one.S4(), h.S4(), h.S4()) // the bits of 1 hold the exponent's bias
			f.word(fmul(result, result, h))
		})
	}
}

// exp does two vectors side by side, then one: n = round(x/ln2), r = x - n ln2 by two fused multiply-adds, a
// polynomial in r, times 2ⁿ. The clamp keeps n small and hands NaN on. What is left is done float by float.
func (f *file) exp() {
	f.expConstants()
	f.tileFunction("expNEON", "Exp", "takes exponentials as tile.Exp says: Dst[i] = exp(Scale Src[i Stride]),", "Scale Src being rounded first.")
	const (
		left, src, dst, step, tmp R = 1, 2, 3, 4, 5
		scale, sign               V = 30, 31
	)
	f.get(expN, left)
	f.ins("CMP $0, %v", left)
	f.ins("BLE done")
	f.get(expSrc, src)
	f.get(expDst, dst)
	f.getBytes(expStride, step)
	constants := f.loadExp(tmp)
	f.ins("FMOVS %d(%v), %s", expScale, p, scale.F())
	f.ins("MOVBU %d(%v), %v", expAbs, p, tmp)
	f.ins("CMP $0, %v", tmp)
	f.ins("MOVW $0x7fffffff, %v", tmp)
	f.ins("CSINV NE, %v, ZR, %v", tmp, tmp) // all ones if the sign stays
	f.ins("VDUP %v, %s", tmp, sign.S4())

	loop := func(vectors, lanes int, load func(x V)) {
		again, end := f.newLabel("numbers"), f.newLabel("end")
		f.ins("SUBS $%d, %v, %v", vectors*lanes, left, left)
		f.ins("BLT %s", end)
		f.label(again)
		for i := range vectors {
			load(V(4 * i))
		}
		for i := range V(vectors) {
			f.ins("VAND %s, %s, %s", sign.B16(), (4 * i).B16(), (4 * i).B16())
		}
		for i := range V(vectors) {
			f.word(fmulElement(4*i, 4*i, scale, 0))
		}
		f.exponentials(constants, vectors)
		for i := range vectors {
			f.storeNext(lanes, V(4*i+3), dst)
		}
		f.ins("SUBS $%d, %v, %v", vectors*lanes, left, left)
		f.ins("BGE %s", again)
		f.label(end)
		f.ins("ADD $%d, %v, %v", vectors*lanes, left, left)
	}
	f.ins("CMP $4, %v", step)
	f.ins("BNE strided")
	for _, vectors := range []int{4, 1} {
		loop(vectors, 4, func(x V) { f.loadNext(4, x, src) })
	}
	f.label("strided")
	for _, vectors := range []int{4, 1} {
		loop(vectors, 4, func(x V) {
			for i := range uint(4) {
				f.word(loadLane(x, i, src, step))
			}
		})
	}
	loop(1, 1, func(x V) {
		f.ins("FMOVS (%v), %s", src, x.F())
		f.ins("ADD %v, %v, %v", step, src, src)
	})
	f.label("done")
	f.ins("RET")
}
