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
	Packed     bool         `json:"packed,omitempty"` // as packed sequences, with the states that are kept on the way
	ISA        tile.ISA     `json:"isa"`
	Config     tile.Config  `json:"config"`
	MaxError   *float64     `json:"max_error,omitempty"`
	ErrorBound float64      `json:"error_bound"`
	Verdict    string       `json:"verdict"` // "ok", "wrong" or "failed: ..."
}

// OK reports whether the candidate is right.
func (v Verdict) OK() bool { return v.Verdict == verdictOK }

// VerifyAll runs every candidate of every op, rule, direction and weighting against the float64 oracle, and of every option those around the default
// (verified_problems.go says which), on ragged problems that all candidates' values matter for. A precision that an ISA has not is left out of its list.
func VerifyAll(ctx context.Context, o VerifyOptions) ([]Verdict, error) {
	if len(o.ISAs) == 0 {
		o.ISAs = kernels.ISAs()
	}
	var verdicts []Verdict // to be given
	for _, x := range verifiedProblems() {
		if o.Op != "" && x.problem.Op != o.Op {
			continue
		}
		for _, isa := range o.ISAs {
			configs, err := x.candidates(isa)
			if errors.Is(err, kernels.ErrNoPairs) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, c := range configs {
				verdicts = append(verdicts, Verdict{Op: x.problem.Op, Problem: x.problem, Packed: x.packed, ISA: isa, Config: c, Verdict: verdictOK})
			}
		}
	}
	if len(o.Worker) == 0 {
		return nil, errors.New("no worker: candidates are verified in a child process")
	}
	child := newWorker(o.Worker)
	defer child.close()
	for i := range verdicts {
		v := &verdicts[i]
		if err := ctx.Err(); err != nil {
			return verdicts[:i], err
		}
		if o.Progress != nil {
			o.Progress(i, len(verdicts), v.Op+" "+tile.Candidate{ISA: v.ISA, Config: v.Config}.String())
		}
		e, bound, err := child.ask(request{Problem: v.Problem, ISA: v.ISA, Config: v.Config, Seed: o.Seed, Packed: v.Packed})
		if errors.Is(err, errWorker) {
			return verdicts[:i], err
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
	}
	return verdicts, nil
}
