package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// sums are a register tile: mr rows of some vectors.
type sums struct {
	*generator
	mr, vectors int
}

// A vectorAt says where vector w of a tile's row i is in memory.
type vectorAt func(i, w int) operand.Mem

func (t sums) acc(i, w int) reg.VecPhysical { return t.Vec[i*t.vectors+w] }

// free are the registers that hold no sums.
func (t sums) free() []reg.VecPhysical { return t.Vec[t.mr*t.vectors:] }

func (t sums) each(do func(i, w int)) {
	for i := range t.mr {
		for w := range t.vectors {
			do(i, w)
		}
	}
}

func (t sums) clear() { t.each(func(i, w int) { t.Zero(t.acc(i, w)) }) }

func (t sums) add(at vectorAt) {
	t.each(func(i, w int) { t.VADDPS(at(i, w), t.acc(i, w), t.acc(i, w)) })
}

func (t sums) store(at vectorAt) {
	t.each(func(i, w int) { t.VMOVUPS(t.acc(i, w), at(i, w)) })
}

// storeScaled stores rows times factors, and leaves them as they are.
func (t sums) storeScaled(at vectorAt, factors reg.GPVirtual, first int) {
	for i := range t.mr {
		f := t.free()[0]
		t.VBROADCASTSS(operand.Mem{Base: factors, Disp: 4 * (first + i)}, f)
		for w := range t.vectors {
			r := t.free()[1+w]
			t.VMULPS(f, t.acc(i, w), r)
			t.VMOVUPS(r, at(i, w))
		}
	}
}

// scaleRows multiplies rows by factors, those from first on.
func (t sums) scaleRows(factors reg.GPVirtual, first int) {
	for i := range t.mr {
		f := t.free()[i%2]
		t.VBROADCASTSS(operand.Mem{Base: factors, Disp: 4 * (first + i)}, f)
		for w := range t.vectors {
			t.VMULPS(f, t.acc(i, w), t.acc(i, w))
		}
	}
}

// outer adds the product of a column of factors, value(i) being that of row i, and a row of vectors to the sums of the vectors from one on.
func (t sums) outer(value func(i int) operand.Mem, row func(w int) operand.Mem, from, vectors int) {
	bs, values := t.free()[:vectors], t.free()[t.vectors:]
	for w, r := range bs {
		t.VMOVUPS(row(from+w), r)
	}
	for i := range t.mr {
		if t.vectors == 1 && t.Wide() {
			t.VFMADD231PS_BCST(value(i), bs[0], t.acc(i, 0))
			continue
		}
		v := values[i%len(values)]
		t.VBROADCASTSS(value(i), v)
		for w, r := range bs {
			t.VFMADD231PS(r, v, t.acc(i, from+w))
		}
	}
}

// tiles walks so many rows, of a field, in tiles of the first height that fits what is left.
func (g *generator) tiles(row reg.GPVirtual, count int, heights []int, tile func(mr int)) {
	g.XORQ(row, row)
	for _, mr := range heights {
		again, fewer := g.NewLabel("tile"), g.NewLabel("fewer")
		g.Label(again)
		left := g.Quad(g.field(count))
		g.SUBQ(row, left)
		g.CMPQ(left, operand.I32(int32(mr)))
		g.JLT(emit.Ref(fewer))
		tile(mr)
		g.ADDQ(operand.I32(int32(mr)), row)
		g.JMP(emit.Ref(again))
		g.Label(fewer)
	}
}

// gradient writes stores past the caches, and plain ones, of which the arguments choose.
func (g *generator) gradient(write func(store func(r reg.VecPhysical, m operand.Mem))) {
	cached, written := g.NewLabel("cached"), g.NewLabel("written")
	g.CMPB(g.field(atStream), operand.U8(0))
	g.JEQ(emit.Ref(cached))
	write(func(r reg.VecPhysical, m operand.Mem) { g.VMOVNTPS(r, m) })
	g.JMP(emit.Ref(written))
	g.Label(cached)
	write(func(r reg.VecPhysical, m operand.Mem) { g.VMOVUPS(r, m) })
	g.Label(written)
}

// setLane sets a lane of a vector to that of another, in a register or in memory.
func (g *generator) setLane(lane int, from operand.Op, to reg.VecPhysical) {
	if !g.Wide() {
		g.VBLENDPS(operand.U8(1<<lane), from, to, to)
		return
	}
	g.lanes(1 << lane)
	g.VMOVUPS(from, reg.K1, to)
}

// leadingLanes clears all but the first lanes of a vector.
func (g *generator) leadingLanes(r reg.VecPhysical, kept int) {
	switch {
	case kept >= g.Lanes:
	case kept <= 0:
		g.Zero(r)
	case g.Wide():
		g.lanes(1<<kept - 1)
		g.VMOVAPS_Z(r, reg.K1, r)
	default:
		mask := g.GP64()
		g.LEAQ(g.leading, mask)
		g.VANDPS(operand.Mem{Base: mask, Disp: 4 * (g.Lanes - kept)}, r, r)
	}
}

// lanes sets the opmask to some lanes.
func (g *generator) lanes(mask uint32) {
	bits := g.GP32()
	g.MOVL(operand.U32(mask), bits)
	g.KMOVW(bits, reg.K1)
}
