package tuner

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/tuner/stats"
)

// AccuracyOptions say which candidates are measured beside their simulation.
type AccuracyOptions struct {
	Problems   []tile.Problem
	ISAs       []tile.ISA                         // none means all that can run here but portable Go
	Candidates int                                // of each problem and ISA: the default and a random draw of its space without it
	Seed       uint64                             // of the draw
	Rounds     int                                // through all candidates of a problem and ISA; 0 means 3
	Measured   *machine.Measured                  // ceilings; nil: they are measured first
	Progress   func(done, total int, what string) // may be nil
}

const (
	accuracyRounds  = 3
	accuracyBlock   = 6    // candidates between two runs of the reference
	primitivesEvery = 12   // such blocks between two timings of the primitives
	firstShare      = 0.05 // of the simulated order, which should hold a candidate next to the best
)

// AccuracyOf is how well the simulator ranks the candidates of a problem on an ISA.
type AccuracyOf struct {
	Problem       tile.Problem  `json:"problem"`
	ISA           tile.ISA      `json:"isa"`
	Space         int           `json:"space"` // configs of the search space
	Candidates    int           `json:"candidates"`
	Spearman      float64       `json:"spearman"`        // of simulated and measured times
	FirstOverBest float64       `json:"first_over_best"` // measured: the best of the simulator's first 5 % over the best of all
	TopOverBest   float64       `json:"top_over_best"`   // the simulator's first over the best
	MedianRatio   float64       `json:"median_ratio"`    // measured over simulated
	MedianError   float64       `json:"median_error"`    // |measured/simulated - 1|
	UnderBound    int           `json:"under_bound"`     // candidates measured faster than their lower bound
	BoundShare    float64       `json:"bound_share"`     // the largest lower bound over measured
	DefaultNs     float64       `json:"default_ns"`      // of the config that is used without a profile
	Default       tile.Config   `json:"default"`
	Best          tile.Config   `json:"best"`
	BestNs        float64       `json:"best_ns"`
	Rows          []CheckResult `json:"check"` // fastest first
	// Primitives are the medians that the simulation took.
	Primitives []machine.Primitive `json:"primitives"`
}

// Accuracy is the simulator beside measurements.
type Accuracy struct {
	Spearman   float64      `json:"spearman"` // over all candidates of all problems and ISAs
	Candidates int          `json:"candidates"`
	UnderBound int          `json:"under_bound"`
	Groups     []AccuracyOf `json:"groups"`
}

// MeasureAccuracy measures candidates of problems and puts their times beside the simulated ones. Each is timed once a round, between runs of a
// reference, the default: what counts is the ratio to it, times the reference's median, so that a machine that is slower for a
// while moves no candidate. Primitives are timed in the same rounds, and the simulation takes the medians: neighbours on a shared core slow loops
// of loads and loops of multiply-adds differently, from minute to minute.
func MeasureAccuracy(ctx context.Context, m *machine.Machine, o AccuracyOptions) (*Accuracy, error) {
	if len(o.ISAs) == 0 {
		o.ISAs = slices.DeleteFunc(kernels.ISAs(), func(isa tile.ISA) bool { return isa == tile.Generic && len(kernels.ISAs()) > 1 })
	}
	if o.Rounds == 0 {
		o.Rounds = accuracyRounds
	}
	if o.Candidates < 2 {
		return nil, fmt.Errorf("at least 2 candidates, not %d", o.Candidates)
	}
	if o.Measured == nil {
		var threads []int
		for _, p := range o.Problems {
			threads = append(threads, p.Threads)
		}
		slices.Sort(threads)
		var err error
		if o.Measured, err = roofline.Measure(ctx, m, roofline.Options{Threads: slices.Compact(threads), ISAs: o.ISAs, Quick: true}); err != nil {
			return nil, err
		}
	}
	l := newLibrary(m, o.Measured)
	a := &Accuracy{}
	for _, p := range o.Problems {
		for _, isa := range o.ISAs {
			g, err := l.accuracy(ctx, p, isa, o)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", p, isa, err)
			}
			a.Groups = append(a.Groups, *g)
		}
	}
	var simulated, measured []float64
	for _, g := range a.Groups {
		a.UnderBound += g.UnderBound
		for _, r := range g.Rows {
			simulated, measured = append(simulated, r.SimulatedNs), append(measured, r.MedianNs)
		}
	}
	a.Candidates, a.Spearman = len(measured), stats.Spearman(simulated, measured)
	return a, nil
}

// drawn lists the default and a random draw of the rest of a space, in the space's order.
func drawn(configs []tile.Config, standing tile.Config, n int, seed uint64) []tile.Config {
	r := rand.New(rand.NewPCG(seed, 0x61636375))
	rest := slices.DeleteFunc(slices.Clone(configs), func(c tile.Config) bool { return c.String() == standing.String() })
	order := r.Perm(len(rest))
	order = order[:min(n-1, len(rest))]
	slices.Sort(order)
	out := []tile.Config{standing}
	for _, i := range order {
		out = append(out, rest[i])
	}
	return out
}

