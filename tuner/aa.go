package tuner

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/stats"
)

// An A/A comparison times one kernel against itself in alternating blocks, as the final of a race does with two kernels. What it calls a
// difference is a mistake of the measurement, and at aaLevel one in a hundred is allowed.
const aaLevel = 0.01

// AAOptions say what AA compares.
type AAOptions struct {
	Comparisons int
	Threads     int            // of the kernels where no problems are given
	Problems    []tile.Problem // a share each; none means a decode step, a prompt and a hash layer
	Progress    func(done, total int, what string)
}

// AAReport is what a kernel's comparisons with itself gave. Its JSON form is the document of `tune check --aa`.
type AAReport struct {
	Schema      int     `json:"schema"`
	Comparisons int     `json:"comparisons"`
	Differences int     `json:"differences"` // that were reported: each is an error
	Level       float64 `json:"level"`       // of one comparison, two-sided
	Resolution  float64 `json:"resolution"`  // a difference is one that is proven to be larger
	Detectable  float64 `json:"detectable_effect"`
	Worst       float64 `json:"worst_effect"` // the largest mean difference
	Unsteady    int     `json:"unsteady"`     // comparisons without enough steady blocks: no answer, and no difference
	Blocks      int     `json:"blocks"`
	Voided      int     `json:"voided_blocks"`
	TakenPct    float64 `json:"taken_pct"` // CPU time that others took while blocks were timed, of their time
	Pairs       []AA    `json:"pairs"`
}

// AA is one comparison.
type AA struct {
	Problem    tile.Problem   `json:"problem"`
	Candidate  tile.Candidate `json:"candidate"`
	Blocks     int            `json:"blocks"` // steady ones
	Effect     float64        `json:"effect"` // relative difference of the two
	P          float64        `json:"p"`
	Detectable float64        `json:"detectable_effect"`
	Differs    bool           `json:"differs"`
}

// CompareWithSelf runs A/A comparisons with the library's choices on this machine.
func CompareWithSelf(ctx context.Context, m *machine.Machine, o AAOptions) (*AAReport, error) {
	if o.Comparisons < 1 {
		return nil, fmt.Errorf("%d comparisons: must be at least 1", o.Comparisons)
	}
	if len(o.Problems) == 0 {
		o.Problems = aaProblems(max(o.Threads, 1))
	}
	meter := &meter{clock: wallClock{}}
	report := &AAReport{Schema: ReportSchema, Level: aaLevel, Resolution: resolution, Comparisons: o.Comparisons, Pairs: []AA{}}
	for i, p := range o.Problems {
		choice, err := kernels.Explain(p)
		if err != nil {
			return nil, err
		}
		c, err := kernels.NewCase(choice.Problem, 1)
		if err != nil {
			return nil, err
		}
		meter.watch()
		for k := i; k < o.Comparisons; k += len(o.Problems) {
			if o.Progress != nil {
				o.Progress(len(report.Pairs), o.Comparisons, "comparing "+p.String())
			}
			pair, err := compareWithSelf(ctx, meter, libraryCase{c}, choice.Problem.Threads, choice.Candidate)
			if err != nil {
				return nil, err
			}
			pair.Problem = choice.Problem
			report.add(pair)
		}
	}
	report.sum(meter)
	return report, nil
}

func aaProblems(threads int) []tile.Problem {
	ps := kernels.DefaultProblems(threads)
	var some []tile.Problem
	for _, op := range []string{tile.DeltaRule, tile.LinearAttention, tile.HashLayer} {
		of := slices.DeleteFunc(slices.Clone(ps), func(p tile.Problem) bool {
			return p.Op != op || p.Shape.T != map[string]int{tile.DeltaRule: 1, tile.LinearAttention: 512}[op] || op == tile.HashLayer && p.Shape.N != 32
		})
		some = append(some, of[0])
	}
	return some
}

func (r *AAReport) add(pair AA) {
	r.Pairs = append(r.Pairs, pair)
	switch {
	case pair.Blocks < minBlocks:
		r.Unsteady++
	case pair.Differs:
		r.Differences++
	}
	if pair.Blocks >= minBlocks && math.Abs(pair.Effect) > math.Abs(r.Worst) {
		r.Worst = pair.Effect
	}
}

