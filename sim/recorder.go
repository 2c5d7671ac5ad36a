package sim

import (
	"fmt"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Recorder stands in for a table of primitives and writes down what a driver asks
// of it, instead of computing. It is for one goroutine: a driver of several workers is recorded walking the
// busiest worker's share.
//
// What it leaves in the driver's buffers is chosen so that a driver that looks at values goes its usual
// way: Exp gives decay factors a little below one, the column C of Decay ones, Pack reports finite data. Nothing else is written.
type Recorder struct {
	source  *tile.Primitives
	buffers []recorded
	ops     []Op
	free    []Touch // room for the next operation's touches
	trips   []int   // ends of trips in ops
	err     error

	// EveryPass records each pass of a product over its rows for every column panel, as a replay of addresses needs it. Otherwise one in
	// passGroup stands for those after it: they find the rows where it did.
	EveryPass bool
}

// recorded is a named address range. It keeps its array alive, so that the range stays its own.
type recorded struct {
	Buffer
	start  uintptr
	floats []float32
	ints   []int32
	halves []uint16
	bytes  []int8
	words  []uint32
}

// NewRecorder returns a recorder that offers the register tiles of p.
func NewRecorder(p *tile.Primitives) *Recorder { return &Recorder{source: p} }

// Buffer names an array that the driver reads or writes. Touches are resolved to it by address;
// ranges must not overlap, and empty arrays are ignored.
func (r *Recorder) Buffer(name string, data []float32, kind BufferKind) {
	if len(data) > 0 {
		r.add(recorded{Buffer: Buffer{name, kind, int64(len(data)) * 4}, start: uintptr(unsafe.Pointer(&data[0])), floats: data})
	}
}

// Halves names an array of 16-bit numbers, as Buffer does for float32.
func (r *Recorder) Halves(name string, data []uint16, kind BufferKind) {
	if len(data) > 0 {
		r.add(recorded{Buffer: Buffer{name, kind, int64(len(data)) * 2}, start: uintptr(unsafe.Pointer(&data[0])), halves: data})
	}
}

// Indices names an array of row indices, as Buffer does for values. A gather's rows that are in no
// named array are left out of the traffic: they are 4 bytes to a table row.
func (r *Recorder) Indices(name string, data []int32, kind BufferKind) {
	if len(data) > 0 {
		r.add(recorded{Buffer: Buffer{name, kind, int64(len(data)) * 4}, start: uintptr(unsafe.Pointer(&data[0])), ints: data})
	}
}

func (r *Recorder) add(b recorded) {
	for _, o := range r.buffers {
		if b.start < o.start+uintptr(o.Bytes) && o.start < b.start+uintptr(b.Bytes) {
			r.fail("buffers %q and %q overlap", o.Name, b.Name)
			return
		}
	}
	r.buffers = append(r.buffers, b)
}

// Trip marks the end of one trip of the driver's outermost steady loop: one chunk of all heads, one
// tile of tokens. What comes before the first trip belongs to it; what follows the last is done once.
func (r *Recorder) Trip() { r.trips = append(r.trips, len(r.ops)) }

// Program closes the record. trips is how many trips the real problem takes, a fraction for a
// ragged last one: the recorded trips but the last are simulated as recorded, the last
// is the steady state and stands for all others. If the record is of the whole problem, its last trip is ragged already and trips is
// their number. Three trips are enough where a trip's reuse reaches one trip back. Without a mark the whole
// record is one trip. workers is how many run such a share at once.
//
// The error is the first of: a touch outside the slice it was given, or outside every named buffer;
// overlapping buffers; more trips recorded than there are.
func (r *Recorder) Program(name string, cfg tile.Config, trips float64, workers int) (*Program, error) {
	if r.err != nil {
		return nil, r.err
	}
	if workers < 1 {
		return nil, fmt.Errorf("sim: workers must be at least 1, not %d", workers)
	}
	ends := r.trips
	if len(ends) == 0 {
		ends = []int{len(r.ops)}
	}
	steady := trips - float64(len(ends)-1)
	if !(steady > 0) {
		return nil, fmt.Errorf("sim: %d trips recorded of a problem with %g", len(ends), trips)
	}
	p := &Program{Name: name, Kind: KindCPU, Config: cfg}
	for _, b := range r.buffers {
		p.Buffers = append(p.Buffers, b.Buffer)
	}
	l := Launch{Name: name, Blocks: int64(workers)}
	start := 0
	for i, end := range ends {
		n := 1.0
		if i == len(ends)-1 {
			n = steady
		}
		l.Nest = append(l.Nest, Loop{Trips: n, Ops: r.ops[start:end:end], Steady: i == len(ends)-1 && len(r.trips) > 0})
		start = end
	}
	if start < len(r.ops) {
		l.Nest = append(l.Nest, Loop{Trips: 1, Ops: r.ops[start:]})
	}
	p.Launches = []Launch{l}
	return p, nil
}

// Primitives gives the table that records.
func (r *Recorder) Primitives() *tile.Primitives {
	kernels := func(like []tile.ProductKernel, record func(mr, nr int, p *tile.Product)) []tile.ProductKernel {
		var out []tile.ProductKernel
		for _, k := range like {
			out = append(out, tile.ProductKernel{MR: k.MR, NR: k.NR, Run: func(p *tile.Product) { record(k.MR, k.NR, p) }})
		}
		return out
	}
	var recurs []tile.RecurKernel
	for _, k := range r.source.Recur {
		recurs = append(recurs, tile.RecurKernel{Tokens: k.Tokens, NR: k.NR, Shared: k.Shared, Run: func(p *tile.Recur) { r.recur(k, p) }})
	}
	var deltas []tile.DeltaKernel
	for _, k := range r.source.Delta {
		deltas = append(deltas, tile.DeltaKernel{Tokens: k.Tokens, NR: k.NR, Shared: k.Shared, Run: func(p *tile.Delta) { r.delta(k, p) }})
	}
	var steps []tile.StepKernel
	for _, k := range r.source.Steps {
		if k.NR == 1 {
			steps = append(steps, generic.StepsBy(deltas[0].Run))
			continue
		}
		steps = append(steps, tile.StepKernel{NR: k.NR, Run: func(p *tile.Steps) { r.steps(k.NR, p) }})
	}
	var pair *tile.PairPrimitives
	if r.source.Pair != nil {
		pair = r.pairPrimitives()
	}
	return &tile.Primitives{
		ISA:        r.source.ISA,
		Pair:       pair,
		NN:         kernels(r.source.NN, r.nn),
		NT:         kernels(r.source.NT, r.nt),
		TN:         kernels(r.source.TN, r.tn),
		Recur:      recurs,
		Delta:      deltas,
		Steps:      steps,
		Chunk:      r.chunk(),
		Couple:     r.couple,
		Solve:      r.solve,
		Substitute: r.substitute,
		Pack:       r.pack,
		Turn:       r.turn,
		Dots:       r.dots,
		Decay:      r.decay,
		Exp:        r.exp,
		Fold:       r.fold,
		Map:        r.elementwise,
		Blend:      r.blend,
		Trail:      r.trail,
		Widen:      r.widen,
		Narrow:     r.narrow,
		Conv:       r.conv,
		Gather:     r.gather,
		Octets:     r.octets,
		Spread:     r.spread, Quantize: r.quantize,

		GatherHalf:  r.gatherHalf,
		GatherBytes: r.gatherBytes,
		SlabFloats:  r.slabFloats,
		SlabHalves:  r.slabHalves,
		SlabBytes:   r.slabBytes(),
	}
}

// done takes an operation whose touches are complete.
func (r *Recorder) done(op Op) {
	if n := len(op.Touches); n <= cap(r.free) && n > 0 && &op.Touches[0] == &r.free[:1][0] {
		r.free = r.free[n:n]
		op.Touches = op.Touches[:n:n]
	}
	r.ops = append(r.ops, op)
}

// touchesAtOnce is how many touches are allocated together.
const touchesAtOnce = 4096

// addTouch adds a touch to an operation that is being recorded.
func (r *Recorder) addTouch(op *Op, t Touch) {
	if op.Touches == nil {
		if cap(r.free) < 16 {
			r.free = make([]Touch, 0, touchesAtOnce)
		}
		op.Touches = r.free
	}
	op.Touches = append(op.Touches, t)
}

func (r *Recorder) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("sim: "+format, args...)
	}
}

