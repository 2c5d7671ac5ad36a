package profile

import (
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Relations of two profiles' answers to one question.
const (
	Same      = "same"           // the same config
	Tied      = "inside tie set" // another one, that one of the profiles could not tell apart from its own
	Different = "different"
	OnlyA     = "only in the first"
	OnlyB     = "only in the second"
)

// Difference is one problem and ISA in two profiles. A or B is nil where that profile has no answer.
type Difference struct {
	Problem  tile.Problem
	ISA      tile.ISA
	Cold     bool
	Relation string
	A, B     *Entry
}

// Compare pairs the answers of two profiles, in the order of the first and then of the second.
func Compare(a, b *Profile) []Difference {
	var out []Difference
	at := func(p *Profile) map[key]*Entry {
		m := map[key]*Entry{}
		for i := range p.Entries {
			m[keyOf(&p.Entries[i])] = &p.Entries[i]
		}
		return m
	}
	inA, inB := at(a), at(b)
	for i := range a.Entries {
		x := &a.Entries[i]
		d := Difference{Problem: x.Problem, ISA: x.ISA, Cold: x.Cold, Relation: OnlyA, A: x, B: inB[keyOf(x)]}
		if d.B != nil {
			d.Relation = relation(x, d.B)
		}
		out = append(out, d)
	}
	for i := range b.Entries {
		if x := &b.Entries[i]; inA[keyOf(x)] == nil {
			out = append(out, Difference{Problem: x.Problem, ISA: x.ISA, Cold: x.Cold, Relation: OnlyB, B: x})
		}
	}
	return out
}

func relation(a, b *Entry) string {
	holds := func(set []tile.Config, c tile.Config) bool {
		return slices.ContainsFunc(set, func(x tile.Config) bool { return x.String() == c.String() })
	}
	switch {
	case a.Config.String() == b.Config.String():
		return Same
	case holds(a.TieSet, b.Config) || holds(b.TieSet, a.Config):
		return Tied
	}
	return Different
}
