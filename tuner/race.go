package tuner

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	slowLimit   = 3.0  // times the incumbent's time: not worth a second run
	nearBest    = 1.25 // of the best of round one: worth round two
	semifinal   = 16   // most contenders of round two
	finalists   = 6    // most contenders of the final
	semiBlocks  = 4
	minBlocks   = 3 // fewer good ones give no answer
	goodBlocks  = 8 // enough to stop if the differences are known well
	maxBlocks   = 24
	wellKnown   = 0.004 // a detectable effect that ends the final early
	level       = 0.05  // of all tests of one decision together
	tieWithin   = 0.02  // of the best: the fixed rule picks among these of the tie set
	provenGain  = 0.02  // what an existing answer must be beaten by
	atRoof      = 1.02  // within this factor of the roof nothing is left to find
	askAtOnce   = 8     // candidates verified together, before timing
	retries     = 3     // of a drifted block in round one
	simShare    = 0.25  // of a problem's time for simulating
	roundShare  = 0.5   // until the end of round one
	shortTiming = 2e6   // ns: round one repeats a pair that takes less
)

// contender is a candidate in a race.
type contender struct {
	index      int // in the enumeration
	config     tile.Config
	prediction Prediction
	verdict    string // empty until known
	maxError   float64
	bound      float64
	cost       float64 // round one: time over the incumbent's beside it
	ns         float64 // round one: nanoseconds a run
	call       batched // while open
	blocks     []float64
}

func (c *contender) close() {
	if c.call.Call != nil {
		c.call.Close()
		c.call.Call = nil
	}
}

// race is the tuning of one unit.
type race struct {
	*tuning
	unit
	hash      string
	roof      Roof
	past      *past
	all       []*contender // by enumeration
	incumbent *contender
	held      bool // the incumbent is the profile's answer
	box       Case
	until     time.Time // the end of the share
	last      time.Time // what must not be passed
	result    Result
	resumed   int
	best      float64 // ns: the best time so far, what bounds are held against
}

// race tunes one unit within its share, or if an answer needs more, within most. A reason means that it was skipped; then t.short says
// whether more time would help.
func (t *tuning) race(ctx context.Context, u unit, share, most time.Duration, progress func(string)) (*Result, string, error) {
	t.short = false
	now := t.clock.Now()
	r := &race{tuning: t, unit: u, hash: t.subject.SourceHash(u.problem.Op, u.isa), until: now.Add(share), last: now.Add(most)}
	if r.last.After(t.deadline) {
		r.last = t.deadline
	}
	r.past = t.history.of(u, r.hash)
	progress("simulating")
	if reason := r.enter(); reason != "" {
		return nil, reason, nil
	}
	defer func() {
		for _, c := range r.all {
			c.close()
		}
		runtime.GC() // timing kept the collector off
	}()
	if reason, err := r.begin(); reason != "" || err != nil {
		return nil, reason, err
	}
	if err := r.roundOne(ctx, progress); err != nil {
		return nil, "", err
	}
	progress("final")
	for {
		field, err := r.finals(ctx)
		if err != nil {
			return nil, "", err
		}
		if len(field) == 0 {
			return nil, fmt.Sprintf("the machine drifted: fewer than %d blocks of its share were steady", minBlocks), nil
		}
		again, err := r.tooFastInFinal(field)
		if err != nil {
			return nil, "", err
		}
		if again {
			if r.incumbent.verdict != verdictOK {
				left := r.shortlist()
				if len(left) == 0 {
					return nil, "every candidate beats its roof: see errors", nil
				}
				r.incumbent, r.held = left[0], false
			}
			continue
		}
		e, source := r.decide(field)
		if err := t.answer(e, source); err != nil {
			return nil, "", err
		}
		t.report.Resumed += r.resumed
		result := resultOf(e, source)
		result.Space, result.Pruned, result.Wrong, result.Note = r.result.Space, r.result.Pruned, r.result.Wrong, r.result.Note
		return &result, "", nil
	}
}

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
	for _, i := range spread(len(r.all)) {
		if r.left(limit) <= 0 {
			break // the rest ranks last, by enumeration
		}
		if x := r.all[i]; x != r.incumbent {
			r.predict(x)
		}
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

	quiet := r.clock.Quiet()
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
	x.call.runs, x.ns, err = r.meter.calibrate(x.call.Call)
	return err
}

