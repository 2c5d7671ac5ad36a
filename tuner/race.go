package tuner

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	slowLimit   = 3.0  // times the incumbent's time: not worth a second run
	nearBest    = 1.25 // of the best of round one: worth round two
	semifinal   = 16   // most contenders of round two
	finalists   = 8    // most contenders of the final
	semiBlocks  = 4
	minBlocks   = 3 // fewer good ones give no answer
	goodBlocks  = 8 // enough to stop if the differences are known well
	maxBlocks   = 40
	wellKnown   = 0.004 // a detectable effect that ends the final early
	level       = 0.05  // of all tests of one decision together
	tieWithin   = 0.02  // a tie set holds who is not proven to be slower than the best by more
	pickWithin  = 0.02  // of the best: the fixed rule picks among these of the tie set
	resolution  = 0.01  // two copies of one kernel may differ by so much, by where their buffers lie
	provenGain  = 0.02  // what an existing answer must be beaten by
	atRoof      = 1.02  // within this factor of the roof nothing is left to find
	askAtOnce   = 2     // candidates verified together, before timing
	retries     = 3     // of a drifted block in round one
	simShare    = 0.25  // of a problem's time for simulating
	simAtOnce   = 16    // candidates simulated together, on all CPUs
	roundShare  = 0.5   // until the end of round one
	plainShare  = 0.2   // of what is left then, for what drifted and what lies between the best and the incumbent
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
	verifyNs   float64
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
	began     meter   // the meter's counts then
	best      float64 // ns: the best time so far, what bounds are held against
}

// race tunes one unit within its share, or if an answer needs more, within most. A reason means that it was skipped; then t.short says
// whether more time would help.
func (t *tuning) race(ctx context.Context, u unit, share, most time.Duration, progress func(string)) (*Result, string, error) {
	t.short = false
	t.meter.watch()
	now := t.clock.Now()
	r := &race{tuning: t, unit: u, hash: t.subject.SourceHash(u.problem.Op, u.isa), until: now.Add(share), last: now.Add(most)}
	if t.denseOf(u) != nil { // the answer is compared with a dense layer after the final
		r.until = r.until.Add(-min(share/8, denseMost))
	}
	if r.last.After(t.deadline) {
		r.last = t.deadline
	}
	r.past, r.began = t.history.of(u, r.hash), t.meter
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
			t.short = true // another turn later may find it steady
			return nil, r.unsteady(), nil
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
		// The answer is decided and stands whatever becomes of this: also where ctx ends, which the caller sees before the next race.
		if err := r.compareWithDense(ctx, e); err != nil && ctx.Err() == nil {
			t.report.Notes = append(t.report.Notes, fmt.Sprintf("dense layer beside %s on %s unknown: %v", r.problem, r.isa, err))
		}
		if err := t.answer(e, source); err != nil {
			return nil, "", err
		}
		t.report.Resumed += r.resumed
		result := resultOf(e, source)
		result.Space, result.Pruned, result.Wrong, result.Note, result.Change = r.result.Space, r.result.Pruned, r.result.Wrong, r.result.Note, r.result.Change
		return &result, "", nil
	}
}
