package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// segmented is a call of linear-attention that shares out the tokens too, where one batch item has fewer heads and panels than the call has workers.
// The tokens fall into segments, which one form of the op walks as if they were packed sequences, once it is known what state each begins with. That takes a
// pass of its own over all segments but the last: with w_t the product of the decays after token t up to a range's end,
//
//	sum = sum over t of w_t k_t v_tᵀ,  decay = product of all decays
//
// of ranges of tokens that are shared out evenly, and then, range by range, state = decay state + sum. The pass costs the update of the state once more,
// which is half the work where each state has one query: four workers do a head of one panel 2.9 times as fast as one by count. The delta rules have
// none, since what a range does to a state of theirs is a matrix.
type segmented struct {
	walker
	attentionArgs
	prim              *tile.Primitives
	tn                func(*tile.Product)
	inner             tile.Shape // that the form walks: a batch of segments
	segments, ranges  int        // ranges of a segment
	length            int        // of a range in tokens
	factor            []float32  // exp(headDecay)
	offsets           []int      // of the segments
	states            []float32  // before each segment, then after it
	sums, decays      []float32  // of each range and head: dk x dv, dk
	work              []*segmentWork
	summing, scanning phase
	earlier           []parallel // these
}

// segmentWork is one worker's scratch, kept between calls.
type segmentWork struct {
	k, v, folded []float32 // of a chunk
	g, weights   []float32
	d            []float32 // decay per key of a run
	rows         rowWork
	mapping      mapping
	product      tile.Product
	pack         tile.Pack
	fold         tile.Fold
	exp          tile.Exp
}

const (
	segmentTokens = 256 // at least, so that a worker's sums are little beside its tokens
	segmentChunk  = 128 // tokens of a product
	mostRanges    = 8   // of a segment
)

// segmentCount is into how many segments a forward call's tokens are cut, 1 for none.
func segmentCount(p tile.Problem, cfg tile.Config) int {
	s := p.Shape
	if p.Op != tile.LinearAttention || !hasForms(p) || s.B != 1 || p.DType != tile.Float32 || p.StateDType != "" || p.Normalize {
		return 1
	}
	panels := max(1, s.Dv/max(1, cfg["nr"]))
	if cfg["form"] == formRecurrence {
		panels = (s.Dv + cfg["cols"] - 1) / cfg["cols"]
	}
	threads := worthwhile(p.Threads, float64(s.T)*tokenFlops(s)/minWorkerFlops)
	return max(1, min(threads/(s.Hkv*panels), s.T/segmentTokens))
}

// newSegmented makes the call of a config's form that walks segments of a problem's tokens.
func newSegmented(p tile.Problem, prim *tile.Primitives, cfg tile.Config, segments int) *segmented {
	s := p.Shape
	inner := p
	inner.Shape.B, inner.Shape.T = segments, (s.T+segments-1)/segments
	a := &segmented{
		walker: newAttentionDriver(inner, prim, cfg).(walker), prim: prim, segments: segments, tn: widthTile(prim.TN, s.Dv), factor: make([]float32, s.Hkv),
		offsets: make([]int, segments+1), states: aligned(segments * s.Hkv * s.Dk * s.Dv),
	}
	a.problem, a.inner = p, inner.Shape
	heads := (segments - 1) * s.Hkv
	workers := worthwhile(p.Threads, float64(s.T)*tokenFlops(s)/2/minWorkerFlops)
	a.ranges = evenSplit(heads, workers, mostRanges)
	a.sums, a.decays = aligned(heads*a.ranges*s.Dk*s.Dv), aligned(heads*a.ranges*s.Dk)
	for range min(workers, heads*a.ranges) {
		w := &segmentWork{
			k: aligned(segmentChunk * s.Dk), v: aligned(segmentChunk * s.Dv), g: aligned(segmentChunk), weights: aligned(segmentChunk),
		}
		if p.Decay == tile.DecayKey {
			w.g, w.folded, w.d = aligned(segmentChunk*s.Dk), aligned(segmentChunk*s.Dk), aligned(s.Dk)
		}
		a.work = append(a.work, w)
	}
	a.summing, a.scanning = phase{len(a.work), a.sumRanges}, phase{min(len(a.work), s.Dk), a.scan}
	a.earlier = []parallel{&a.summing, &a.scanning}
	return a
}

// widthTile is the first product that fills up a number of columns least.
func widthTile(ks []tile.ProductKernel, columns int) func(*tile.Product) {
	best := ks[0]
	for _, k := range ks[1:] {
		if roundUp(columns, k.NR) < roundUp(columns, best.NR) {
			best = k
		}
	}
	return best.Run
}

