package profile

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rooftune/rooftune/kernels/tile"
)

func hashCrossover(ratios ...float64) Crossover {
	c := Crossover{
		Problem: tile.Problem{Op: tile.HashLayer, DType: "float32", Dir: "fwd", Threads: 1, Weighting: tile.WeightingPaper, Shape: tile.Shape{D: 1024, H: 1024, Tau: 8}},
		ISA:     tile.AVX2, SourceHash: "x", Dense: DenseDriver,
	}
	for i, r := range ratios {
		c.Points = append(c.Points, CrossoverPoint{Tokens: 16 << i, Config: tile.Config{"form": 0}, HashNs: 1000, DenseNs: 1000 * r, Ratio: r, Samples: 3})
	}
	return c
}

func TestCrossings(t *testing.T) {
	c := hashCrossover(4, 0.25, 0.5, 2)
	x := c.Crossings()
	if len(x) != 2 || x[0].Hash || !x[1].Hash || math.Abs(x[0].Tokens-16*math.Sqrt2) > 1e-9 || math.Abs(x[1].Tokens-64*math.Sqrt2) > 1e-9 {
		t.Errorf("%+v", x)
	}
	for want, c := range map[string]Crossover{
		"faster than dense, slower from about 23 tokens, faster from about 91 tokens (measured from 16 to 128)": c,
		"faster than dense from 16 to 64 tokens, least at 32: 1.20x":                                            hashCrossover(3, 1.2, 2),
		"slower than dense from 16 to 32 tokens":                                                                hashCrossover(0.5, 0.9),
		"slower than dense, faster from about 17000 tokens (measured from 16 to 32768)":                         {Points: []CrossoverPoint{{Tokens: 16, Ratio: 0.1}, {Tokens: 16384, Ratio: 0.9}, {Tokens: 32768, Ratio: 3}}},
		"unknown": hashCrossover(),
	} {
		if got := c.Text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A profile keeps crossovers and dense times, looks nothing up by them, and refuses what cannot be.
func TestCrossoverRoundTrip(t *testing.T) {
	p, plain := sample(), sample()
	p.Entries[0].DenseNs = 3e6
	p.AddCrossover(hashCrossover(1, 2))
	p.AddCrossover(hashCrossover(3, 0.5, 2)) // in the place of the first
	path := filepath.Join(t.TempDir(), "p.json")
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.Crossovers, got.Crossovers); d != "" || got.Entries[0].DenseNs != 3e6 {
		t.Error(d)
	}
	problem := p.Crossovers[0].Problem
	problem.Shape.N = 77
	if c := got.Crossover(problem, tile.AVX2); c == nil || len(c.Points) != 3 {
		t.Errorf("%+v", c)
	}
	if c := got.Crossover(problem, tile.AVX512); c != nil {
		t.Errorf("%+v", c)
	}
	plainRead, err := Parse(marshal(t, plain))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Entries {
		a, _, _ := got.Lookup(e.Problem, []tile.ISA{tile.AVX2, tile.AVX512}, nil)
		b, _, _ := plainRead.Lookup(e.Problem, []tile.ISA{tile.AVX2, tile.AVX512}, nil)
		if a == nil || b == nil || a.Config.String() != b.Config.String() || a.ISA != b.ISA {
			t.Errorf("%s: %+v and %+v", e.Problem, a, b)
		}
	}
	merged, err := Merge([]*Profile{plain, p}, nil)
	if err != nil || len(merged) != 1 || len(merged[0].Crossovers) != 1 {
		t.Errorf("%v, %+v", err, merged)
	}
	// Of two crossovers the one of today's sources is kept, whichever profile is later.
	for _, later := range []time.Duration{-time.Hour, time.Hour} {
		old := sample()
		old.Created = p.Created.Add(later)
		stale := hashCrossover(7)
		stale.SourceHash = "old"
		old.AddCrossover(stale)
		for _, order := range [][]*Profile{{p, old}, {old, p}} {
			merged, err := Merge(order, func(string, tile.ISA) string { return p.Crossovers[0].SourceHash })
			if err != nil || cmp.Diff(merged[0].Crossovers, p.Crossovers) != "" {
				t.Errorf("%v, %+v", err, merged)
			}
		}
	}
	for want, damage := range map[string]func(*Profile){
		"n must be absent":    func(p *Profile) { p.Crossovers[0].Problem.Shape.N = 3 },
		"ascending order":     func(p *Profile) { p.Crossovers[0].Points[1].Tokens = 16 },
		"must be positive":    func(p *Profile) { p.Crossovers[0].Points[1].Ratio = math.Inf(1) },
		"there is one":        func(p *Profile) { p.Crossovers = append(p.Crossovers, p.Crossovers[0]) },
		"dense_ns":            func(p *Profile) { p.Entries[0].DenseNs = -1 },
		"source_hash or":      func(p *Profile) { p.Crossovers[0].Dense = "" },
		"is not a name":       func(p *Profile) { p.Crossovers[0].ISA = "A B" },
		"config: \"x y\" is ": func(p *Profile) { p.Crossovers[0].Points[0].Config = tile.Config{"x y": 1} },
	} {
		q := sample()
		q.AddCrossover(hashCrossover(1, 2))
		damage(q)
		if _, err := q.Marshal(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
