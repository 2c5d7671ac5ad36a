package main

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	spreadCode         = int(unsafe.Offsetof(tile.Spread{}.Code))
	spreadWeight       = int(unsafe.Offsetof(tile.Spread{}.Weight))
	spreadScales       = int(unsafe.Offsetof(tile.Spread{}.Scales))
	spreadScalesLen    = spreadScales + 8
	spreadFirst        = int(unsafe.Offsetof(tile.Spread{}.First))
	spreadOffset       = int(unsafe.Offsetof(tile.Spread{}.Offset))
	spreadScaled       = int(unsafe.Offsetof(tile.Spread{}.Scaled))
	spreadLargest      = int(unsafe.Offsetof(tile.Spread{}.Largest))
	spreadLargestLen   = spreadLargest + 8
	spreadT            = int(unsafe.Offsetof(tile.Spread{}.T))
	spreadN            = int(unsafe.Offsetof(tile.Spread{}.N))
	spreadG            = int(unsafe.Offsetof(tile.Spread{}.G))
	spreadLD           = int(unsafe.Offsetof(tile.Spread{}.LD))
	spreadStride       = int(unsafe.Offsetof(tile.Spread{}.Stride))
	spreadScaledStride = int(unsafe.Offsetof(tile.Spread{}.ScaledStride))
	spreadTau          = int(unsafe.Offsetof(tile.Spread{}.Tau))
	spreadShift        = int(unsafe.Offsetof(tile.Spread{}.Shift))

	quantizeWeight       = int(unsafe.Offsetof(tile.Quantize{}.Weight))
	quantizeBy           = int(unsafe.Offsetof(tile.Quantize{}.By))
	quantizeQuant        = int(unsafe.Offsetof(tile.Quantize{}.Quant))
	quantizeT            = int(unsafe.Offsetof(tile.Quantize{}.T))
	quantizeN            = int(unsafe.Offsetof(tile.Quantize{}.N))
	quantizeG            = int(unsafe.Offsetof(tile.Quantize{}.G))
	quantizeWeightStride = int(unsafe.Offsetof(tile.Quantize{}.WeightStride))
	quantizeStride       = int(unsafe.Offsetof(tile.Quantize{}.Stride))
	quantizeBits         = int(unsafe.Offsetof(tile.Quantize{}.Bits))
)

// spreads writes what lies between codes and passes over slabs, four tables at a time: G and N are multiples of 4, T at least 1.
func (f *file) spreads() {
	f.spread()
	f.quantize()
}

// smaller sets dst to the smaller of two numbers of tables.
func (f *file) smaller(dst, a, b R) {
	f.ins("CMP %v, %v", b, a)
	f.ins("CSEL LT, %v, %v, %v", a, b, dst)
}

// nextSlab goes on with the tables that are left after a slab's, or returns.
func (f *file) nextSlab(tables, group R) {
	f.ins("SUB %v, %v, %v", group, tables, tables)
	f.ins("CMP $0, %v", tables)
	f.ins("BGT slab")
	f.label("done")
	f.ins("RET")
}

