package kernels

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// hashSlab passes all tokens over slabs: a panel's columns of a few tables, so few that a slab and the next one fit the second-level
// cache. Before that, all tokens are hashed.
type hashSlab struct {
	hashArgs
	prim    *tile.Primitives
	kernel  func(*tile.Slab)
	bits    int // of integer weights
	k       int
	tables  int // of a slab
	held    int // of all slabs, with what fills the last one up
	shift   int // of a code to the place of its row, in bytes
	tokens  int // of a pass
	fetch   int
	width   int // of a panel
	panels  int
	workers int
	work    []*slabWork
	hashing hashSlabFirst

	// Offsets and weights of all tokens, in the order of the passes: block of tokens, slab, token, table.
	offset []uint32
	weight []float32
	quant  []uint32
	scale  []float32 // of each token's integer weights
}

type slabWork struct {
	hasher *hasher
	hashed hashed
	scaled []float32 // filled up with zeros to whole vectors
	first  []uint32  // where each table begins in its slab, in bytes
	offset []uint32  // of one token
	quant  []uint32
	spread tile.Spread
	round  tile.Quantize
	y      []float32
	init   []float32
	slab   tile.Slab
	pack   tile.Pack
}

// hashSlabFirst is what comes before the passes: the tokens' codes and weights.
type hashSlabFirst struct{ *hashSlab }