// block is a part of an operand: rows x cols elements from (row, col), ld apart.
type block struct{ row, col, rows, cols, ld int }

// touch adds a pass over a block of the slice that was given for the operand called what.
func (r *Recorder) touch(op *Op, what string, s []float32, b block, mode Mode) {
	touchElements(r, op, what, s, b, mode)
}

// touchElements is touch for elements of any width.
func touchElements[E float32 | uint16 | uint32 | int8 | byte](r *Recorder, op *Op, what string, s []E, b block, mode Mode) {
	if b.rows <= 0 || b.cols <= 0 {
		return
	}
	if b.ld == 0 { // one row for all
		b.rows = 1
	}
	if b.row < 0 || b.col < 0 || b.rows > 1 && b.ld < b.cols {
		r.fail("%s: %s has rows of %d elements %d apart", op.Name, what, b.cols, b.ld)
		return
	}
	if need := (b.row+b.rows-1)*b.ld + b.col + b.cols; need > len(s) {
		r.fail("%s: %s is read or written to element %d but has %d", op.Name, what, need, len(s))
		return
	}
	size := unsafe.Sizeof(s[0])
	first := uintptr(unsafe.Pointer(&s[0])) + uintptr(b.row*b.ld+b.col)*size
	t := Touch{Rows: b.rows, RowBytes: int64(b.cols) * int64(size), Stride: int64(b.ld) * int64(size), Mode: mode}
	if t.Rows == 1 {
		t.Stride = t.RowBytes
	}
	if t.Stride == t.RowBytes { // one run
		t.Rows, t.RowBytes, t.Stride = 1, t.Bytes(), t.Bytes()
	}
	r.addNamed(op, what, t, first)
}

