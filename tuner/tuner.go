// Package tuner finds the fastest right config of each problem and ISA, and
// writes it into the machine's profile.
//
// The way of one problem on one ISA:
//
//  1. list the configs that satisfy the op's constraints;
//  2. simulate each, and rank them;
//  3. verify the incumbent (the profile's answer, else the default) and time it;
//  4. round one: the strategy names candidates; those whose lower bound is above the best time
//     are not run; the others are verified against the oracle, then timed beside the incumbent;
//  5. round two, if there are many: the best are timed in blocks, one batch of each in rotating order;
//  6. the final: the few best and the incumbent, in more such blocks, until the budget's share
//     is used or the differences are known well enough;
//  7. what cannot be told apart from the best is the tie set; a fixed rule picks from it.
//
// Every block has a canary at both ends and is void if the machine drifted. A
// time under the roof is measured again, and is an error if it repeats. All of it
// goes into a journal, from which the next run goes on if this one is interrupted.
package tuner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// DefaultBudget is a run's wall-clock time where Options has none: with a first build it stays within two minutes.
const DefaultBudget = 50 * time.Second

// Options of a run.
type Options struct {
	Problems []tile.Problem // the most important first; none means those of package kernels
	ISAs     []tile.ISA     // slowest first; none means all that can run here
	Budget   time.Duration  // of wall-clock time; 0 means DefaultBudget
	Cold     bool           // tune for arrays that no cache holds
	Strategy string         // one of Strategies; empty means the first
	Seed     uint64         // of inputs and of the random strategy
	Dir      string         // holds journal, profile (<fingerprint>.json) and report
	Worker   []string       // command line of a process that calls Serve: see Worker
	Held     *Held          // locks that the caller holds; nil means that the run takes its own
	Progress func(Event)    // may be nil
}

// run tunes a subject. The order of work, and so of who gets time if there is too
// little: for the fastest ISA all problems as given, then for the next ISA, ...
// Each gets a share of what is left, an ISA half as much as the faster
// one before it; what one does not use goes to all after it. What cannot have an answer within twice
// its share, or an eighth of what is left, waits until all others have had theirs; then it may take all that is left, and is reported as skipped if
// that is too little.
func run(ctx context.Context, subject Subject, c clock, m *machine.Machine, measured *machine.Measured, o Options) (*Report, error) {
	started := c.Now()
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	switch {
	case o.Budget < 0:
		return nil, fmt.Errorf("budget is %v, must be positive", o.Budget)
	case o.Dir == "":
		return nil, errors.New("no folder to write to")
	case len(o.Problems) == 0:
		return nil, errors.New("no problems")
	case len(o.ISAs) == 0:
		return nil, errors.New("no ISAs")
	}
	if err := knownStrategy(o.Strategy); err != nil {
		return nil, err
	}
	if o.Held == nil {
		held, err := lockFolder(o.Dir)
		if err != nil {
			return nil, err
		}
		defer held.Release()
	}
	var err error

	t := &tuning{
		subject: subject, clock: c, meter: meter{clock: c}, o: o, deadline: started.Add(o.Budget),
		report: &Report{
			Schema: ReportSchema, Fingerprint: m.Fingerprint, BudgetNs: int64(o.Budget), Cold: o.Cold,
			Profile:  filepath.Join(o.Dir, m.Fingerprint+".json"),
			Problems: []Result{}, Skipped: []Skipped{}, Errors: []Violation{}, Notes: []string{},
		},
		costs: newCosts(), started: started, pressure: c.Pressure(), machine: m,
	}
	if reserve := min(time.Duration(selfShare*float64(o.Budget)), selfMost); reserve >= selfLeast {
		t.deadline = t.deadline.Add(-reserve)
	}
	if err := t.openProfile(m, measured); err != nil {
		return nil, err
	}
	var closeJournal func() error
	t.journal, t.history, closeJournal, err = openJournal(o.Dir, line{
		Kind: kindHeader, Version: journalVersion, Fingerprint: m.Fingerprint, Go: runtime.Version(),
		Created: started.UTC(), Seed: o.Seed, Strategy: o.Strategy, Cold: o.Cold,
	})
	if err != nil {
		return nil, err
	}
	defer closeJournal()
	t.report.Notes = append(t.report.Notes, t.history.notes...)

	reserve := t.crossoverReserve()
	t.deadline = t.deadline.Add(-reserve)
	err = t.all(ctx)
	if err == nil && reserve > 0 {
		err = t.crossovers(ctx, t.deadline.Add(reserve))
	}
	t.report.ElapsedNs = int64(c.Now().Sub(started))
	t.report.Blocks, t.report.Voided = t.meter.blocks, t.meter.voided
	if err != nil {
		if ctx.Err() != nil {
			t.report.Notes = append(t.report.Notes, "interrupted: the next run goes on from the journal")
			return t.report, errors.Join(ctx.Err(), t.report.write(o.Dir))
		}
		return t.report, err
	}
	if err := t.compareWithSelf(ctx, started.Add(o.Budget)); err != nil {
		return t.report, err
	}
	t.report.Complete = true
	t.profile.Provenance = t.provenance(m)
	if err := t.profile.Write(t.report.Profile); err != nil {
		return t.report, err
	}
	if err := t.report.write(o.Dir); err != nil {
		return t.report, err
	}
	return t.report, t.journal.append(&line{Kind: kindComplete})
}

