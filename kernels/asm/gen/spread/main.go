// Program spread writes the assembly of what comes between the hash of a hash layer and its passes over slabs, with its Go declarations, for
// one instruction set. Run in kernels/asm/gen:
//
//	go run ./spread -isa avx512
package main

import (
	"flag"
	"log"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	spreadCode         = int(unsafe.Offsetof(tile.Spread{}.Code))
	spreadWeight       = int(unsafe.Offsetof(tile.Spread{}.Weight))
	spreadScales       = int(unsafe.Offsetof(tile.Spread{}.Scales))
	spreadFirst        = int(unsafe.Offsetof(tile.Spread{}.First))
	spreadOffset       = int(unsafe.Offsetof(tile.Spread{}.Offset))
	spreadScaled       = int(unsafe.Offsetof(tile.Spread{}.Scaled))
	spreadLargest      = int(unsafe.Offsetof(tile.Spread{}.Largest))
	spreadLargestLen   = spreadLargest + 8
	spreadT            = int(unsafe.Offsetof(tile.Spread{}.T))
	spreadN            = int(unsafe.Offsetof(tile.Spread{}.N))
	spreadLD           = int(unsafe.Offsetof(tile.Spread{}.LD))
	spreadG            = int(unsafe.Offsetof(tile.Spread{}.G))
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

const unordered = 3 // VCMPPS

func main() {
	log.SetFlags(0)
	isa := flag.String("isa", "", "instruction set: avx2 or avx512")
	dir := flag.String("dir", "..", "folder to write into")
	flag.Parse()
	f := emit.New("spread", "asm", *isa)
	spread(f)
	if !f.Wide() { // whose slabs are multiples of half a vector, which is as fast
		quantize(f)
	}
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

// An array that a walk goes through, element by element, with the field that says how far apart its slabs are, in elements.
type walked struct {
	at     reg.GPVirtual
	base   int // field of the slice
	stride int // field of elements
	bytes  int // of an element
}

// A piece is as much of a slab as is done at a time: with AVX-512 as many lanes as are left, by a count and a mask, with AVX2 a vector or half of one.
type piece struct {
	count reg.GPVirtual
	mask  reg.Register
	lanes int
}

// view is the part of a vector register that is loaded or stored.
func (c piece) view(f *emit.File, r reg.VecPhysical) reg.Register {
	if c.lanes < f.Lanes {
		return r.AsX()
	}
	return r
}

// walk goes through the tables of every token in the order of tile.Spread, at most a vector of a slab at a time, for which it calls chunk. With AVX2,
// slabs are multiples of half a vector. Arrays are moved on after a chunk. begin and end are done for each token.
func walk(f *emit.File, field func(int) operand.Mem, mask reg.Register, fields struct{ t, n, g int }, arrays []walked, begin func(token reg.GPVirtual), chunk func(piece), end func(token reg.GPVirtual)) {
	token, left, slab, count, t := f.GP64(), f.GP64(), f.GP64(), f.GP64(), f.GP64()
	f.XORQ(token, token)
	f.Label("token")
	f.CMPQ(token, field(fields.t))
	f.JGE(emit.Ref("done"))
	begin(token)
	f.MOVQ(field(fields.n), left)
	for _, a := range arrays {
		f.MOVQ(token, a.at)
		f.IMULQ(field(fields.g), a.at)
		f.SHLQ(operand.U8(shift(a.bytes)), a.at)
		f.ADDQ(field(a.base), a.at)
	}
	f.Label("slab")
	f.TESTQ(left, left)
	f.JLE(emit.Ref("walked"))
	f.MOVQ(field(fields.g), slab)
	f.CMPQ(left, slab)
	f.CMOVQLT(left, slab)
	f.SUBQ(slab, left)
	take := func(c piece) {
		chunk(c)
		for _, a := range arrays {
			advance(f, a.at, c, a.bytes)
		}
	}
	f.Label("chunk")
	if f.Wide() {
		f.MOVL(operand.U32(16), count.As32())
		f.CMPQ(slab, count)
		f.CMOVQLT(slab, count)
		lowest(f, count, mask)
		take(piece{count, mask, f.Lanes})
		f.SUBQ(count, slab)
	} else {
		f.CMPQ(slab, operand.U8(f.Lanes))
		f.JL(emit.Ref("half"))
		take(piece{lanes: f.Lanes})
		f.SUBQ(operand.U8(f.Lanes), slab)
	}
	f.JNZ(emit.Ref("chunk"))
	if !f.Wide() {
		f.JMP(emit.Ref("slabbed"))
		f.Label("half")
		take(piece{lanes: f.Lanes / 2})
		f.Label("slabbed")
	}
	for _, a := range arrays {
		f.MOVQ(field(a.stride), t)
		f.SUBQ(field(fields.g), t)
		f.LEAQ(operand.Mem{Base: a.at, Index: t, Scale: uint8(a.bytes)}, a.at)
	}
	f.JMP(emit.Ref("slab"))
	f.Label("walked")
	end(token)
	f.INCQ(token)
	f.JMP(emit.Ref("token"))
}

// advance moves on by the elements of a chunk.
func advance(f *emit.File, at reg.GPVirtual, c piece, bytes int) {
	if f.Wide() {
		f.LEAQ(operand.Mem{Base: at, Index: c.count, Scale: uint8(bytes)}, at)
	} else {
		f.ADDQ(operand.U8(c.lanes*bytes), at)
	}
}

// load fills a register with a piece; the rest of it is zero.
func load(f *emit.File, from operand.Mem, to reg.VecPhysical, c piece) {
	if f.Wide() {
		f.VMOVUPS_Z(from, c.mask, to)
	} else {
		f.VMOVUPS(from, c.view(f, to))
	}
}

// store puts a piece to memory.
func store(f *emit.File, from reg.VecPhysical, to operand.Mem, c piece) {
	if f.Wide() {
		f.VMOVUPS(from, c.mask, to)
	} else {
		f.VMOVUPS(c.view(f, from), to)
	}
}

// lowest sets as many lanes of a mask, at most 16.
func lowest(f *emit.File, count reg.GPVirtual, mask reg.Register) {
	ones := f.GP64()
	f.MOVL(operand.U32(0xffff), ones.As32())
	f.BZHIL(count.As32(), ones.As32(), ones.As32())
	f.KMOVW(ones.As32(), mask)
}

// shift is the logarithm of a number of bytes.
func shift(bytes int) int { return bits.TrailingZeros(uint(bytes)) }

// spread takes codes and weights in order and stores them by slabs.
func spread(f *emit.File) {
	lanes := make([]uint32, f.Lanes)
	for i := range lanes {
		lanes[i] = uint32(i)
	}
	lane := table(f, "spreadLane", lanes)
	p := f.TileFunction("spread", "Spread", "gives offsets and scaled weights as tile.Spread says.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	largest, code, row, index, scale, weight := f.Vec[0], f.Vec[1], f.Vec[2], f.Vec[3], f.Vec[4], f.Vec[5]
	rows, tau, size, step := f.Vec[6], f.Vec[7], f.Vec[8], f.Vec[9]
	mask := reg.K1
	var bad, nan, taken reg.Register = reg.K2, reg.K3, reg.K4
	if !f.Wide() {
		bad, nan, taken = f.Vec[10], f.Vec[11], f.Vec[12]
	}

	codes, weights, scales := f.Quad(field(spreadCode)), f.Quad(field(spreadWeight)), f.Quad(field(spreadScales))
	t := f.GP64()
	f.MOVQ(field(spreadTau), t)
	f.VMOVQ(t, tau.AsX())
	f.MOVQ(field(spreadShift), t)
	f.VMOVQ(t, size.AsX())
	f.VMOVUPS(lane, rows)
	f.VPSLLD(tau.AsX(), rows, rows) // where the scales of a vector of tables begin
	if !f.Wide() {
		f.MOVL(operand.U32(f.Lanes), t.As32())
		f.VMOVD(t.As32(), step.AsX())
		f.VPBROADCASTD(step.AsX(), step)
		f.VPSLLD(tau.AsX(), step, step)
	}
	first := f.GP64()
	offset := walked{f.GP64(), spreadOffset, spreadStride, 4}
	scaled := walked{f.GP64(), spreadScaled, spreadScaledStride, 4}
	walk(f, field, mask, struct{ t, n, g int }{spreadT, spreadN, spreadG}, []walked{offset, scaled}, func(token reg.GPVirtual) {
		f.VMOVAPS(rows, row)
		f.MOVQ(field(spreadFirst), first)
		f.Zero(largest)
		f.CMPQ(field(spreadLargestLen), operand.U8(0))
		f.JE(emit.Ref("begun"))
		f.MOVQ(field(spreadLargest), t)
		f.VMOVSS(operand.Mem{Base: t, Index: token, Scale: 4}, largest.AsX())
		f.Label("begun")
		f.VCMPPS(operand.U8(unordered), largest, largest, bad)
	}, func(c piece) {
		load(f, operand.Mem{Base: codes}, code, c)
		f.VPSLLD(size.AsX(), code, index)
		if f.Wide() {
			f.VPADDD_Z(operand.Mem{Base: first}, index, c.mask, index)
		} else {
			f.VPADDD(operand.Mem{Base: first}, c.view(f, index), c.view(f, index))
		}
		store(f, index, operand.Mem{Base: offset.at}, c)
		load(f, operand.Mem{Base: weights}, weight, c)
		unscaled := f.NewLabel("unscaled")
		f.TESTQ(scales, scales)
		f.JZ(emit.Ref(unscaled))
		f.VPADDD(code, row, index)
		at := operand.Mem{Base: scales, Index: index, Scale: 4}
		moved := step
		if f.Wide() {
			f.KMOVW(c.mask, taken)
			f.Zero(scale)
			f.VGATHERDPS(at, taken, scale)
			f.VPBROADCASTD(c.count.As32(), step)
			f.VPSLLD(tau.AsX(), step, step)
		} else {
			all := c.view(f, taken.(reg.VecPhysical))
			f.VPCMPEQD(all, all, all) // and none beyond
			f.VGATHERDPS(taken, at, scale)
			if c.lanes < f.Lanes {
				moved = index
				f.VPSRLD(operand.U8(1), step, moved)
			}
		}
		f.VMULPS(scale, weight, weight)
		f.VPADDD(moved, row, row)
		f.Label(unscaled)
		store(f, weight, operand.Mem{Base: scaled.at}, c)
		f.VMAXPS(weight, largest, largest)
		f.VCMPPS(operand.U8(unordered), weight, weight, nan)
		if f.Wide() {
			f.KORW(nan, bad, bad)
		} else {
			f.VORPS(nan, bad, bad)
		}
		for _, r := range []reg.GPVirtual{codes, weights, first} {
			advance(f, r, c, 4)
		}
	}, func(token reg.GPVirtual) {
		f.MOVQ(field(spreadLD), t)
		f.SUBQ(field(spreadN), t)
		for _, r := range []reg.GPVirtual{codes, weights} {
			f.LEAQ(operand.Mem{Base: r, Index: t, Scale: 4}, r)
		}
		f.CMPQ(field(spreadLargestLen), operand.U8(0))
		f.JE(emit.Ref("next"))
		half := code
		if f.Wide() {
			f.VEXTRACTF64X4(operand.U8(1), largest, half.AsY())
			f.VMAXPS(half.AsY(), largest.AsY(), largest.AsY())
		}
		f.VEXTRACTF128(operand.U8(1), largest.AsY(), half.AsX())
		f.VMAXPS(half.AsX(), largest.AsX(), largest.AsX())
		f.VPERMILPS(operand.U8(0x4e), largest.AsX(), half.AsX())
		f.VMAXPS(half.AsX(), largest.AsX(), largest.AsX())
		f.VPERMILPS(operand.U8(0xb1), largest.AsX(), half.AsX())
		f.VMAXPS(half.AsX(), largest.AsX(), largest.AsX())
		f.MOVQ(field(spreadLargest), t)
		f.VMOVSS(largest.AsX(), operand.Mem{Base: t, Index: token, Scale: 4})
		if f.Wide() {
			f.KORTESTW(bad, bad)
		} else {
			f.VTESTPS(bad, bad)
		}
		f.JZ(emit.Ref("next"))
		f.MOVL(operand.U32(0x7fc00000), operand.Mem{Base: t, Index: token, Scale: 4})
		f.Label("next")
	})
	f.Label("done")
	f.Done()
}

// quantize rounds a vector of weights at a time, or half of one; a shuffle brings the bytes of each four together.
func quantize(f *emit.File) {
	none := uint32(0x80808080)
	wide, narrow := []uint32{0x0d090501, 0x0c080400, none, none}, []uint32{0x0c080400, none, none, none}
	bytes := table(f, "quantizeBytes", append(slices.Repeat(wide, f.Lanes/4), slices.Repeat(narrow, f.Lanes/4)...))
	p := f.TileFunction("quantize", "Quantize", "rounds weights to integers as tile.Quantize says.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	by, half, order, x := f.Vec[0], f.Vec[1], f.Vec[2], f.Vec[3]
	t := f.GP64()
	f.MOVL(operand.U32(0x3f000000), t.As32()) // 0.5
	f.VMOVD(t.As32(), half.AsX())
	f.VPBROADCASTD(half.AsX(), half)
	f.LEAQ(bytes, t)
	f.CMPQ(field(quantizeBits), operand.U8(16))
	f.JE(emit.Ref("wide"))
	f.ADDQ(operand.U8(4*f.Lanes), t)
	f.Label("wide")
	f.VMOVUPS(operand.Mem{Base: t}, order)
	factors := f.Quad(field(quantizeBy))
	weight := walked{f.GP64(), quantizeWeight, quantizeWeightStride, 4}
	quant := walked{f.GP64(), quantizeQuant, quantizeStride, 2} // half a word each
	walk(f, field, nil, struct{ t, n, g int }{quantizeT, quantizeN, quantizeG}, []walked{weight, quant}, func(reg.GPVirtual) {
		f.VBROADCASTSS(operand.Mem{Base: factors}, by)
		f.ADDQ(operand.U8(4), factors)
	}, func(c piece) {
		f.VMULPS(operand.Mem{Base: weight.at}, c.view(f, by), c.view(f, x))
		f.VADDPS(half, x, x)
		f.VCVTTPS2DQ(x, x)
		f.VPSHUFB(order, x, x)
		if c.lanes < f.Lanes {
			f.VMOVQ(x.AsX(), operand.Mem{Base: quant.at})
			return
		}
		f.VPERMQ(operand.U8(0x08), x, x) // the first of each half
		f.VMOVUPS(x.AsX(), operand.Mem{Base: quant.at})
	}, func(reg.GPVirtual) {})
	f.Label("done")
	f.Done()
}