// addNamed adds a touch that begins at an address of a named buffer.
func (r *Recorder) addNamed(op *Op, what string, t Touch, first uintptr) {
	for i := range r.buffers {
		if o := &r.buffers[i]; first >= o.start && first < o.start+uintptr(o.Bytes) {
			t.Buffer, t.Offset = i, int64(first-o.start)
			if op.end(&t) > o.Bytes {
				r.fail("%s: %s runs over the end of buffer %q", op.Name, what, o.Name)
				return
			}
			r.addTouch(op, t)
			return
		}
	}
	r.fail("%s: %s is in no named buffer", op.Name, what)
}

// nn records the order in which the kernels go: column panels outermost, so that a panel of B is reused by
// all rows from the first level.
func (r *Recorder) nn(mr, nr int, p *tile.Product) {
	op := Op{Name: "nn", MR: mr, NR: nr, M: p.M, N: p.N, K: p.K, Lower: p.Lower, Accumulate: p.Beta != 0}
	for j := 0; j < p.N; j += nr {
		cols := min(nr, p.N-j)
		deepest := p.K
		if p.Lower {
			deepest = min(p.K, p.M)
		}
		r.touch(&op, "B", p.B, block{0, j, deepest, cols, p.LDB}, Read)
		if !p.Lower {
			r.pass(&op, p.A, block{0, 0, p.M, p.K, p.LDA}, j/nr, (p.N+nr-1)/nr)
		}
		for i := 0; i < p.M; i += mr {
			rows, depth := min(mr, p.M-i), p.K
			if p.Lower {
				depth = min(p.K, i+rows)
				r.touch(&op, "A", p.A, block{i, 0, rows, depth, p.LDA}, Read)
			}
			op.product(rows, cols, depth)
		}
		r.output(&op, p, 0, j, cols)
	}
	r.row(&op, p.Row, p.M, (p.N+nr-1)/nr)
	r.done(op)
}

func (r *Recorder) tn(mr, nr int, p *tile.Product) {
	op := Op{Name: "tn", MR: mr, NR: nr, M: p.M, N: p.N, K: p.K, Accumulate: p.Beta != 0}
	for j := 0; j < p.N; j += nr {
		cols := min(nr, p.N-j)
		r.touch(&op, "B", p.B, block{0, j, p.K, cols, p.LDB}, Read)
		r.pass(&op, p.A, block{0, 0, p.K, p.M, p.LDA}, j/nr, (p.N+nr-1)/nr)
		for i := 0; i < p.M; i += mr {
			op.product(min(mr, p.M-i), cols, p.K)
		}
		r.output(&op, p, 0, j, cols)
	}
	r.row(&op, p.Row, p.M, (p.N+nr-1)/nr)
	r.done(op)
}

// product counts one register tile of NN or TN.
func (op *Op) product(rows, cols, depth int) {
	op.Flops += 2 * int64(rows) * int64(cols) * int64(depth)
	op.LoadBytes += 4 * int64(rows+cols) * int64(depth)
	if op.Accumulate {
		op.LoadBytes += 4 * int64(rows) * int64(cols)
	}
	op.StoreBytes += 4 * int64(rows) * int64(cols)
}

const passGroup = 4

