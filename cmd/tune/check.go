package main

import (
	"context"
	"fmt"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newCheck(out *output) *cobra.Command {
	var dir string
	var aa int
	var f accuracyFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Measured against simulated and against the roof, a verdict per candidate",
		Long: `check lists every candidate that the last tune run measured beside its simulated time and its roof. With --candidates it measures
some of each problem's search space itself, and says how well the simulator ranks them.`,
		Example: `  tune check
  tune check --aa 100
  tune check --candidates 200 --op delta-rule --shape b=1,t=4096,hq=8,hkv=8,dk=128,dv=128 --threads 1
  tune check --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("aa") {
				if f.candidates > 0 {
					return fmt.Errorf("--aa and --candidates: one at a time")
				}
				if name := f.given(cmd, "threads"); name != "" {
					return fmt.Errorf("--%s goes with --candidates", name)
				}
				return checkAA(cmd.Context(), out, m, aa, f.problem.threads)
			}
			if f.candidates > 0 {
				return f.run(cmd, out, m, dir)
			}
			if name := f.given(cmd); name != "" {
				return fmt.Errorf("--%s goes with --candidates", name)
			}
			bar := out.newProgress()
			checks, err := tuner.Check(cmd.Context(), m, tuner.CheckOptions{Dir: dir, Progress: bar.step})
			bar.finish()
			if err != nil {
				return err
			}
			beaten := 0
			for _, c := range checks {
				if !c.OK() {
					beaten++
				}
			}
			if out.json {
				err = out.document(map[string]any{"check": checks})
			} else {
				err = printChecks(out, checks)
			}
			if err == nil && beaten > 0 {
				err = failure{fmt.Sprintf("%d of %d candidates beat their roof: the measurement or the count is wrong", beaten, len(checks))}
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "out", "", "folder of the run's journal (default rooftune in the user's configuration folder)")
	c.Flags().IntVar(&aa, "aa", 0, "instead, compare kernels with themselves so many times: what differs is a mistake of the measurement")
	f.add(c.Flags())
	return c
}

// allowedDifferences is how many of a hundred A/A comparisons at level 0.01 may differ: five and more have a chance of one in three hundred.
const allowedDifferences = 4

// checkAA compares kernels with themselves.
func checkAA(ctx context.Context, out *output, m *machine.Machine, n, threadCount int) error {
	count, err := threads(m, threadCount)
	if err != nil {
		return err
	}
	bar := out.newProgress()
	r, err := tuner.CompareWithSelf(ctx, m, tuner.AAOptions{Comparisons: n, Threads: count, Progress: bar.step})
	bar.finish()
	if err != nil {
		return err
	}
	if out.json {
		if err := out.versioned(r); err != nil {
			return err
		}
	} else {
		out.printf("%d comparisons of a kernel with itself, level %g: %d reported a difference, %d had too few steady blocks\n", r.Comparisons, r.Level, r.Differences, r.Unsteady)
		out.printf("detectable effect %.2f %% (median), largest difference %.2f %%\n", 100*r.Detectable, 100*r.Worst)
		out.printf("%d blocks, %d void; others took %.1f %% of their CPU time\n", r.Blocks, r.Voided, r.TakenPct)
	}
	if r.Differences > max(1, allowedDifferences*n/100) {
		return failure{fmt.Sprintf("%d of %d comparisons of a kernel with itself reported a difference", r.Differences, n)}
	}
	return nil
}

// printChecks prints a table per problem and ISA, configs by their values alone under a line that names them.
func printChecks(out *output, checks []tuner.CheckResult) error {
	title := func(c tuner.CheckResult) string { return c.Problem.String() + " " + string(c.ISA) }
	for start := 0; start < len(checks); {
		end := start
		var rows [][]string
		for ; end < len(checks) && title(checks[end]) == title(checks[start]); end++ {
			c := checks[end]
			simulated, ratio := "unknown", "unknown"
			if c.SimulatedNs > 0 {
				simulated, ratio = nanoseconds(c.SimulatedNs), fmt.Sprintf("%.2f", c.Ratio)
			}
			rows = append(rows, []string{c.Config.Values(), nanoseconds(c.RoofNs), simulated, nanoseconds(c.MedianNs), ratio, c.BoundBy, out.verdict(c.OK(), c.Verdict)})
		}
		out.printf("%s\nconfig: %s\n", title(checks[start]), checks[start].Config.Names())
		if err := out.table([]string{"config", ">roof", ">simulated", ">measured", ">ratio", "bound by", "verdict"}, rows); err != nil {
			return err
		}
		out.printf("\n")
		start = end
	}
	return nil
}