func (f *file) spread() {
	f.tileFunction("spreadNEON", "Spread", "finds rows' places and weights as tile.Spread says, four tables at a time.")
	const (
		codeSlab, weightSlab, firstSlab, offsetSlab, scaledSlab, scalesSlab R = 1, 2, 3, 4, 5, 6 // of a slab's first token
		code, weight, first, offset, scaled, scales                         R = 7, 8, 9, 10, 11, 12
		tables, group, left, token                                          R = 13, 14, 15, 16 // tables that are left, of a slab, of a token; tokens that are left
		largest, step, row, tmp, from                                       R = 17, 19, 20, 21, 22
		codes, places, weights, factors, most, shift                        V = 0, 1, 2, 3, 4, 5
	)
	f.get(spreadN, tables)
	f.ins("CMP $0, %v", tables)
	f.ins("BLE done")
	f.get(spreadG, group)
	f.get(spreadCode, codeSlab)
	f.get(spreadWeight, weightSlab)
	f.get(spreadFirst, firstSlab)
	f.get(spreadOffset, offsetSlab)
	f.get(spreadScaled, scaledSlab)
	f.get(spreadScales, scalesSlab)
	f.get(spreadShift, tmp)
	f.ins("VDUP %v, %s", tmp, shift.S4())
	f.get(spreadTau, tmp) // a table's scales in bytes
	f.ins("MOVD $4, %v", step)
	f.ins("LSL %v, %v, %v", tmp, step, step)

	f.label("slab")
	f.get(spreadT, token)
	f.get(spreadLargest, largest)
	f.ins("MOVD $0, %v", row)
	f.label("token")
	f.getBytes(spreadLD, tmp)
	f.ins("MUL %v, %v, %v", row, tmp, tmp)
	f.ins("ADD %v, %v, %v", tmp, codeSlab, code)
	f.ins("ADD %v, %v, %v", tmp, weightSlab, weight)
	f.ins("MUL %v, %v, %v", row, group, tmp)
	f.ins("ADD %v<<2, %v, %v", tmp, offsetSlab, offset)
	f.ins("ADD %v<<2, %v, %v", tmp, scaledSlab, scaled)
	f.ins("MOVD %v, %v", firstSlab, first)
	f.ins("MOVD %v, %v", scalesSlab, scales)
	f.smaller(left, group, tables)
	f.get(spreadLargestLen, from)
	f.ins("CBZ %v, tables", from)
	f.ins("FMOVS (%v), %s", largest, most.F())
	f.ins("VDUP V%s.S[0], %s", most.number(), most.S4())
	f.label("tables")
	f.ins("FMOVQ (%v), %s", code, codes.F())
	f.word(ushl(codes, codes, shift))
	f.loadNext(4, places, first)
	f.ins("VADD %s, %s, %s", codes.S4(), places.S4(), places.S4())
	f.storeNext(4, places, offset)
	f.loadNext(4, weights, weight)
	f.get(spreadScalesLen, tmp)
	f.ins("CBZ %v, scaled", tmp)
	for i := range uint(4) {
		f.ins("MOVW %d(%v), %v", 4*i, code, tmp)
		f.ins("ADD %v<<2, %v, %v", tmp, scales, tmp)
		f.word(loadLane(factors, i, tmp, step))
		f.ins("ADD %v, %v, %v", step, scales, scales)
	}
	f.word(fmul(weights, weights, factors))
	f.label("scaled")
	f.ins("ADD $16, %v, %v", code, code)
	f.word(fmax(most, most, weights)) // hands NaN on
	f.storeNext(4, weights, scaled)
	f.ins("SUBS $4, %v, %v", left, left)
	f.ins("BNE tables")
	f.ins("CBZ %v, next", from)
	f.word(fmaxv(most, most))
	f.storeNext(1, most, largest)
	f.label("next")
	f.ins("ADD $1, %v, %v", row, row)
	f.ins("SUBS $1, %v, %v", token, token)
	f.ins("BNE token")

	for _, at := range []R{codeSlab, weightSlab, firstSlab} {
		f.ins("ADD %v<<2, %v, %v", group, at, at)
	}
	f.ins("MUL %v, %v, %v", step, group, tmp)
	f.ins("ADD %v, %v, %v", tmp, scalesSlab, scalesSlab)
	f.get(spreadStride, tmp)
	f.ins("ADD %v<<2, %v, %v", tmp, offsetSlab, offsetSlab)
	f.get(spreadScaledStride, tmp)
	f.ins("ADD %v<<2, %v, %v", tmp, scaledSlab, scaledSlab)
	f.nextSlab(tables, group)
}

func (f *file) quantize() {
	f.tileFunction("quantizeNEON", "Quantize", "rounds weights to integers as tile.Quantize says, four tables at a time.")
	const (
		weightSlab, quantSlab, by, weight, quant R = 1, 2, 3, 4, 5
		tables, group, left, token, tmp, bits    R = 6, 7, 8, 9, 10, 11
		weights, factor, half, upper, lower      V = 0, 1, 2, 3, 4
	)
	f.get(quantizeN, tables)
	f.ins("CMP $0, %v", tables)
	f.ins("BLE done")
	f.get(quantizeG, group)
	f.get(quantizeWeight, weightSlab)
	f.get(quantizeQuant, quantSlab)
	f.get(quantizeBits, bits)
	f.ins("FMOVS $0.5, %s", half.F())
	f.ins("VDUP V%s.S[0], %s", half.number(), half.S4())

	f.label("slab")
	f.get(quantizeT, token)
	f.get(quantizeBy, by)
	f.ins("MOVD %v, %v", weightSlab, weight)
	f.ins("MOVD %v, %v", quantSlab, quant)
	f.label("token")
	f.loadNext(1, factor, by)
	f.smaller(left, group, tables)
	f.ins("SUB %v, %v, %v", left, group, tmp) // of the slab's places, not filled
	f.label("tables")
	f.loadNext(4, weights, weight)
	f.word(fmulElement(weights, weights, factor, 0))
	f.word(fadd(weights, weights, half))
	f.word(fcvtzu(weights, weights))
	f.word(xtn(weights, weights))
	f.ins("VUZP1 %s, %s, %s", weights.B16(), weights.B16(), lower.B16())
	f.ins("VUZP2 %s, %s, %s", weights.B16(), weights.B16(), upper.B16())
	f.ins("CMP $16, %v", bits)
	f.ins("BEQ wide")
	f.copy(upper, lower)
	f.zero(lower)
	f.label("wide")
	f.ins("FMOVS %s, (%v)", upper.F(), quant)
	f.ins("FMOVS %s, 4(%v)", lower.F(), quant)
	f.ins("ADD $8, %v, %v", quant, quant)
	f.ins("SUBS $4, %v, %v", left, left)
	f.ins("BNE tables")
	f.ins("ADD %v<<2, %v, %v", tmp, weight, weight)
	f.ins("ADD %v<<1, %v, %v", tmp, quant, quant)
	f.ins("SUBS $1, %v, %v", token, token)
	f.ins("BNE token")

	f.get(quantizeWeightStride, tmp)
	f.ins("ADD %v<<2, %v, %v", tmp, weightSlab, weightSlab)
	f.get(quantizeStride, tmp)
	f.ins("ADD %v<<1, %v, %v", tmp, quantSlab, quantSlab)
	f.nextSlab(tables, group)
}
