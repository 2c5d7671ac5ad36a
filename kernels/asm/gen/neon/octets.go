package main

import (
	"math"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	octetsX       = int(unsafe.Offsetof(tile.Octets{}.X))
	octetsCode    = int(unsafe.Offsetof(tile.Octets{}.Code))
	octetsP       = int(unsafe.Offsetof(tile.Octets{}.P))
	octetsNorm    = int(unsafe.Offsetof(tile.Octets{}.Norm))
	octetsNormLen = octetsNorm + 8
	octetsN       = int(unsafe.Offsetof(tile.Octets{}.N))
)

// octets takes four runs of eight numbers at a time, two vectors each: signs, sums and products within a run end as one vector of the four.
func (f *file) octets() {
	const (
		x, code, product, norm, left, tmp R = 1, 2, 3, 4, 5, 6
		minusTwo, abs                     V = 28, 29
	)
	f.words("octetBits", []uint32{128, 64, 32, 16, 8, 4, 2, 1})
	f.tileFunction("octetsNEON", "Octets", "takes whole groups of four runs as tile.Octets says.")
	f.get(octetsN, left)
	f.ins("CMP $4, %v", left)
	f.ins("BLT done")
	f.get(octetsX, x)
	f.get(octetsCode, code)
	f.get(octetsP, product)
	f.ins("MOVD $0, %v", norm)
	f.get(octetsNormLen, tmp)
	f.ins("CBZ %v, start", tmp)
	f.get(octetsNorm, norm)
	f.label("start")
	constants := f.loadExp(tmp)
	f.ins("MOVW $0x%08x, %v", math.Float32bits(-2), tmp)
	f.ins("VDUP %v, %s", tmp, minusTwo.S4())
	f.ins("MOVW $0x7fffffff, %v", tmp)
	f.ins("VDUP %v, %s", tmp, abs.S4())

	f.label("runs")
	f.comment("Bits of the signs and sums of the distances from 0.")
	numbers, bits, zero, sums := span(0, 8), span(8, 2), V(10), span(11, 4)
	tree := func(v []V, add func(d, n, m V)) {
		add(v[0], v[0], v[1])
		add(v[2], v[2], v[3])
		add(v[0], v[0], v[2])
	}
	f.load(width{8, 4}, numbers, x, 0)
	f.ins("MOVD $octetBits<>(SB), %v", tmp)
	f.load(width{2, 4}, bits, tmp, 0)
	f.zero(zero)
	for i, s := range sums {
		f.word(fcmge(s, numbers[2*i], zero))
		f.word(fcmge(15, numbers[2*i+1], zero))
		f.ins("VAND %s, %s, %s", bits[0].B16(), s.B16(), s.B16())
		f.ins("VAND %s, %s, %s", bits[1].B16(), V(15).B16(), V(15).B16())
		f.ins("VADD %s, %s, %s", V(15).S4(), s.S4(), s.S4())
	}
	tree(sums, func(d, n, m V) { f.ins("VADDP %s, %s, %s", m.S4(), n.S4(), d.S4()) })
	f.storeNext(4, sums[0], code)
	f.ins("CBZ %v, products", norm)
	for i, s := range sums {
		for _, v := range numbers[2*i : 2*i+2] {
			f.ins("VAND %s, %s, %s", abs.B16(), v.B16(), v.B16())
		}
		f.word(fadd(s, numbers[2*i], numbers[2*i+1]))
	}
	tree(sums, func(d, n, m V) { f.word(faddp(d, n, m)) })
	f.storeNext(4, sums[0], norm)

	f.label("products")
	f.comment("Products, of two runs and then of the other two.")
	halves := []V{30, 31}
	multiplied := func(d, n, m V) { // the products of pairs, those of n first
		f.ins("VUZP1 %s, %s, %s", m.S4(), n.S4(), V(0).S4())
		f.ins("VUZP2 %s, %s, %s", m.S4(), n.S4(), V(1).S4())
		f.word(fmul(d, 0, 1))
	}
	for _, h := range halves {
		for i := range V(4) {
			f.loadNext(4, 4*i, x)
			f.ins("VAND %s, %s, %s", abs.B16(), (4 * i).B16(), (4 * i).B16())
			f.word(fmul(4*i, 4*i, minusTwo))
		}
		f.exponentials(constants, 4)
		for i := range V(4) {
			f.word(fadd(4*i+3, 4*i+3, constants.one))
		}
		f.word(fmul(3, 3, 7))
		f.word(fmul(11, 11, 15))
		multiplied(h, 3, 11)
	}
	multiplied(2, halves[0], halves[1])
	f.word(fdiv(2, constants.one, 2))
	f.storeNext(4, 2, product)
	f.ins("SUB $4, %v, %v", left, left)
	f.ins("CMP $4, %v", left)
	f.ins("BGE runs")
	f.label("done")
	f.ins("RET")
}
