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
	var found []match
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

func (p *Profile) nearest(problem tile.Problem, isa tile.ISA, fresh func(string, tile.ISA) string) (match, bool) {
	isStale := func(e *Entry) bool { return fresh != nil && fresh(e.Problem.Op, e.ISA) != e.SourceHash }
	if i, ok := p.exact[key{problem, isa, false}]; ok && !isStale(&p.Entries[i]) {
		return match{&p.Entries[i], 0, false, p.Entries[i].MedianNs}, true
	}
	var best match
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.ISA != isa {
			continue
		}
		d := Distance(problem, e.Problem)
		if math.IsInf(d, 1) {
			continue
		}
		if e.Cold {
			d += penaltyCold
		}
		m := match{e, d, isStale(e), e.MedianNs * work(problem) / work(e.Problem)}
		if best.entry == nil || (!m.stale && best.stale) || (m.stale == best.stale && m.distance < best.distance) {
			best = m
		}
	}
	return best, best.entry != nil
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
	if a.Op != b.Op || a.DType != b.DType || a.StateDType != b.StateDType || a.Precision != b.Precision || a.Dir != b.Dir || a.Full != b.Full {
		return math.Inf(1)
	}
	d := weightThreads * octaves(a.Threads, b.Threads)
	x, y := a.Shape, b.Shape
	if a.Op == tile.HashLayer {
		if (x.N == 1) != (y.N == 1) {
			d += penaltyDecode
		}
		if a.Weighting != b.Weighting {
			d += penaltyWeighting
		}
		return d + weightWidth*(octaves(x.D, y.D)+octaves(x.H, y.H)+octaves(x.Tau, y.Tau)) + weightLength*octaves(x.N, y.N)
	}
	if a.Rule != b.Rule {
		d += penaltyRule
	}
	if a.Decay != b.Decay {
		d += penaltyDecay
	}
	if a.Normalize != b.Normalize {
		d += penaltyOption
	}
	if a.FeatureMap != b.FeatureMap {
		d += penaltyOption
	}
	if a.Front != b.Front {
		d += penaltyOption
	}
	if (x.T == 1) != (y.T == 1) {
		d += penaltyDecode
	}
	return d + weightWidth*(octaves(x.Dk, y.Dk)+octaves(x.Dv, y.Dv)) +
		weightLength*octaves(x.T, y.T) +
		weightHeads*octaves(x.B*x.Hkv, y.B*y.Hkv) +
		weightGroup*math.Abs(math.Log2(ratio(x.Hq, x.Hkv)/ratio(y.Hq, y.Hkv)))
}

// octaves is the distance of two extents in doublings; an absent extent counts as 1.
func octaves(a, b int) float64 { return math.Abs(math.Log2(ratio(a, b))) }

func ratio(a, b int) float64 { return float64(max(a, 1)) / float64(max(b, 1)) }

// work is what a problem's time grows with, to scale a neighbour's time.
func work(p tile.Problem) float64 {
	s := p.Shape
	product := 1.0
	for _, n := range []int{s.B, s.T, max(s.Hq, s.Hkv), s.Dk, s.Dv, s.N, s.D, s.H} {
		product *= float64(max(n, 1))
	}
	return product / (float64(max(s.Tau, 1)) * float64(max(p.Threads, 1)))
}
