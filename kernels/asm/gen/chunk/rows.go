package main

import (
	"slices"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// A rowProduct is C = Aᵀ B whose rows are the tokens and whose columns are values: A has a channel's tokens, or those of another token, side by side, B's rows
// lie ldb apart.
type rowProduct struct {
	a      int   // a field, 0: the square
	square place // in the room
	shape  shape // of the square
	b, ldb int
	depth  int // a field; 0: tokens
}

// A rowTile is a register tile of tokens by two vectors of values.
type rowTile struct {
	*generator
	mr, first int
	col       reg.Register
}

const acrossVectors = 2

func (t rowTile) acc(i, w int) reg.VecPhysical { return t.Vec[i*acrossVectors+w] }

func (t rowTile) free() []reg.VecPhysical { return t.Vec[t.mr*acrossVectors:] }

func (t rowTile) each(do func(i, w int)) {
	for i := range t.mr {
		for w := range acrossVectors {
			do(i, w)
		}
	}
}

// at returns where the tile's rows are in an array with the leading dimension of a field.
func (t rowTile) at(array, ld int) func(i, w int) operand.Mem {
	p, step := t.Quad(t.field(array)), t.Bytes(t.field(ld))
	t.LEAQ(operand.Mem{Base: p, Index: t.col, Scale: 4}, p)
	if t.first > 0 {
		rows := t.GP64()
		t.IMUL3Q(operand.I32(int32(t.first)), step, rows)
		t.ADDQ(rows, p)
	}
	pointers := t.everyThird(p, step, t.mr)
	return func(i, w int) operand.Mem { return third(pointers, step, i, w*t.vectorBytes()) }
}

func (t rowTile) add(array, ld int) {
	at := t.at(array, ld)
	t.each(func(i, w int) { t.VADDPS(at(i, w), t.acc(i, w), t.acc(i, w)) })
}

func (t rowTile) store(array, ld int) {
	at := t.at(array, ld)
	t.each(func(i, w int) { t.VMOVUPS(t.acc(i, w), at(i, w)) })
}

// storeGradient stores past the caches if the arguments say so.
func (t rowTile) storeGradient(array, ld int) {
	at := t.at(array, ld)
	cached, written := t.NewLabel("cached"), t.NewLabel("written")
	t.CMPB(t.field(atStream), operand.U8(0))
	t.JEQ(emit.Ref(cached))
	t.each(func(i, w int) { t.VMOVNTPS(t.acc(i, w), at(i, w)) })
	t.JMP(emit.Ref(written))
	t.Label(cached)
	t.each(func(i, w int) { t.VMOVUPS(t.acc(i, w), at(i, w)) })
	t.Label(written)
}

// scale multiplies rows by factors of their tokens.
func (t rowTile) scale(factors reg.GPVirtual) {
	for i := range t.mr {
		f := t.free()[i%2]
		t.VBROADCASTSS(operand.Mem{Base: factors, Disp: 4 * (t.first + i)}, f)
		for w := range acrossVectors {
			t.VMULPS(f, t.acc(i, w), t.acc(i, w))
		}
	}
}

// storeScaled stores rows times factors of their tokens, and leaves them as they are.
func (t rowTile) storeScaled(array int, factors place) {
	at, p := t.at(array, atDv), t.room(factors)
	for i := range t.mr {
		f := t.free()[0]
		t.VBROADCASTSS(operand.Mem{Base: p, Disp: 4 * (t.first + i)}, f)
		for w := range acrossVectors {
			r := t.free()[1+w]
			t.VMULPS(f, t.acc(i, w), r)
			t.VMOVUPS(r, at(i, w))
		}
	}
}

// rows walks panels of two vectors of values: a product, and what is done with it. Where a square is upper, what a tile leaves may take the place of the
// rows of B that it read, since the tiles after it do not read them, and where it is lower too.
func (g *generator) rows(s rowProduct, finish func(t rowTile)) {
	var tiles []rowTile
	col := g.GP64()
	for first := 0; first < tokens; first += g.wide[0] {
		tiles = append(tiles, rowTile{g, min(g.wide[0], tokens-first), first, col})
	}
	if s.shape == lower {
		slices.Reverse(tiles)
	}
	g.XORQ(col, col)
	columns := g.NewLabel("columns")
	g.Label(columns)
	for _, t := range tiles {
		t.multiply(s)
		finish(t)
	}
	g.ADDQ(operand.I32(int32(acrossVectors*g.Lanes)), col)
	g.CMPQ(col, g.field(atDv))
	g.JLT(emit.Ref(columns))
}

func (t rowTile) multiply(s rowProduct) {
	t.each(func(i, w int) { t.Zero(t.acc(i, w)) })
	var a reg.GPVirtual
	if s.a != 0 {
		a = t.Quad(t.field(s.a))
	} else {
		a = t.room(s.square)
	}
	b, ldb := t.Quad(t.field(s.b)), t.Bytes(t.field(s.ldb))
	t.LEAQ(operand.Mem{Base: b, Index: t.col, Scale: 4}, b)
	bs, value := t.free()[:acrossVectors], t.free()[acrossVectors:]
	step := func(k int) { // k after a's place
		for w, r := range bs {
			t.VMOVUPS(operand.Mem{Base: b, Disp: w * t.vectorBytes()}, r)
		}
		t.ADDQ(ldb, b)
		for i := range t.mr {
			v := value[i%len(value)]
			t.VBROADCASTSS(operand.Mem{Base: a, Disp: k*rowBytes + 4*(t.first+i)}, v)
			for w, r := range bs {
				t.VFMADD231PS(r, v, t.acc(i, w))
			}
		}
	}
	if s.depth == 0 {
		from, to := 0, tokens
		switch s.shape {
		case upper:
			from = t.first
		case lower:
			to = t.first + t.mr
		}
		if from > 0 {
			skipped := t.GP64()
			t.IMUL3Q(operand.I32(int32(from)), ldb, skipped)
			t.ADDQ(skipped, b)
		}
		for k := from; k < to; k++ {
			step(k)
		}
		return
	}
	const unroll = 4
	left, again := t.Quad(t.field(s.depth)), t.NewLabel("steps")
	t.SHRQ(operand.U8(2), left)
	t.Label(again)
	t.walk()
	for k := range unroll {
		step(k)
	}
	t.ADDQ(operand.I32(unroll*rowBytes), a)
	t.DECQ(left)
	t.JNE(emit.Ref(again))
}