// verify holds a contender against the oracle, unless the journal has its verdict.
// What is wrong or fails is journaled at once; its error return is the journal's.
func (r *race) verify(x *contender) (bool, error) {
	if old := r.past.measures[x.config.String()]; old != nil && old.MaxError != nil && old.ErrorBound != nil && old.Verdict != verdictFailed {
		x.maxError, x.bound = *old.MaxError, *old.ErrorBound
		if !(x.maxError <= x.bound) {
			x.verdict = verdictWrong
			r.result.Wrong++
			return false, nil
		}
		return true, nil
	}
	start := r.clock.Now()
	maxError, bound, err := r.subject.Verify(r.problem, tile.Candidate{ISA: r.isa, Config: x.config}, r.o.Seed)
	r.costs.verified(r.unit, r.clock.Now().Sub(start))
	x.maxError, x.bound = maxError, bound
	switch {
	case err != nil:
		x.verdict = verdictFailed
		r.result.Wrong++
		return false, r.note(x, err.Error())
	case !(maxError <= bound): // also where it is NaN
		x.verdict = verdictWrong
		r.result.Wrong++
		return false, r.note(x, "")
	}
	return true, nil
}

// note journals a contender's verdict and round-one time.
func (r *race) note(x *contender, reason string) error {
	l := &line{
		Kind: kindMeasure, Problem: &r.problem, ISA: r.isa, SourceHash: r.hash, Config: x.config,
		Ns: x.ns, RoofNs: r.roof.Ns, BoundBy: r.roof.BoundBy, MaxError: finite(x.maxError), ErrorBound: finite(x.bound),
		Verdict: x.verdict, Reason: reason,
	}
	if !math.IsInf(x.prediction.Ns, 1) {
		l.SimulatedNs = x.prediction.Ns
	}
	if r.incumbent != nil && !math.IsInf(x.cost, 1) {
		l.Against, l.AgainstNs = r.incumbent.config, x.ns/x.cost
	}
	return r.journal.append(l)
}

// roundOne gives each candidate that the strategy names one or a few pairs with the incumbent.
func (r *race) roundOne(ctx context.Context, progress func(string)) error {
	r.incumbent.verdict = verdictOK
	if r.past.measures[r.incumbent.config.String()] == nil {
		if err := r.note(r.incumbent, ""); err != nil {
			return err
		}
		r.report.Measured++
	}
	strategy, err := newStrategy(r.o.Strategy, len(r.all), r.ranked(), r.o.Seed)
	if err != nil {
		return err
	}
	// A journal that knows the finalists has seen the end of this round.
	over := r.past.finalists != nil
	limit := r.clock.Now().Add(time.Duration(roundShare * float64(r.left(r.until))))
	tell := func(x *contender) {
		strategy.Tell(x.index, x.cost)
		if x.verdict == verdictOK {
			r.best = min(r.best, x.ns)
		}
	}
	for asking := true; asking; {
		var group []*contender
		for asking = false; len(group) < askAtOnce; {
			i, ok := strategy.Ask()
			if !ok {
				break
			}
			x := r.all[i]
			if x == r.incumbent || x.verdict != "" {
				tell(x)
				asking = true
				continue
			}
			if r.recall(x) {
				tell(x)
				asking = true
				continue
			}
			if over {
				asking = true
				continue
			}
			if x.prediction.LowerNs > r.best {
				r.result.Pruned++
				strategy.Tell(i, math.Inf(1))
				asking = true
				continue
			}
			if r.best <= atRoof*r.roof.Ns {
				r.result.Note = fmt.Sprintf("within %.0f %% of its roof: the search stopped", 100*(atRoof-1))
				over = true
				continue
			}
			// Cold, calibration, and a pair.
			one := max(time.Duration(min(r.guessFrom(x), slowLimit*r.incumbent.ns)), minBatch)
			if r.left(limit) < r.costs.verifying(r.unit)+3*one+time.Duration(r.incumbent.ns) {
				over = true
				asking = true
				continue
			}
			right, err := r.verify(x)
			if err != nil {
				return err
			}
			asking = true
			if !right {
				tell(x)
				continue
			}
			group = append(group, x)
		}
		if err := r.pairs(ctx, group, limit, tell); err != nil {
			return err
		}
		progress("measuring")
	}
	return nil
}

