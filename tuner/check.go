package tuner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/stats"
)

// CheckOptions say what Check looks at.
type CheckOptions struct {
	Dir      string                             // of the run's journal and profile; empty means the user's own
	Progress func(done, total int, what string) // may be nil
}

// Verdicts of a check beside those of the journal.
const (
	// explained is how far a measured time may be from the simulated one and still be what the model says.
	explained = 1.5

	verdictExplained = "as simulated" // within explained, else slower or faster than simulated
	verdictSlower    = "slower"
	verdictFaster    = "faster"
	verdictUnknown   = "not simulated"
	verdictBeatsRoof = "beats its roof"
)

// CheckResult is one measured candidate beside its roof and its simulation.
type CheckResult struct {
	Problem      tile.Problem `json:"problem"`
	ISA          tile.ISA     `json:"isa"`
	Config       tile.Config  `json:"config"`
	RoofNs       float64      `json:"roof_ns"`
	SimulatedNs  float64      `json:"simulated_ns,omitempty"`
	LowerBoundNs float64      `json:"lower_bound_ns,omitempty"` // no run of the candidate is faster; with CheckOptions of a journal it is not known
	MedianNs     float64      `json:"median_ns"`
	Ratio        float64      `json:"ratio,omitempty"` // measured over simulated
	BoundBy      string       `json:"bound_by"`
	Verdict      string       `json:"verdict"`
}

// OK reports whether the candidate is no faster than its roof.
func (c CheckResult) OK() bool { return c.Verdict != verdictBeatsRoof }

// DefaultDir is where runs keep journal and profile without Options.Dir: rooftune in the user's configuration folder.
func DefaultDir() (string, error) {
	path, err := kernels.UserProfilePath("x")
	return filepath.Dir(path), err
}

// Check lists every candidate that the last run measured, in the journal's order: its roof under the profile's ceilings, its
// simulated and its measured time. A candidate that the roof refused twice while tuning beats it; the others were held against it then.
func Check(ctx context.Context, m *machine.Machine, o CheckOptions) ([]CheckResult, error) {
	if o.Dir == "" {
		dir, err := DefaultDir()
		if err != nil {
			return nil, err
		}
		o.Dir = dir
	}
	h, err := readJournal(o.Dir)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, fmt.Errorf("no journal in %s: tune run measures first", o.Dir)
	}
	if h.header != nil && h.header.Fingerprint != m.Fingerprint {
		return nil, fmt.Errorf("the journal in %s is of machine %s, this one is %s", o.Dir, h.header.Fingerprint, m.Fingerprint)
	}
	p, err := profile.Read(filepath.Join(o.Dir, m.Fingerprint+".json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var measured *machine.Measured
	if p != nil {
		measured = &p.Measured
	}
	l := newLibrary(m, measured)
	times := finalTimes(h)
	var results []CheckResult
	seen := map[string]bool{}
	for i, x := range h.lines {
		if err := ctx.Err(); err != nil {
			return results, err
		}
		if x.Kind != kindMeasure || !slices.Contains([]string{verdictOK, verdictSlow, verdictTooFast}, x.Verdict) || !(x.Ns > 0) {
			continue
		}
		key := x.Problem.String() + string(x.ISA) + x.Config.String()
		if seen[key] {
			continue
		}
		seen[key] = true
		if o.Progress != nil {
			o.Progress(i, len(h.lines), "checking "+x.Problem.String())
		}
		c := CheckResult{Problem: *x.Problem, ISA: x.ISA, Config: x.Config, MedianNs: x.Ns, RoofNs: x.RoofNs, BoundBy: x.BoundBy, SimulatedNs: x.SimulatedNs}
		if t, ok := times[key]; ok && x.Verdict == verdictOK {
			c.MedianNs = t
		}
		if c.RoofNs == 0 {
			r, err := l.Roof(*x.Problem, x.ISA)
			if err != nil {
				return nil, err
			}
			c.RoofNs, c.BoundBy = r.Ns, r.BoundBy
		}
		if c.SimulatedNs == 0 {
			// A race that had no time to simulate all of its candidates leaves that to this report.
			if s, err := l.Predict(*x.Problem, tile.Candidate{ISA: x.ISA, Config: x.Config}); err == nil {
				c.SimulatedNs = s.Ns
			}
		}
		if c.SimulatedNs > 0 {
			c.Ratio = c.MedianNs / c.SimulatedNs
		}
		c.Verdict = c.judge(x.Verdict)
		results = append(results, c)
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("the journal in %s holds no measured candidate", o.Dir)
	}
	return results, nil
}

func (c CheckResult) judge(tuned string) string {
	switch {
	case tuned == verdictTooFast:
		return verdictBeatsRoof
	case c.SimulatedNs == 0:
		return verdictUnknown
	case c.Ratio > explained:
		return verdictSlower
	case c.Ratio < 1/explained:
		return verdictFaster
	}
	return verdictExplained
}

// finalTimes are the medians over the paired blocks of the candidates that went on to them: better times than the first round's one.
func finalTimes(h *history) map[string]float64 {
	samples := map[string][]float64{}
	for _, x := range h.lines {
		if x.Kind != kindBlock {
			continue
		}
		for i, c := range x.Configs {
			key := x.Problem.String() + string(x.ISA) + c.String()
			samples[key] = append(samples[key], x.BlockNs[i])
		}
	}
	times := map[string]float64{}
	for key, ns := range samples {
		times[key] = stats.Median(ns)
	}
	return times
}
