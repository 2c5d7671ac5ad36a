// Program spread writes the assembly of what comes between the hash of a hash layer and its passes over slabs, with its Go declarations, for
// AVX-512. Run in kernels/asm/gen:
//
//	go run ./spread -isa avx512
package main

import (
	"flag"
	"log"
	"unsafe"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	spreadCode      = int(unsafe.Offsetof(tile.Spread{}.Code))
	spreadWeight    = int(unsafe.Offsetof(tile.Spread{}.Weight))
	spreadScales    = int(unsafe.Offsetof(tile.Spread{}.Scales))
	spreadFirst     = int(unsafe.Offsetof(tile.Spread{}.First))
	spreadOffset    = int(unsafe.Offsetof(tile.Spread{}.Offset))
	spreadScaled    = int(unsafe.Offsetof(tile.Spread{}.Scaled))
	spreadScaledLen = spreadScaled + 8
	spreadLargest   = int(unsafe.Offsetof(tile.Spread{}.Largest))
	spreadTau       = int(unsafe.Offsetof(tile.Spread{}.Tau))
	spreadShift     = int(unsafe.Offsetof(tile.Spread{}.Shift))
	spreadN         = int(unsafe.Offsetof(tile.Spread{}.N))

	quantizeWeight = int(unsafe.Offsetof(tile.Quantize{}.Weight))
	quantizeQuant  = int(unsafe.Offsetof(tile.Quantize{}.Quant))
	quantizeBy     = int(unsafe.Offsetof(tile.Quantize{}.By))
	quantizeBits   = int(unsafe.Offsetof(tile.Quantize{}.Bits))
	quantizeN      = int(unsafe.Offsetof(tile.Quantize{}.N))
)

const unordered = 3 // VCMPPS

func main() {
	log.SetFlags(0)
	isa := flag.String("isa", "", "instruction set: avx512")
	dir := flag.String("dir", "..", "folder to write into")
	flag.Parse()
	f := emit.New("spread", "asm", *isa)
	if !f.Wide() {
		log.Fatal("spread is for avx512")
	}
	spread(f)
	quantize(f)
	f.Write(*dir, "spread")
}

// table writes read-only words.
func table(f *emit.File, name string, words []uint32) operand.Mem {
	m := f.StaticGlobal(name)
	f.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, w := range words {
		f.AppendDatum(operand.U32(w))
	}
	return m
}