// pairs times verified contenders one after the other, as long as there is time.
func (r *race) pairs(ctx context.Context, group []*contender, limit time.Time, tell func(*contender)) error {
	quiet := r.clock.Quiet()
	defer quiet()
	for _, x := range group {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.left(limit) <= 0 {
			return nil
		}
		if err := r.pair(x); err != nil {
			return err
		}
		tell(x)
		r.report.Measured++
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
	case verdictWrong, verdictFailed:
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
	one := x.ns*float64(x.call.runs) + r.incumbent.ns*float64(r.incumbent.call.runs)
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
	x.cost, x.ns, x.verdict = median(costs), median(times), verdictOK
	if x.cost > slowLimit {
		x.verdict = verdictSlow
	}
	if beats, err := r.beatsRoof(x, x.ns); err != nil || beats {
		return err
	}
	return r.note(x, "")
}

// beatsRoof reports whether a contender is faster than its roof. Both are
// measured again first, and only a repeat counts: then it is out of the race and in the report's errors.
// The contender's call must be open.
func (r *race) beatsRoof(x *contender, ns float64) (bool, error) {
	if !r.roof.beatenBy(ns) {
		return false, nil
	}
	if roof, err := r.subject.RemeasureRoof(r.problem, r.isa); err == nil {
		r.roof = roof
		if m, ok := r.subject.Measured(); ok { // else the profile's ceilings would say that its answers beat them
			r.profile.Measured = m
		}
	}
	var again []float64
	for range retries {
		t, err := r.meter.run(x.call.Call, x.call.runs)
		if err != nil {
			break // refused: not a time that counts
		}
		again = append(again, t)
	}
	if len(again) > 0 && !r.roof.beatenBy(median(again)) {
		x.ns = max(x.ns, median(again))
		return false, nil
	}
	x.verdict, x.cost = verdictTooFast, math.Inf(1)
	r.report.Errors = append(r.report.Errors, Violation{r.problem, r.isa, x.config, ns, r.roof.Ns, r.roof.BoundBy})
	return true, r.note(x, "")
}

// finals runs round two and the final, and returns who is in the final, with
// their blocks; none if there were too few good blocks.
func (r *race) finals(ctx context.Context) ([]*contender, error) {
	quiet := r.clock.Quiet()
	defer quiet()
	field := r.shortlist()
	if old := r.recallField(field); old != nil {
		field = old
	} else {
		if err := r.semifinal(ctx, &field); err != nil {
			return nil, err
		}
		if n := r.affordable(0.9*float64(r.left(r.until)), goodBlocks, finalists); len(field) > n {
			field = keep(field, n, r.incumbent)
		}
		if err := r.enrol(field); err != nil {
			return nil, err
		}
	}
	if err := r.prepareAll(&field); err != nil {
		return nil, err
	}
	good := len(field[0].blocks)
	for n := 0; good < maxBlocks; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		end := r.until
		if good < minBlocks {
			end = r.last
		}
		if r.left(end) < blockTime(field) {
			break
		}
		ok, err := r.block(field, n)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if good++; good >= goodBlocks && detectable(field) < wellKnown {
			break
		}
	}
	if good < minBlocks {
		return nil, nil
	}
	return field, nil
}

// shortlist lists the right contenders that are near the best of round one, best first, and the incumbent.
func (r *race) shortlist() []*contender {
	var field []*contender
	for _, x := range r.all {
		if x.verdict == verdictOK {
			field = append(field, x)
		}
	}
	slices.SortStableFunc(field, func(a, b *contender) int { return cmp.Compare(a.cost, b.cost) })
	if len(field) == 0 {
		return nil
	}
	best := field[0].cost
	return slices.DeleteFunc(field, func(x *contender) bool { return x != r.incumbent && x.cost > nearBest*best })
}

// keep cuts a sorted field to n, of which the incumbent is one.
func keep(field []*contender, n int, incumbent *contender) []*contender {
	n = min(n, len(field))
	kept := slices.Clone(field[:n])
	if !slices.Contains(kept, incumbent) {
		if n > 1 {
			kept = kept[:n-1]
		} else {
			kept = nil // with time for one the incumbent stays: nothing beat it beyond doubt
		}
		kept = append(kept, incumbent)
	}
	return kept
}

// affordable is how many contenders can have so many blocks (and two more for
// preparation) in so many nanoseconds: at least one, at most limit.
func (r *race) affordable(ns float64, blocks, limit int) int {
	one := r.incumbent.ns * float64(r.incumbent.call.runs)
	return max(1, min(limit, int(ns/(float64(blocks+2)*one))))
}

// semifinal cuts a long field by a few blocks, if there is time for them.
func (r *race) semifinal(ctx context.Context, field *[]*contender) error {
	n := r.affordable(0.4*float64(r.left(r.until)), semiBlocks, semifinal)
	if len(*field) <= finalists || n <= finalists {
		return nil
	}
	semi := keep(*field, n, r.incumbent)
	if err := r.enrol(semi); err != nil {
		return err
	}
	if err := r.prepareAll(&semi); err != nil {
		return err
	}
	good := 0
	for n := 0; good < semiBlocks && n < 2*semiBlocks && r.left(r.until) > blockTime(semi); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		ok, err := r.block(semi, n)
		if err != nil {
			return err
		}
		if ok {
			good++
		}
	}
	if good > 0 {
		at := map[*contender]float64{}
		for _, x := range semi {
			at[x] = median(x.blocks)
		}
		slices.SortStableFunc(semi, func(a, b *contender) int { return cmp.Compare(at[a], at[b]) })
	}
	*field = semi
	return nil
}

