package tuner

import (
	"errors"
	"math"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

func TestVerifyAll(t *testing.T) {
	s := plant(1)
	s.wrong = func(c tile.Config) bool { return is(c, 64, 8) }
	s.fails = func(c tile.Config) bool { return is(c, 16, 4) }
	verdicts, err := verifyAll(t.Context(), s, VerifyOptions{ISAs: []tile.ISA{tile.AVX2}, Problems: []tile.Problem{problem(64)}})
	if err != nil || len(verdicts) != 11 {
		t.Fatalf("%v, %d verdicts", err, len(verdicts))
	}
	for _, v := range verdicts {
		if v.OK() == (is(v.Config, 64, 8) || is(v.Config, 16, 4)) {
			t.Errorf("%+v", v)
		}
	}
	if _, err := verifyAll(t.Context(), s, VerifyOptions{Op: "none", ISAs: []tile.ISA{tile.AVX2}, Problems: []tile.Problem{problem(64)}}); err == nil {
		t.Error("nothing verified, and no error")
	}
}

func TestCheck(t *testing.T) {
	s := plant(1)
	o := options(t.TempDir())
	r := tune(t, s, o)
	p, err := profile.Read(r.Profile)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := check(t.Context(), s, s.clock, p, CheckOptions{Dir: o.Dir})
	if err != nil || len(rows) != 11 {
		t.Fatalf("%v, %d rows", err, len(rows))
	}
	if !is(rows[0].Config, 64, 8) {
		t.Errorf("first: %+v", rows[0])
	}
	for _, c := range rows {
		// Times are simulated at 0.8 of the truth.
		if !c.OK() || c.Verdict != CheckAgrees || math.Abs(c.Ratio-1.25) > 0.1 {
			t.Errorf("%+v", c)
		}
	}
	s.roof = 55e3
	rows, err = check(t.Context(), s, s.clock, p, CheckOptions{Dir: o.Dir})
	if err != nil || rows[0].OK() || !rows[len(rows)-1].OK() {
		t.Errorf("%v, %+v", err, rows)
	}
	s.cheat = 40e3 // the roof was measured too low
	if rows, err = check(t.Context(), s, s.clock, p, CheckOptions{Dir: o.Dir}); err != nil || !rows[0].OK() {
		t.Errorf("%v, %+v", err, rows)
	}
}

// The dense layer is a matrix product, on every ISA and with ragged sizes.
func TestDense(t *testing.T) {
	for _, isa := range kernels.ISAs() {
		for _, size := range [][4]int{{1, 5, 3, 1}, {33, 300, 520, 2}, {40, 256, 256, 3}} {
			n, d, h := size[0], size[1], size[2]
			x, err := newDense(n, d, h, isa, size[3])
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Run(); err != nil {
				t.Fatal(err)
			}
			deep := (d + panelDepth - 1) / panelDepth
			for i := range n {
				for j := range h {
					want := 0.0
					for k := range d {
						width := min(panelWidth, h-j/panelWidth*panelWidth)
						want += float64(x.input[i*d+k]) * float64(x.panels[j/panelWidth*deep+k/panelDepth][k%panelDepth*width+j%panelWidth])
					}
					if got := float64(x.output[i*h+j]); math.Abs(got-want) > 1e-4 {
						t.Fatalf("%s %v: [%d,%d] is %g, want %g", isa, size, i, j, got, want)
					}
				}
			}
		}
	}
}

// The real library goes the whole way on tiny problems.
func TestLibrary(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Skip(err)
	}
	hash := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 1, Shape: tile.Shape{N: 4, D: 64, H: 64, Tau: 4}}
	o := Options{Problems: []tile.Problem{problem(20), hash}, Dir: t.TempDir(), Budget: 3e9}
	r, err := Run(t.Context(), m, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Problems {
		if x.MaxError > x.ErrorBound || !(x.MedianNs > 0) {
			t.Errorf("%+v", x)
		}
	}
	for _, k := range r.Skipped { // only a loaded machine skips such
		t.Logf("skipped: %+v", k)
	}
	if len(r.Problems) > 0 {
		if rows, err := Check(t.Context(), m, CheckOptions{Dir: o.Dir}); err != nil || len(rows) < len(r.Problems) {
			t.Errorf("%v, %d rows", err, len(rows))
		}
	}
	isa := kernels.ISAs()[0]
	choice := kernels.Choice{Problem: hash, Candidate: tile.Candidate{ISA: isa, Config: kernels.Default(hash, isa)}, Source: "flag"}
	s, err := Bench(t.Context(), m, choice, BenchOptions{Samples: 3})
	if errors.Is(err, errDrifted) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.Problem() != hash || s.Samples < 1 || !(s.MedianNs > 0 && s.RoofNs > 0 && s.CeilingFlopsPerS > 0 && s.DenseNs > 0) || s.Source != "flag" {
		t.Errorf("%+v", s)
	}
	choice.Candidate.Config = tile.Config{"group": 3}
	if _, err := Bench(t.Context(), m, choice, BenchOptions{}); err == nil {
		t.Error("a bad config is taken")
	}
}