// tuning is a run under way.
type tuning struct {
	subject  Subject
	clock    clock
	meter    meter
	o        Options
	machine  *machine.Machine
	started  time.Time
	pressure pressure // then
	deadline time.Time
	journal  *journal
	history  *history
	profile  *profile.Profile
	report   *Report
	costs    costs

	opened        Case // of the last problem, kept for its next ISA
	openedProblem tile.Problem
	short         bool // the last race was skipped for lack of time
}

// openProfile takes over the answers that this machine has already. A damaged profile is put
// aside, one of a newer schema left alone.
func (t *tuning) openProfile(m *machine.Machine, measured *machine.Measured) error {
	path := t.report.Profile
	old, err := profile.Read(path)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, profile.ErrNewer):
		return err
	default:
		if err := os.Rename(path, path+".damaged"); err != nil {
			return err
		}
		t.report.Notes = append(t.report.Notes, fmt.Sprintf("%v: put aside as %s.damaged", err, filepath.Base(path)))
	}
	t.profile = &profile.Profile{Schema: profile.Schema, Created: t.clock.Now().UTC().Truncate(time.Second), Go: runtime.Version(), Machine: *m}
	if measured != nil {
		t.profile.Measured = *measured
	}
	if old != nil {
		if old.Machine.Fingerprint != m.Fingerprint {
			return fmt.Errorf("profile %s is of machine %s, this one is %s", path, old.Machine.Fingerprint, m.Fingerprint)
		}
		if measured == nil {
			t.profile.Measured = old.Measured
		}
		t.profile.Entries, t.profile.Crossovers = slices.Clone(old.Entries), slices.Clone(old.Crossovers)
	}
	return nil
}

// entry returns the profile's answer for a unit, if it was made with today's sources.
func (t *tuning) entry(u unit) *profile.Entry {
	hash := t.subject.SourceHash(u.problem.Op, u.isa)
	for i := range t.profile.Entries {
		if e := &t.profile.Entries[i]; e.Problem == u.problem && e.ISA == u.isa && e.Cold == t.o.Cold && e.SourceHash == hash {
			return e
		}
	}
	return nil
}

// answer journals a winner and writes the profile with it.
func (t *tuning) answer(e *profile.Entry, source string) error {
	if source != SourceResumed {
		if err := t.journal.append(&line{Kind: kindAnswer, Entry: e}); err != nil {
			return err
		}
	}
	i := slices.IndexFunc(t.profile.Entries, func(x profile.Entry) bool { return x.Problem == e.Problem && x.ISA == e.ISA && x.Cold == e.Cold })
	if i < 0 {
		t.profile.Entries = append(t.profile.Entries, *e)
	} else {
		t.profile.Entries[i] = *e
	}
	t.profile.Provenance = t.provenance(t.machine)
	return t.profile.Write(t.report.Profile)
}

func (t *tuning) skip(u unit, reason string) {
	if t.entry(u) != nil {
		reason += "; the profile keeps its answer"
	}
	t.report.Skipped = append(t.report.Skipped, Skipped{u.problem, u.isa, reason})
}

func (t *tuning) left(until time.Time) time.Duration { return until.Sub(t.clock.Now()) }

func (t *tuning) progress(done, total int, u unit, what string) {
	if t.o.Progress != nil {
		left := t.left(t.deadline)
		t.o.Progress(Event{done, total, u.problem, u.isa, what, t.o.Budget - left, max(left, 0), t.report.Problems})
	}
}

// all tunes every problem on every ISA, as run documents.
func (t *tuning) all(ctx context.Context) error {
	var units []unit
	var weights []float64
	weight := 1.0
	for _, isa := range slices.Backward(t.o.ISAs) {
		for _, p := range t.o.Problems {
			units = append(units, unit{p, isa})
			weights = append(weights, weight)
		}
		weight /= 2
	}
	// What a journal answers needs no time: it is settled first, so that the rest share all of it.
	answered := make([]*profile.Entry, len(units))
	sum := 0.0
	for i, u := range units {
		if answered[i] = t.history.of(u, t.subject.SourceHash(u.problem.Op, u.isa)).answer; answered[i] == nil {
			sum += weights[i]
		}
	}
	done := 0
	one := func(u unit, share, most time.Duration) (reason string, err error) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if most < minShare {
			t.short = true
			return fmt.Sprintf("no time left of the %v budget", t.o.Budget), nil
		}
		result, reason, err := t.race(ctx, u, share, most, func(what string) { t.progress(done, len(units), u, what) })
		if err == nil && reason == "" {
			t.report.Problems = append(t.report.Problems, *result)
		}
		return reason, err
	}
	type late struct {
		unit
		reason string
	}
	var waiting []late
	for i, u := range units {
		if e := answered[i]; e != nil {
			t.report.Resumed++
			t.report.Problems = append(t.report.Problems, resultOf(e, SourceResumed))
			if err := t.answer(e, SourceResumed); err != nil {
				return err
			}
			done++
			continue
		}
		share := time.Duration(float64(t.left(t.deadline)) * weights[i] / sum)
		reason, err := one(u, share, max(2*share, t.left(t.deadline)/8))
		if err != nil {
			return err
		}
		sum -= weights[i]
		if reason != "" && t.short {
			waiting = append(waiting, late{u, reason})
			continue
		}
		if done++; reason != "" {
			t.skip(u, reason)
		}
	}
	for i, u := range waiting {
		left := t.left(t.deadline)
		reason, err := one(u.unit, left/time.Duration(len(waiting)-i), left)
		if err != nil {
			return err
		}
		if done++; reason != "" {
			if left < minShare {
				reason = u.reason
			}
			t.skip(u.unit, reason)
		}
	}
	t.progress(len(units), len(units), unit{}, "done")
	return nil
}
