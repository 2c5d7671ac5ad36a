package profile

import (
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// many has ten thousand answers, as of a fleet's worth of shapes.
func many() *Profile {
	p := sample()
	p.Entries = nil
	for i := range 5000 {
		q := attention(1+i%250*16, 1+i/250, 64<<(i%3))
		for _, isa := range []tile.ISA{tile.AVX2, tile.AVX512} {
			p.Entries = append(p.Entries, entry(q, isa, float64(1000+i)))
		}
	}
	return p
}

// A look-up allocates nothing, however far the nearest answer is.
func TestLookupAllocates(t *testing.T) {
	p, err := Parse(marshal(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	isas := []tile.ISA{tile.AVX2, tile.AVX512}
	fresh := func(_ string, isa tile.ISA) string { return "fresh-avx2" }
	for _, q := range []tile.Problem{p.Entries[0].Problem, attention(777, 5, 96)} {
		if n := testing.AllocsPerRun(100, func() {
			if e, _, _ := p.Lookup(q, isas, fresh); e == nil {
				t.Fatal("nothing found")
			}
		}); n != 0 {
			t.Errorf("%s: %g allocations", q, n)
		}
	}
}

func BenchmarkParseForUse(b *testing.B) {
	raw := marshal(b, many())
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := ParseForUse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	raw := marshal(b, many())
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	p, err := Parse(marshal(b, many()))
	if err != nil {
		b.Fatal(err)
	}
	isas := []tile.ISA{tile.AVX2, tile.AVX512}
	fresh := map[tile.ISA]string{tile.AVX2: "fresh-avx2", tile.AVX512: "fresh-avx512"}
	for name, q := range map[string]tile.Problem{"exact": p.Entries[777].Problem, "nearest": attention(777, 5, 96)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if e, _, _ := p.Lookup(q, isas, func(_ string, isa tile.ISA) string { return fresh[isa] }); e == nil {
					b.Fatal("nothing found")
				}
			}
		})
	}
}
