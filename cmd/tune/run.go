package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

// processStart is as near to the start of the process as Go lets us see: what a budget counts from.
var processStart = time.Now()

// runFlags are the flags of tune run.
type runFlags struct {
	problem            problemFlags
	isa, strategy, out string
	budget             time.Duration
	seed               uint64
	cold               bool
	dryRun             bool
}

func newRun(out *output) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Tune this machine: measure, verify, write a profile and a report",
		Long: `run measures this machine's ceilings, then for every problem and instruction set the candidates that may be fastest, verified
before they are timed, and writes the answers as the machine's profile, from which the library chooses. Interrupted, it goes on from its journal.`,
		Example: `  tune run --budget 60s
  tune run --op delta-rule --shape b=1,t=512,hq=8,hkv=8,dk=128,dv=128 --out /tmp/profile`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), out) },
	}
	fs := c.Flags()
	f.problem.add(fs)
	fs.DurationVar(&f.budget, "budget", tuner.DefaultBudget, "wall-clock time, the ceilings included")
	fs.StringVar(&f.isa, "isa", "", "tune this instruction set only")
	fs.StringVar(&f.strategy, "strategy", tuner.Strategies()[0], strings.Join(tuner.Strategies(), " or "))
	fs.Uint64Var(&f.seed, "seed", 1, "of inputs and of the random strategy")
	fs.BoolVar(&f.cold, "cold", false, "tune for arrays that no cache holds; these answers stand beside those for warm caches")
	fs.BoolVar(&f.dryRun, "dry-run", false, "tune, and say what would change, but leave the profile and its folder alone")
	fs.StringVar(&f.out, "out", "", "folder of profile, journal and report (default rooftune in the user's configuration folder)")
	return c
}

// thoroughBudget is what a run must have to spend half a minute on its ceilings; below it they take some six seconds.
const thoroughBudget = 3 * time.Minute

func (f *runFlags) run(ctx context.Context, out *output) error {
	m, err := machine.Detect()
	if err != nil {
		return err
	}
	o := tuner.Options{Strategy: f.strategy, Seed: f.seed, Dir: f.out, Cold: f.cold}
	if f.budget <= 0 {
		return fmt.Errorf("--budget %v: must be positive", f.budget)
	}
	if o.ISAs, err = allowedISAs(f.isa); err != nil {
		return err
	}
	if o.Problems, err = f.problems(m); err != nil {
		return err
	}
	if !slices.Contains(tuner.Strategies(), f.strategy) {
		return fmt.Errorf("--strategy %s: must be %s", f.strategy, strings.Join(tuner.Strategies(), " or "))
	}
	if o.Dir == "" {
		if o.Dir, err = tuner.DefaultDir(); err != nil {
			return fmt.Errorf("no configuration folder (%w): name one with --out", err)
		}
	}
	if o.Worker, err = worker(); err != nil {
		return err
	}
	target := o.Dir
	before, err := f.known(&o, m)
	if err != nil {
		return err
	}
	if f.dryRun {
		defer os.RemoveAll(o.Dir)
	}
	// Before minutes of measuring, not after.
	if err := writable(o.Dir); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if o.Held, err = tuner.Lock(o.Dir); err != nil {
		return err
	}
	defer o.Held.Release()
	measured, err := measure(ctx, out, m, f.budget < thoroughBudget)
	if err != nil {
		return err
	}
	o.Budget = max(f.budget-time.Since(processStart), time.Second)
	bar := out.newProgress()
	shown := 0
	o.Progress = func(e tuner.Event) {
		for ; shown < len(e.Found); shown++ {
			bar.found(foundLine(&e.Found[shown]))
		}
		what := e.What
		if e.ISA != "" {
			what += " " + string(e.ISA) + " " + roofline.Label(e.Problem)
		}
		bar.step(e.Done, e.Total, what)
	}
	report, err := tuner.Run(ctx, m, measured, o)
	bar.finish()
	if err != nil {
		return err
	}
	return f.print(out, report, before, filepath.Join(target, m.Fingerprint+".json"))
}

// known is the machine's profile before the run, nil if there is none that can be read. A dry run gets a folder of its own with a copy.
func (f *runFlags) known(o *tuner.Options, m *machine.Machine) (*profile.Profile, error) {
	name := m.Fingerprint + ".json"
	before, err := profile.Read(filepath.Join(o.Dir, name))
	if err != nil {
		before = nil
	}
	if !f.dryRun {
		return before, nil
	}
	if o.Dir, err = os.MkdirTemp("", "rooftune-dry-run-*"); err != nil {
		return nil, err
	}
	if before != nil {
		err = before.Write(filepath.Join(o.Dir, name))
	}
	return before, err
}

