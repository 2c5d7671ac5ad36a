package kernels

import (
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// With a decay per key a chunk falls into runs of tokens whose decay tile.Fold can fold: w being the product of the factors after a token up to the run's end,
// a run is a delta rule without decay on the state decayed by the whole run,
//
//	write keys w k,  erase keys k/w,  queries q/w
//
// whose gradients dq', dk' and de' give dq = dq'/w and dk = w dk' + de'/w. R takes the run's decay before it. The decay's gradient is, for each key, the
// running sum from the last token of q dq' + (k/w) de' - (w k) dk', that begins with the key's row of <S, R>.

// deltaKeyWork is what a worker needs besides for decay per key.
type deltaKeyWork struct {
	factors      []float32 // of a chunk's tokens and keys
	from         int       // the chunk's token that a run begins with
	w, inverse   []float32 // of a run: w and 1/w
	decay        []float32 // of a run, each key's
	sum          []float64 // of the decay's gradient
	state        []float32 // before a run, decayed
	inner        []float32 // states before the runs of a chunk after the first
	runs         []keyRun
	single       []bool // of each chunk, whether the forward sweep took its tokens one at a time
	ones         []float32
	large, scrap []float32 // see large
	fold         tile.Fold
	trail        tile.Trail
	scaling      rowWork
}

func newDeltaKeyWork(n int, s tile.Shape) deltaKeyWork {
	return deltaKeyWork{
		factors: aligned(n * s.Dk), w: aligned(n * s.Dk), inverse: aligned(n * s.Dk), decay: aligned(s.Dk),
		sum: make([]float64, roundUp(s.Dk, tile.TrailLanes)), state: aligned(s.Dk * s.Dv), inner: make([]float32, 0, n*s.Dk*s.Dv), runs: make([]keyRun, 0, n), single: make([]bool, (s.T+n-1)/n),
		ones: slices.Repeat([]float32{1}, s.Dk), large: slices.Repeat([]float32{largeFactor}, n), scrap: aligned(s.Dk),
	}
}

// runs cuts a chunk of n tokens from token t into runs, and keeps its factors. Keys and queries that may overflow when they are divided
// by w go one token at a time, where w is 1, which the forward sweep finds out.
func (a *deltaBackward) runs(w *deltaBackwardWork, u, t, n int, forward bool) []keyRun {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	k := &w.key
	decay, ld := a.rows(a.decay, u, t, s.Hkv, h, s.Dk)
	expRows(a.prim, &w.exp, &w.pack, k.factors, decay, ld, n, s.Dk)
	single := &k.single[t/a.chunk]
	if forward {
		*single = a.largeKeys(w, u, t, n)
	}
	k.runs = k.runs[:0]
	a.cutRuns(w, keyRun{0, n}, *single)
	return k.runs
}

// largeKeys says whether n tokens from token t have keys that erase, or queries, that may overflow when they are divided by w.
func (a *deltaBackward) largeKeys(w *deltaBackwardWork, u, t, n int) bool {
	s, k, h := a.problem.Shape, &w.key, u%a.problem.Shape.Hkv
	key, ldk := a.eraseRows(u, t)
	first, _ := a.queryHeads(h)
	query, ldq := a.rows(a.query, u, t, s.Hq, first, s.Dk)
	large := largeRows(a.prim, &w.pack, k.large, k.scrap, operand{key, ldk}, n, s.Dk)
	for g := range a.group {
		large = large || largeRows(a.prim, &w.pack, k.large, k.scrap, operand{query[g*s.Dk:], ldq}, n, s.Dk)
	}
	return large
}

// cutRuns adds a run, in halves if its decay cannot be folded.
func (a *deltaBackward) cutRuns(w *deltaBackwardWork, r keyRun, single bool) {
	if n := r.hi - r.lo; n > 1 && (single || !a.foldRun(w, r)) {
		first, second := r.halves()
		a.cutRuns(w, first, single)
		a.cutRuns(w, second, single)
		return
	}
	w.key.runs = append(w.key.runs, r)
}

// foldRun finds w, 1/w and the decay of a run, and says whether they are of use.
func (a *deltaBackward) foldRun(w *deltaBackwardWork, r keyRun) bool {
	k, dk := &w.key, a.problem.Shape.Dk
	// Folded keys and queries of ones.
	k.fold = tile.Fold{
		G: k.factors[r.lo*dk:], LDG: dk, K: k.ones, Q: k.ones, KOut: k.w, QOut: k.inverse, LDKOut: dk, LDQOut: dk, D: k.decay,
		M: r.hi - r.lo, N: dk, Heads: 1,
	}
	a.prim.Fold(&k.fold)
	return !k.fold.Unsafe
}

// foldKeys folds the decay of a run of n tokens, which begins at the worker's place in its chunk, into its write and erase keys.
func (a *deltaBackward) foldKeys(w *deltaBackwardWork, n int) {
	k, size := &w.key, n*a.problem.Shape.Dk
	a.foldRun(w, keyRun{k.from, k.from + n})
	a.times(w, w.write[:size], k.w)
	a.times(w, w.k[:size], k.inverse)
}

// times multiplies x by y, number by number.
func (a *deltaBackward) times(w *deltaBackwardWork, x, y []float32) {
	w.key.scaling.apply(a.prim, tile.MapTimes, operand{x, len(x)}, operand{y, len(x)}, 1, len(x))
}

// scaleKeys sets a state to another, which may be the same, after a run's decay.
func (a *deltaBackward) scaleKeys(w *deltaBackwardWork, dst, src []float32) {
	s := a.problem.Shape
	a.copyRows(w, dst, s.Dv, src, s.Dv, w.key.decay, s.Dk, s.Dv)
}

// runStates makes the states before the runs of a chunk from token t, from Z, which the forward sweep has left. There are several only
// where decay is strong.
func (a *deltaBackward) runStates(w *deltaBackwardWork, u, t int, runs []keyRun) {
	s := a.problem.Shape
	state := a.state(w, t)
	for i, r := range runs[:len(runs)-1] {
		n, after := r.hi-r.lo, a.runState(w, t, i+1)
		w.key.from = r.lo
		a.chunkRows(w, u, t+r.lo, n)
		a.scaleKeys(w, after, state)
		a.copyRows(w, w.u, s.Dv, w.z[(t+r.lo)*s.Dv:], s.Dv, w.beta[t+r.lo:], n, s.Dv)
		w.multiply(operand{after, s.Dv}, operand{w.write, s.Dk}, operand{w.u, s.Dv}, s.Dk, s.Dv, n).Beta = 1
		w.full(a.tn, true)
		state = after
	}
}

// runState is the state before run i of a chunk from token t.
func (a *deltaBackward) runState(w *deltaBackwardWork, t, i int) []float32 {
	if i == 0 {
		return a.state(w, t)
	}
	size := a.problem.Shape.Dk * a.problem.Shape.Dv
	return w.key.inner[(i-1)*size : i*size]
}

// endKeys begins the sums of the decay's gradient with <S, R> after the last token, R being its gradient that the caller gave.
func (a *deltaBackward) endKeys(w *deltaBackwardWork, u int) {
	s := a.problem.Shape
	_, tokens := a.span(u / s.Hkv)
	if a.gradDecay == nil || tokens == 0 || a.problem.Decay != tile.DecayKey {
		return
	}
	last := a.state(w, tokens)
	for k := range s.Dk {
		w.key.sum[k] = dot(last[k*s.Dv:][:s.Dv], w.r[k*s.Dv:])
	}
}

// unfold takes the decay's gradient of a run of n tokens from token t, makes the gradients of its queries and keys of those of the folded ones, and hands those
// of the queries to the caller.
func (a *deltaBackward) unfold(w *deltaBackwardWork, u, t, n int) {
	s, k, h := a.problem.Shape, &w.key, u%a.problem.Shape.Hkv
	size := n * s.Dk
	if a.gradDecay != nil {
		to, ld := a.rows(a.gradDecay, u, t, s.Hkv, h, s.Dk)
		k.trail = tile.Trail{ // the keys that erase, which lie after the queries, count as another head of these
			X: w.rows, LDX: s.Dk, HeadX: size, DX: w.gradQ, LDDX: s.Dk, HeadDX: size, Y: w.write, LDY: s.Dk, DY: w.gradK, LDDY: s.Dk,
			Dst: to, LDD: ld, Sum: k.sum, M: n, N: s.Dk, Heads: a.group + 1, Stream: true,
		}
		a.prim.Trail(&k.trail)
	}
	a.times(w, w.gradK[:size], k.w)
	for g := range a.group + 1 {
		a.times(w, w.gradQ[g*size:][:size], k.inverse)
	}
	for g := range a.group {
		a.storeQuery(w, u, t, n, g, w.gradQ[g*size:])
	}
}
