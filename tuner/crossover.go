package tuner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/stats"
)

// hashSubject is a Subject whose hash layers can be held against dense ones.
type hashSubject interface {
	// Dense prepares a dense layer of a hash layer's widths and tokens.
	Dense(p tile.Problem, isa tile.ISA) (Call, error)
	// Forms lists the configs that are worth trying for a number of tokens that was not tuned.
	Forms(p tile.Problem, isa tile.ISA) ([]tile.Config, error)
	// FirstTokens is a case of fewer tokens on the same tables.
	FirstTokens(c Case, n int) (Case, error)
}

func (l *library) Dense(p tile.Problem, isa tile.ISA) (Call, error) {
	d, err := kernels.NewDense(p, isa)
	return denseCall{d}, err
}

func (l *library) Forms(p tile.Problem, isa tile.ISA) ([]tile.Config, error) {
	return kernels.HashForms(p, isa)
}

func (l *library) FirstTokens(c Case, n int) (Case, error) {
	x, err := c.(libraryCase).Case.FirstTokens(n)
	return libraryCase{x}, err
}

// denseCall is a dense layer that is timed beside a hash layer.
type denseCall struct{ *kernels.Dense }

func (c denseCall) Run() error {
	c.Dense.Run()
	return nil
}

func (c denseCall) ExecutedFlops() (int64, error) { return 0, nil }
func (c denseCall) Close()                        {}

const (
	denseBlocks     = 5                      // of an answer beside a dense layer
	denseMost       = time.Second            // of its share, to time that
	crossoverBlocks = 3                      // of each number of tokens
	crossoverShare  = 0.15                   // of the budget, for the crossovers of all hash layers
	crossoverMost   = 3 * time.Second        // of one hash layer, its arrays aside
	crossoverLeast  = 200 * time.Millisecond // less is not worth it
)

// crossoverTokens are the numbers of tokens that a crossover is looked for between.
var crossoverTokens = []int{1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096}

// crossoverUpTo is how many of them are measured where no problem has more.
const crossoverUpTo = 1024

// denseOf gives what holds a unit's answers against a dense layer; nil where nothing does. Runs for cold caches have none: a dense layer's weights are
// timed again and again.
func (t *tuning) denseOf(u unit) hashSubject {
	s, ok := t.subject.(hashSubject)
	if !ok || t.o.Cold || u.problem.Op != tile.HashLayer || u.problem.Dir != tile.Forward || u.problem.Shape.N < 1 {
		return nil
	}
	return s
}

// compareWithDense times an answer in turns with a dense layer of its widths, and notes the dense layer's time in it. Without enough steady
// blocks before last it stays unknown.
func (r *race) compareWithDense(ctx context.Context, e *profile.Entry) error {
	s := r.denseOf(r.unit)
	i := slices.IndexFunc(r.all, func(x *contender) bool { return x.config.String() == e.Config.String() })
	if s == nil || i < 0 {
		return nil
	}
	winner := r.all[i]
	if err := r.prepare(winner); err != nil {
		return err
	}
	dense, err := s.Dense(r.problem, r.isa)
	if err != nil {
		return err
	}
	defer dense.Close()
	quiet := r.clock.Quiet(r.problem.Threads)
	defer quiet()
	d := batched{Call: dense}
	if d.runs, d.ns, err = r.meter.calibrate(dense, r.problem.Threads); err != nil {
		return err
	}
	ratios, _, err := turns(ctx, &r.meter, []batched{winner.call, d}, denseBlocks, r.last)
	if err != nil {
		return err
	}
	if len(ratios) > 0 {
		e.DenseNs = e.MedianNs * stats.Median(ratios[0])
	}
	return nil
}

// turns times calls in blocks until some are good or the time is over. For each but the last it gives how many times as long the last one took, block
// by block, and the last one's nanoseconds; none if fewer than minBlocks were good.
func turns(ctx context.Context, m *meter, calls []batched, blocks int, until time.Time) (ratios [][]float64, lastNs []float64, err error) {
	ratios = make([][]float64, len(calls)-1)
	for try := 0; try < 4*blocks && len(ratios[0]) < blocks; try++ {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if _, takes := plan(calls); until.Sub(m.clock.Now()) < takes {
			break
		}
		ns, good, err := m.block(calls, rotation(len(calls), try))
		if err != nil {
			return nil, nil, err
		}
		if !good {
			continue
		}
		last := ns[len(ns)-1]
		lastNs = append(lastNs, last)
		for i := range ratios {
			ratios[i] = append(ratios[i], last/ns[i])
		}
	}
	if len(ratios[0]) < minBlocks {
		return nil, nil, nil
	}
	return ratios, lastNs, nil
}

// crossoverReserve is the part of the budget that is kept for the crossovers.
func (t *tuning) crossoverReserve() time.Duration {
	var enough time.Duration
	for _, u := range t.families() {
		enough += crossoverMost + 4*t.costs.opening(u.problem)
	}
	reserve := min(time.Duration(crossoverShare*float64(t.o.Budget)), enough)
	if reserve < crossoverLeast {
		return 0
	}
	return reserve
}

// families lists the hash layers of a run, each once for all its numbers of tokens, on the fastest ISA: with the most tokens of them.
func (t *tuning) families() []unit {
	var units []unit
	isa := t.o.ISAs[len(t.o.ISAs)-1]
	for _, p := range t.o.Problems {
		u := unit{p, isa}
		if t.denseOf(u) == nil {
			continue
		}
		i := slices.IndexFunc(units, func(x unit) bool { return withoutTokens(x.problem) == withoutTokens(p) })
		if i < 0 {
			units = append(units, u)
		} else {
			units[i].problem.Shape.N = max(units[i].problem.Shape.N, p.Shape.N)
		}
	}
	return units
}

