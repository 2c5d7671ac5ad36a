package tuner

import (
	"context"
	"fmt"
	"math"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// VerifyOptions of VerifyAll; zero values mean everything.
type VerifyOptions struct {
	Op       string         // this op only
	ISAs     []tile.ISA     // none means all that can run here
	Problems []tile.Problem // whose widths are verified; none means those that are tuned by default, each rule and decay once a width
	Seed     uint64
	Progress func(done, total int, what string)
}

// Verdict is one candidate's error against the oracle.
type Verdict struct {
	Op         string       `json:"op"`
	Problem    tile.Problem `json:"problem"`
	ISA        tile.ISA     `json:"isa"`
	Config     tile.Config  `json:"config"`
	MaxError   Finite       `json:"max_error,omitzero"`
	ErrorBound float64      `json:"error_bound"`
	Verdict    string       `json:"verdict"` // "ok", "wrong" or "failed: ..."
}

// Finite is a number that is left out of JSON, which has no word for it, where it is NaN or infinite.
type Finite float64

// IsZero reports whether the number has no JSON form.
func (x Finite) IsZero() bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }

// OK reports whether the candidate is right.
func (v Verdict) OK() bool { return v.Verdict == verdictOK }

// VerifyAll holds every candidate of every op against the oracle.
func VerifyAll(ctx context.Context, o VerifyOptions) ([]Verdict, error) {
	if len(o.ISAs) == 0 {
		o.ISAs = kernels.ISAs()
	}
	if len(o.Problems) == 0 {
		o.Problems = verifiedProblems()
	}
	return verifyAll(ctx, newLibrary(nil, nil), o)
}

func verifyAll(ctx context.Context, s Subject, o VerifyOptions) ([]Verdict, error) {
	type work struct {
		problem tile.Problem
		c       tile.Candidate
	}
	var todo []work
	for _, p := range o.Problems {
		if o.Op != "" && p.Op != o.Op {
			continue
		}
		for _, isa := range o.ISAs {
			configs, err := space(s, p, isa)
			if err != nil {
				return nil, err
			}
			for _, c := range configs {
				todo = append(todo, work{p, tile.Candidate{ISA: isa, Config: c}})
			}
		}
	}
	if len(todo) == 0 {
		return nil, fmt.Errorf("nothing to verify: no candidate of op %q", o.Op)
	}
	verdicts := make([]Verdict, 0, len(todo))
	for i, w := range todo {
		if err := ctx.Err(); err != nil {
			return verdicts, err
		}
		if o.Progress != nil {
			o.Progress(i, len(todo), w.problem.Op+" "+w.c.String())
		}
		v := Verdict{Op: w.problem.Op, Problem: w.problem, ISA: w.c.ISA, Config: w.c.Config, Verdict: verdictOK}
		maxError, bound, err := s.Verify(w.problem, w.c, o.Seed)
		v.ErrorBound, v.MaxError = bound, Finite(maxError)
		switch {
		case err != nil:
			v.Verdict, v.MaxError = verdictFailed+": "+err.Error(), Finite(math.NaN())
		case !(maxError <= bound):
			v.Verdict = verdictWrong
		}
		verdicts = append(verdicts, v)
	}
	if o.Progress != nil {
		o.Progress(len(todo), len(todo), "done")
	}
	return verdicts, nil
}

// verifiedProblems are the default problems with each rule, decay and weighting of their op, the longest of those
// that have the same widths.
func verifiedProblems() []tile.Problem {
	type class struct {
		op, rule, decay, weighting string
		shape                      tile.Shape
	}
	seen := map[class]bool{}
	var ps []tile.Problem
	for _, p := range kernels.DefaultProblems(1) {
		for _, q := range variants(p) {
			k := class{q.Op, q.Rule, q.Decay, q.Weighting, q.Shape}
			k.shape.B, k.shape.T, k.shape.N = 0, 0, 0
			// The default problems go from long to short: the first of a class has all chunk sizes in its space.
			if !seen[k] && kernels.CheckProblem(q) == nil {
				seen[k] = true
				ps = append(ps, q)
			}
		}
	}
	return ps
}

func variants(p tile.Problem) []tile.Problem {
	var ps []tile.Problem
	add := func(rule, decay, weighting string) {
		p.Rule, p.Decay, p.Weighting = rule, decay, weighting
		ps = append(ps, p)
	}
	switch p.Op {
	case tile.LinearAttention:
		add(tile.RuleLinear, tile.DecayNone, "")
		add(tile.RuleGated, tile.DecayFixed, "")
		add(tile.RuleGated, tile.DecayHead, "")
	case tile.DeltaRule:
		add(tile.RuleDelta, tile.DecayNone, "")
		add(tile.RuleGatedDelta, tile.DecayHead, "")
	case tile.HashLayer:
		add("", "", tile.WeightingPaper)
		add("", "", tile.WeightingReleased)
	default:
		ps = append(ps, p)
	}
	return ps
}
