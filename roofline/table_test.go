package roofline

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

var update = flag.Bool("update", false, "write the golden files")

// The part of the table that no other package's model decides: the ceilings.
func TestCeilingsGolden(t *testing.T) {
	p := exampleProfile()
	var b bytes.Buffer
	if err := Ceilings(&b, &p.Machine, &p.Measured); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/ceilings.txt", b.Bytes())
}

func TestPointTableGolden(t *testing.T) {
	shape := tile.Shape{B: 2, T: 4096, Hq: 16, Hkv: 32, Dk: 128, Dv: 64}
	points := []Point{
		{Problem: tile.Problem{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead, DType: "float32", Dir: "fwd", Threads: 1, Shape: shape},
			Candidate: tile.Candidate{ISA: tile.AVX512, Config: tile.Config{"chunk": 64, "mr": 8, "nr": 32, "prefetch": 4}},
			MedianNs:  1.234e8, Fraction: 0.756, BoundBy: Compute, FlopsPerS: 8.94e10},
		{Problem: tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 16, Shape: tile.Shape{N: 1024, D: 1024, H: 1024, Tau: 8}},
			Candidate: tile.Candidate{ISA: tile.Generic, Config: tile.Config{}},
			MedianNs:  950, Fraction: 1, BoundBy: "DRAM", FlopsPerS: 1e9, BytesPerS: 2.15e10},
	}
	var b bytes.Buffer
	if err := PointTable(&b, points); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/points.txt", b.Bytes())
}

// A crossover says that it is stale where its kernels' sources are not this program's.
func TestCrossoversStale(t *testing.T) {
	problem := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 1, Shape: tile.Shape{D: 64, H: 64, Tau: 8}}
	points := []profile.CrossoverPoint{{Tokens: 4, HashNs: 1e3, DenseNs: 2e3, Ratio: 2, Samples: 3}}
	for hash, stale := range map[string]bool{kernels.SourceHash(tile.HashLayer, tile.AVX2): false, "other": true} {
		c := profile.Crossover{Problem: problem, ISA: tile.AVX2, SourceHash: hash, Dense: profile.DenseDriver, Points: points}
		var b bytes.Buffer
		if err := Crossovers(&b, []profile.Crossover{c}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "stale"); got != stale {
			t.Errorf("sources %.8s: stale %v, want %v:\n%s", hash, got, stale, b.String())
		}
	}
}

func TestTableFits80Columns(t *testing.T) {
	p := exampleProfile()
	p.Measured.Ceilings = append(p.Measured.Ceilings, machine.Ceiling{Kind: machine.KindFlops, ISA: "fourth", Threads: 2, Median: 1e9, Min: 1e9, Max: 1e9})
	problem := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingReleased, DType: "bfloat16", Dir: "fwd", Threads: 64, Shape: tile.Shape{D: 40960, H: 40960, Tau: 16}}
	c := profile.Crossover{Problem: problem, ISA: tile.AVX512, Dense: profile.DenseDriver}
	for i := range 7 {
		ratio := 0.5 + float64(i%2)
		c.Points = append(c.Points, profile.CrossoverPoint{Tokens: 1000 << i, Config: tile.Config{"form": i % 2}, HashNs: 1e9, DenseNs: 1e9 * ratio, Ratio: ratio, Samples: 3})
	}
	p.AddCrossover(c)
	var b bytes.Buffer
	if err := Table(&b, p); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("blanks at the end of %q", line)
		}
	}
	for _, want := range []string{"fourth", "GFLOP/s", "T4096 H16/32 d128", "generic x2", "rooftune A·B driver", "0.50x", "slabs"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in the table", want)
		}
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), string(got)); diff != "" {
		t.Error(diff)
	}
}
