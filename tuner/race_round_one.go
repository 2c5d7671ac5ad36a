package tuner

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/search"
	"github.com/rooftune/rooftune/tuner/stats"
)

// roundOne gives each candidate that the strategy names one or a few pairs with the incumbent, then some more their second chance.
func (r *race) roundOne(ctx context.Context, progress func(string)) error {
	r.incumbent.verdict = verdictOK
	if r.past.measures[r.incumbent.config.String()] == nil {
		if err := r.note(r.incumbent, ""); err != nil {
			return err
		}
		r.report.Measured++
	}
	for _, x := range r.all {
		if x != r.incumbent && x.verdict == "" {
			r.recall(x)
		}
	}
	if r.past.finalists != nil {
		return nil // the journal has seen the end of this round
	}
	strategy, err := r.strategy()
	if err != nil {
		return err
	}
	strategy.Tell(r.incumbent.index, 1)
	limit := r.clock.Now().Add(time.Duration(roundShare * float64(r.left(r.until))))
	tell := func(x *contender) {
		if x.verdict == verdictDrifted {
			return // nothing is known of it
		}
		strategy.Tell(x.index, x.cost)
		if x.verdict == verdictOK {
			r.best = min(r.best, x.ns)
		}
	}
	for over := false; !over; {
		var group []*contender
		for !over && len(group) < askAtOnce {
			i, ok := strategy.Ask()
			if !ok {
				over = true
				break
			}
			x := r.all[i]
			switch {
			case x == r.incumbent || x.verdict != "":
				tell(x)
			case x.prediction.LowerNs > r.best:
				r.result.Pruned++
				strategy.Tell(i, math.Inf(1))
			case r.best <= atRoof*r.roof.Ns:
				r.result.Note = fmt.Sprintf("within %.0f %% of its roof: the search stopped", 100*(atRoof-1))
				over = true
			case r.left(limit) < r.trial(x):
				over = true
			default:
				right, err := r.verify(x)
				if err != nil {
					return err
				}
				if right {
					group = append(group, x)
				} else {
					tell(x)
				}
			}
		}
		if err := r.pairs(ctx, group, limit, tell); err != nil {
			return err
		}
		progress("measuring")
	}
	if r.best <= atRoof*r.roof.Ns {
		return nil
	}
	return r.secondChance(ctx)
}

// secondChance ends round one: what drifted is right and is timed again, then what plainer lists.
func (r *race) secondChance(ctx context.Context) error {
	limit := r.clock.Now().Add(time.Duration(plainShare * float64(r.left(r.until))))
	right := slices.DeleteFunc(slices.Clone(r.all), func(x *contender) bool { return x.verdict != verdictDrifted })
	for _, x := range r.plainer() {
		if r.left(limit) < time.Duration(len(right)+1)*r.trial(x) {
			break
		}
		ok, err := r.verify(x)
		if err != nil {
			return err
		}
		if ok {
			right = append(right, x)
		}
	}
	return r.pairs(ctx, right, limit, func(*contender) {})
}

// plainer lists what lies between the best and the incumbent, was not measured and may win by its bound, each tunable being as one of them has it: those with fewer
// departures from the incumbent first, and no more than are a tenth of what the default search measures. They show which of the best one's
// departures pay.
func (r *race) plainer() []*contender {
	best := r.incumbent
	for _, x := range r.all {
		if x.verdict == verdictOK && x.cost < best.cost {
			best = x
		}
	}
	between := slices.DeleteFunc(slices.Clone(r.all), func(x *contender) bool {
		return x.verdict != "" || x.prediction.LowerNs > r.best || slices.ContainsFunc(r.departures(x), func(name string) bool { return x.config[name] != best.config[name] })
	})
	slices.SortStableFunc(between, func(a, b *contender) int { return cmp.Compare(len(r.departures(a)), len(r.departures(b))) })
	return between[:min(len(between), int(plainPart*searchShare*float64(len(r.all))))]
}

// departures names the tunables that a contender has otherwise than the incumbent.
func (r *race) departures(x *contender) []string { return departures(x.config, r.incumbent.config) }

