package profile

import (
	"fmt"
	"math"
)

// Provenance says under what conditions the last run made a profile's answers. Percentages are of CPU time.
type Provenance struct {
	Program       string  `json:"program,omitempty"`  // version and revision of the program that measured
	GOAMD64       string  `json:"goamd64,omitempty"`  // or the other architecture's level
	Kernel        string  `json:"kernel,omitempty"`   // the operating system's
	Clocks        string  `json:"clocks,omitempty"`   // clock source and frequency governor, as far as the system says
	ClockHz       float64 `json:"clock_hz,omitempty"` // as the canary loop of dependent one-cycle operations shows it: median over the run
	Strategy      string  `json:"strategy"`
	Seed          uint64  `json:"seed"`
	BudgetNs      int64   `json:"budget_ns"`
	Level         float64 `json:"level"`          // of all tests of one decision together: 1 less the confidence
	StealPct      float64 `json:"steal_pct"`      // that the hypervisor took while tuning, -1 if unknown
	TakenPct      float64 `json:"taken_pct"`      // that other processes took from timed blocks, and the hypervisor
	Blocks        int     `json:"blocks"`         // timed
	Voided        int     `json:"voided_blocks"`  // thrown away
	AAComparisons int     `json:"aa_comparisons"` // of a kernel with itself
	AADifferences int     `json:"aa_differences"` // that these reported: each is an error of the measurement
	AADetectable  float64 `json:"aa_detectable_effect"`
}

func (v *Provenance) validate() error {
	if v == nil {
		return nil
	}
	for _, x := range []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"clock_hz", v.ClockHz, 0, 1e12}, {"level", v.Level, 0, 1}, {"steal_pct", v.StealPct, -1, 100}, {"taken_pct", v.TakenPct, 0, 1e6},
		{"aa_detectable_effect", v.AADetectable, 0, math.MaxFloat64},
	} {
		if !(x.v >= x.min && x.v <= x.max) {
			return fmt.Errorf("%s is %g, must be from %g to %g", x.name, x.v, x.min, x.max)
		}
	}
	if v.BudgetNs < 0 || v.Blocks < 0 || v.Voided < 0 || v.Voided > v.Blocks || v.AAComparisons < 0 || v.AADifferences < 0 || v.AADifferences > v.AAComparisons {
		return fmt.Errorf("%d of %d blocks void, %d of %d comparisons differ, budget %d ns: must be counts in order", v.Voided, v.Blocks, v.AADifferences, v.AAComparisons, v.BudgetNs)
	}
	return nil
}