// foundLine is an answer in at most 80 columns.
func foundLine(r *tuner.Result) string {
	label := roofline.Label(r.Problem)
	const room = 42
	if n := []rune(label); len(n) > room {
		label = string(n[:room-1]) + "…"
	}
	return fmt.Sprintf("%-*s %-10s %8s %5s %s", room, label, fmt.Sprintf("%s x%d", r.ISA, r.Problem.Threads), nanoseconds(r.MedianNs), percent(r.RoofNs/r.MedianNs), r.BoundBy)
}

// writable makes a folder and tries to write there.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", dir, errors.Unwrap(err))
	}
	_, err = f.Write([]byte("x"))
	if e := f.Close(); err == nil {
		err = e
	}
	if e := os.Remove(f.Name()); err == nil {
		err = e
	}
	return err
}

// problems are those of --shape, else the default ones that the other flags leave.
func (f *runFlags) problems(m *machine.Machine) ([]tile.Problem, error) {
	if f.problem.shape != "" {
		p, err := f.problem.problem(m)
		return []tile.Problem{p}, err
	}
	n, err := threads(m, f.problem.threads)
	if err != nil {
		return nil, err
	}
	var kept []tile.Problem
	for _, p := range kernels.DefaultProblems(n) {
		if (f.problem.op == "" || p.Op == f.problem.op) && (f.problem.rule == "" || p.Rule == f.problem.rule) &&
			(f.problem.decay == "" || p.Decay == f.problem.decay) && (f.problem.weighting == "" || p.Weighting == f.problem.weighting) &&
			p.Dir == f.problem.dir {
			kept = append(kept, p)
		}
	}
	if kept == nil {
		return nil, errors.New("no default problem fits --op, --rule, --decay, --dir and --weighting: give a --shape")
	}
	return kept, nil
}

// runDocument is the tuner's report and what differs from the profile before.
type runDocument struct {
	*tuner.Report
	DryRun  bool              `json:"dry_run,omitempty"`
	Changes []roofline.Change `json:"changes,omitempty"`
}

// print shows the answers under their roofs, what differs from the profile before, if there was one, and where everything is. The profile
// of a dry run lies elsewhere; target is the one that the run is about.
func (f *runFlags) print(out *output, report *tuner.Report, before *profile.Profile, target string) error {
	p, err := profile.Read(report.Profile)
	if err != nil {
		return err
	}
	report.Profile = target
	base := strings.TrimSuffix(report.Profile, ".json")
	svg, html := base+".svg", base+".html"
	if !f.dryRun {
		if err := writeDrawing(svg, p, roofline.SVG); err != nil {
			return err
		}
		if err := writeHTML(html, p, report.Profile); err != nil {
			return err
		}
	}
	var changes []roofline.Change
	if before != nil {
		changes = roofline.Changed(before, p)
	}
	if out.json {
		if err := out.versioned(runDocument{report, f.dryRun, changes}); err != nil {
			return err
		}
	} else {
		if err := roofline.Table(out.w, p); err != nil {
			return err
		}
		for _, s := range report.Skipped {
			out.sentence("skipped: %s %s: %s", s.Problem, s.ISA, s.Reason)
		}
		for _, p := range report.Problems {
			if x := p.Change; x != nil && !x.Done { // the table below has what was done
				out.sentence("kept: %s %s: %s measured %.1f %% faster than %s, not proven to be above 2 %%", p.Problem, p.ISA, x.To, 100*x.Gain, x.From)
			}
		}
		if a := report.AA; a != nil {
			out.sentence("A/A: %d comparisons of a kernel with itself, %d reported a difference (level %g); detectable effect %.2f %%", a.Comparisons, a.Differences, a.Level, 100*a.Detectable)
		}
		out.printf("blocks: %d timed, %d void\n", report.Blocks, report.Voided)
		for _, n := range report.Notes {
			out.sentence("note: %s", n)
		}
		if before != nil {
			verb := "changed"
			if f.dryRun {
				verb = "would change"
			}
			if err := roofline.ChangedTable(out.w, verb, changes, len(before.Entries)); err != nil {
				return err
			}
		}
		if f.dryRun {
			out.printf("dry run: nothing was written\n")
		} else {
			out.printf("profile  %s\nreport   %s\nroofline %s\n", report.Profile, html, svg)
		}
	}
	if len(report.Errors) > 0 {
		return failure{report.Errors[0].Error()}
	}
	return nil
}