func (l *library) accuracy(ctx context.Context, p tile.Problem, isa tile.ISA, o AccuracyOptions) (*AccuracyOf, error) {
	configs, err := Space(p, isa)
	if err != nil {
		return nil, err
	}
	g := &AccuracyOf{Problem: p, ISA: isa, Space: len(configs), Default: l.Default(p, isa)}
	roof, err := l.Roof(p, isa)
	if err != nil {
		return nil, err
	}
	x, err := l.Open(p, 1)
	if err != nil {
		return nil, err
	}
	var calls []batched
	meter := meter{clock: wallClock{}}
	chosen := drawn(configs, g.Default, o.Candidates, o.Seed)
	for i, cfg := range chosen {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(i, len(chosen), "preparing "+p.String())
		}
		c := tile.Candidate{ISA: isa, Config: cfg}
		call, err := x.Prepare(c)
		if err != nil {
			return nil, err
		}
		defer call.Close()
		calls = append(calls, batched{Call: call})
		g.Rows = append(g.Rows, CheckResult{Problem: p, ISA: isa, Config: cfg, RoofNs: roof.Ns})
	}
	primitives := &primitiveMedians{isa: isa}
	if err := g.measure(ctx, &meter, calls, primitives, o); err != nil {
		return nil, err
	}
	g.Primitives = primitives.medians()
	l.setPrimitives(isa, g.Primitives)
	for i := range g.Rows {
		r := &g.Rows[i]
		s, err := l.Predict(p, tile.Candidate{ISA: isa, Config: r.Config})
		if err != nil {
			return nil, err
		}
		r.BoundBy, r.SimulatedNs, r.LowerBoundNs = s.BoundBy, s.Ns, s.LowerNs
		r.Ratio = r.MedianNs / r.SimulatedNs
		r.Verdict = r.judge(verdictOK)
		if r.MedianNs < r.LowerBoundNs {
			r.Verdict = verdictBeatsRoof
		}
	}
	g.judge()
	return g, nil
}

// measure times the candidates, the first of which is the reference.
func (g *AccuracyOf) measure(ctx context.Context, meter *meter, calls []batched, primitives *primitiveMedians, o AccuracyOptions) error {
	restore := meter.clock.Quiet(g.Problem.Threads)
	defer restore()
	runs, _, err := meter.calibrate(calls[0].Call, g.Problem.Threads)
	if err != nil {
		return err
	}
	for i := range calls {
		calls[i].runs = runs
		if i > 0 { // its scratch is touched before it counts
			if err := calls[i].Run(); err != nil {
				return err
			}
		}
	}
	ratios := make([][]float64, len(calls))
	var reference []float64
	random := rand.New(rand.NewPCG(o.Seed, 0x6f726465))
	for round := range o.Rounds {
		if err := primitives.time(); err != nil {
			return err
		}
		order := random.Perm(len(calls) - 1)
		for start := 0; start < len(order); start += accuracyBlock {
			if err := ctx.Err(); err != nil {
				return err
			}
			if start > 0 && start%(primitivesEvery*accuracyBlock) == 0 {
				if err := primitives.time(); err != nil {
					return err
				}
			}
			if o.Progress != nil {
				o.Progress(round*len(order)+start, o.Rounds*len(order), "timing "+g.Problem.String())
			}
			block := []batched{calls[0]}
			for _, i := range order[start:min(start+accuracyBlock, len(order))] {
				block = append(block, calls[i+1])
			}
			block = append(block, calls[0])
			places := make([]int, len(block))
			for i := range places {
				places[i] = i
			}
			var ns []float64
			for range 3 { // a void block is taken again
				var good bool
				if ns, good, err = meter.block(block, places); err != nil {
					return err
				}
				if good {
					break
				}
			}
			last := len(ns) - 1
			around := (ns[0] + ns[last]) / 2
			reference = append(reference, around)
			ratios[0] = append(ratios[0], ns[0]/around)
			for k, i := range order[start:min(start+accuracyBlock, len(order))] {
				// The reference as it was at that moment, between its two runs.
				then := ns[0] + (ns[last]-ns[0])*float64(k+1)/float64(last)
				ratios[i+1] = append(ratios[i+1], ns[k+1]/then)
			}
		}
	}
	usual := stats.Median(reference)
	for i := range g.Rows {
		g.Rows[i].MedianNs = usual * stats.Median(ratios[i])
	}
	return nil
}

// judge sums the rows up.
func (g *AccuracyOf) judge() {
	g.Candidates, g.DefaultNs = len(g.Rows), g.Rows[0].MedianNs
	var simulated, measured, ratios, errors []float64
	for _, r := range g.Rows {
		simulated, measured = append(simulated, r.SimulatedNs), append(measured, r.MedianNs)
		ratios, errors = append(ratios, r.Ratio), append(errors, math.Abs(r.Ratio-1))
		if r.MedianNs < r.LowerBoundNs {
			g.UnderBound++
		}
		g.BoundShare = max(g.BoundShare, r.LowerBoundNs/r.MedianNs)
	}
	g.Spearman, g.MedianRatio, g.MedianError = stats.Spearman(simulated, measured), stats.Median(ratios), stats.Median(errors)
	slices.SortStableFunc(g.Rows, func(a, b CheckResult) int { return cmp.Compare(a.SimulatedNs, b.SimulatedNs) })
	first := math.Inf(1)
	for _, r := range g.Rows[:max(1, int(math.Ceil(firstShare*float64(len(g.Rows)))))] {
		first = min(first, r.MedianNs)
	}
	top := g.Rows[0].MedianNs
	slices.SortStableFunc(g.Rows, func(a, b CheckResult) int { return cmp.Compare(a.MedianNs, b.MedianNs) })
	g.Best, g.BestNs = g.Rows[0].Config, g.Rows[0].MedianNs
	g.FirstOverBest, g.TopOverBest = first/g.BestNs, top/g.BestNs
}
