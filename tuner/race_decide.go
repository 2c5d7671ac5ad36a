package tuner

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/tuner/stats"
)

// blocks are the measurements of a field.
func blocks(field []*contender) stats.Field {
	f := make(stats.Field, len(field))
	for i, x := range field {
		f[i] = x.blocks
	}
	return f
}

// difference estimates by how much x is slower than y, as a logarithm, block by block.
func difference(x, y *contender) stats.Estimate {
	return stats.Field{x.blocks, y.blocks}.Difference(0, 1)
}

// detectable is the smallest relative difference from the best that the field's blocks can show.
func detectable(field []*contender) float64 { return blocks(field).Detectable() }

// decide names the winner by a fixed rule, so that runs agree. The tie set is who is not proven to be slower than the best by tieWithin:
// finalists by their blocks, the others, which the final had no place for, by their times of round one.
// The incumbent (the default, or the profile's answer) wins if it is one of the final's: noise alone moves nothing. Else it is, of those whose
// mean is within pickWithin of the best, the one with the fewest departures from the incumbent, the first of them in enumeration order. And a
// profile's answer stays unless the gain over it is proven to be above provenGain.
func (r *race) decide(field []*contender) (*profile.Entry, string) {
	existing := r.incumbent
	field = slices.SortedStableFunc(slices.Values(field), func(a, b *contender) int {
		return cmp.Or(cmp.Compare(len(r.departures(a)), len(r.departures(b))), cmp.Compare(a.index, b.index))
	})
	f := blocks(field)
	ties := f.Ties(level, tieWithin)
	winner := field[f.Choose(ties, pickWithin, slices.Index(field, r.incumbent))]
	var tied []*contender
	for _, i := range ties {
		tied = append(tied, field[i])
	}
	tied = append(tied, r.tiedEarly(field)...)
	source := SourceMeasured
	if r.held && winner != r.incumbent && difference(r.incumbent, winner).Greater(math.Log1p(provenGain)) > level {
		winner = r.incumbent
	}
	if r.held {
		best := field[f.Fastest()]
		if winner != existing {
			best = winner
		}
		if gain := math.Expm1(difference(existing, best).Mean); best != existing && gain > resolution {
			r.result.Change = &Change{From: existing.config, To: best.config, Gain: gain, Done: winner != existing}
		}
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
		MedianNs: stats.Median(winner.blocks), MinNs: slices.Min(winner.blocks), MaxNs: slices.Max(winner.blocks), Samples: len(winner.blocks),
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

// tiedEarly lists who was right in round one, had no place in the final, and is not proven there to be slower than the final's best by tieWithin.
// How well round one knows a time is what the finalists show, which have two; fewer than minBlocks of them show nothing.
func (r *race) tiedEarly(field []*contender) []*contender {
	if !slices.Contains(field, r.incumbent) {
		return nil
	}
	best := difference(field[blocks(field).Fastest()], r.incumbent).Mean
	squares, n := 0.0, 0
	for _, x := range field {
		if x != r.incumbent {
			off := math.Log(x.cost) - difference(x, r.incumbent).Mean
			squares, n = squares+off*off, n+1
		}
	}
	if n < minBlocks {
		return nil
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n)}.Quantile(1 - level)
	limit := math.Exp(best + math.Log1p(tieWithin) + t*math.Sqrt(squares/float64(n)))
	var tied []*contender
	for _, x := range r.all {
		if x.verdict == verdictOK && x.cost <= limit && !slices.Contains(field, x) {
			tied = append(tied, x)
		}
	}
	return tied
}
