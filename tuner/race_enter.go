package tuner

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
)

// enter lists and simulates the candidates and names the incumbent.
func (r *race) enter() (reason string) {
	s := r.subject
	configs, err := space(s, r.problem, r.isa)
	if err != nil {
		return err.Error()
	}
	standard := s.Default(r.problem, r.isa)
	incumbent := standard
	if e := r.entry(r.unit); e != nil {
		incumbent, r.held = e.Config, true
	}
	for _, c := range []tile.Config{standard, incumbent} {
		known := slices.ContainsFunc(configs, func(x tile.Config) bool { return x.String() == c.String() })
		if !known && s.CheckConfig(r.problem, tile.Candidate{ISA: r.isa, Config: c}) == nil {
			configs = append(configs, c)
		}
	}
	if len(configs) == 0 {
		return "no config satisfies the constraints"
	}
	r.result.Space = len(configs)
	if r.roof, err = s.Roof(r.problem, r.isa); err != nil {
		return "no roof: " + err.Error()
	}
	limit := r.clock.Now().Add(time.Duration(simShare * float64(r.left(r.until))))
	for i, c := range configs {
		x := &contender{index: i, config: c, prediction: Prediction{Ns: math.Inf(1)}, cost: math.Inf(1)}
		r.all = append(r.all, x)
		if c.String() == incumbent.String() {
			r.incumbent = x
		}
	}
	if r.incumbent == nil { // an answer from another space, and a default that cannot run here
		r.incumbent, r.held = r.all[0], false
	}
	r.predict(r.incumbent)
	for some := range slices.Chunk(spread(len(r.all)), simAtOnce) {
		if r.left(limit) <= 0 {
			break // the rest ranks last, by enumeration
		}
		var wait sync.WaitGroup
		for _, i := range some {
			if x := r.all[i]; x != r.incumbent {
				wait.Go(func() { r.predict(x) })
			}
		}
		wait.Wait()
	}
	return ""
}

// spread orders n places so that the first few of them, however few there is time for, lie all over an enumeration: steps of
// the golden ratio.
func spread(n int) []int {
	step := max(1, int(0.618*float64(n)))
	for gcd(step, n) > 1 {
		step++
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i * step % n
	}
	return order
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (r *race) predict(x *contender) {
	if p, err := r.subject.Predict(r.problem, tile.Candidate{ISA: r.isa, Config: x.config}); err == nil && p.Ns > 0 {
		x.prediction = p
	}
}

// guess is the simulated time of a contender, its roof if there is none.
func (r *race) guess(x *contender) float64 {
	if math.IsInf(x.prediction.Ns, 1) {
		return r.roof.Ns
	}
	return x.prediction.Ns
}

// ranked lists the contenders by simulated time.
func (r *race) ranked() []int {
	order := make([]int, len(r.all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.all[a].prediction.Ns, r.all[b].prediction.Ns) })
	return order
}

// begin verifies and times the incumbent, if there is time for an answer at all.
func (r *race) begin() (reason string, err error) {
	tooLong := func(need time.Duration) string {
		if need <= r.left(r.last) {
			return ""
		}
		r.short = true
		return fmt.Sprintf("needs about %v of the budget, %v is left for it",
			need.Round(time.Millisecond), max(r.left(r.last), 0).Round(time.Millisecond))
	}
	opening := r.costs.opening(r.problem)
	if r.opened != nil && r.openedProblem == r.problem {
		opening = 0
	}
	// Cold, calibration, then the blocks that an answer needs.
	runs := func(one time.Duration) time.Duration { return 2*one + minBlocks*max(one, minBatch) }
	if reason := tooLong(r.costs.verifying(r.unit) + opening + runs(r.costs.running(r.unit, r.guess(r.incumbent)))); reason != "" {
		return reason, nil
	}

	// The incumbent is the first in its order that is right: the profile's answer or the default, then by rank.
	order := []*contender{r.incumbent}
	for _, i := range r.ranked() {
		if r.all[i] != r.incumbent {
			order = append(order, r.all[i])
		}
	}
	r.incumbent = nil
	for i, x := range order {
		if r.left(r.last) < r.costs.verifying(r.unit) {
			r.short = true
			return "no time left to find a right config", nil
		}
		if ok, err := r.verify(x); err != nil {
			return "", err
		} else if ok {
			r.incumbent, r.held = x, r.held && i == 0
			break
		}
	}
	if r.incumbent == nil {
		return fmt.Sprintf("none of %d configs is right", len(r.all)), nil
	}

	if r.opened == nil || r.openedProblem != r.problem {
		r.opened = nil
		runtime.GC() // let go of the last problem before the next is allocated
		start := r.clock.Now()
		if r.opened, err = r.subject.Open(r.problem, r.o.Seed); err != nil {
			return err.Error(), nil
		}
		r.openedProblem = r.problem
		r.costs.openedIn(r.problem, r.clock.Now().Sub(start))
	}
	r.box = r.opened

	quiet := r.clock.Quiet(r.problem.Threads)
	defer quiet()
	if err := r.prepare(r.incumbent); err != nil {
		return fmt.Sprintf("%s: %v", r.incumbent.config, err), nil
	}
	r.best = r.incumbent.ns
	r.incumbent.cost = 1
	r.costs.ran(r.unit, r.guess(r.incumbent), r.incumbent.ns)
	return tooLong(minBlocks * max(time.Duration(r.incumbent.ns), minBatch)), nil
}

// prepare opens a contender's call and calibrates its batch.
func (r *race) prepare(x *contender) (err error) {
	if x.call.Call != nil {
		return nil
	}
	if x.call.Call, err = r.box.Prepare(tile.Candidate{ISA: r.isa, Config: x.config}); err != nil {
		x.call.Call = nil
		return err
	}
	x.call.runs, x.ns, err = r.meter.calibrate(x.call.Call, r.problem.Threads)
	x.call.ns, x.call.wall = x.ns, x.ns
	if _, ok := x.call.Call.(fresher); ok && err == nil {
		start := r.clock.Now()
		_, err = r.meter.run(x.call.Call, 1)
		x.call.wall = float64(r.clock.Now().Sub(start))
	}
	return err
}