func newHashSlab(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *hashSlab {
	s := p.Shape
	a := &hashSlab{prim: prim, k: (s.D-1)/s.Tau + 1, fetch: cfg["fetch"], width: panelColumns(p.DType), bits: cfg["bits"]}
	a.tables, a.tokens = min(cfg["slab"], a.k), max(1, min(cfg["tokens"], s.N))
	switch p.DType {
	case tile.BFloat16:
		a.kernel = prim.SlabHalves
	case tile.Int8:
		for _, k := range prim.SlabBytes {
			if k.Bits == a.bits {
				a.kernel = k.Run
			}
		}
	default:
		a.kernel = prim.SlabFloats
	}
	if a.bits > 0 {
		a.tables = roundUp(a.tables, 4)
	}
	a.panels = (s.H + a.width - 1) / a.width
	threads := worthwhile(p.Threads, 4*float64(s.N)*float64(a.k)*float64(s.H)/minWorkerBytes)
	a.workers = max(1, min(threads, a.panels))
	a.held = roundUp(a.k, a.tables)
	a.shift = bits.TrailingZeros(uint(a.width * elementSize(p.DType)))
	n := s.N * a.held
	a.offset = alignedElements[uint32](n)
	if a.bits > 0 {
		a.quant, a.scale = alignedElements[uint32](n/2), aligned(s.N)
	} else {
		a.weight = aligned(n)
	}
	block := min(hashBlock, max(1, s.N))
	for range a.workers {
		m := block * a.k
		a.work = append(a.work, &slabWork{hasher: newHasher(p, prim, m), scaled: aligned(roundUp(a.k, 16)), y: aligned(a.tokens * a.width), init: aligned(a.width)})
		w := a.work[len(a.work)-1]
		w.first, w.offset, w.quant = alignedElements[uint32](a.k), alignedElements[uint32](roundUp(a.k, 4)), alignedElements[uint32](roundUp(a.k, 16)/2)
		for k := range w.first {
			w.first[k] = uint32(k%a.tables) << s.Tau << a.shift
		}
	}
	a.hashing = hashSlabFirst{a}
	return a
}

// before is done first, by all workers.
func (a *hashSlab) before() parallel { return &a.hashing }

func (a *hashSlabFirst) parts() int { return a.workers }

func (a *hashSlabFirst) part(i int) {
	n := a.problem.Shape.N
	for t := i * n / a.workers; t < (i+1)*n/a.workers; {
		m := min(hashBlock, (i+1)*n/a.workers-t)
		a.hash(a.work[i], t, m)
		t += m
	}
}

// hash puts the offsets and weights of n tokens from token t in their places.
func (a *hashSlab) hash(w *slabWork, t, n int) {
	a.codesOf(w.hasher, &w.hashed, t, n, a.k)
	if a.codes != nil {
		copy(a.codes[t*a.k:], w.hashed.code[:n*a.k])
	}
	if a.weights != nil {
		copy(a.weights[t*a.k:], w.hashed.weight[:n*a.k])
	}
	s := a.problem.Shape
	for i := range n {
		block := (t + i) / a.tokens * a.tokens
		tokens := min(a.tokens, s.N-block)
		code, weight := w.hashed.code[i*a.k:][:a.k], w.hashed.weight[i*a.k:][:a.k]
		w.spread = tile.Spread{Code: code, Weight: weight, Scales: a.prepared.scales, First: w.first, Offset: w.offset, Tau: s.Tau, Shift: a.shift, N: a.k}
		if a.bits > 0 || a.prepared.scales != nil {
			w.spread.Scaled = w.scaled[:a.k]
			weight = w.scaled
		}
		a.prim.Spread(&w.spread)
		if a.bits > 0 {
			a.quantize(w, t+i)
		}
		for k0 := 0; k0 < a.k; k0 += a.tables {
			tables := min(a.tables, a.k-k0)
			held := tables // with what fills the last slab up
			if a.bits > 0 {
				held = roundUp(tables, 4)
			}
			// Slabs before this one hold a.tables each.
			at := block*a.held + tokens*k0 + (t+i-block)*held
			if a.bits > 0 {
				copyWords(a.offset[at:][:held], w.offset[k0:])
				copyWords(a.quant[at/2:][:held/2], w.quant[k0/2:])
				continue
			}
			copyWords(a.offset[at:][:tables], w.offset[k0:])
			copyWords(a.weight[at:][:tables], weight[k0:])
		}
	}
}

// copyWords copies as many words as the first holds, most often a few fours.
func copyWords[E uint32 | float32](to, from []E) {
	from = from[:len(to)]
	for len(to) >= 4 {
		*(*[4]E)(to) = *(*[4]E)(from)
		to, from = to[4:], from[4:]
	}
	for i := range to {
		to[i] = from[i]
	}
}

// quantize rounds the scaled weights of a token.
func (a *hashSlab) quantize(w *slabWork, t int) {
	scale, by := weightScale(w.spread.Largest, a.bits)
	a.scale[t] = scale
	if by == 0 { // Inf alone counts
		clear(w.quant)
		most := int(1)<<a.bits - 1
		for k, x := range w.scaled[:a.k] {
			if math.IsInf(float64(x), 1) {
				setWeight(w.quant, k, most, a.bits)
			}
		}
		return
	}
	w.round = tile.Quantize{Weight: w.scaled, Quant: w.quant, By: by, Bits: a.bits, N: len(w.scaled)}
	a.prim.Quantize(&w.round)
}

// weightScale gives the scale of a token's weights as integers of so many bits, and what to multiply them by, of the largest of them. Weights that
// are not finite give a scale that is not, and 0 to multiply by. By is off by one rounding at most: the largest comes out as no more than all bits set.
func weightScale(largest float32, bits int) (scale, by float32) {
	most := float32(int(1)<<bits - 1)
	if largest != largest || math.IsInf(float64(largest), 1) { // whose row's elements all else is nothing to
		return largest, 0
	}
	by = most / largest
	if !(largest > 0) || math.IsInf(float64(by), 1) { // weights next to nothing
		return 0, 0
	}
	return largest / most, by
}

// setWeight puts the integer weight of table c in its place among zeros.
func setWeight(to []uint32, c, q, bits int) {
	word, shift := c/4*2, 8*(c%4)
	if bits == 16 {
		to[word] |= uint32(q) >> 8 << shift
		to[word+1] |= uint32(q) & 0xff << shift
	} else {
		to[word] |= uint32(q) << shift
	}
}

func (a *hashSlab) parts() int { return a.workers }

func (a *hashSlab) part(i int) {
	w, n := a.work[i], a.problem.Shape.N
	first, last := i*a.panels/a.workers, (i+1)*a.panels/a.workers
	for panel := first; panel < last; panel++ {
		for t := 0; t < n; t += a.tokens {
			a.pass(w, panel, t, panel+1 < last)
		}
	}
}

// pass computes a panel's columns of a block of tokens from token t on.
func (a *hashSlab) pass(w *slabWork, panel, t int, more bool) {
	s := a.problem.Shape
	n := min(a.tokens, s.N-t)
	j := panel * a.width
	cols := min(a.width, s.H-j)
	clear(w.init)
	if a.bias != nil {
		copy(w.init, a.bias[j:j+cols])
		a.permute(w.init, false)
	}
	streamed := cols == a.width && a.streams()
	groups := (a.k + a.tables - 1) / a.tables
	rowBytes := a.width * elementSize(a.problem.DType)
	tableBytes := rowBytes << s.Tau
	for g := range groups {
		k0 := g * a.tables
		tables := min(a.tables, a.k-k0)
		if a.bits > 0 {
			tables = roundUp(tables, 4)
		}
		at := t*a.held + n*k0
		p := &w.slab
		*p = tile.Slab{Offset: a.offset[at:][:n*tables], Y: w.y, T: n, G: tables}
		if a.bits > 0 {
			p.Quant, p.Scale = a.quant[at/2:][:n*tables/2], a.scale[t:][:n]
		} else {
			p.Weight = a.weight[at:][:n*tables]
		}
		if g == 0 {
			p.Init = w.init
		}
		if streamed && g+1 == groups {
			p.Out, p.LDO = a.output[t*s.H+j:], s.H
		}
		slab := a.prepared.slab(p, panel, k0)
		if a.fetch > 0 {
			p.Far = a.fetch == 2
			// The next slab: of this panel, from its start again for the next tokens, or of the next panel.
			from, held := slab+a.tables*tableBytes, a.tables
			if g+1 < groups {
				held = min(a.tables, a.k-k0-a.tables)
			} else if from = slab - k0*tableBytes; t+a.tokens >= s.N {
				from += a.k * tableBytes
				if !more {
					held = 0
				}
			}
			all := a.prepared.panelBytes()
			p.Next = all[min(from, len(all)):min(from+held*tableBytes, len(all))]
			p.Pace = (len(p.Next)/cacheLine/4*256 + n - 1) / n
		}
		a.kernel(p)
	}
	if streamed {
		return
	}
	a.permuteAll(w.y[:n*a.width])
	w.pack = tile.Pack{Src: w.y, Dst: a.output[t*s.H+j:], LDS: a.width, LDD: s.H, M: n, N: cols}
	a.prim.Pack(&w.pack)
}

// streamedBytes are of an output that no private cache holds until it is read.
const streamedBytes = 1 << 20

// streams says whether the last slab's sums may go to the output past the caches: it is large, its rows begin at cache lines, and the sums
// stand in its order.
func (a *hashSlab) streams() bool {
	s := a.problem.Shape
	return 4*s.N*s.H >= streamedBytes && 4*s.H%cacheLine == 0 && uintptr(unsafe.Pointer(&a.output[0]))%cacheLine == 0 &&
		(a.problem.DType != tile.Int8 || a.bits > 0)
}

// permute brings a token's sums of int8 with float32 weights to the order of the bytes, or back.
func (a *hashSlab) permute(y []float32, back bool) {
	if a.problem.DType != tile.Int8 || a.bits > 0 {
		return
	}
	var from [tile.SlabBytes]float32
	copy(from[:], y)
	for i := range from {
		if c := tile.BytesPermuted(i); back {
			y[c] = from[i]
		} else {
			y[i] = from[c]
		}
	}
}

func (a *hashSlab) permuteAll(y []float32) {
	if a.problem.DType != tile.Int8 || a.bits > 0 {
		return
	}
	for i := 0; i < len(y); i += tile.SlabBytes {
		a.permute(y[i:i+tile.SlabBytes], true)
	}
}

// slab gives a pass the rows of a slab that begins at a table, and says where its bytes begin among all panels'.
func (t *HashTables) slab(p *tile.Slab, panel, k0 int) int {
	width := panelColumns(t.dtype)
	at := (panel*t.k + k0) << t.tau * width
	end := (panel*t.k + t.k) << t.tau * width
	switch t.dtype {
	case tile.BFloat16:
		p.Halves = t.panels.halves[at:end]
	case tile.Int8:
		p.Bytes = t.panels.bytes[at:end]
	default:
		p.Floats = t.panels.floats[at:end]
	}
	return at * elementSize(t.dtype)
}

// panelBytes is the memory of the panels.
func (t *HashTables) panelBytes() []byte {
	switch t.dtype {
	case tile.BFloat16:
		return unsafe.Slice((*byte)(unsafe.Pointer(&t.panels.halves[0])), 2*len(t.panels.halves))
	case tile.Int8:
		return unsafe.Slice((*byte)(unsafe.Pointer(&t.panels.bytes[0])), len(t.panels.bytes))
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&t.panels.floats[0])), 4*len(t.panels.floats))
}

// elementSize is the bytes of a table's element.
func elementSize(dtype string) int {
	switch dtype {
	case tile.BFloat16:
		return 2
	case tile.Int8:
		return 1
	}
	return 4
}