// set points the call at checked arguments of its problem.
func (a *segmented) set(args attentionArgs) {
	a.attentionArgs = args
	args.fixedFactors(a.factor)
	_, tokens := a.span(0)
	a.length = (tokens + a.segments*a.ranges - 1) / (a.segments * a.ranges)
	inner := args
	inner.problem.Shape.B, inner.problem.Shape.T = a.segments, a.length*a.ranges
	for g := range a.offsets {
		a.offsets[g] = min(g*a.ranges*a.length, tokens)
	}
	inner.offsets, inner.past, inner.state = a.offsets, a.states, a.states
	a.walker.set(inner)
}

// args are the caller's arguments.
func (a *segmented) args() attentionArgs { return a.attentionArgs }

// release drops the caller's arrays.
func (a *segmented) release() {
	a.walker.release()
	a.attentionArgs = attentionArgs{problem: a.problem}
	for _, w := range a.work {
		w.product, w.pack, w.fold, w.exp, w.mapping = tile.Product{}, tile.Pack{}, tile.Fold{}, tile.Exp{}, mapping{}
		w.rows.release()
	}
}

// before finds the state that each segment begins with.
func (a *segmented) before() []parallel { return a.earlier }

// finish hands the last segment's state to the caller.
func (a *segmented) finish() {
	if a.state != nil {
		copy(a.state, a.states[len(a.states)-len(a.state):])
	}
}

// moreWork is how much more work a call does than its form's walk: an update of each state for its read and update by a group of queries.
func (a *segmented) moreWork() float64 {
	s := a.problem.Shape
	return float64(a.segments-1) / float64(a.segments) / float64(1+max(1, s.Hq/s.Hkv))
}

// sumRanges finds the sums of one worker's share of the ranges of all heads.
func (a *segmented) sumRanges(i int) {
	heads := a.problem.Shape.Hkv
	units := (a.segments - 1) * a.ranges * heads
	for u := i * units / len(a.work); u < (i+1)*units/len(a.work); u++ {
		a.sum(a.work[i], u, u%heads, u/heads)
	}
}

// sum finds the sum and the decay of range f of head h, which are those with number u.
func (a *segmented) sum(w *segmentWork, u, h, f int) {
	s := a.problem.Shape
	first, tokens := a.span(0)
	lo, hi := min(tokens, f*a.length), min(tokens, (f+1)*a.length)
	sum, decay := a.sums[u*s.Dk*s.Dv:][:s.Dk*s.Dv], a.decays[u*s.Dk:][:s.Dk]
	clear(sum)
	for k := range decay {
		decay[k] = 1
	}
	if a.scalarDecay() {
		a.sumDecayed(w, h, first+lo, first+hi, sum, decay)
		return
	}
	for t := lo; t < hi; t += segmentChunk {
		n := min(segmentChunk, hi-t)
		key := a.chunk(w, h, first+t, n, nil)
		if a.problem.Decay == tile.DecayKey {
			a.fold(w, key, keyRun{0, n}, sum, decay)
		} else {
			a.add(w, sum, key, operand{w.v, s.Dv}, n)
		}
	}
}

// chunk copies the values of a chunk of tokens from a row on, scaled by weights if there are any, and gives its keys, or their features.
func (a *segmented) chunk(w *segmentWork, h, row, n int, weights []float32) operand {
	s := a.problem.Shape
	copyRows(a.prim, &w.pack, w.v, s.Dv, a.value[(row*s.Hkv+h)*s.Dv:], s.Hkv*s.Dv, weights, n, s.Dv)
	if a.problem.Decay == tile.DecayKey {
		expRows(a.prim, &w.exp, &w.pack, w.g, a.decay[(row*s.Hkv+h)*s.Dk:], s.Hkv*s.Dk, n, s.Dk)
	}
	keys := operand{a.key[(row*a.keyHeads+a.keyHead(h))*s.Dk:], a.keyHeads * s.Dk}
	switch {
	case a.featureMap != tile.MapNone:
		mapRows(a.prim, a.featureMap, a.mapEps, &w.mapping, w.k, s.Dk, keys.rows, keys.ld, n, s.Dk)
	case a.keyHeads == 1: // they lie side by side as they are
		return keys
	default:
		copyRows(a.prim, &w.pack, w.k, s.Dk, keys.rows, keys.ld, nil, n, s.Dk)
	}
	return operand{w.k, s.Dk}
}

// add adds the products of n keys and values to a sum.
func (a *segmented) add(w *segmentWork, sum []float32, key, value operand, n int) {
	s := a.problem.Shape
	rows := max(1, maxCallFlops/(2*n*s.Dv))
	for i := 0; i < s.Dk; i += rows {
		w.product = tile.Product{A: key.rows[i:], B: value.rows, C: sum[i*s.Dv:], LDA: key.ld, LDB: value.ld, LDC: s.Dv, M: min(rows, s.Dk-i), N: s.Dv, K: n, Beta: 1}
		a.tn(&w.product)
	}
}

