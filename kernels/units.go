package kernels

import (
	"math"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// tokenFlops are the useful flops of a token of an attention op's forward pass without the delta rules' own, as far as they decide
// how many workers a call is worth.
func tokenFlops(s tile.Shape) float64 {
	return 2 * float64(max(s.Hq, s.Hkv)+s.Hkv) * float64(s.Dk) * float64(s.Dv)
}

// planUnits cuts an attention problem into units: a state head each, or one of split parts of a head, at most some number, where whole heads would
// leave some of the workers that the work is worth without as much to do as others.
func planUnits(p tile.Problem, flopsPerToken float64, most int) (split, units, workers int) {
	s := p.Shape
	heads := s.B * s.Hkv
	threads := worthwhile(p.Threads, float64(s.B)*float64(s.T)*flopsPerToken/minWorkerFlops)
	split = 1
	if heads < threads || s.T > decodeTokens { // a few tokens walk the states of many heads together
		split = evenSplit(heads, threads, most)
	}
	units = heads * split
	return split, units, max(1, min(threads, units))
}

// evenSplit is into how many parts heads are cut for threads: into the fewest that no more parts beat by a tenth, since both parts of a head read its
// queries and keys.
func evenSplit(heads, threads, most int) int {
	busiest := func(split int) float64 { return float64((heads*split+threads-1)/threads) / float64(split) } // in heads
	best := 1
	for split := 2; split <= most; split++ {
		if busiest(split) < 0.9*busiest(best) {
			best = split
		}
	}
	return best
}

// columnUnit gives the state head and the range of value columns of unit u, each head's columns being cut in split units. They are cut at whole
// cache lines, so that two workers never write one line.
func columnUnit(s tile.Shape, split, u int) (head, j0, j1 int) {
	const per = cacheLine / 4
	head, part := u/split, u%split
	lines := (s.Dv + per - 1) / per
	return head, min(s.Dv, part*lines/split*per), min(s.Dv, (part+1)*lines/split*per)
}

// eachItem calls walk with the units of one of some workers, those of one batch item at a time, since they share their rows of memory. Each
// batch item has perItem units.
func (s *sequences) eachItem(worker, workers, batch, perItem int, walk func(first, last int)) {
	first, last := s.shareOf(worker, workers, batch*perItem, perItem)
	for first < last {
		end := min(last, (first/perItem+1)*perItem)
		walk(first, end)
		first = end
	}
}

// eachStep calls step with each chunk of n tokens from token t of each unit of a batch item, chunk by chunk or head by head.
func (s *sequences) eachStep(b, first, last, chunk int, headOuter bool, step func(u, t, n int)) {
	together := last - first // units that take a chunk in turn
	if headOuter {
		together = 1
	}
	_, tokens := s.span(b)
	for ; first < last; first += together {
		for t := 0; t < tokens; {
			n := s.cut(b, t, chunk)
			for u := first; u < first+together; u++ {
				step(u, t, n)
			}
			t += n
		}
	}
}

// stateOr is the caller's present state, or room for it that a call keeps for callers who want none.
func stateOr(state []float32, scratch *[]float32, s tile.Shape) []float32 {
	if state != nil {
		return state
	}
	if n := s.B * s.Hkv * s.Dk * s.Dv; len(*scratch) < n { // packed sequences may be more than at an earlier call
		*scratch = aligned(n)
	}
	return *scratch
}

// copyRows copies n rows of some width, scaled by rows if row is given, in calls that are short enough, and says whether all were
// finite.
func copyRows(prim *tile.Primitives, pack *tile.Pack, dst []float32, ldd int, src []float32, lds int, row []float32, n, width int) bool {
	return packRows(prim, pack, tile.Pack{Src: src, Dst: dst, Row: row, LDS: lds, LDD: ldd, M: n, N: width})
}

// alignedRows says whether rows begin with a cache line, as what is stored past the caches must.
func alignedRows(rows []float32, ld int) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(rows)))%cacheLine == 0 && ld%(cacheLine/4) == 0
}

// streamRows copies n rows of a result that is not read again soon, past the caches.
func streamRows(prim *tile.Primitives, pack *tile.Pack, dst []float32, ldd int, src []float32, lds, n, width int) {
	packRows(prim, pack, tile.Pack{Src: src, Dst: dst, LDS: lds, LDD: ldd, M: n, N: width, Stream: true})
}

// packRows is a scaled copy in calls that are short enough, and says whether all of it is finite.
func packRows(prim *tile.Primitives, pack *tile.Pack, p tile.Pack) bool {
	finite := true
	rows := max(1, maxCallFlops/4/max(1, p.N))
	for i := 0; i < p.M; i += rows {
		*pack = p
		pack.Src, pack.Dst, pack.Row, pack.M = p.Src[i*p.LDS:], p.Dst[i*p.LDD:], part(p.Row, i), min(rows, p.M-i)
		prim.Pack(pack)
		finite = finite && !pack.NonFinite
	}
	return finite
}

// transpose sets dst to n rows of some width as columns, scaled by rows if row is given, in calls that are short enough.
func transpose(prim *tile.Primitives, call *tile.Turn, dst []float32, ldd int, src []float32, lds int, row []float32, n, width int) {
	rows := max(1, maxCallFlops/4/max(1, width))
	for i := 0; i < n; i += rows {
		*call = tile.Turn{Src: src[i*lds:], Dst: dst[i:], LDS: lds, LDD: ldd, M: min(rows, n-i), N: width, Row: part(row, i)}
		prim.Turn(call)
	}
}

// fixedFactors sets each state head's decay factor where decays are fixed.
func (a *attentionArgs) fixedFactors(factor []float32) {
	for h, g := range a.headDecay {
		factor[h] = float32(math.Exp(float64(g)))
	}
}

// scalarDecay says whether each token has one decay a state head.
func (a *attentionArgs) scalarDecay() bool {
	return a.problem.Decay == tile.DecayFixed || a.problem.Decay == tile.DecayHead
}

// decayFactors sets g to the decay factors of state head h over n tokens from a row of the decays on, where there is one decay a head; factor
// are the fixed ones.
func (a *attentionArgs) decayFactors(prim *tile.Primitives, exp *tile.Exp, g, factor []float32, row, h, n int) {
	switch a.problem.Decay {
	case tile.DecayFixed:
		for i := range n {
			g[i] = factor[h]
		}
	case tile.DecayHead:
		heads := a.problem.Shape.Hkv
		*exp = tile.Exp{Src: a.decay[row*heads+h:], Dst: g, Stride: heads, N: n, Scale: 1}
		prim.Exp(exp)
	}
}

// productTiles are the products on a config's register tiles.
func productTiles(prim *tile.Primitives, cfg tile.Config) (nn, nt, tn func(*tile.Product)) {
	run := func(ks []tile.ProductKernel, mr, nr string) func(*tile.Product) {
		k, _ := tile.Find(ks, cfg[mr], cfg[nr])
		return k.Run
	}
	return run(prim.NN, "mr", "nr"), run(prim.NT, "nt_mr", "nt_nr"), run(prim.TN, "mr", "nr")
}

// lastChunk is the first token of the last chunk, negative without tokens.
func lastChunk(tokens, chunk int) int { return (tokens+chunk-1)/chunk*chunk - chunk }