// trial is the time to expect of a contender's part in round one: verification, a cold run, calibration, and a pair.
func (r *race) trial(x *contender) time.Duration {
	inc := r.incumbent
	one := max(time.Duration(min(r.guessFrom(x), slowLimit*inc.ns)), minBatch) + time.Duration((inc.call.wall-inc.ns)*float64(inc.call.runs))
	return r.costs.verifying(r.unit) + 3*one + time.Duration(inc.ns)
}

// strategy makes the search over the contenders.
func (r *race) strategy() (search.Strategy, error) {
	params, err := r.subject.Params(r.problem, r.isa)
	if err != nil {
		return nil, err
	}
	configs, predicted := make([]tile.Config, len(r.all)), make([]float64, len(r.all))
	for i, x := range r.all {
		configs[i], predicted[i] = x.config, x.prediction.Ns
	}
	return newStrategy(r.o.Strategy, params, configs, predicted, r.incumbent.index, r.o.Seed)
}

// pairs times verified contenders one after the other, as long as there is time.
func (r *race) pairs(ctx context.Context, group []*contender, limit time.Time, tell func(*contender)) error {
	quiet := r.clock.Quiet(r.problem.Threads)
	defer quiet()
	for _, x := range group {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.left(limit) <= 0 {
			return nil
		}
		again := x.verdict == verdictDrifted
		if err := r.pair(x); err != nil {
			return err
		}
		tell(x)
		if !again {
			r.report.Measured++
		}
	}
	return nil
}

// guessFrom is the time to expect of a contender, from its simulation and how the incumbent's compared with its time.
func (r *race) guessFrom(x *contender) float64 {
	return r.guess(x) * r.incumbent.ns / r.guess(r.incumbent)
}

// recall takes a contender's round-one measurement from the journal, if it was made against this incumbent.
func (r *race) recall(x *contender) bool {
	old := r.past.measures[x.config.String()]
	if old == nil {
		return false
	}
	switch old.Verdict {
	case verdictWrong, verdictFailed, verdictTimeout:
		r.result.Wrong++
	case verdictOK, verdictSlow:
		if old.AgainstNs == 0 || old.Against.String() != r.incumbent.config.String() || old.MaxError == nil || old.ErrorBound == nil {
			return false
		}
		x.ns, x.cost = old.Ns, old.Ns/old.AgainstNs
		x.maxError, x.bound = *old.MaxError, *old.ErrorBound
	default:
		return false // drifted or too fast: worth another look
	}
	x.verdict = old.Verdict
	r.resumed++
	return true
}

// pair times a contender beside the incumbent.
func (r *race) pair(x *contender) error {
	defer x.close()
	if err := r.prepare(x); err != nil {
		x.verdict = verdictFailed
		r.result.Wrong++
		return r.note(x, err.Error())
	}
	if x.ns > slowLimit*r.incumbent.ns && x.ns > shortTiming {
		x.verdict, x.cost = verdictSlow, x.ns/r.incumbent.ns
		return r.note(x, "")
	}
	calls := []batched{r.incumbent.call, x.call}
	one := x.call.wall*float64(x.call.runs) + r.incumbent.call.wall*float64(r.incumbent.call.runs)
	want := max(1, min(3, int(shortTiming/one)))
	var costs, times []float64
	for try := 0; len(costs) < want && try < want+retries; try++ {
		ns, good, err := r.meter.block(calls, rotation(2, try))
		if err != nil {
			x.verdict = verdictFailed
			r.result.Wrong++
			return r.note(x, err.Error())
		}
		if good {
			costs, times = append(costs, ns[1]/ns[0]), append(times, ns[1])
		}
		if r.left(r.last) <= 0 {
			break
		}
	}
	if len(costs) == 0 {
		x.verdict = verdictDrifted
		return r.note(x, "")
	}
	x.cost, x.ns, x.verdict = stats.Median(costs), stats.Median(times), verdictOK
	if x.cost > slowLimit {
		x.verdict = verdictSlow
	}
	if beats, err := r.beatsRoof(x, x.ns); err != nil || beats {
		return err
	}
	return r.note(x, "")
}
