package replay

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/rooftune/rooftune/tuner/search"
)

// Result is a strategy's result on a space, over many seeds.
type Result struct {
	Space    string `json:"space"`
	Strategy string `json:"strategy"`
	Evals    int    `json:"evals"`
	Seeds    int    `json:"seeds"`
	// Score is the methodology's: the mean over the number n of evaluations, from 1 to Evals, of
	// (random - best) / (random - optimum), where random is the expected best of n random configs. 0 is random search, 1 the optimum at once.
	Score float64 `json:"score"`
	// ScoreCI is a 95 % confidence interval of Score over seeds, by Student's t.
	ScoreCI [2]float64 `json:"score_ci"`
	// The optimum's time over the best time found, after Evals evaluations.
	FractionMean  float64 `json:"best_fraction_mean"`
	FractionWorst float64 `json:"best_fraction_worst"`
	// FoundOptimum is the share of seeds that found the very optimum.
	FoundOptimum float64   `json:"found_optimum"`
	Scores       []float64 `json:"-"` // by seed
}

// Trace runs one search and returns the best cost after each evaluation. Only the first visit of a config counts as one.
// A strategy that ends early keeps its best.
func (r *Recorded) Trace(strategy string, evals int, seed uint64) ([]float64, error) {
	s, err := search.New(strategy, r.Space, search.Options{Seed: seed, Budget: evals, Predicted: r.Predicted})
	if err != nil {
		return nil, err
	}
	trace := make([]float64, 0, evals)
	visited := make([]bool, r.Space.Len())
	best := math.Inf(1)
	for again := 0; len(trace) < evals; {
		c, ok := s.Ask()
		if !ok {
			break
		}
		if visited[c] {
			// Free, but a strategy that does nothing else must not run for ever.
			if again++; again > 100*evals {
				break
			}
		} else {
			visited[c] = true
			best = min(best, r.Cost[c])
			trace = append(trace, best)
		}
		s.Tell(c, r.Cost[c])
	}
	for len(trace) < evals {
		trace = append(trace, best)
	}
	return trace, nil
}

// Run replays a strategy with seeds 1, 2, ... seeds, and scores it. The seeds are spread over
// the processors; the result does not depend on how.
func (r *Recorded) Run(ctx context.Context, strategy string, evals, seeds int) (*Result, error) {
	if evals < 1 || seeds < 1 {
		return nil, fmt.Errorf("%d evaluations with %d seeds: both must be at least 1", evals, seeds)
	}
	baseline := r.Baseline(evals)
	scores, fractions := make([]float64, seeds), make([]float64, seeds)
	errs := make([]error, seeds)
	r.Space.Index()
	err := eachSeed(ctx, seeds, func(i int) {
		trace, err := r.Trace(strategy, evals, uint64(i+1))
		if err != nil {
			errs[i] = err
			return
		}
		scores[i] = r.score(trace, baseline)
		fractions[i] = r.Optimum / min(trace[evals-1], r.worst())
	})
	if err != nil {
		return nil, err
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	out := &Result{Space: r.Name, Strategy: strategy, Evals: evals, Seeds: seeds, FractionWorst: math.Inf(1), Scores: scores}
	for _, f := range fractions {
		out.FractionMean += f / float64(seeds)
		out.FractionWorst = min(out.FractionWorst, f)
		if f == 1 {
			out.FoundOptimum += 1 / float64(seeds)
		}
	}
	out.Score, out.ScoreCI = Interval(scores)
	return out, nil
}

// score is one trace's. Where random search is sure to have the optimum there is nothing to score.
func (r *Recorded) score(trace, baseline []float64) float64 {
	sum, n := 0.0, 0
	for i, best := range trace {
		room := baseline[i] - r.Optimum
		if room <= 1e-9*r.Optimum {
			break
		}
		sum += (baseline[i] - min(best, r.worst())) / room
		n++
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// Interval is a mean with its 95 % confidence interval by Student's t; of a single value the interval is that value.
func Interval(x []float64) (mean float64, ci [2]float64) {
	mean = stat.Mean(x, nil)
	if len(x) < 2 {
		return mean, [2]float64{mean, mean}
	}
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(len(x) - 1)}.Quantile(0.975) * stat.StdErr(stat.StdDev(x, nil), float64(len(x)))
	return mean, [2]float64{mean - half, mean + half}
}

// Mean is a strategy's result over several spaces, each of the same weight.
type Mean struct {
	Result
	Spaces []*Result `json:"spaces"`
}

// Over takes the mean of the results of one strategy with the same evaluations and seeds. Its interval is that of the seeds' mean scores over
// the spaces, its worst fraction the worst of all.
func Over(results []*Result) *Mean {
	first := results[0]
	m := &Mean{
		Result: Result{
			Space: fmt.Sprintf("mean of %d spaces", len(results)), Strategy: first.Strategy, Evals: first.Evals, Seeds: first.Seeds,
			FractionWorst: math.Inf(1), Scores: make([]float64, len(first.Scores)),
		},
		Spaces: results,
	}
	n := float64(len(results))
	for _, r := range results {
		for i, s := range r.Scores {
			m.Scores[i] += s / n
		}
		m.FractionMean += r.FractionMean / n
		m.FoundOptimum += r.FoundOptimum / n
		m.FractionWorst = min(m.FractionWorst, r.FractionWorst)
	}
	m.Score, m.ScoreCI = Interval(m.Scores)
	return m
}
