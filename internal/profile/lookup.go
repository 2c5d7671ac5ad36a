package profile

import (
	"cmp"
	"math"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// staleLimit is how much slower a fresh answer of one ISA may be than a stale
// answer of another and still be preferred. The wider instruction sets gain up to
// twice; portable Go is tens of times slower, and no stale config costs that.
const staleLimit = 3

// Lookup returns the answer for a problem: the exact one, or the nearest
// neighbour's by Distance. Only the given ISAs are looked at. fresh gives the hash of
// today's kernel sources of an op and ISA; an answer with another hash is stale
// (a nil fresh takes all as fresh).
//
// Of one ISA a fresh answer ranks above a stale one, then the nearer above the farther. Between
// ISAs the same holds, and at the same distance the faster wins; a fresh answer
// that would take more than three times as long as another ISA's stale one ranks below it.
//
// best is nil, and distance +Inf, if nothing compares. best points into the profile and is not to be changed.
func (p *Profile) Lookup(problem tile.Problem, isas []tile.ISA, fresh func(op string, isa tile.ISA) string) (best *Entry, distance float64, stale bool) {
	distance = math.Inf(1)
	if p.comparable == nil { // not parsed: its entries may still change
		q := *p
		q.index()
		return q.Lookup(problem, isas, fresh)
	}
	var room [8]match
	found := room[:0]
	for _, isa := range isas {
		if m, ok := p.nearest(problem, isa, fresh); ok {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, distance, false
	}
	won := slices.MinFunc(found, func(a, b match) int {
		if a.stale != b.stale {
			slow := (a.ns > staleLimit*b.ns && b.stale) || (b.ns > staleLimit*a.ns && a.stale)
			if a.stale != slow {
				return 1
			}
			return -1
		}
		if d := cmp.Compare(a.distance, b.distance); d != 0 {
			return d
		}
		return cmp.Compare(a.ns, b.ns)
	})
	return won.entry, won.distance, won.stale
}

// match is one ISA's best answer to a problem, with its time scaled to the problem's work.
type match struct {
	entry    *Entry
	distance float64
	stale    bool
	ns       float64
}

// nearest is one ISA's best answer. It allocates nothing.
func (p *Profile) nearest(problem tile.Problem, isa tile.ISA, fresh func(string, tile.ISA) string) (match, bool) {
	today := ""
	if fresh != nil {
		today = fresh(problem.Op, isa)
	}
	isStale := func(e *Entry) bool { return fresh != nil && today != e.SourceHash }
	if i, ok := p.exact[key{problem, isa, false}]; ok && !isStale(&p.Entries[i]) {
		return match{&p.Entries[i], 0, false, p.Entries[i].MedianNs}, true
	}
	var best match
	here := placeOf(problem)
	for _, i := range p.comparable[group{kindOf(problem), isa}] {
		e := &p.Entries[i]
		stale := isStale(e)
		if best.entry != nil && stale && !best.stale {
			continue
		}
		d := here.distance(&p.places[i])
		if e.Cold {
			d += penaltyCold
		}
		if best.entry == nil || (!stale && best.stale) || (stale == best.stale && d < best.distance) {
			best = match{e, d, stale, 0}
		}
	}
	if best.entry == nil {
		return best, false
	}
	best.ns = best.entry.MedianNs * work(problem) / work(best.entry.Problem)
	return best, true
}

// kind is what two problems must share to compare at all.
type kind struct {
	op, dtype, stateDType, precision, dir string
	full                                  bool
}

func kindOf(p tile.Problem) kind {
	return kind{p.Op, p.DType, p.StateDType, p.Precision, p.Dir, p.Full}
}

// group is the answers of one ISA that compare.
type group struct {
	kind
	isa tile.ISA
}

// index prepares look-ups.
func (p *Profile) index() {
	p.exact = make(map[key]int, len(p.Entries))
	p.comparable = map[group][]int{}
	p.places = make([]place, len(p.Entries))
	for i := range p.Entries {
		e := &p.Entries[i]
		p.exact[keyOf(e)] = i
		g := group{kindOf(e.Problem), e.ISA}
		p.comparable[g] = append(p.comparable[g], i)
		p.places[i] = placeOf(e.Problem)
	}
}

// Weights of Distance, in units of a doubling. Widths decide what fits in
// registers and in the nearest cache, so they count most; the length only
// decides where operands live.
const (
	weightWidth   = 4
	weightLength  = 0.5
	weightHeads   = 0.25
	weightGroup   = 0.5
	weightThreads = 0.5

	penaltyDecode    = 6 // one token against many: another loop order
	penaltyRule      = 2 // the same op with another rule
	penaltyDecay     = 1
	penaltyWeighting = 0.5
	penaltyOption    = 0.25
	penaltyCold      = 0.1 // an answer for cold caches, where there is none for warm ones
)

// Distance says how little an answer for b is worth to a: 0 for the same
// problem, +Inf if the op, dtype, direction or causality differs. Extents count by the
// logarithm of their ratio.
func Distance(a, b tile.Problem) float64 {
	if a == b {
		return 0
	}
	if kindOf(a) != kindOf(b) {
		return math.Inf(1)
	}
	x, y := placeOf(a), placeOf(b)
	return x.distance(&y)
}

// place is where a problem lies among those of its kind: its extents in octaves, each by its weight, and what has no order.
type place struct {
	axes                                             [6]float64
	single                                           bool // one token
	rule, decay, weighting, featureMap, front, gates string
	normalize                                        bool
}

// octaves is an extent in doublings; an absent one counts as 1.
func octaves(n int) float64 { return math.Log2(float64(max(n, 1))) }

func placeOf(p tile.Problem) place {
	s := p.Shape
	x := place{rule: p.Rule, decay: p.Decay, weighting: p.Weighting, featureMap: p.FeatureMap, front: p.Front, gates: p.Gates, normalize: p.Normalize}
	x.axes[0] = weightThreads * octaves(p.Threads)
	if p.Op == tile.HashLayer {
		x.single = s.N == 1
		x.axes[1], x.axes[2], x.axes[3] = weightWidth*octaves(s.D), weightWidth*octaves(s.H), weightWidth*octaves(s.Tau)
		x.axes[4] = weightLength * octaves(s.N)
		return x
	}
	if p.Op == tile.CausalConv {
		x.single = s.L == 1
		x.axes[1], x.axes[2], x.axes[3] = weightWidth*octaves(s.K), weightLength*octaves(s.L), weightHeads*octaves(s.B*s.C)
		return x
	}
	x.single = s.T == 1
	x.axes[1], x.axes[2] = weightWidth*octaves(s.Dk), weightWidth*octaves(s.Dv)
	x.axes[3] = weightLength * octaves(s.T)
	x.axes[4] = weightHeads * octaves(s.B*s.Hkv)
	x.axes[5] = weightGroup * (octaves(s.Hq) - octaves(s.Hkv))
	return x
}

func (x *place) distance(y *place) float64 {
	d := 0.0
	for i := range x.axes {
		d += math.Abs(x.axes[i] - y.axes[i])
	}
	if x.single != y.single {
		d += penaltyDecode
	}
	if x.rule != y.rule {
		d += penaltyRule
	}
	if x.decay != y.decay {
		d += penaltyDecay
	}
	if x.weighting != y.weighting {
		d += penaltyWeighting
	}
	if x.normalize != y.normalize {
		d += penaltyOption
	}
	if x.featureMap != y.featureMap {
		d += penaltyOption
	}
	if x.front != y.front {
		d += penaltyOption
	}
	if x.gates != y.gates {
		d += penaltyOption
	}
	return d
}

// What neighbours' answers cost: over 452 pairs of problems of eleven runs on an Ice Lake guest, whose journals held both the problem's
// own answer and its neighbour's config, the neighbour's was 4 % slower in the mean, the same in the median, and showed no trend with the
// distance, which went up to 12 (results/icelake-2026-11-25-tuner.md).
const (
	neighbourLoss     = 0.04
	neighbourDistance = 12
)

// ExpectedLoss is how much slower than a problem's own answer that of a neighbour at a distance is, in the mean; false if it is farther
// than anything that was measured.
func ExpectedLoss(distance float64) (loss float64, ok bool) {
	switch {
	case distance <= penaltyCold: // the same problem
		return 0, true
	case distance <= neighbourDistance:
		return neighbourLoss, true
	}
	return 0, false
}

// work is what a problem's time grows with, to scale a neighbour's time.
func work(p tile.Problem) float64 {
	s := p.Shape
	product := 1.0
	for _, n := range []int{s.B, s.T, max(s.Hq, s.Hkv), s.Dk, s.Dv, s.N, s.D, s.H, s.C, s.L, s.K} {
		product *= float64(max(n, 1))
	}
	return product / (float64(max(s.Tau, 1)) * float64(max(p.Threads, 1)))
}
