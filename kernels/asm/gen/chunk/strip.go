package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
)

// A shape says which numbers of a square are not all zeros.
type shape int

const (
	whole shape = iota
	upper       // those of tokens from the row's on
	lower       // those of tokens up to the row's
)

// A strip is a product C = A B whose columns are the tokens. B is turned, or a square of the room. A's element of row i and depth k is a[i*lda+k], or
// a[k*lda+i] if across is set; a turned A has no lda. The sums are scaled by a vector of the room afterwards, if one is named, and their products with a turned
// array added to the terms of the decay's gradient.
type strip struct {
	a, lda int
	across bool
	b      int // a field; 0: the square
	square place
	shape  shape
	depth  int // a field; 0: tokens
	after  place
	dot    int
}

// A channelTile is a register tile of turned channels from row on, base rows further.
type channelTile struct {
	sums
	row  reg.Register // nil: none
	base int
}

// at returns where the tile's channels are in a turned array.
func (t channelTile) at(array int) vectorAt {
	p := t.Quad(t.field(array))
	if t.row != nil {
		offset := t.GP64()
		t.MOVQ(t.row, offset)
		t.channelBytes(offset)
		t.ADDQ(offset, p)
	}
	return func(i, w int) operand.Mem {
		return operand.Mem{Base: p, Disp: (t.base+i)*rowBytes + w*t.vectorBytes()}
	}
}

// scale multiplies the sums by factors of the tokens.
func (t channelTile) scale(p reg.GPVirtual) {
	factors := t.free()[:t.vectors]
	for w, f := range factors {
		t.VMOVUPS(operand.Mem{Base: p, Disp: w * t.vectorBytes()}, f)
	}
	t.each(func(i, w int) { t.VMULPS(factors[w], t.acc(i, w), t.acc(i, w)) })
}

// channels walks the register tiles of so many channels: the sum of some products, and what is done with it.
func (g *generator) channels(count int, terms []strip, finish func(t channelTile)) {
	row := g.GP64()
	g.tiles(row, count, g.heights, func(mr int) {
		t := channelTile{sums{g, mr, g.vectors}, row, 0}
		t.sum(terms)
		finish(t)
	})
}

func (t channelTile) sum(terms []strip) {
	t.clear()
	for _, s := range terms {
		t.term(s)
		if s.after != noLane {
			t.scale(t.room(s.after))
		}
		if s.dot != 0 {
			t.dot(s.dot, atTerms)
		}
	}
}

// term adds a product to the sums.
func (t channelTile) term(s strip) {
	a, lda := t.Quad(t.field(s.a)), t.GP64()
	if s.lda == 0 {
		t.MOVQ(operand.U32(rowBytes), lda)
	} else {
		t.MOVQ(t.field(s.lda), lda)
		t.SHLQ(operand.U8(2), lda)
	}
	var b reg.GPVirtual
	if s.b == 0 {
		b = t.room(s.square)
	} else {
		b = t.Quad(t.field(s.b))
	}
	const unroll = 4
	element, next, advance := t.elements(s, a, lda)
	left := t.GP64()
	loop := func(walks bool, from, vectors int) { // of the vectors from one on
		again := t.NewLabel("steps")
		t.Label(again)
		if walks {
			t.walk()
		}
		for k := range unroll {
			t.outer(func(i int) operand.Mem { return element(i, k) }, func(w int) operand.Mem {
				return operand.Mem{Base: b, Disp: k*rowBytes + w*t.vectorBytes()}
			}, from, vectors)
			next()
		}
		advance(unroll)
		t.ADDQ(operand.I32(unroll*rowBytes), b)
		t.DECQ(left)
		t.JNE(emit.Ref(again))
	}
	if s.depth != 0 {
		t.MOVQ(t.field(s.depth), left)
		t.SHRQ(operand.U8(2), left)
		loop(true, 0, t.vectors)
		return
	}
	if s.shape == whole {
		t.MOVQ(operand.U32(tokens/unroll), left)
		loop(false, 0, t.vectors)
		return
	}
	for part := range t.vectors { // rows of a square that have the same vectors
		from, vectors := part, t.vectors-part
		if s.shape == lower {
			from, vectors = 0, part+1
		}
		t.MOVQ(operand.U32(uint32(t.Lanes/unroll)), left)
		loop(false, from, vectors)
	}
}

// elements says where the element of A of the tile's row i is, k steps on; next is done after each step, and advance after some.
func (t channelTile) elements(s strip, a, lda reg.GPVirtual) (element func(i, k int) operand.Mem, next func(), advance func(steps int)) {
	if s.across {
		if t.row != nil {
			t.LEAQ(operand.Mem{Base: a, Index: t.row, Scale: 4}, a)
		}
		return func(i, _ int) operand.Mem { return operand.Mem{Base: a, Disp: 4 * (t.base + i)} }, func() { t.ADDQ(lda, a) }, func(int) {}
	}
	if t.row != nil {
		offset := t.GP64()
		t.MOVQ(t.row, offset)
		t.IMULQ(lda, offset)
		t.ADDQ(offset, a)
	}
	if s.lda == 0 {
		return func(i, k int) operand.Mem { return operand.Mem{Base: a, Disp: (t.base+i)*rowBytes + 4*k} }, func() {},
			func(steps int) { t.ADDQ(operand.I32(int32(4*steps)), a) }
	}
	rows := emit.NewRows(t.Context, a, lda, t.mr)
	return func(i, k int) operand.Mem { return rows.At(i, 4*k) }, func() {}, func(steps int) { rows.Advance(4 * steps) }
}

