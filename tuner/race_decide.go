package tuner

import (
	"cmp"
	"math"
	"slices"

	"github.com/rooftune/rooftune/internal/profile"
)

// difference estimates by how much x is slower than y, as a logarithm, block by block.
func difference(x, y *contender) estimate {
	d := make([]float64, len(x.blocks))
	for i := range d {
		d[i] = math.Log(x.blocks[i] / y.blocks[i])
	}
	return trimmed(d)
}

// fastest is the contender with the lowest robust mean.
func fastest(field []*contender) *contender {
	at := func(x *contender) float64 {
		logs := make([]float64, len(x.blocks))
		for i, ns := range x.blocks {
			logs[i] = math.Log(ns)
		}
		return trimmed(logs).mean
	}
	return slices.MinFunc(field, func(a, b *contender) int { return cmp.Compare(at(a), at(b)) })
}

// detectable is the smallest relative difference from the best that the blocks can show, for the noisiest pair; for a
// lone contender, from another one as steady as itself.
func detectable(field []*contender) float64 {
	best := fastest(field)
	worst := 0.0
	for _, x := range field {
		if x != best {
			worst = max(worst, difference(x, best).detectable())
		}
	}
	if len(field) == 1 {
		logs := make([]float64, len(best.blocks))
		for i, ns := range best.blocks {
			logs[i] = math.Sqrt2 * math.Log(ns)
		}
		worst = trimmed(logs).detectable()
	}
	return worst
}

// decide names the winner by a fixed rule, so that runs agree. The tie set is who is not proven to be slower than the best by tieWithin.
// The incumbent (the default, or the profile's answer) wins if it is one of them: noise alone moves nothing. Else it is the first in
// enumeration order of those whose mean is within pickWithin of the best. And a profile's answer stays unless the gain over it is proven to
// be above provenGain.
func (r *race) decide(field []*contender) (*profile.Entry, string) {
	best := fastest(field)
	var others []*contender
	var p []float64
	for _, x := range field {
		if x != best {
			others = append(others, x)
			p = append(p, difference(x, best).greater(math.Log1p(tieWithin)))
		}
	}
	tied := []*contender{best}
	for i, slower := range holm(p, level) {
		if !slower {
			tied = append(tied, others[i])
		}
	}
	slices.SortFunc(tied, func(a, b *contender) int { return cmp.Compare(a.index, b.index) })
	near := func(x *contender) bool { return x == best || difference(x, best).mean <= math.Log1p(pickWithin) }
	winner := best
	for _, x := range slices.Backward(tied) {
		if near(x) {
			winner = x
		}
	}
	if slices.Contains(tied, r.incumbent) {
		winner = r.incumbent
	}
	source := SourceMeasured
	if r.held && winner != r.incumbent && difference(r.incumbent, winner).greater(math.Log1p(provenGain)) > level {
		winner = r.incumbent
	}
	if r.held && winner == r.incumbent {
		source = SourceKept
	}
	measured := 0
	for _, x := range r.all {
		if x.verdict == verdictOK || x.verdict == verdictSlow {
			measured++
		}
	}
	e := &profile.Entry{
		Problem: r.problem, ISA: r.isa, Config: winner.config, SourceHash: r.hash,
		MedianNs: median(winner.blocks), MinNs: slices.Min(winner.blocks), MaxNs: slices.Max(winner.blocks), Samples: len(winner.blocks),
		RoofNs: r.roof.Ns, BoundBy: r.roof.BoundBy, MaxError: winner.maxError, ErrorBound: winner.bound,
		DetectableEffect: detectable(field), ChangesBits: r.held && winner != r.incumbent && winner.maxError != r.incumbent.maxError, Candidates: measured, Cold: r.o.Cold,
	}
	if math.IsInf(winner.prediction.Ns, 1) { // its turn to be simulated had not come
		r.predict(winner)
	}
	if !math.IsInf(winner.prediction.Ns, 1) {
		e.SimulatedNs = winner.prediction.Ns
	}
	for _, x := range tied {
		if x != winner {
			e.TieSet = append(e.TieSet, x.config)
		}
	}
	return e, source
}
