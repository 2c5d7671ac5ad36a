package tuner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// CheckOptions of Check.
type CheckOptions struct {
	Dir      string // of a run; empty means the user's folder
	Progress func(done, total int, what string)
}

// CheckResult holds one measured candidate against its roof and its simulation.
type CheckResult struct {
	Problem     tile.Problem `json:"problem"`
	ISA         tile.ISA     `json:"isa"`
	Config      tile.Config  `json:"config"`
	RoofNs      float64      `json:"roof_ns"`
	SimulatedNs float64      `json:"simulated_ns,omitempty"` // absent if the simulator could not say
	MedianNs    float64      `json:"median_ns"`
	Ratio       float64      `json:"ratio,omitempty"` // measured over simulated
	BoundBy     string       `json:"bound_by"`
	Verdict     string       `json:"verdict"`
}

// Verdicts of Check.
const (
	CheckAgrees     = "agrees"                // within a factor of two of its simulation
	CheckSlower     = "slower than simulated" // work to do, in the kernel or in the simulator
	CheckFaster     = "faster than simulated" // the simulator misses something
	CheckUnknown    = "not simulated"
	CheckBeatsRoof  = "beats its roof" // the measurement or the count is wrong
	checkAgreement  = 2.0
	checkNothingYet = "nothing measured yet: run `tune run` first"
)

// OK reports whether the measurement is possible.
func (c CheckResult) OK() bool { return c.Verdict != CheckBeatsRoof }

// Check holds what the last run in a folder measured (every candidate in its journal and every answer in its
// profile, as far as they are of today's kernel sources) against its roof and its simulation, under the profile's ceilings.
// Candidates come by problem and ISA, the fastest first.
func Check(ctx context.Context, m *machine.Machine, o CheckOptions) ([]CheckResult, error) {
	if o.Dir == "" {
		path, err := kernels.UserProfilePath(m.Fingerprint)
		if err != nil {
			return nil, err
		}
		o.Dir = filepath.Dir(path)
	}
	p, err := profile.Read(filepath.Join(o.Dir, m.Fingerprint+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %s", o.Dir, checkNothingYet)
	}
	if err != nil {
		return nil, err
	}
	return check(ctx, newLibrary(m, &p.Measured), wallClock{}, p, o)
}

func check(ctx context.Context, s Subject, k clock, p *profile.Profile, o CheckOptions) ([]CheckResult, error) {
	h, err := readJournal(o.Dir)
	if err != nil {
		return nil, err
	}
	if h == nil || h.header == nil || h.header.Fingerprint != p.Machine.Fingerprint {
		h = new(history)
	}
	found := measurements(s, p, h)
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %s", o.Dir, checkNothingYet)
	}
	for i := range found {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := &found[i]
		if o.Progress != nil {
			o.Progress(i, len(found), c.Problem.String()+" "+string(c.ISA))
		}
		if err := c.judge(s, k); err != nil {
			return nil, err
		}
	}
	if o.Progress != nil {
		o.Progress(len(found), len(found), "done")
	}
	return found, nil
}

// measurements gathers each measured candidate once: the answer's time, or the median of its blocks, or that of round one.
func measurements(s Subject, p *profile.Profile, h *history) []CheckResult {
	type key struct {
		unit
		config string
	}
	at := map[key]int{}
	units := map[unit]int{} // in the order of the profile, then of the journal
	var found []CheckResult
	add := func(u unit, c tile.Config, ns float64) {
		k := key{u, c.String()}
		if i, ok := at[k]; ok {
			found[i].MedianNs = ns
			return
		}
		if _, ok := units[u]; !ok {
			units[u] = len(units)
		}
		at[k] = len(found)
		found = append(found, CheckResult{Problem: u.problem, ISA: u.isa, Config: c, MedianNs: ns})
	}
	current := func(op string, isa tile.ISA, hash string) bool { return s.SourceHash(op, isa) == hash }
	for _, e := range p.Entries {
		if current(e.Problem.Op, e.ISA, e.SourceHash) {
			units[unit{e.Problem, e.ISA}] = len(units)
		}
	}
	blocks := map[key][]float64{}
	for _, l := range h.lines {
		if l.Problem == nil || !current(l.Problem.Op, l.ISA, l.SourceHash) {
			continue
		}
		u := unit{*l.Problem, l.ISA}
		switch {
		case l.Kind == kindMeasure && l.Ns > 0:
			add(u, l.Config, l.Ns)
		case l.Kind == kindBlock:
			for i, c := range l.Configs {
				k := key{u, c.String()}
				blocks[k] = append(blocks[k], l.BlockNs[i])
				add(u, c, median(blocks[k]))
			}
		}
	}
	for _, e := range p.Entries {
		if current(e.Problem.Op, e.ISA, e.SourceHash) {
			add(unit{e.Problem, e.ISA}, e.Config, e.MedianNs)
		}
	}
	slices.SortStableFunc(found, func(a, b CheckResult) int {
		return cmp.Or(cmp.Compare(units[unit{a.Problem, a.ISA}], units[unit{b.Problem, b.ISA}]), cmp.Compare(a.MedianNs, b.MedianNs))
	})
	return found
}

// judge fills in the roof, the simulation and the verdict. A candidate that beats its roof is measured again,
// and so is the roof: only a repeat counts.
func (c *CheckResult) judge(s Subject, k clock) error {
	roof, err := s.Roof(c.Problem, c.ISA)
	if err != nil {
		return err
	}
	c.RoofNs, c.BoundBy, c.Verdict = roof.Ns, roof.BoundBy, CheckUnknown
	if x, err := s.Predict(c.Problem, tile.Candidate{ISA: c.ISA, Config: c.Config}); err == nil && x.Ns > 0 {
		c.SimulatedNs, c.Ratio = x.Ns, c.MedianNs/x.Ns
		switch {
		case c.Ratio > checkAgreement:
			c.Verdict = CheckSlower
		case c.Ratio < 1/checkAgreement:
			c.Verdict = CheckFaster
		default:
			c.Verdict = CheckAgrees
		}
	}
	if !roof.beatenBy(c.MedianNs) {
		return nil
	}
	if again, err := s.RemeasureRoof(c.Problem, c.ISA); err == nil {
		c.RoofNs, c.BoundBy = again.Ns, again.BoundBy
		roof = again
	}
	if c.again(s, k); roof.beatenBy(c.MedianNs) {
		c.Verdict = CheckBeatsRoof
	}
	return nil
}

// again measures a candidate that beat its roof once more, and keeps the slower of both times.
func (c *CheckResult) again(s Subject, k clock) {
	box, err := s.Open(c.Problem, 0)
	if err != nil {
		return
	}
	call, err := box.Prepare(tile.Candidate{ISA: c.ISA, Config: c.Config})
	if err != nil {
		return
	}
	defer call.Close()
	m := meter{clock: k}
	quiet := k.Quiet()
	defer quiet()
	runs, _, err := m.calibrate(call)
	var ns []float64
	for range leastSamples {
		var t float64
		if err == nil {
			t, err = m.run(call, runs)
		}
		ns = append(ns, t)
	}
	if err == nil {
		c.MedianNs = max(c.MedianNs, median(ns))
	}
}