// triangleTo says where a triangle goes, and the square that it is multiplied by on the way: arrays, and places if they are the room.
type triangleTo struct {
	by      int
	byPlace place
	to      int
	toPlace place
}

// triangleOf says which triangle is taken of a square, and what it is multiplied by.
type triangleOf struct {
	diagonal   bool
	factors    place // of its columns' tokens
	rows       int   // a field: of its rows' tokens
	diagonalTo int   // a vector of tokens to which the square's diagonal is added before
}

// triangle takes a product of all the chunk's tokens with each other, and of that the lower triangle times a square, to each of some places.
func (g *generator) triangle(s strip, of triangleOf, places ...triangleTo) {
	for base := 0; base < tokens; base += g.heights[0] {
		mr := min(g.heights[0], tokens-base)
		t := channelTile{sums{g, mr, (base+mr-1)/g.Lanes + 1}, nil, base}
		t.sum([]strip{s})
		if of.diagonalTo != 0 {
			t.addDiagonal(of.diagonalTo)
		}
		if of.factors != noLane {
			t.scale(g.room(of.factors))
		}
		if of.rows != 0 {
			t.scaleRows(g.Quad(g.field(of.rows)), base)
		}
		for n, dst := range places {
			at := func(array int, in place) vectorAt {
				p, offset := t.Quad(t.field(array)), 0
				if array == atRoom {
					offset = g.at(in)
				}
				return func(i, w int) operand.Mem {
					return operand.Mem{Base: p, Disp: offset + (base+i)*rowBytes + w*g.vectorBytes()}
				}
			}
			by, to := at(dst.by, dst.byPlace), at(dst.to, dst.toPlace)
			t.each(func(i, w int) {
				kept := base + i - w*g.Lanes
				if of.diagonal {
					kept++
				}
				r := t.acc(i, w)
				if n < len(places)-1 {
					r = t.free()[i%4]
				}
				t.VMULPS(by(i, w), t.acc(i, w), r)
				t.leadingLanes(r, kept)
				t.VMOVUPS(r, to(i, w))
			})
			zero := t.free()[0]
			if t.vectors < g.vectors {
				t.Zero(zero)
			}
			for i := range mr {
				for w := t.vectors; w < g.vectors; w++ {
					t.VMOVUPS(zero, to(i, w))
				}
			}
		}
	}
}

// addDiagonal adds the diagonal of a square of tokens, of which the tile has some rows, to a vector of tokens.
func (t channelTile) addDiagonal(sums int) {
	p := t.Quad(t.field(sums))
	for w := range t.vectors {
		sum := t.free()[0]
		t.Zero(sum)
		for i := range t.mr {
			if lane := t.base + i - w*t.Lanes; lane >= 0 && lane < t.Lanes {
				t.setLane(lane, t.acc(i, w), sum)
			}
		}
		m := operand.Mem{Base: p, Disp: w * t.vectorBytes()}
		t.VADDPS(m, sum, sum)
		t.VMOVUPS(sum, m)
	}
}

// betaTerms takes what beta's gradient has of the decay's terms.
func (g *generator) betaTerms() {
	beta, terms, sums := g.Quad(g.field(atBeta)), g.Quad(g.field(atTerms)), g.Quad(g.field(atGradBeta))
	for w := range g.vectors {
		at := func(p reg.GPVirtual) operand.Mem { return operand.Mem{Base: p, Disp: w * g.vectorBytes()} }
		sum, factor := g.Vec[2*w], g.Vec[2*w+1]
		g.VMOVUPS(at(terms), sum)
		g.VMOVUPS(at(beta), factor)
		g.VFNMADD231PS(at(sums), factor, sum)
		g.VMOVUPS(sum, at(terms))
	}
}

// addSquare adds the rows of a square to a vector of tokens.
func (g *generator) addSquare(square place, sums int) {
	rows, p := g.room(square), g.Quad(g.field(sums))
	for w := range g.vectors {
		sum := operand.Mem{Base: p, Disp: w * g.vectorBytes()}
		parts := g.Vec[:4]
		for i := range tokens {
			m := operand.Mem{Base: rows, Disp: i*rowBytes + w*g.vectorBytes()}
			if i < len(parts) {
				g.VMOVUPS(m, parts[i])
				continue
			}
			g.VADDPS(m, parts[i%len(parts)], parts[i%len(parts)])
		}
		g.VADDPS(parts[2], parts[0], parts[0])
		g.VADDPS(parts[3], parts[1], parts[1])
		g.VADDPS(sum, parts[0], parts[0])
		g.VADDPS(parts[1], parts[0], parts[0])
		g.VMOVUPS(parts[0], sum)
	}
}

// dot adds the products of the tile's channels with those of a turned array to a vector of tokens.
func (t channelTile) dot(array, sums int) {
	at, p := t.at(array), t.Quad(t.field(sums))
	parts := min(len(t.free())/t.vectors, t.mr, 4)
	part := func(i, w int) reg.VecPhysical { return t.free()[i%parts*t.vectors+w] }
	t.each(func(i, w int) {
		if i < parts {
			t.VMULPS(at(i, w), t.acc(i, w), part(i, w))
			return
		}
		t.VFMADD231PS(at(i, w), t.acc(i, w), part(i, w))
	})
	for w := range t.vectors {
		for i := 1; i < parts; i++ {
			t.VADDPS(part(i, w), part(0, w), part(0, w))
		}
		m := operand.Mem{Base: p, Disp: w * t.vectorBytes()}
		t.VADDPS(m, part(0, w), part(0, w))
		t.VMOVUPS(part(0, w), m)
	}
}
