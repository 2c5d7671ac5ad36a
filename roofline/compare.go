package roofline

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Verdicts of a comparison.
const (
	Faster    = "faster"
	Slower    = "slower"
	Same      = "same"
	OnlyFirst = "only in the first"
	OnlyOther = "only in the second"
)

// leastChange is the relative difference that a comparison calls a change at all: what two runs of one config differ by.
const leastChange = 0.02

// Change is one problem and ISA in two profiles.
type Change struct {
	Problem     tile.Problem `json:"problem"`
	ISA         tile.ISA     `json:"isa"`
	BeforeNs    float64      `json:"before_ns,omitempty"` // absent where a profile lacks it
	AfterNs     float64      `json:"after_ns,omitempty"`
	Ratio       float64      `json:"ratio,omitempty"` // after over before: below 1 is faster
	SmallestNs  float64      `json:"smallest_difference_ns,omitempty"`
	Verdict     string       `json:"verdict"`
	Before      tile.Config  `json:"before_config,omitempty"`
	After       tile.Config  `json:"after_config,omitempty"`
	BeforeBound string       `json:"before_bound_by,omitempty"`
	AfterBound  string       `json:"after_bound_by,omitempty"`
}

// Compare matches the answers of two profiles by problem and ISA, slowest change first. Two times are the same when they differ by less than the
// smallest difference that either run could have seen, and by less than 2 %.
func Compare(before, after *profile.Profile) []Change {
	type key struct {
		problem tile.Problem
		isa     tile.ISA
	}
	changes := []Change{}
	at := map[key]int{}
	for i := range before.Entries {
		e := &before.Entries[i]
		at[key{e.Problem, e.ISA}] = len(changes)
		changes = append(changes, Change{Problem: e.Problem, ISA: e.ISA, BeforeNs: e.MedianNs, Before: e.Config, BeforeBound: e.BoundBy, Verdict: OnlyFirst,
			SmallestNs: e.DetectableEffect * e.MedianNs})
	}
	for i := range after.Entries {
		e := &after.Entries[i]
		k, ok := at[key{e.Problem, e.ISA}]
		if !ok {
			changes = append(changes, Change{Problem: e.Problem, ISA: e.ISA, AfterNs: e.MedianNs, After: e.Config, AfterBound: e.BoundBy, Verdict: OnlyOther})
			continue
		}
		c := &changes[k]
		c.AfterNs, c.After, c.AfterBound = e.MedianNs, e.Config, e.BoundBy
		c.SmallestNs = max(leastChange*c.BeforeNs, c.SmallestNs, e.DetectableEffect*e.MedianNs)
		switch d := c.AfterNs - c.BeforeNs; {
		case !(c.BeforeNs > 0) || !(c.AfterNs > 0):
			c.Verdict = unknown
			continue
		case d > c.SmallestNs:
			c.Verdict = Slower
		case -d > c.SmallestNs:
			c.Verdict = Faster
		default:
			c.Verdict = Same
		}
		c.Ratio = c.AfterNs / c.BeforeNs
	}
	for i := range changes {
		if changes[i].Verdict == OnlyFirst || changes[i].Verdict == OnlyOther {
			changes[i].SmallestNs = 0
		}
	}
	order := []string{Slower, Faster, Same, unknown, OnlyFirst, OnlyOther}
	slices.SortStableFunc(changes, func(a, b Change) int {
		if c := cmp.Compare(slices.Index(order, a.Verdict), slices.Index(order, b.Verdict)); c != 0 {
			return c
		}
		if a.Verdict == Faster {
			return cmp.Compare(a.Ratio, b.Ratio)
		}
		return cmp.Compare(b.Ratio, a.Ratio)
	})
	return changes
}

// CompareTable writes changes in at most 80 columns: those that differ, then how many do not.
func CompareTable(w io.Writer, changes []Change) error {
	counts := map[string]int{}
	t := newTable([]string{"problem", "isa", "verdict", "before", "after", "ratio"}, 3)
	rows := 0
	for _, c := range changes {
		counts[c.Verdict]++
		if c.Verdict == Same {
			continue
		}
		before, after, ratio := unknown, unknown, unknown
		if c.BeforeNs > 0 {
			before = timeText(c.BeforeNs)
		}
		if c.AfterNs > 0 {
			after = timeText(c.AfterNs)
		}
		if c.Ratio > 0 {
			ratio = number(c.Ratio)
		}
		if err := t.Append([]string{wrap(opName(c.Problem)+" "+shapeText(c.Problem.Shape), ' ', 26), fmt.Sprintf("%s x%d", c.ISA, c.Problem.Threads), wrap(c.Verdict, ' ', 12), before, after, ratio}); err != nil {
			return err
		}
		rows++
	}
	if rows > 0 {
		if err := t.write(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d faster, %d slower, %d the same, %d in one profile only\n", counts[Faster], counts[Slower], counts[Same], counts[OnlyFirst]+counts[OnlyOther])
	return err
}

// Changed lists the problems and ISAs whose config differs between two profiles, in the order of Compare.
func Changed(before, after *profile.Profile) []Change {
	return slices.DeleteFunc(Compare(before, after), func(c Change) bool {
		return c.Verdict == OnlyFirst || c.Verdict == OnlyOther || c.Before.String() == c.After.String()
	})
}

// ChangedTable writes those changes in at most 80 columns; verb says what happens to the answers: "changed" or "would change". Times are of different runs:
// what proves a change is the run's own paired comparison.
func ChangedTable(w io.Writer, verb string, changes []Change, answers int) error {
	if len(changes) > 0 {
		t := newTable([]string{"problem", "isa", "config", "time"}, 3)
		for _, c := range changes {
			if err := t.Append([]string{wrap(Label(c.Problem), ' ', 24), fmt.Sprintf("%s x%d", c.ISA, c.Problem.Threads),
				wrap(c.Before.String(), ',', 28) + "\n" + wrap("-> "+c.After.String(), ',', 28), timeText(c.BeforeNs) + "\n-> " + timeText(c.AfterNs)}); err != nil {
				return err
			}
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s: %d of the profile's %d answers\n", verb, len(changes), answers)
	return err
}
