package main

import (
	"fmt"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newCheck(out *output) *cobra.Command {
	var dir string
	var f accuracyFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Measured against simulated and against the roof, a verdict per candidate",
		Long: `check lists every candidate that the last tune run measured beside its simulated time and its roof. With --candidates it measures
some of each problem's search space itself, and says how well the simulator ranks them.`,
		Example: `  tune check
  tune check --candidates 200 --op delta-rule --shape b=1,t=4096,hq=8,hkv=8,dk=128,dv=128 --threads 1
  tune check --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := machine.Detect()
			if err != nil {
				return err
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
	f.add(c.Flags())
	return c
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
