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

// A rowTile is a register tile of two vectors of values, from a column on: rows of tokens from first on, or of a state from row on.
type rowTile struct {
	sums
	first    int
	row, col reg.Register // row nil: none
}

const acrossVectors = 2

// at returns where the tile's rows are in an array with the leading dimension of a field.
func (t rowTile) at(array, ld int) vectorAt {
	p, step := t.Quad(t.field(array)), t.Bytes(t.field(ld))
	t.LEAQ(operand.Mem{Base: p, Index: t.col, Scale: 4}, p)
	rows := t.GP64()
	switch {
	case t.row != nil:
		t.MOVQ(t.row, rows)
		t.IMULQ(step, rows)
		t.ADDQ(rows, p)
	case t.first > 0:
		t.IMUL3Q(operand.I32(int32(t.first)), step, rows)
		t.ADDQ(rows, p)
	}
	at := emit.NewRows(t.Context, p, step, t.mr)
	return func(i, w int) operand.Mem { return at.At(i, w*t.vectorBytes()) }
}

// scale multiplies rows by factors of their tokens.
func (t rowTile) scale(factors reg.GPVirtual) { t.scaleRows(factors, t.first) }

// storeTimes stores rows times factors of their tokens, and leaves them as they are.
func (t rowTile) storeTimes(array int, factors place) {
	t.storeScaled(t.at(array, atDv), t.room(factors), t.first)
}

// storeGradient stores past the caches if the arguments say so.
func (t rowTile) storeGradient(array, ld int) {
	at := t.at(array, ld)
	t.gradient(func(store func(r reg.VecPhysical, m operand.Mem)) {
		t.each(func(i, w int) { store(t.acc(i, w), at(i, w)) })
	})
}

// step adds the outer product of a's values, stride bytes apart from disp on, and the row of B that b points to, and takes b to the next row.
func (t rowTile) step(a reg.GPVirtual, stride, disp int, b, ldb reg.GPVirtual) {
	t.outer(func(i int) operand.Mem { return operand.Mem{Base: a, Disp: stride*i + disp} },
		func(w int) operand.Mem { return operand.Mem{Base: b, Disp: w * t.vectorBytes()} }, 0, t.vectors)
	t.ADDQ(ldb, b)
}

// rows walks panels of two vectors of values: a product, and what is done with it. Where a square is upper, what a tile leaves may take the place of the
// rows of B that it read, since the tiles after it do not read them, and where it is lower too.
func (g *generator) rows(s rowProduct, finish func(t rowTile)) {
	var tiles []rowTile
	col := g.GP64()
	for first := 0; first < tokens; first += g.wide[0] {
		tiles = append(tiles, rowTile{sums{g, min(g.wide[0], tokens-first), acrossVectors}, first, nil, col})
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
	t.clear()
	var a reg.GPVirtual
	if s.a != 0 {
		a = t.Quad(t.field(s.a))
	} else {
		a = t.room(s.square)
	}
	b, ldb := t.Quad(t.field(s.b)), t.Bytes(t.field(s.ldb))
	t.LEAQ(operand.Mem{Base: b, Index: t.col, Scale: 4}, b)
	step := func(k int) { t.step(a, 4, k*rowBytes+4*t.first, b, ldb) } // k after a's place
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

// update sets a state to c[15] times another and the products of keys and rows, for a state head, or for its query heads too where heads is their field. The
// walk goes on every few steps.
func (g *generator) update(from, to, keys, heads, steps int) {
	row, col, ld := g.GP64(), g.GP64(), g.Bytes(g.field(atDv))
	g.XORQ(col, col)
	columns := g.NewLabel("columns")
	g.Label(columns)
	g.tiles(row, atDk, g.wide, func(mr int) {
		t := rowTile{sums{g, mr, acrossVectors}, 0, row, col}
		decay := t.free()[acrossVectors]
		g.VBROADCASTSS(operand.Mem{Base: g.room(laneC), Disp: 4 * (tokens - 1)}, decay)
		old := t.at(from, atDv)
		t.each(func(i, w int) { t.VMULPS(old(i, w), decay, t.acc(i, w)) })
		a, b, segments := g.Quad(g.field(keys)), g.Quad(g.field(atRows)), g.GP64()
		offset := g.GP64()
		g.MOVQ(row, offset)
		g.channelBytes(offset)
		g.ADDQ(offset, a)
		g.LEAQ(operand.Mem{Base: b, Index: col, Scale: 4}, b)
		if heads != 0 {
			g.MOVQ(g.field(heads), segments)
			g.INCQ(segments)
		} else {
			g.MOVQ(operand.U32(1), segments)
		}
		segment := g.NewLabel("segment")
		g.Label(segment)
		for k := range tokens {
			if k%steps == 0 {
				g.walk()
			}
			t.step(a, rowBytes, 4*k, b, ld)
		}
		next := g.Quad(g.field(atDk))
		g.channelBytes(next)
		g.ADDQ(next, a)
		g.DECQ(segments)
		g.JNE(emit.Ref(segment))
		t.store(t.at(to, atDv))
	})
	g.ADDQ(operand.I32(int32(acrossVectors*g.Lanes)), col)
	g.CMPQ(col, g.field(atDv))
	g.JLT(emit.Ref(columns))
}