// pass records one of a product's passes over its rows, one a column panel.
func (r *Recorder) pass(op *Op, s []float32, b block, panel, panels int) {
	again := 0
	if !r.EveryPass && panel >= 2 { // the first finds the rows elsewhere, and so may the second
		if (panel-2)%passGroup != 0 {
			return
		}
		again = min(passGroup, panels-panel) - 1
	}
	n := len(op.Touches)
	r.touch(op, "A", s, b, Read)
	for i := n; i < len(op.Touches); i++ {
		op.Touches[i].Again = again
	}
}

// output records the columns of C from row first on.
func (r *Recorder) output(op *Op, p *tile.Product, first, j, cols int) {
	mode, at := Write, block{first, j, p.M - first, cols, p.LDC}
	switch {
	case p.Beta != 0 && p.From != nil:
		r.touch(op, "From", p.From, at, Read)
	case p.Beta != 0:
		mode = Update
	}
	r.touch(op, "C", p.C, at, mode)
}

// row records the reading of row factors by each of some column panels.
func (r *Recorder) row(op *Op, row []float32, m, panels int) {
	if row == nil || m <= 0 || panels <= 0 {
		return
	}
	r.touch(op, "Row", row, block{0, 0, 1, m, m}, Read)
	op.LoadBytes += 4 * int64(m) * int64(panels)
}

// nt records A Bᵀ. With Lower, tiles wholly above the diagonal are stored as zeros, or left alone if C is accumulated
// to, and nothing is read for them; the waste within a tile on the diagonal is executed.
func (r *Recorder) nt(mr, nr int, p *tile.Product) {
	op := Op{Name: "nt", MR: mr, NR: nr, M: p.M, N: p.N, K: p.K, Lower: p.Lower, Strict: p.Strict, Accumulate: p.Beta != 0}
	for j := 0; j < p.N; j += nr {
		cols, first := min(nr, p.N-j), 0
		if p.Lower { // the first row tile that reaches column j
			for first < p.M && min(first+mr, p.M)-1-p.Strict < j {
				first += mr
			}
		}
		for i := first; i < p.M; i += mr {
			rows := min(mr, p.M-i)
			op.Flops += 2 * int64(rows) * int64(cols) * int64(p.K)
			op.LoadBytes += 4 * int64(rows+cols) * int64(p.K)
			if p.Mask != nil {
				op.LoadBytes += 4 * int64(rows) * int64(cols)
			}
			if op.Accumulate {
				op.LoadBytes += 4 * int64(rows) * int64(cols)
			}
		}
		stored := 0 // the first row that is
		if op.Accumulate {
			stored = min(first, p.M)
		}
		op.StoreBytes += 4 * int64(p.M-stored) * int64(cols)
		if rows := p.M - first; rows > 0 {
			r.touch(&op, "B", p.B, block{j, 0, cols, p.K, p.LDB}, Read)
			r.pass(&op, p.A, block{first, 0, rows, p.K, p.LDA}, j/nr, (p.N+nr-1)/nr)
			if p.Mask != nil {
				r.touch(&op, "Mask", p.Mask, block{first, j, rows, cols, p.LDM}, Read)
			}
		}
		r.output(&op, p, stored, j, cols)
	}
	r.row(&op, p.Row, p.M, (p.N+nr-1)/nr)
	r.done(op)
}

// solve is recorded in blocks of the table's first register tile: the rows above a block are
// subtracted as a product, then its own triangle is substituted.
func (r *Recorder) solve(p *tile.Solve) {
	op := r.substitution(p)
	r.done(op)
}

func (r *Recorder) substitution(p *tile.Solve) Op {
	op := Op{Name: "solve", MR: 8, NR: 16, M: p.N, N: p.W, K: p.N}
	if len(r.source.NN) > 0 {
		op.MR, op.NR = r.source.NN[0].MR, r.source.NN[0].NR
	}
	for j := 0; j < p.W; j += op.NR {
		cols := min(op.NR, p.W-j)
		for i := 0; i < p.N; i += op.MR {
			rows := min(op.MR, p.N-i)
			r.touch(&op, "L", p.L, block{i, 0, rows, i + rows, p.LDL}, Read)
			op.Flops += 2*int64(rows)*int64(cols)*int64(i) + int64(rows)*int64(rows-1)*int64(cols)
			op.LoadBytes += 4 * (int64(rows+cols)*int64(i) + int64(rows)*int64(cols) + int64(rows)*int64(rows-1)/2)
			op.StoreBytes += 4 * int64(rows) * int64(cols)
		}
		r.touch(&op, "X", p.X, block{0, j, p.N, cols, p.LDX}, Update)
	}
	return op
}