// sumDecayed finds a range's sum and decay from the last chunk to the first, values being scaled by the decay that follows them. A product that vanishes or
// overflows though none of its factors does counts as the least or the largest number, so that what is infinite stays so and 0 stays 0.
func (a *segmented) sumDecayed(w *segmentWork, h, lo, hi int, sum, decay []float32) {
	s := a.problem.Shape
	after, finite := 1.0, true
	for t := hi; t > lo && finite; {
		n := min(segmentChunk, t-lo)
		t -= n
		a.decayFactors(a.prim, &w.exp, w.g, a.factor, t, h, n)
		for i := n - 1; i >= 0; i-- {
			w.weights[i] = weight(after)
			finite = finite && w.weights[i] < math.MaxFloat32
			after = decayed(after, w.g[i])
		}
		a.add(w, sum, a.chunk(w, h, t, n, w.weights), operand{w.v, s.Dv}, n)
	}
	if !finite {
		after = a.walkTokens(w, h, lo, hi, sum)
	}
	for k := range decay {
		decay[k] = weight(after)
	}
}

// decayed is a product of decays with one more.
func decayed(product float64, factor float32) float64 {
	switch next := product * float64(factor); {
	case next == 0 && product != 0 && factor != 0:
		return math.SmallestNonzeroFloat64
	case math.IsInf(next, 1) && !math.IsInf(product, 1) && !math.IsInf(float64(factor), 1):
		return math.MaxFloat64
	default:
		return next
	}
}

// weight is a product of decays in float32.
func weight(product float64) float32 {
	const leastNormal = 0x1p-126
	if product == 0 || math.IsInf(product, 1) || math.IsNaN(product) {
		return float32(product)
	}
	return float32(min(max(product, leastNormal), math.MaxFloat32))
}

// walkTokens finds a range's sum token by token, for growth that overflows, and gives its decay.
func (a *segmented) walkTokens(w *segmentWork, h, lo, hi int, sum []float32) float64 {
	s := a.problem.Shape
	clear(sum)
	product := 1.0
	for t := lo; t < hi; t++ {
		a.decayFactors(a.prim, &w.exp, w.g, a.factor, t, h, 1)
		key := a.chunk(w, h, t, 1, nil)
		for i := range sum {
			sum[i] *= w.g[0]
		}
		a.add(w, sum, key, operand{w.v, s.Dv}, 1)
		product = decayed(product, w.g[0])
	}
	return product
}

// fold adds a run of a chunk with decay per key to a range's sum and decay, in halves if its decay does not fold.
func (a *segmented) fold(w *segmentWork, key operand, r keyRun, sum, decay []float32) {
	s, n := a.problem.Shape, r.hi-r.lo
	w.fold = tile.Fold{
		G: w.g[r.lo*s.Dk:], K: key.from(r.lo), Q: w.k, KOut: w.folded, D: w.d, LDG: s.Dk, LDK: key.ld, LDKOut: s.Dk, M: n, N: s.Dk,
	}
	a.prim.Fold(&w.fold)
	if w.fold.Unsafe && n > 1 {
		first, second := r.halves()
		a.fold(w, key, first, sum, decay)
		a.fold(w, key, second, sum, decay)
		return
	}
	copyRows(a.prim, &w.pack, sum, s.Dv, sum, s.Dv, w.d, s.Dk, s.Dv)
	a.add(w, sum, operand{w.folded, s.Dk}, operand{w.v[r.lo*s.Dv:], s.Dv}, n)
	for k, d := range w.d {
		decay[k] = weight(decayed(float64(decay[k]), d))
	}
}

// scan carries one worker's share of each head's rows of the state from range to range.
func (a *segmented) scan(i int) {
	s, parts := a.problem.Shape, a.scanning.n
	k, end := i*s.Dk/parts, (i+1)*s.Dk/parts
	w, n, size := a.work[i], end-k, s.Dk*s.Dv
	for h := range s.Hkv {
		at := h*size + k*s.Dv
		state := operand{a.states[at:], s.Dv}
		if a.past == nil {
			clear(state.rows[:n*s.Dv])
		} else {
			copy(state.rows[:n*s.Dv], a.past[at:])
		}
		for f := range (a.segments - 1) * a.ranges {
			u := f*s.Hkv + h
			sum, decay := operand{a.sums[u*size+k*s.Dv:], s.Dv}, a.decays[u*s.Dk+k:][:n]
			if f%a.ranges > 0 {
				w.rows.add(a.prim, state, decay, sum, nil, n, s.Dv)
				continue
			}
			next := operand{a.states[(f/a.ranges+1)*s.Hkv*size+at:], s.Dv}
			copyRows(a.prim, &w.pack, next.rows, s.Dv, sum.rows, s.Dv, nil, n, s.Dv)
			w.rows.add(a.prim, next, nil, state, decay, n, s.Dv)
			state = next
		}
	}
}