// enrol journals who takes part in the blocks to come, and forgets blocks before it. Who is out is closed.
func (r *race) enrol(field []*contender) error {
	l := &line{Kind: kindFinalists, Problem: &r.problem, ISA: r.isa, SourceHash: r.hash}
	for _, x := range r.all {
		x.blocks = nil
		if !slices.Contains(field, x) && x != r.incumbent {
			x.close()
		}
	}
	for _, x := range field {
		l.Configs = append(l.Configs, x.config)
	}
	return r.journal.append(l)
}

// recallField restores the finalists of the journal with their blocks; nil if it
// has none, or if they do not fit what is known now.
func (r *race) recallField(shortlist []*contender) []*contender {
	old := r.past.finalists
	r.past.finalists = nil // a second final, after a disqualification, starts from the shortlist
	if old == nil || len(old.Configs) > finalists {
		return nil
	}
	var field []*contender
	for _, c := range old.Configs {
		i := slices.IndexFunc(shortlist, func(x *contender) bool { return x.config.String() == c.String() })
		if i < 0 {
			return nil
		}
		field = append(field, shortlist[i])
	}
	if !slices.Contains(field, r.incumbent) {
		return nil
	}
	for _, b := range r.past.blocks {
		if !slices.EqualFunc(b.Configs, old.Configs, func(x, y tile.Config) bool { return x.String() == y.String() }) {
			continue
		}
		for i, x := range field {
			x.blocks = append(x.blocks, b.BlockNs[i])
		}
		r.resumed++
	}
	return field
}

// prepareAll opens the calls of a field; who fails now is out.
func (r *race) prepareAll(field *[]*contender) error {
	for _, x := range slices.Clone(*field) {
		if err := r.prepare(x); err != nil {
			x.verdict = verdictFailed
			r.result.Wrong++
			*field = slices.DeleteFunc(*field, func(y *contender) bool { return y == x })
			if err := r.note(x, err.Error()); err != nil {
				return err
			}
		}
	}
	if len(*field) == 0 {
		return fmt.Errorf("%s, %s: no candidate could be run again", r.problem, r.isa)
	}
	return nil
}

func blockTime(field []*contender) time.Duration {
	t := 0.0
	for _, x := range field {
		t += x.ns * float64(x.call.runs)
	}
	return time.Duration(t)
}

// block times one batch of each contender and journals it if it is good.
func (r *race) block(field []*contender, k int) (bool, error) {
	calls := make([]batched, len(field))
	l := &line{Kind: kindBlock, Problem: &r.problem, ISA: r.isa, SourceHash: r.hash}
	for i, x := range field {
		calls[i] = x.call
		l.Configs = append(l.Configs, x.config)
	}
	ns, good, err := r.meter.block(calls, rotation(len(field), k))
	if err != nil {
		return false, fmt.Errorf("%s, %s: %w", r.problem, r.isa, err)
	}
	if !good {
		return false, nil
	}
	for i, x := range field {
		x.blocks = append(x.blocks, ns[i])
	}
	l.BlockNs = ns
	return true, r.journal.append(l)
}

// tooFastInFinal puts those out of the race whose times are under the roof, and reports whether there was one.
func (r *race) tooFastInFinal(field []*contender) (again bool, err error) {
	for _, x := range field {
		out, err := r.beatsRoof(x, median(x.blocks))
		if err != nil {
			return false, err
		}
		again = again || out
	}
	if again {
		r.past.finalists = nil
	}
	return again, nil
}

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

// decide names the winner by the fixed rule: of those that cannot be told apart from the best
// and are within tieWithin of it, the first in enumeration order, but the incumbent if it is one of them; and a
// profile's answer stays unless the gain over it is proven to be above provenGain.
func (r *race) decide(field []*contender) (*profile.Entry, string) {
	best := fastest(field)
	var others []*contender
	var p []float64
	for _, x := range field {
		if x != best {
			others = append(others, x)
			p = append(p, difference(x, best).greater(0))
		}
	}
	tied := []*contender{best}
	for i, slower := range holm(p, level) {
		if !slower {
			tied = append(tied, others[i])
		}
	}
	slices.SortFunc(tied, func(a, b *contender) int { return cmp.Compare(a.index, b.index) })
	winner := best
	for _, x := range slices.Backward(tied) {
		if x == best || difference(x, best).mean <= tieWithin {
			winner = x
		}
	}
	if slices.Contains(tied, r.incumbent) && (r.incumbent == best || difference(r.incumbent, best).mean <= tieWithin) {
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
		DetectableEffect: detectable(field), Candidates: measured,
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
