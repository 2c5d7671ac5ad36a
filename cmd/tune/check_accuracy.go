package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// accuracyFlags are those of tune check that measure candidates.
type accuracyFlags struct {
	candidates, rounds int
	seed               uint64
	isas               []string
	problem            problemFlags
	names              []string // of all but candidates
}

func (f *accuracyFlags) add(fs *pflag.FlagSet) {
	fs.IntVar(&f.candidates, "candidates", 0, "measure this many candidates of each problem and ISA, drawn at random, beside their simulation")
	only := pflag.NewFlagSet("", pflag.ContinueOnError)
	only.IntVar(&f.rounds, "rounds", 3, "times that each is measured")
	only.Uint64Var(&f.seed, "seed", 1, "of the draw")
	only.StringSliceVar(&f.isas, "isa", nil, "instruction sets (default all but portable Go)")
	f.problem.add(only)
	only.VisitAll(func(flag *pflag.Flag) { f.names = append(f.names, flag.Name) })
	fs.AddFlagSet(only)
}

// given names a flag that was given and has no use without --candidates, those excepted that have another.
func (f *accuracyFlags) given(cmd *cobra.Command, except ...string) string {
	for _, name := range f.names {
		if cmd.Flags().Changed(name) && !slices.Contains(except, name) {
			return name
		}
	}
	return ""
}

func (f *accuracyFlags) run(cmd *cobra.Command, out *output, m *machine.Machine, dir string) error {
	o := tuner.AccuracyOptions{Candidates: f.candidates, Rounds: f.rounds, Seed: f.seed}
	for _, isa := range f.isas {
		o.ISAs = append(o.ISAs, tile.ISA(isa))
	}
	switch {
	case f.problem.shape != "":
		p, err := f.problem.problem(m)
		if err != nil {
			return err
		}
		o.Problems = []tile.Problem{p}
	default:
		n, err := threads(m, f.problem.threads)
		if err != nil {
			return err
		}
		for _, p := range kernels.DefaultProblems(n) {
			if f.problem.op == "" && p.Op != tile.HashLayer || p.Op == f.problem.op {
				o.Problems = append(o.Problems, p)
			}
		}
		if len(o.Problems) == 0 {
			return fmt.Errorf("--op %q: linear-attention, delta-rule or hash-layer", f.problem.op)
		}
	}
	if dir == "" {
		dir, _ = tuner.DefaultDir()
	}
	if own, err := profile.Read(filepath.Join(dir, m.Fingerprint+".json")); err == nil {
		o.Measured = &own.Measured
	}
	bar := out.newProgress()
	o.Progress = bar.step
	a, err := tuner.MeasureAccuracy(cmd.Context(), m, o)
	bar.finish()
	if err != nil {
		return err
	}
	if out.json {
		err = out.document(a)
	} else {
		err = printAccuracy(out, a)
	}
	if err == nil && a.UnderBound > 0 {
		err = failure{fmt.Sprintf("%d of %d candidates are faster than their lower bound: the measurement or the bound is wrong", a.UnderBound, a.Candidates)}
	}
	return err
}

// printAccuracy prints a table per problem with a row for each instruction set, and what its columns are.
func printAccuracy(out *output, a *tuner.Accuracy) error {
	for start := 0; start < len(a.Groups); {
		problem, end := a.Groups[start].Problem, start
		var rows [][]string
		for ; end < len(a.Groups) && a.Groups[end].Problem == problem; end++ {
			g := a.Groups[end]
			rows = append(rows, []string{string(g.ISA), fmt.Sprintf("%d of %d", g.Candidates, g.Space), fmt.Sprintf("%.2f", g.Spearman),
				fmt.Sprintf("%.3f", g.FirstOverBest), fmt.Sprintf("%.3f", g.TopOverBest), fmt.Sprintf("%.3f", g.DefaultNs/g.BestNs), fmt.Sprintf("%.2f", g.BoundShare),
				nanoseconds(g.BestNs), fmt.Sprintf("%.2f", g.MedianRatio), fmt.Sprintf("%.0f %%", 100*g.MedianError)})
		}
		out.printf("%s\n", problem)
		if err := out.table([]string{"isa", ">candidates", ">Spearman", ">first 5 %", ">first", ">default", ">bound", ">best", ">ratio", ">error"}, rows); err != nil {
			return err
		}
		out.printf("\n")
		start = end
	}
	out.printf("over the best: first 5 %% (fastest of the simulator's), its first, the default\nbound: the largest lower bound over measured; ratio: measured over simulated,\nerror: its distance from 1; both are medians\n")
	out.printf("%d candidates, Spearman over all %.3f, %d faster than their lower bound\n", a.Candidates, a.Spearman, a.UnderBound)
	return nil
}
