package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newCheck(out *output) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "check",
		Short: "Measured against simulated and against the roof, a verdict per candidate",
		Example: `  tune check
  tune check --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := machine.Detect()
			if err != nil {
				return err
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
	return c
}

// printChecks prints a table for each problem and ISA, its configs as values in the order of their names.
func printChecks(out *output, checks []tuner.CheckResult) error {
	for start := 0; start < len(checks); {
		first := checks[start]
		var rows [][]string
		end := start
		for ; end < len(checks) && checks[end].Problem == first.Problem && checks[end].ISA == first.ISA; end++ {
			c := checks[end]
			ratio := "unknown"
			if c.SimulatedNs > 0 {
				ratio = fmt.Sprintf("%.2f", c.Ratio)
			}
			rows = append(rows, []string{values(c.Config), nanoseconds(c.RoofNs), simulated(c.SimulatedNs), nanoseconds(c.MedianNs), ratio, c.BoundBy,
				out.verdict(c.OK(), c.Verdict)})
		}
		out.printf("%s %s\n", first.Problem, first.ISA)
		names := strings.Join(slices.Sorted(maps.Keys(first.Config)), "/")
		if err := out.table([]string{names, ">roof", ">simulated", ">measured", ">ratio", "bound by", "verdict"}, rows); err != nil {
			return err
		}
		out.printf("\n")
		start = end
	}
	return nil
}

// values gives a config's values in the order of their names: "32/8/32/4/4/0/128".
func values(c tile.Config) string {
	var v []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		v = append(v, strconv.Itoa(c[name]))
	}
	return strings.Join(v, "/")
}