func withoutTokens(p tile.Problem) tile.Problem {
	p.Shape.N = 0
	return p
}

// crossovers looks for the numbers of tokens between which hash and dense layers change places, until a moment.
func (t *tuning) crossovers(ctx context.Context, until time.Time) error {
	units := t.families()
	for i, u := range units {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := t.clock.Now().Add(t.left(until) / time.Duration(len(units)-i))
		t.progress(len(t.report.Problems), len(t.report.Problems), u, "crossover")
		if err := t.crossover(ctx, u, end); err != nil {
			if ctx.Err() != nil {
				return err
			}
			t.crossoverUnknown(u, err.Error())
		}
	}
	return nil
}

// crossoverUnknown notes why a hash layer has none: the run's answers stand without.
func (t *tuning) crossoverUnknown(u unit, why string) {
	t.report.Notes = append(t.report.Notes, fmt.Sprintf("crossover of %s on %s unknown: %s", withoutTokens(u.problem), u.isa, why))
}

// crossover measures one hash layer at several numbers of tokens beside a dense layer.
func (t *tuning) crossover(ctx context.Context, u unit, until time.Time) error {
	s := t.denseOf(u)
	most := max(u.problem.Shape.N, crossoverUpTo)
	u.problem.Shape.N = most
	c := t.opened
	if c == nil || t.openedProblem != u.problem {
		if t.costs.opening(u.problem) > t.left(until)/2 {
			t.crossoverUnknown(u, "no time left for it")
			return nil
		}
		// The last problem's arrays may be gigabytes: they go first.
		t.opened, t.openedProblem = nil, tile.Problem{}
		var err error
		if c, err = t.subject.Open(u.problem, t.o.Seed); err != nil {
			return err
		}
		t.opened, t.openedProblem = c, u.problem
	}
	t.meter.watch()
	quiet := t.clock.Quiet(u.problem.Threads)
	defer quiet()
	found := profile.Crossover{Problem: withoutTokens(u.problem), ISA: u.isa, SourceHash: t.subject.SourceHash(u.problem.Op, u.isa), Dense: profile.DenseDriver}
	for _, n := range append(slices.DeleteFunc(slices.Clone(crossoverTokens), func(n int) bool { return n >= most }), most) {
		p := u.problem
		p.Shape.N = n
		began := t.clock.Now()
		few, err := s.FirstTokens(c, n)
		if err != nil {
			return err
		}
		point, err := t.crossoverPoint(ctx, s, few, unit{p, u.isa}, until)
		if err != nil {
			return err
		}
		if point != nil {
			found.Points = append(found.Points, *point)
		}
		// The next number takes about twice as long.
		if 2*t.clock.Now().Sub(began) > t.left(until) {
			break
		}
	}
	if len(found.Points) == 0 {
		t.crossoverUnknown(u, "the machine was not steady, or the time too short")
		return nil
	}
	t.profile.AddCrossover(found)
	t.report.Crossovers = append(t.report.Crossovers, found)
	return nil
}

// crossoverPoint times a number of tokens; nil if that gave nothing.
func (t *tuning) crossoverPoint(ctx context.Context, s hashSubject, c Case, u unit, until time.Time) (*profile.CrossoverPoint, error) {
	configs, err := s.Forms(u.problem, u.isa)
	if err != nil {
		return nil, err
	}
	if e := t.entry(u); e != nil && !slices.ContainsFunc(configs, func(x tile.Config) bool { return x.String() == e.Config.String() }) {
		configs = append(configs, e.Config)
	}
	var calls []batched
	add := func(call Call, err error) error {
		if err != nil {
			return err
		}
		b := batched{Call: call}
		if b.runs, b.ns, err = t.meter.calibrate(call, u.problem.Threads); err == nil {
			calls = append(calls, b)
		}
		return err
	}
	defer func() {
		for _, x := range calls {
			x.Close()
		}
	}()
	for _, config := range configs {
		if err := add(c.Prepare(tile.Candidate{ISA: u.isa, Config: config})); err != nil {
			return nil, err
		}
	}
	// What is far behind need not be timed again.
	best := slices.MinFunc(calls, func(a, b batched) int { return cmp.Compare(a.ns, b.ns) }).ns
	var kept []tile.Config
	for i := len(calls) - 1; i >= 0; i-- {
		if calls[i].ns > 1.5*best {
			calls[i].Close()
			calls = slices.Delete(calls, i, i+1)
		} else {
			kept = append([]tile.Config{configs[i]}, kept...)
		}
	}
	if err := add(s.Dense(u.problem, u.isa)); err != nil {
		return nil, err
	}
	ratios, dense, err := turns(ctx, &t.meter, calls, crossoverBlocks, until)
	if err != nil || ratios == nil {
		return nil, err
	}
	point := &profile.CrossoverPoint{Tokens: u.problem.Shape.N}
	for i, r := range ratios {
		if x := stats.Median(r); x > point.Ratio {
			point.Ratio, point.Config, point.Samples = x, kept[i], len(r)
		}
	}
	point.DenseNs = stats.Median(dense)
	point.HashNs = point.DenseNs / point.Ratio
	return point, nil
}
