package profile

import (
	"fmt"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Merge makes one profile a machine of profiles of several machines, in the order in which machines first appear. Of two answers of one
// machine to the same question, and of two crossovers, the one made with today's kernel sources is kept, then the later profile's; fresh is as for Lookup. What was
// measured of a machine, and the provenance, are those of its latest profile.
func Merge(profiles []*Profile, fresh func(op string, isa tile.ISA) string) ([]*Profile, error) {
	var merged []*Profile
	for _, p := range profiles {
		i := slices.IndexFunc(merged, func(m *Profile) bool { return m.Machine.Fingerprint == p.Machine.Fingerprint })
		if i < 0 {
			c := *p
			c.Entries, c.Crossovers, c.exact = slices.Clone(p.Entries), slices.Clone(p.Crossovers), nil
			merged = append(merged, &c)
			continue
		}
		m := merged[i]
		if a, b := m.Machine, p.Machine; a.Arch != b.Arch || a.Vendor != b.Vendor || a.Family != b.Family || a.Model != b.Model {
			return nil, fmt.Errorf("two machines have the fingerprint %s: %s family %d model %d, and %s family %d model %d",
				a.Fingerprint, a.Vendor, a.Family, a.Model, b.Vendor, b.Family, b.Model)
		}
		later := p.Created.After(m.Created)
		if later {
			m.Created, m.Go, m.Machine, m.Measured, m.Provenance = p.Created, p.Go, p.Machine, p.Measured, p.Provenance
		}
		for _, x := range p.Crossovers {
			old := m.Crossover(x.Problem, x.ISA)
			if old == nil || replaces(source{x.Problem.Op, x.ISA, x.SourceHash}, old.SourceHash, later, fresh) {
				m.AddCrossover(x)
			}
		}
		for _, e := range p.Entries {
			j := slices.IndexFunc(m.Entries, func(x Entry) bool { return keyOf(&x) == keyOf(&e) })
			switch {
			case j < 0:
				m.Entries = append(m.Entries, e)
			case replaces(source{e.Problem.Op, e.ISA, e.SourceHash}, m.Entries[j].SourceHash, later, fresh):
				m.Entries[j] = e
			}
		}
	}
	return merged, nil
}

// source is the kernels that an answer was measured with.
type source struct {
	op   string
	isa  tile.ISA
	hash string
}

// replaces says whether an answer is worth more than another to the same question, which was measured with sources of hash old.
func replaces(e source, old string, later bool, fresh func(string, tile.ISA) string) bool {
	if fresh == nil {
		return later
	}
	now := fresh(e.op, e.isa)
	if a, b := e.hash == now, old == now; a != b {
		return a
	}
	return later
}