func (r *AAReport) sum(m *meter) {
	var effects []float64
	for _, p := range r.Pairs {
		if p.Blocks >= minBlocks {
			effects = append(effects, p.Detectable)
		}
	}
	if len(effects) > 0 {
		r.Detectable = stats.Median(effects)
	}
	r.Blocks, r.Voided = m.blocks, m.voided
	if m.timed > 0 {
		r.TakenPct = 100 * float64(m.taken) / float64(m.timed)
	}
}

// A run ends with comparisons of a kernel with itself, so that its report says what its differences are worth.
const (
	selfShare       = 0.03 // of the budget
	selfMost        = 2 * time.Second
	selfLeast       = 300 * time.Millisecond // less is not worth it
	selfComparisons = 20                     // most
)

// compareWithSelf runs A/A comparisons of the quickest answer of this run until a moment.
func (t *tuning) compareWithSelf(ctx context.Context, until time.Time) error {
	if t.left(until) < selfLeast || len(t.report.Problems) == 0 {
		return nil
	}
	quickest := slices.MinFunc(t.report.Problems, func(a, b Result) int { return cmp.Compare(a.MedianNs, b.MedianNs) })
	if t.opened == nil || t.openedProblem != quickest.Problem {
		if t.costs.opening(quickest.Problem) > t.left(until)/2 {
			return nil
		}
		var err error
		if t.opened, err = t.subject.Open(quickest.Problem, t.o.Seed); err != nil {
			return err
		}
		t.openedProblem = quickest.Problem
	}
	t.meter.watch()
	before := t.meter
	r := &AAReport{Schema: ReportSchema, Level: aaLevel, Resolution: resolution, Pairs: []AA{}}
	for r.Comparisons < selfComparisons && t.left(until) > 0 {
		pair, err := compareWithSelf(ctx, &t.meter, t.opened, quickest.Problem.Threads, tile.Candidate{ISA: quickest.ISA, Config: quickest.Config})
		if err != nil {
			return err
		}
		pair.Problem = quickest.Problem
		r.Comparisons++
		r.add(pair)
	}
	m := t.meter
	m.blocks, m.voided, m.timed, m.taken = m.blocks-before.blocks, m.voided-before.voided, m.timed-before.timed, m.taken-before.taken
	r.sum(&m)
	t.report.AA = r
	return nil
}

// aaTries bounds the blocks of one comparison, void ones included.
const aaTries = 4 * maxBlocks

// compareWithSelf times one candidate, prepared twice, in blocks as the final of a race does.
func compareWithSelf(ctx context.Context, m *meter, c Case, threads int, candidate tile.Candidate) (AA, error) {
	quiet := m.clock.Quiet(threads)
	defer quiet()
	pair := AA{Candidate: candidate}
	field := []*contender{{}, {}}
	calls := make([]batched, 2)
	for _, x := range field {
		var err error
		if x.call.Call, err = c.Prepare(candidate); err != nil {
			return pair, err
		}
		defer x.close()
		if x.call.runs, x.ns, err = m.calibrate(x.call.Call, threads); err != nil {
			return pair, err
		}
		x.call.ns = x.ns
	}
	field[1].call.runs = field[0].call.runs // it is the same kernel
	for i, x := range field {
		calls[i] = x.call
	}
	for try := 0; try < aaTries && pair.Blocks < maxBlocks; try++ {
		if err := ctx.Err(); err != nil {
			return pair, err
		}
		ns, good, err := m.block(calls, rotation(2, try))
		if err != nil {
			return pair, err
		}
		if !good {
			if try-pair.Blocks > 2*goodBlocks { // others are at work: let them go first
				time.Sleep(time.Millisecond)
			}
			continue
		}
		for i, x := range field {
			x.blocks = append(x.blocks, ns[i])
		}
		if pair.Blocks++; pair.Blocks >= goodBlocks && detectable(field) < wellKnown {
			break
		}
	}
	if pair.Blocks < minBlocks {
		return pair, nil
	}
	d := difference(field[0], field[1])
	margin := math.Log1p(resolution)
	pair.P = min(1, 2*min(d.Greater(margin), difference(field[1], field[0]).Greater(margin)))
	pair.Effect, pair.Detectable, pair.Differs = math.Expm1(d.Mean), detectable(field), pair.P < aaLevel
	return pair, nil
}
