package tuner

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// VerifyOptions say what VerifyAll checks.
type VerifyOptions struct {
	Op       string     // this op only; empty means all
	ISAs     []tile.ISA // none means all that can run here
	Seed     uint64
	Worker   []string                           // command line of the child process that verifies: see Worker
	Progress func(done, total int, what string) // may be nil
}

// Verdict is one candidate against the oracle. MaxError and ErrorBound are as kernels.Verify gives them; a candidate that failed or
// gave a non-finite error has none.
type Verdict struct {
	Op         string       `json:"op"`
	Problem    tile.Problem `json:"problem"`
	ISA        tile.ISA     `json:"isa"`
	Config     tile.Config  `json:"config"`
	MaxError   *float64     `json:"max_error,omitempty"`
	ErrorBound float64      `json:"error_bound"`
	Verdict    string       `json:"verdict"` // "ok", "wrong" or "failed: ..."
}

// OK reports whether the candidate is right.
func (v Verdict) OK() bool { return v.Verdict == verdictOK }

// VerifyAll runs every candidate of every op, rule, direction and weighting against the float64 oracle, on ragged problems that all
// candidates' values matter for.
func VerifyAll(ctx context.Context, o VerifyOptions) ([]Verdict, error) {
	if len(o.ISAs) == 0 {
		o.ISAs = kernels.ISAs()
	}
	type item struct {
		problem   tile.Problem
		candidate tile.Candidate
	}
	var items []item
	for _, p := range verifiedProblems() {
		if o.Op != "" && p.Op != o.Op {
			continue
		}
		for _, isa := range o.ISAs {
			configs, err := Space(p, isa)
			if err != nil {
				return nil, err
			}
			for _, c := range configs {
				items = append(items, item{p, tile.Candidate{ISA: isa, Config: c}})
			}
		}
	}
	if len(o.Worker) == 0 {
		return nil, errors.New("no worker: candidates are verified in a child process")
	}
	child := newWorker(o.Worker)
	defer child.close()
	verdicts := make([]Verdict, 0, len(items))
	for i, x := range items {
		if err := ctx.Err(); err != nil {
			return verdicts, err
		}
		if o.Progress != nil {
			o.Progress(i, len(items), x.problem.Op+" "+x.candidate.String())
		}
		v := Verdict{Op: x.problem.Op, Problem: x.problem, ISA: x.candidate.ISA, Config: x.candidate.Config, Verdict: verdictOK}
		e, bound, err := child.verify(x.problem, x.candidate, o.Seed)
		if errors.Is(err, errWorker) {
			return verdicts, err
		}
		v.ErrorBound = bound
		switch {
		case err != nil:
			v.Verdict = fmt.Sprintf("%s: %v", verdictFailed, err)
		case math.IsNaN(e) || math.IsInf(e, 0):
			v.Verdict = verdictWrong
		default:
			v.MaxError = &e
			if e > bound {
				v.Verdict = verdictWrong
			}
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

// verifiedProblems are one problem of every op, rule, direction, decay and weighting, none of whose sizes is a multiple of a register tile's.
func verifiedProblems() []tile.Problem {
	s := tile.Shape{B: 2, T: 403, Hq: 4, Hkv: 2, Dk: 70, Dv: 150}
	ps := []tile.Problem{
		{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone, Shape: s},
		{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayFixed, Shape: s},
		{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayHead, Shape: s},
		{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayKey, Shape: s},
		{Op: tile.DeltaRule, Rule: tile.RuleDelta, Decay: tile.DecayNone, Shape: s},
		{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead, Shape: s},
		{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayFixed, Shape: s},
		{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayKey, Shape: s},
	}
	for _, w := range []string{tile.WeightingPaper, tile.WeightingReleased} {
		ps = append(ps, tile.Problem{Op: tile.HashLayer, Weighting: w, Shape: tile.Shape{N: 70, D: 300, H: 1100, Tau: 7}})
	}
	for _, activation := range []string{kernels.ActivationNone, kernels.ActivationSiLU} {
		for _, l := range []int{1, 203} {
			ps = append(ps, tile.Problem{Op: tile.CausalConv, Rule: activation, Shape: tile.Shape{B: 2, C: 151, L: l, K: 4}})
		}
	}
	for i := range ps {
		ps[i].Dir = tile.Forward
	}
	for _, w := range []string{tile.WeightingPaper, tile.WeightingReleased} {
		ps = append(ps, tile.Problem{Op: tile.HashLayer, Dir: tile.Backward, Weighting: w, Shape: tile.Shape{N: 70, D: 300, H: 110, Tau: 7}})
	}
	for _, decay := range []string{tile.DecayNone, tile.DecayFixed, tile.DecayHead, tile.DecayKey} {
		rule := tile.RuleGated
		if decay == tile.DecayNone {
			rule = tile.RuleLinear
		}
		ps = append(ps, tile.Problem{Op: tile.LinearAttention, Rule: rule, Decay: decay, Dir: tile.Backward, Shape: s})
	}
	for _, p := range ps {
		if p.Op == tile.DeltaRule && p.Decay != tile.DecayKey {
			p.Dir = tile.Backward
			ps = append(ps, p)
		}
	}
	for i := range ps {
		ps[i].DType, ps[i].Threads = "float32", 2
	}
	for _, p := range ps {
		if p.Op != tile.HashLayer || p.Dir != tile.Forward {
			continue
		}
		p.DType = tile.BFloat16
		ps = append(ps, p)
		p.DType = tile.Int8
		ps = append(ps, p)
		p.Precision = tile.Int8
		ps = append(ps, p)
	}
	return ps
}
