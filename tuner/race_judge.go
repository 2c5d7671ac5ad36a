package tuner

import (
	"errors"
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/stats"
)

// verify holds a contender against the oracle, unless the journal has its verdict.
// What is wrong or fails is journaled at once; its error return is the journal's.
func (r *race) verify(x *contender) (bool, error) {
	if old := r.past.measures[x.config.String()]; old != nil && old.MaxError != nil && old.ErrorBound != nil && old.Verdict != verdictFailed && old.Verdict != verdictTimeout {
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
	took := r.clock.Now().Sub(start)
	r.costs.verified(r.unit, took)
	x.verifyNs = float64(took)
	x.maxError, x.bound = maxError, bound
	switch {
	case errors.Is(err, errWorker):
		return false, err
	case err != nil:
		x.verdict = verdictFailed
		if errors.Is(err, errTimeout) {
			x.verdict = verdictTimeout
		}
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
		Verdict: x.verdict, Reason: reason, VerifyNs: x.verifyNs,
	}
	if !math.IsInf(x.prediction.Ns, 1) {
		l.SimulatedNs = x.prediction.Ns
	}
	if r.incumbent != nil && !math.IsInf(x.cost, 1) {
		l.Against, l.AgainstNs = r.incumbent.config, x.ns/x.cost
	}
	return r.journal.append(l)
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
	if len(again) > 0 && !r.roof.beatenBy(stats.Median(again)) {
		x.ns = max(x.ns, stats.Median(again))
		return false, nil
	}
	x.verdict, x.cost = verdictTooFast, math.Inf(1)
	r.report.Errors = append(r.report.Errors, Violation{r.problem, r.isa, x.config, ns, r.roof.Ns, r.roof.BoundBy})
	return true, r.note(x, "")
}

// tooFastInFinal puts those out of the race whose times are under the roof, and reports whether there was one.
func (r *race) tooFastInFinal(field []*contender) (again bool, err error) {
	for _, x := range field {
		out, err := r.beatsRoof(x, stats.Median(x.blocks))
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