// spread takes sixteen codes at a time, the last ones under a mask.
func spread(f *emit.File) {
	masks := f.MaskTable()
	lanes := make([]uint32, f.Lanes)
	for i := range lanes {
		lanes[i] = uint32(i)
	}
	lane := table(f, "spreadLane", lanes)
	p := f.TileFunction("spread", "Spread", "gives offsets and scaled weights as tile.Spread says.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	largest, code, offset, row, index, scale, weight, sixteen := f.Vec[0], f.Vec[1], f.Vec[2], f.Vec[3], f.Vec[4], f.Vec[5], f.Vec[6], f.Vec[7]
	shift, tau := f.Vec[8], f.Vec[9]
	const whole, tail, bad, taken = 2, 1, 3, 4
	k := []reg.Register{whole: reg.K2, tail: reg.K1, bad: reg.K3, taken: reg.K4}

	n := f.Quad(field(spreadN))
	codes, weights, scales := f.Quad(field(spreadCode)), f.Quad(field(spreadWeight)), f.Quad(field(spreadScales))
	firsts, offsets, scaled := f.Quad(field(spreadFirst)), f.Quad(field(spreadOffset)), f.Quad(field(spreadScaled))
	t := f.GP64()
	f.MOVQ(field(spreadShift), t)
	f.VMOVQ(t, shift.AsX())
	f.MOVQ(field(spreadTau), t)
	f.VMOVQ(t, tau.AsX())
	f.LEAQ(lane, t)
	f.VMOVDQU32(operand.Mem{Base: t}, row)
	f.VPSLLD(tau.AsX(), row, row) // where the scales of sixteen tables begin
	f.MOVL(operand.U32(16), t.As32())
	f.VPBROADCASTD(t.As32(), sixteen)
	f.VPSLLD(tau.AsX(), sixteen, sixteen)
	f.Zero(largest)
	f.KXORW(k[bad], k[bad], k[bad])
	f.KXNORW(k[whole], k[whole], k[whole])

	f.Label("group")
	f.CMPQ(n, operand.U8(16))
	f.JGE(emit.Ref("full"))
	f.TESTQ(n, n)
	f.JLE(emit.Ref("end"))
	f.LEAQ(masks, t)
	f.KMOVW(operand.Mem{Base: t, Index: n, Scale: 2}, k[whole])
	f.Label("full")
	f.VMOVDQU32_Z(operand.Mem{Base: codes}, k[whole], code)
	f.VMOVDQU32_Z(operand.Mem{Base: firsts}, k[whole], offset)
	f.VPSLLD(shift.AsX(), code, index)
	f.VPADDD(index, offset, offset)
	f.VMOVDQU32(offset, k[whole], operand.Mem{Base: offsets})
	f.CMPQ(field(spreadScaledLen), operand.U8(0))
	f.JE(emit.Ref("next"))
	f.VMOVUPS_Z(operand.Mem{Base: weights}, k[whole], weight)
	f.TESTQ(scales, scales)
	f.JZ(emit.Ref("unscaled"))
	f.VPADDD(code, row, index)
	f.VPADDD(sixteen, row, row)
	f.KMOVW(k[whole], k[taken])
	f.Zero(scale)
	f.VGATHERDPS(operand.Mem{Base: scales, Index: index, Scale: 4}, k[taken], scale)
	f.VMULPS(scale, weight, weight)
	f.Label("unscaled")
	f.VMOVUPS(weight, k[whole], operand.Mem{Base: scaled})
	f.VMAXPS(weight, largest, largest)
	f.VCMPPS(operand.U8(unordered), weight, weight, k[tail])
	f.KORW(k[tail], k[bad], k[bad])
	f.Label("next")
	for _, r := range []reg.GPVirtual{codes, firsts, offsets, weights, scaled} {
		f.ADDQ(operand.U8(64), r)
	}
	f.SUBQ(operand.U8(16), n)
	f.JMP(emit.Ref("group"))

	f.Label("end")
	half := code
	f.VEXTRACTF64X4(operand.U8(1), largest, half.AsY())
	f.VMAXPS(half.AsY(), largest.AsY(), largest.AsY())
	f.VEXTRACTF128(operand.U8(1), largest.AsY(), half.AsX())
	f.VMAXPS(half.AsX(), largest.AsX(), largest.AsX())
	f.VPERMILPS(operand.U8(0x4e), largest.AsX(), half.AsX())
	f.VMAXPS(half.AsX(), largest.AsX(), largest.AsX())
	f.VPERMILPS(operand.U8(0xb1), largest.AsX(), half.AsX())
	f.VMAXPS(half.AsX(), largest.AsX(), largest.AsX())
	f.VMOVSS(largest.AsX(), field(spreadLargest))
	f.KMOVW(k[bad], t.As32())
	f.TESTL(t.As32(), t.As32())
	f.JZ(emit.Ref("done"))
	f.MOVL(operand.U32(0x7fc00000), field(spreadLargest))
	f.Label("done")
	f.Done()
}

// quantize rounds sixteen weights at a time; a shuffle brings the bytes of each four together.
func quantize(f *emit.File) {
	none := uint32(0x80808080)
	wide, narrow := []uint32{0x0d090501, 0x0c080400, none, none}, []uint32{0x0c080400, none, none, none}
	var both []uint32
	for _, lane := range [][]uint32{wide, narrow} {
		for range 4 {
			both = append(both, lane...)
		}
	}
	bytes := table(f, "quantizeBytes", both)
	words := table(f, "quantizeWords", []uint32{0, 0, 2, 0, 4, 0, 6, 0, 1, 0, 3, 0, 5, 0, 7, 0})
	p := f.TileFunction("quantize", "Quantize", "rounds weights to integers as tile.Quantize says.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	by, half, order, places, x := f.Vec[0], f.Vec[1], f.Vec[2], f.Vec[3], f.Vec[4]
	n, weights, quant := f.Quad(field(quantizeN)), f.Quad(field(quantizeWeight)), f.Quad(field(quantizeQuant))
	f.VBROADCASTSS(field(quantizeBy), by)
	t := f.GP64()
	f.MOVL(operand.U32(0x3f000000), t.As32()) // 0.5
	f.VPBROADCASTD(t.As32(), half)
	f.LEAQ(words, t)
	f.VMOVDQU32(operand.Mem{Base: t}, places)
	f.LEAQ(bytes, t)
	f.CMPQ(field(quantizeBits), operand.U8(16))
	f.JE(emit.Ref("wide"))
	f.ADDQ(operand.U8(64), t)
	f.Label("wide")
	f.VMOVDQU32(operand.Mem{Base: t}, order)
	f.SUBQ(operand.U8(16), n)
	f.JL(emit.Ref("done"))
	f.Label("group")
	f.VMULPS(operand.Mem{Base: weights}, by, x)
	f.VADDPS(half, x, x)
	f.VCVTTPS2UDQ(x, x)
	f.VPSHUFB(order, x, x)
	f.VPERMQ(x, places, x)
	f.VMOVDQU(x.AsY(), operand.Mem{Base: quant})
	f.ADDQ(operand.U8(64), weights)
	f.ADDQ(operand.U8(32), quant)
	f.SUBQ(operand.U8(16), n)
	f.JGE(emit.Ref("group"))
	f.Label("done")
	f.Done()
}
