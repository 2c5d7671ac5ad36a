package roofline

import (
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
)

// median is the middle value, or the mean of the two middle values; 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// summarize makes a ceiling of samples.
func summarize(s Spec, samples []float64) machine.Ceiling {
	c := machine.Ceiling{
		Kind: s.Kind, ISA: s.ISA, Level: s.Level, RowBytes: s.RowBytes, Threads: s.Threads,
		Median: median(samples), Min: slices.Min(samples), Max: slices.Max(samples), Samples: len(samples),
		Unit: "B/s",
	}
	if s.Kind == machine.KindFlops {
		c.DType, c.Unit = "float32", "FLOP/s"
	}
	if s.Kind == machine.KindDotBF16 {
		c.DType, c.Unit = "bfloat16", "FLOP/s"
	}
	return c
}
