package main

import (
	"fmt"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/spf13/cobra"
)

// profileDifference is one problem and ISA in two profiles.
type profileDifference struct {
	Problem  tile.Problem `json:"problem"`
	ISA      tile.ISA     `json:"isa"`
	Cold     bool         `json:"cold,omitempty"`
	Relation string       `json:"relation"`
	A        tile.Config  `json:"a,omitempty"` // absent where that profile has no answer
	B        tile.Config  `json:"b,omitempty"`
	ANs      float64      `json:"a_ns,omitempty"`
	BNs      float64      `json:"b_ns,omitempty"`
}

// profileDiff is the document of tune profile diff --json.
type profileDiff struct {
	A           string              `json:"a"`
	B           string              `json:"b"`
	SameMachine bool                `json:"same_machine"`
	Same        int                 `json:"same"`
	Tied        int                 `json:"inside_tie_set"`
	Different   int                 `json:"different"`
	OnlyA       int                 `json:"only_a"`
	OnlyB       int                 `json:"only_b"`
	Entries     []profileDifference `json:"entries"`
}

func newProfileDiff(out *output) *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Two profiles' answers: the same, another of a declared tie set, or different",
		Long: `diff compares two profiles answer by answer. Two configs that differ are "inside tie set" if one of the profiles says that it could not
tell them apart. Exit code 1 if there are others.`,
		Example: "  tune profile diff monday/0123456789abcdef.json tuesday/0123456789abcdef.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := profile.Read(args[0])
			if err != nil {
				return err
			}
			b, err := profile.Read(args[1])
			if err != nil {
				return err
			}
			d := diffProfiles(a, b)
			d.A, d.B = args[0], args[1]
			if out.json {
				err = out.document(d)
			} else {
				err = d.print(out)
			}
			if err == nil && d.Different > 0 {
				err = failure{fmt.Sprintf("%d answers differ beyond their tie sets", d.Different)}
			}
			return err
		},
	}
}

func diffProfiles(a, b *profile.Profile) *profileDiff {
	d := &profileDiff{SameMachine: a.Machine.Fingerprint == b.Machine.Fingerprint, Entries: []profileDifference{}}
	for _, x := range profile.Compare(a, b) {
		e := profileDifference{Problem: x.Problem, ISA: x.ISA, Cold: x.Cold, Relation: x.Relation}
		if x.A != nil {
			e.A, e.ANs = x.A.Config, x.A.MedianNs
		}
		if x.B != nil {
			e.B, e.BNs = x.B.Config, x.B.MedianNs
		}
		d.Entries = append(d.Entries, e)
		*map[string]*int{profile.Same: &d.Same, profile.Tied: &d.Tied, profile.Different: &d.Different, profile.OnlyA: &d.OnlyA, profile.OnlyB: &d.OnlyB}[x.Relation]++
	}
	return d
}

func (d *profileDiff) print(out *output) error {
	if !d.SameMachine {
		out.printf("profiles of two machines\n")
	}
	var rows [][]string
	for _, e := range d.Entries {
		if e.Relation == profile.Same {
			continue
		}
		config := func(c tile.Config, ns float64) string {
			if ns == 0 {
				return "-"
			}
			return c.Values() + " " + nanoseconds(ns)
		}
		problem := e.Problem.String()
		if e.Cold {
			problem += " cold"
		}
		rows = append(rows, []string{problem, string(e.ISA), config(e.A, e.ANs), config(e.B, e.BNs), out.verdict(e.Relation != profile.Different, e.Relation)})
	}
	if len(rows) > 0 {
		if err := out.table([]string{"problem", "isa", "first", "second", "relation"}, rows); err != nil {
			return err
		}
	}
	out.printf("%d the same, %d inside a tie set, %d different, %d only in the first, %d only in the second\n", d.Same, d.Tied, d.Different, d.OnlyA, d.OnlyB)
	return nil
}
