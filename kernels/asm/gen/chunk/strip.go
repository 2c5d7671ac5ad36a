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
	*generator
	mr      int
	vectors int          // of a channel that are computed
	row     reg.Register // nil: none
	base    int
}

func (t channelTile) acc(i, w int) reg.VecPhysical { return t.Vec[i*t.vectors+w] }

// free are the registers that hold no sums.
func (t channelTile) free() []reg.VecPhysical { return t.Vec[t.mr*t.vectors:] }

// at returns where the tile's channels are in a turned array.
func (t channelTile) at(array int) func(i, w int) operand.Mem {
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

func (t channelTile) each(do func(i, w int)) {
	for i := range t.mr {
		for w := range t.vectors {
			do(i, w)
		}
	}
}

// add adds the channels of a turned array to the sums.
func (t channelTile) add(array int) {
	at := t.at(array)
	t.each(func(i, w int) { t.VADDPS(at(i, w), t.acc(i, w), t.acc(i, w)) })
}

func (t channelTile) store(array int) {
	at := t.at(array)
	t.each(func(i, w int) { t.VMOVUPS(t.acc(i, w), at(i, w)) })
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
	g.XORQ(row, row)
	for _, mr := range g.heights {
		again, fewer := g.NewLabel("channels"), g.NewLabel("fewer")
		g.Label(again)
		left := g.Quad(g.field(count))
		g.SUBQ(row, left)
		g.CMPQ(left, operand.I32(int32(mr)))
		g.JLT(emit.Ref(fewer))
		t := channelTile{g, mr, g.vectors, row, 0}
		t.sum(terms)
		finish(t)
		g.ADDQ(operand.I32(int32(mr)), row)
		g.JMP(emit.Ref(again))
		g.Label(fewer)
	}
}

func (t channelTile) sum(terms []strip) {
	t.each(func(i, w int) { t.Zero(t.acc(i, w)) })
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
	a, turned := t.Quad(t.field(s.a)), s.lda == 0
	lda := t.GP64()
	if turned {
		t.MOVQ(operand.U32(rowBytes), lda)
	} else {
		t.MOVQ(t.field(s.lda), lda)
		t.SHLQ(operand.U8(2), lda)
	}
	var element func(i, k int) operand.Mem // k after advance's place
	var advance func(steps int)
	switch {
	case s.across:
		if t.row != nil {
			t.LEAQ(operand.Mem{Base: a, Index: t.row, Scale: 4}, a)
		}
		element = func(i, k int) operand.Mem {
			m := operand.Mem{Base: a, Disp: 4 * (t.base + i)}
			if k > 0 {
				m.Index, m.Scale = lda, uint8(k)
			}
			return m
		}
	default:
		if t.row != nil {
			offset := t.GP64()
			t.MOVQ(t.row, offset)
			t.IMULQ(lda, offset)
			t.ADDQ(offset, a)
		}
		if turned {
			element = func(i, k int) operand.Mem { return operand.Mem{Base: a, Disp: (t.base+i)*rowBytes + 4*k} }
			advance = func(steps int) { t.ADDQ(operand.I32(int32(4*steps)), a) }
			break
		}
		rows := t.everyThird(a, lda, t.mr)
		element = func(i, k int) operand.Mem { return third(rows, lda, i, 4*k) }
		advance = func(steps int) {
			for _, p := range rows {
				t.ADDQ(operand.I32(int32(4*steps)), p)
			}
		}
	}
	var b reg.GPVirtual
	if s.b == 0 {
		b = t.room(s.square)
	} else {
		b = t.Quad(t.field(s.b))
	}
	const unroll = 4
	steps := func(from, vectors int) { // of the vectors from one on
		bs, value := t.free()[:vectors], t.free()[t.vectors:]
		for k := range unroll {
			for w, r := range bs {
				t.VMOVUPS(operand.Mem{Base: b, Disp: k*rowBytes + (from+w)*t.vectorBytes()}, r)
			}
			step := k
			if s.across {
				step = 0
			}
			for i := range t.mr {
				if t.vectors == 1 && t.Wide() {
					t.VFMADD231PS_BCST(element(i, step), bs[0], t.acc(i, 0))
					continue
				}
				v := value[i%len(value)]
				t.VBROADCASTSS(element(i, step), v)
				for w, r := range bs {
					t.VFMADD231PS(r, v, t.acc(i, from+w))
				}
			}
			if s.across {
				t.ADDQ(lda, a)
			}
		}
		if !s.across {
			advance(unroll)
		}
		t.ADDQ(operand.I32(unroll*rowBytes), b)
	}
	left := t.GP64()
	loop := func(walks bool, from, vectors int) {
		again := t.NewLabel("steps")
		t.Label(again)
		if walks {
			t.walk()
		}
		steps(from, vectors)
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

// everyThird returns pointers to the rows from p on, of every third: scaled leading dimensions reach the two after it.
func (g *generator) everyThird(p, ld reg.GPVirtual, rows int) []reg.GPVirtual {
	pointers := []reg.GPVirtual{p}
	for i := 3; i < rows; i += 3 {
		next := g.GP64()
		g.LEAQ(operand.Mem{Base: pointers[len(pointers)-1], Index: ld, Scale: 2}, next)
		g.ADDQ(ld, next)
		pointers = append(pointers, next)
	}
	return pointers
}

// third is the address of row i, disp bytes in, from such pointers.
func third(pointers []reg.GPVirtual, ld reg.GPVirtual, i, disp int) operand.Mem {
	m := operand.Mem{Base: pointers[i/3], Disp: disp}
	if i%3 != 0 {
		m.Index, m.Scale = ld, uint8(i%3)
	}
	return m
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
		t := channelTile{g, mr, (base+mr-1)/g.Lanes + 1, nil, base}
		t.sum([]strip{s})
		if of.diagonalTo != 0 {
			t.addDiagonal(of.diagonalTo)
		}
		if of.factors != noLane {
			t.scale(g.room(of.factors))
		}
		if of.rows != 0 {
			t.scaleRows(g.Quad(g.field(of.rows)))
		}
		for n, dst := range places {
			at := func(array int, in place) func(i, w int) operand.Mem {
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

// leadingLanes clears all but the first lanes of a vector.
func (g *generator) leadingLanes(r reg.VecPhysical, kept int) {
	switch {
	case kept >= g.Lanes:
	case kept <= 0:
		g.Zero(r)
	case g.Wide():
		bits := g.GP32()
		g.MOVL(operand.U32(1<<kept-1), bits)
		g.KMOVW(bits, reg.K1)
		g.VMOVAPS_Z(r, reg.K1, r)
	default:
		mask := g.GP64()
		g.LEAQ(g.leading, mask)
		g.VANDPS(operand.Mem{Base: mask, Disp: 4 * (g.Lanes - kept)}, r, r)
	}
}

// addDiagonal adds the diagonal of a square of tokens, of which the tile has some rows, to a vector of tokens.
func (t channelTile) addDiagonal(sums int) {
	p, bit := t.Quad(t.field(sums)), t.GP32()
	for w := range t.vectors {
		sum := t.free()[0]
		t.Zero(sum)
		for i := range t.mr {
			lane := t.base + i - w*t.Lanes
			switch {
			case lane < 0 || lane >= t.Lanes:
			case t.Wide():
				t.MOVL(operand.U32(1<<lane), bit)
				t.KMOVW(bit, reg.K1)
				t.VMOVAPS(t.acc(i, w), reg.K1, sum)
			default:
				t.VBLENDPS(operand.U8(1<<lane), t.acc(i, w), sum, sum)
			}
		}
		m := operand.Mem{Base: p, Disp: w * t.vectorBytes()}
		t.VADDPS(m, sum, sum)
		t.VMOVUPS(sum, m)
	}
}

// scaleRows multiplies the rows of a square by factors of their tokens.
func (t channelTile) scaleRows(factors reg.GPVirtual) {
	for i := range t.mr {
		f := t.free()[i%2]
		t.VBROADCASTSS(operand.Mem{Base: factors, Disp: 4 * (t.base + i)}, f)
		for w := range t.vectors {
			t.VMULPS(f, t.acc(i, w), t.acc(i, w))
		}
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

// update sets a state to c[15] times another and the products of keys and rows, for a state head, or for its query heads too where heads is their field. The walk goes on every few steps.
func (g *generator) update(from, to, keys, heads, steps int) {
	const across = 2 // vectors
	acc := func(i, w int) reg.VecPhysical { return g.Vec[i*across+w] }
	row, col, ld := g.GP64(), g.GP64(), g.Bytes(g.field(atDv))
	g.XORQ(col, col)
	columns := g.NewLabel("columns")
	g.Label(columns)
	g.XORQ(row, row)
	for _, mr := range g.wide {
		again, fewer := g.NewLabel("states"), g.NewLabel("fewer")
		g.Label(again)
		left := g.Quad(g.field(atDk))
		g.SUBQ(row, left)
		g.CMPQ(left, operand.I32(int32(mr)))
		g.JLT(emit.Ref(fewer))
		state := func(array int) func(i, w int) operand.Mem {
			p := g.GP64()
			g.MOVQ(row, p)
			g.IMULQ(ld, p)
			g.ADDQ(g.field(array), p)
			g.LEAQ(operand.Mem{Base: p, Index: col, Scale: 4}, p)
			pointers := g.everyThird(p, ld, mr)
			return func(i, w int) operand.Mem { return third(pointers, ld, i, w*g.vectorBytes()) }
		}
		free := g.Vec[mr*across:]
		bs, value := free[:across], free[across:]
		g.VBROADCASTSS(operand.Mem{Base: g.room(laneC), Disp: 4 * (tokens - 1)}, value[0])
		old := state(from)
		for i := range mr {
			for w := range across {
				g.VMULPS(old(i, w), value[0], acc(i, w))
			}
		}
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
			for w, r := range bs {
				g.VMOVUPS(operand.Mem{Base: b, Disp: w * g.vectorBytes()}, r)
			}
			g.ADDQ(ld, b)
			for i := range mr {
				v := value[i%len(value)]
				g.VBROADCASTSS(operand.Mem{Base: a, Disp: i*rowBytes + 4*k}, v)
				for w, r := range bs {
					g.VFMADD231PS(r, v, acc(i, w))
				}
			}
		}
		next := g.Quad(g.field(atDk))
		g.channelBytes(next)
		g.ADDQ(next, a)
		g.DECQ(segments)
		g.JNE(emit.Ref(segment))
		out := state(to)
		for i := range mr {
			for w := range across {
				g.VMOVUPS(acc(i, w), out(i, w))
			}
		}
		g.ADDQ(operand.I32(int32(mr)), row)
		g.JMP(emit.Ref(again))
		g.Label(fewer)
	}
	g.ADDQ(operand.I32(int32(across*g.Lanes)), col)
	g.CMPQ(col, g.field(atDv))
	g.JLT(emit.Ref(columns))
}
