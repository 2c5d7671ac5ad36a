package main

import (
	"fmt"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newBench(out *output) *cobra.Command {
	var f problemFlags
	var isa, config string
	var cold bool
	var placement placementFlag
	c := &cobra.Command{
		Use:   "bench --op O --shape S",
		Short: "Time one problem with the chosen or a given config, beside its roof",
		Example: `  tune bench --op delta-rule --rule gated_delta --shape b=1,t=4096,hq=8,hkv=8,dk=128,dv=128 --threads 1
  tune bench --op hash-layer --shape n=32,d=1024,h=1024,tau=8 --config group=8
  tune bench --op linear-attention --shape b=1,t=512,hq=8,hkv=8,dk=128,dv=128 > new.txt; benchstat old.txt new.txt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			if err := placement.place(); err != nil {
				return err
			}
			p, err := f.problem(m)
			if err != nil {
				return err
			}
			choice, err := choose(p, isa, config)
			if err != nil {
				return err
			}
			child, err := worker()
			if err != nil {
				return err
			}
			bar := out.newProgress()
			s, err := tuner.Bench(cmd.Context(), m, choice, tuner.BenchOptions{Cold: cold, Worker: child, Progress: bar.step})
			bar.finish()
			if err != nil {
				return err
			}
			if out.json {
				err = out.versioned(s)
			} else {
				printSample(out, m, s)
			}
			if err == nil && s.Failed != "" {
				err = failure{s.Failed}
			}
			return err
		},
	}
	f.add(c.Flags())
	placement.add(c.Flags())
	c.Flags().BoolVar(&cold, "cold", false, "every run finds its arrays in memory, not in caches")
	c.Flags().StringVar(&isa, "isa", "", "run this instruction set")
	c.Flags().StringVar(&config, "config", "", "values that replace those of the chosen config, k=v,...")
	return c
}

// printSample prints a sample in words, then as Go's benchmarks do, one line for each block, so that benchstat reads it.
func printSample(out *output, m *machine.Machine, s *tuner.Sample) {
	caches := "warm"
	if s.Cold {
		caches = "cold"
	}
	out.printf("# %s on %s, %s (%s), %s caches\n", s.Problem(), s.ISA, s.Config, s.Source, caches)
	out.printf("# median %s, min %s, max %s of %d samples\n", nanoseconds(s.MedianNs), nanoseconds(s.MinNs), nanoseconds(s.MaxNs), s.Samples)
	out.printf("# %s of useful flops, %s of the ceiling %s\n", amount(float64(s.Flops)/s.MedianNs*1e9, "FLOP/s"),
		percent(s.FractionOfCeiling), amount(s.CeilingFlopsPerS, "FLOP/s"))
	out.printf("# roof %s (%s), %s of it; simulated %s\n", nanoseconds(s.RoofNs), s.BoundBy, percent(s.RoofNs/s.MedianNs), simulated(s.SimulatedNs))
	if f := s.Form; f != nil {
		out.printf("# this form's traffic as simulated takes %s (%s), %s of it\n", nanoseconds(f.RoofNs), f.BoundBy, percent(f.Fraction))
		if f.Note != "" {
			out.printf("# %s\n", f.Note)
		}
	}
	if s.Scaling > 0 {
		out.printf("# one thread takes %s with %s, %s: %d threads are %.2fx as fast\n",
			nanoseconds(s.OneThreadNs), s.OneThreadISA, s.OneThreadConfig, s.Threads, s.Scaling)
	}
	out.printf("# error %.2g, bound %.2g\n", s.MaxError, s.ErrorBound)
	if s.DenseNs > 0 {
		out.printf("# %s, of these widths: %s, the hash layer is %.2fx as fast\n", s.Dense, nanoseconds(s.DenseNs), s.DenseNs/s.MedianNs)
	}
	out.printf("goos: %s\ngoarch: %s\npkg: github.com/rooftune/rooftune/kernels\ncpu: %s\n", m.OS, m.Arch, m.Brand)
	for _, b := range s.Blocks {
		out.printf("%s %8d %12.0f ns/op\n", benchmarkName(s.Problem(), s.ISA), b.Runs, b.Ns)
	}
}

// benchmarkName gives BenchmarkTune/op=delta-rule/...: sub-names of key=value, which benchstat can group by.
func benchmarkName(p tile.Problem, isa tile.ISA) string {
	parts := []string{"BenchmarkTune", "op=" + p.Op}
	if p.Rule != "" {
		parts = append(parts, "rule="+p.Rule, "decay="+p.Decay)
	}
	if p.Dir != tile.Forward {
		parts = append(parts, "dir="+p.Dir)
	}
	if p.DType != tile.Float32 {
		parts = append(parts, "dtype="+p.DType)
	}
	if p.StateDType != "" {
		parts = append(parts, "state_dtype="+p.StateDType)
	}
	for _, option := range []struct {
		name string
		set  bool
	}{{"full", p.Full}, {"normalize", p.Normalize}, {"feature_map=" + p.FeatureMap, p.FeatureMap != tile.MapNone}, {"front=" + p.Front, p.Front != tile.FrontNone}, {"gates=" + p.Gates, p.Gates != ""}} {
		if option.set {
			parts = append(parts, option.name)
		}
	}
	if p.Weighting != "" {
		parts = append(parts, "weighting="+p.Weighting)
	}
	parts = append(parts, strings.Split(p.Shape.String(), ",")...)
	return strings.Join(append(parts, "isa="+string(isa)), "/") + fmt.Sprintf("-%d", p.Threads)
}

// simulated is a simulated time, 0 where the simulator could not say.
func simulated(ns float64) string {
	if ns == 0 {
		return "unknown"
	}
	return nanoseconds(ns)
}
