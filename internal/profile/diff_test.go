package profile

import (
	"testing"
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
)

func TestCompare(t *testing.T) {
	a, b := sample(), sample()
	b.Entries[0].Config = tile.Config{"chunk": 32, "mr": 8} // in a's tie set
	b.Entries[0].TieSet = nil
	b.Entries[1].Config = tile.Config{"chunk": 16, "mr": 8}
	b.Entries[1].TieSet = []tile.Config{{"mr": 8, "chunk": 64}} // a's config
	b.Entries[2].Config = tile.Config{"chunk": 16, "mr": 8}
	b.Entries[2].TieSet = nil
	b.Entries[3].Cold = true // another question
	want := []string{Tied, Tied, Different, OnlyA, OnlyB}
	got := Compare(a, b)
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, d := range got {
		if d.Relation != want[i] || (d.A == nil) != (want[i] == OnlyB) || (d.B == nil) != (want[i] == OnlyA) {
			t.Errorf("%d: %s, want %s", i, d.Relation, want[i])
		}
	}
	for _, d := range Compare(a, a) {
		if d.Relation != Same {
			t.Errorf("%s of itself", d.Relation)
		}
	}
}

func TestMerge(t *testing.T) {
	fresh := func(_ string, isa tile.ISA) string { return "fresh-" + string(isa) }
	a, b, c, other := sample(), sample(), sample(), sample()
	b.Created = a.Created.Add(time.Hour)
	b.Measured.StealPct = 7
	b.Entries = b.Entries[:2]
	b.Entries[0].Config = tile.Config{"chunk": 128}
	b.Entries[1].Config, b.Entries[1].SourceHash = tile.Config{"chunk": 128}, "old"
	c.Created = a.Created.Add(-time.Hour)
	c.Entries = []Entry{entry(attention(7, 8, 128), tile.AVX2, 3e5), a.Entries[3]}
	c.Entries[1].Config = tile.Config{"chunk": 1}
	other.Machine.Fingerprint = "fedcba9876543210"
	for _, order := range [][]*Profile{{a, b, c, other}, {b, a, other, c}} {
		got, err := Merge(order, fresh)
		if err != nil || len(got) != 2 {
			t.Fatalf("%v, %d machines", err, len(got))
		}
		m := got[0]
		marshal(t, m) // is sound
		if len(m.Entries) != 5 || !m.Created.Equal(b.Created) || m.Measured.StealPct != 7 || len(got[1].Entries) != 4 {
			t.Errorf("%d and %d answers, of %v", len(m.Entries), len(got[1].Entries), m.Created)
		}
		chunk := map[key]int{}
		for _, e := range m.Entries {
			chunk[keyOf(&e)] = e.Config["chunk"]
		}
		for e, want := range map[*Entry]int{&b.Entries[0]: 128, &a.Entries[1]: 64, &a.Entries[2]: 64, &a.Entries[3]: 64, &c.Entries[0]: 64} {
			if chunk[keyOf(e)] != want {
				t.Errorf("%s %s: chunk %d, want %d", e.Problem, e.ISA, chunk[keyOf(e)], want)
			}
		}
	}
	if a.Entries[0].Config["chunk"] != 64 || len(a.Entries) != 4 {
		t.Error("an input was changed")
	}
	other.Machine.Fingerprint, other.Machine.Model = a.Machine.Fingerprint, 99
	if _, err := Merge([]*Profile{a, other}, fresh); err == nil {
		t.Error("two machines of one fingerprint are taken for one")
	}
}

func TestColdAnswersStandIn(t *testing.T) {
	p := sample()
	p.Entries = p.Entries[:1]
	p.Entries[0].Cold = true
	warm := p.Entries[0]
	warm.Cold, warm.Config = false, tile.Config{"chunk": 16}
	isas := []tile.ISA{tile.AVX2}
	q, err := Parse(marshal(t, p))
	if err != nil {
		t.Fatal(err)
	}
	if e, d, _ := q.Lookup(warm.Problem, isas, nil); e == nil || d != penaltyCold {
		t.Errorf("%v at %g", e, d)
	}
	p.Entries = append(p.Entries, warm)
	if q, err = Parse(marshal(t, p)); err != nil {
		t.Fatal(err)
	}
	if e, d, _ := q.Lookup(warm.Problem, isas, nil); e == nil || d != 0 || e.Cold {
		t.Errorf("%v at %g", e, d)
	}
}
