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
	earlier []parallel // hashing
	first   []uint32   // where each table begins in its slab, in bytes

	// Offsets and weights of all tokens, in the order of the passes: block of tokens, slab, token, table, slabs being a line further apart than they are long.
	offset []uint32
	weight []float32
	quant  []uint32
	scale  []float32 // of each token's integer weights
}

type slabWork struct {
	hasher  *hasher
	hashed  hashed
	scaled  []float32 // weights before they are rounded, by slabs of a block of tokens
	largest []float32 // of a token
	by      []float32
	spread  tile.Spread
	round   tile.Quantize
	y       []float32
	init    []float32
	slab    tile.Slab
	pack    tile.Pack
}

// hashSlabFirst is what comes before the passes: the tokens' codes and weights.
type hashSlabFirst struct{ *hashSlab }

func newHashSlab(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *hashSlab {
	s := p.Shape
	a := &hashSlab{prim: prim, k: (s.D-1)/s.Tau + 1, fetch: cfg["fetch"], width: tile.SlabColumns(p.DType), bits: cfg["bits"]}
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
	a.first = alignedElements[uint32](a.k)
	for k := range a.first {
		a.first[k] = uint32(k%a.tables) << s.Tau << a.shift
	}
	n := (s.N + a.tokens - 1) / a.tokens * a.passPlaces()
	a.offset = alignedElements[uint32](n)
	if a.bits > 0 {
		a.quant, a.scale = alignedElements[uint32](n/2), aligned(s.N)
	} else {
		a.weight = aligned(n)
	}
	block := min(hashBlock, max(1, s.N))
	for range a.workers {
		w := &slabWork{hasher: newHasher(p, prim, block*a.k), y: aligned(a.tokens * a.width), init: aligned(a.width)}
		if a.bits > 0 {
			w.scaled, w.largest, w.by = aligned(block*a.held+a.apart(a.held)), aligned(block), aligned(block)
		}
		a.work = append(a.work, w)
	}
	a.hashing = hashSlabFirst{a}
	a.earlier = []parallel{&a.hashing}
	return a
}

// before is done first, by all workers.
func (a *hashSlab) before() []parallel { return a.earlier }

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
	for i := 0; i < n; {
		block := (t + i) / a.tokens * a.tokens // where the pass begins
		m := min(n-i, block+a.tokens-t-i, max(1, maxSpread/a.k))
		a.spread(w, block, t+i, m, i*a.k)
		i += m
	}
}

// maxSpread bounds the codes of a call that spreads them.
const maxSpread = 1 << 14

// apart is how many places lines between slabs take before table k0: without them, the places that a token's codes are spread to fall in the same
// sets of a cache, since slabs of usual numbers of tokens are whole pages long.
func (a *hashSlab) apart(k0 int) int { return k0 / a.tables * cacheLine / 4 }

// passPlaces are the places of offsets and weights of a pass over all slabs.
func (a *hashSlab) passPlaces() int { return a.tokens*a.held + a.apart(a.held) }

// place is where offsets and weights begin, of a pass from token block on and a slab from table k0 on.
func (a *hashSlab) place(block, k0 int) int {
	return block/a.tokens*a.passPlaces() + min(a.tokens, a.problem.Shape.N-block)*k0 + a.apart(k0)
}

// heldBy is how many tables a slab that begins with table k0 holds, those that fill it up included.
func (a *hashSlab) heldBy(k0 int) int {
	n := min(a.tables, a.k-k0)
	if a.bits > 0 {
		n = roundUp(n, 4)
	}
	return n
}

// spread puts offsets and weights of n tokens from token t on, all of one pass, in their places. They begin at a place of the work's.
func (a *hashSlab) spread(w *slabWork, block, t, n, from int) {
	tau, tokens, line := a.problem.Shape.Tau, min(a.tokens, a.problem.Shape.N-block), a.apart(a.tables)
	clear(w.largest)
	// The whole slabs, which are alike, then the last one, if it is not.
	for k0, end := 0, a.k/a.tables*a.tables; k0 < a.k; k0, end = end, a.k {
		held := a.heldBy(k0)
		at := a.place(block, k0) + (t-block)*held
		w.spread = tile.Spread{Code: w.hashed.code[from+k0:], Weight: w.hashed.weight[from+k0:], First: a.first[k0:], Offset: a.offset[at:],
			T: n, N: end - k0, G: held, LD: a.k, Stride: tokens*held + line, Tau: tau, Shift: a.shift}
		if scales := a.prepared.scales; scales != nil {
			w.spread.Scales = scales[k0<<tau:]
		}
		if a.bits > 0 {
			w.spread.Scaled, w.spread.ScaledStride, w.spread.Largest = w.scaled[n*k0+a.apart(k0):], n*held+line, w.largest[:n]
		} else {
			w.spread.Scaled, w.spread.ScaledStride = a.weight[at:], tokens*held+line
		}
		a.prim.Spread(&w.spread)
	}
	if a.bits == 0 {
		return
	}
	for i, largest := range w.largest[:n] {
		a.scale[t+i], w.by[i] = weightScale(largest, a.bits)
		if math.IsInf(float64(largest), 1) { // beside which no other counts
			w.by[i] = float32(int(1)<<a.bits - 1)
			for k0 := 0; k0 < a.k; k0 += a.tables {
				held := a.heldBy(k0)
				onlyInf(w.scaled[n*k0+a.apart(k0)+i*held:][:held])
			}
		}
	}
	for k0, end := 0, a.k/a.tables*a.tables; k0 < a.k; k0, end = end, a.k {
		held := a.heldBy(k0)
		at := a.place(block, k0) + (t-block)*held
		w.round = tile.Quantize{Weight: w.scaled[n*k0+a.apart(k0):], By: w.by, Quant: a.quant[at/2:], T: n, N: end - k0, G: held, WeightStride: n*held + line, Stride: tokens*held + line, Bits: a.bits}
		a.prim.Quantize(&w.round)
	}
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

// onlyInf makes weights 1 where they are Inf, and 0 elsewhere.
func onlyInf(w []float32) {
	for i, x := range w {
		w[i] = 0
		if math.IsInf(float64(x), 1) {
			w[i] = 1
		}
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
		tables := a.heldBy(k0)
		at := a.place(t, k0)
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
			p.Pace = (len(p.Next)/cacheLine/4*onePace + n - 1) / n
			if a.problem.DType == tile.Float32 && p.Pace >= onePace*3/4 && p.Pace <= onePace+onePace/32 {
				p.Pace = onePace
			}
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

// onePace is the pace of one line of each stream a token. About there float32 tables keep memory busy all the time, and a token now and then with two
// lines of each stream, or none, holds up those behind it, so each has one: a few lines are left to be fetched when they are read, or come early.
const onePace = 256

// streamedBytes are of an output that no private cache holds until it is read.
const streamedBytes = 1 << 20

// streams says whether the last slab's sums may go to the output past the caches: it is large, its rows begin at cache lines, and the sums
// stand in its order.
func (a *hashSlab) streams() bool {
	s := a.problem.Shape
	return 4*s.N*s.H >= streamedBytes && alignedRows(a.output, s.H) &&
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
	width := tile.SlabColumns(t.dtype)
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