// substitute is recorded as a solve whose rows are stored twice.
func (r *Recorder) substitute(p *tile.Substitute) {
	op := r.substitution(&tile.Solve{L: p.L, X: p.X, LDL: p.LDL, LDX: p.LDX, N: p.N, W: p.W})
	op.StoreBytes += 4 * int64(p.N) * int64(p.W)
	r.touch(&op, "Y", p.Y, block{0, 0, p.N, p.W, p.LDY}, Write)
	r.row(&op, p.Row, p.N, 1)
	r.done(op)
}

func (r *Recorder) pack(p *tile.Pack) {
	op := Op{Name: "pack", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 4*op.Elements, 4*op.Elements
	if p.M > 0 && p.N > 0 {
		if len(p.Src) > 0 && len(p.Dst) > 0 && &p.Src[0] == &p.Dst[0] {
			r.touch(&op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, Update)
		} else {
			r.touch(&op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
			r.touch(&op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, stored(p.Stream))
		}
	}
	r.row(&op, p.Row, p.M, 1)
	p.NonFinite = false
	r.done(op)
}

func (r *Recorder) turn(p *tile.Turn) { r.turnTo(p, Write) }

// turnTo records a transposition that leaves its result in a way of its own.
func (r *Recorder) turnTo(p *tile.Turn, mode Mode) {
	op := Op{Name: "turn", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 4*op.Elements, 4*op.Elements
	r.touch(&op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
	r.touch(&op, "Dst", p.Dst, block{0, 0, p.N, p.M, p.LDD}, mode)
	r.row(&op, p.Row, p.M, 1)
	r.done(op)
}

func (r *Recorder) dots(p *tile.Dots) {
	op := Op{Name: "dots", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N), Flops: 2 * int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 8*op.Elements, 4*int64(p.M)
	r.touch(&op, "X", p.X, block{0, 0, p.M, p.N, p.LDX}, Read)
	r.touch(&op, "Y", p.Y, block{0, 0, p.M, p.N, p.LDY}, Read)
	r.touch(&op, "Dst", p.Dst, block{0, 0, 1, p.M, p.M}, Write)
	r.done(op)
}

func (r *Recorder) decay(p *tile.Decay) {
	n := int64(p.N)
	op := Op{Name: "decay", M: p.N, N: p.N, Elements: n*n + n, LoadBytes: 4 * n, StoreBytes: 4 * (n*n + n)}
	r.touch(&op, "G", p.G, block{0, 0, 1, p.N, p.N}, Read)
	r.touch(&op, "C", p.C, block{0, 0, 1, p.N, p.N}, Write)
	r.touch(&op, "D", p.D, block{0, 0, p.N, p.N, p.LDD}, Write)
	for i := range p.C[:min(p.N, len(p.C))] {
		p.C[i] = 1
	}
	r.done(op)
}

func (r *Recorder) exp(p *tile.Exp) {
	op := Op{Name: "exp", N: p.N, Elements: int64(p.N), Exps: int64(p.N), LoadBytes: 4 * int64(p.N), StoreBytes: 4 * int64(p.N)}
	src := block{0, 0, p.N, 1, p.Stride}
	if p.Stride == 1 {
		src = block{0, 0, 1, p.N, p.N}
	}
	r.touch(&op, "Src", p.Src, src, Read)
	r.touch(&op, "Dst", p.Dst, block{0, 0, 1, p.N, p.N}, Write)
	for i := range p.Dst[:min(p.N, len(p.Dst))] {
		p.Dst[i] = usualDecay
	}
	r.done(op)
}

// usualDecay is what Exp gives: states decay, and no product of a chunk's factors comes near zero.
const usualDecay = 1 - 1.0/64

// fold is recorded as reading and writing each row once. It reports a block that may be folded.
func (r *Recorder) fold(p *tile.Fold) {
	rows := int64(p.M) * int64(p.N)
	op := Op{Name: "fold", M: p.M, N: p.N, Group: p.Heads, Elements: rows * int64(2+3*p.Heads)} // a division is worth two more steps
	op.LoadBytes, op.StoreBytes = 4*rows*int64(2+p.Heads), 4*(rows*int64(1+p.Heads)+int64(p.N))
	r.touch(&op, "G", p.G, block{0, 0, p.M, p.N, p.LDG}, Read)
	r.touch(&op, "K", p.K, block{0, 0, p.M, p.N, p.LDK}, Read)
	r.touch(&op, "KOut", p.KOut, block{0, 0, p.M, p.N, p.LDKOut}, Write)
	for h := range p.Heads {
		r.touch(&op, "Q", p.Q, block{0, h * p.HeadQ, p.M, p.N, p.LDQ}, Read)
		r.touch(&op, "QOut", p.QOut, block{0, h * p.HeadQOut, p.M, p.N, p.LDQOut}, Write)
	}
	r.touch(&op, "D", p.D, block{0, 0, 1, p.N, p.N}, Write)
	p.Unsafe = false
	r.done(op)
}

func (r *Recorder) conv(p *tile.Conv) {
	outputs := int64(p.M) * int64(p.N)
	op := Op{Name: "conv", M: p.M, N: p.N, K: p.K, Flops: 2 * outputs * int64(p.K), Elements: outputs * int64(1+p.K)}
	if p.SiLU {
		op.Exps = outputs
		op.Elements += 8 * outputs // a division and a polynomial
	}
	op.LoadBytes, op.StoreBytes = 4*outputs*int64(p.K), 4*outputs
	r.touch(&op, "Src", p.Src, block{0, 0, p.M, p.N + p.K - 1, p.LDS}, Read)
	r.touch(&op, "Weight", p.Weight, block{0, 0, p.M, p.K, p.K}, Read)
	if p.Bias != nil {
		r.touch(&op, "Bias", p.Bias, block{0, 0, 1, p.M, p.M}, Read)
	}
	r.touch(&op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, stored(p.Stream))
	r.done(op)
}

// stored is the mode of a store that may be asked to go past the caches.
func stored(stream bool) Mode {
	if stream {
		return Stream
	}
	return Write
}

func (r *Recorder) widen(p *tile.Widen) {
	op := Op{Name: "widen", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 2*op.Elements, 4*op.Elements
	touchElements(r, &op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
	r.touch(&op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, Write)
	r.done(op)
}

func (r *Recorder) narrow(p *tile.Narrow) {
	op := Op{Name: "narrow", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 4*op.Elements, 2*op.Elements
	r.touch(&op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
	touchElements(r, &op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, Write)
	r.done(op)
}

func (r *Recorder) elementwise(p *tile.Map) {
	op := Op{Name: "map", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 4*op.Elements, 4*op.Elements
	r.touch(&op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
	r.touch(&op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, Update)
	r.done(op)
}

func (r *Recorder) blend(p *tile.Blend) {
	elements := int64(p.M) * int64(p.N)
	op := Op{Name: "blend", M: p.M, N: p.N, Elements: elements, Flops: 2 * elements, LoadBytes: 8 * elements, StoreBytes: 4 * elements}
	r.touch(&op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
	r.touch(&op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, Update)
	for _, f := range [][]float32{p.A, p.B} {
		r.row(&op, f, p.M, 1)
	}
	r.done(op)
}

// trail is recorded without its sums, which stay in registers but for once a call.
func (r *Recorder) trail(p *tile.Trail) {
	elements, heads := int64(p.M)*int64(p.N), int64(p.Heads)
	op := Op{Name: "trail", M: p.M, N: p.N, Group: p.Heads, Elements: elements * (2 + heads), Flops: 2 * elements * (1 + heads)}
	op.LoadBytes, op.StoreBytes = 8*elements*(1+heads), 4*elements
	for h := range p.Heads {
		r.touch(&op, "X", p.X, block{0, h * p.HeadX, p.M, p.N, p.LDX}, Read)
		r.touch(&op, "DX", p.DX, block{0, h * p.HeadDX, p.M, p.N, p.LDDX}, Read)
	}
	r.touch(&op, "Y", p.Y, block{0, 0, p.M, p.N, p.LDY}, Read)
	r.touch(&op, "DY", p.DY, block{0, 0, p.M, p.N, p.LDDY}, Read)
	r.touch(&op, "Dst", p.Dst, block{0, 0, p.M, p.N, p.LDD}, stored(p.Stream))
	r.done(op)
}

func (r *Recorder) indices(op *Op, rows []int32) {
	first := uintptr(unsafe.Pointer(&rows[0]))
	bytes := int64(len(rows)) * 4
	for i := range r.buffers {
		if o := &r.buffers[i]; o.ints != nil && first >= o.start && first+uintptr(bytes) <= o.start+uintptr(o.Bytes) {
			r.addTouch(op, Touch{Buffer: i, Offset: int64(first - o.start), Rows: 1, RowBytes: bytes, Stride: bytes, Mode: Read})
		}
	}
}
