package tuner

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

func TestVerifyAll(t *testing.T) {
	isa := kernels.ISAs()[0]
	verdicts, err := VerifyAll(t.Context(), VerifyOptions{Op: tile.HashLayer, ISAs: []tile.ISA{isa}, Worker: child(t, "library")})
	if err != nil || len(verdicts) == 0 {
		t.Fatalf("%v, %d verdicts", err, len(verdicts))
	}
	for _, v := range verdicts {
		if !v.OK() || v.Op != tile.HashLayer || v.ISA != isa || v.MaxError == nil || *v.MaxError > v.ErrorBound {
			t.Errorf("%+v", v)
		}
	}
}

// Check tells apart what is as simulated, slower, faster, unknown and impossible, and prefers paired blocks to round one.
func TestCheck(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if _, err := Check(t.Context(), m, CheckOptions{Dir: dir}); err == nil {
		t.Error("no journal, and no error")
	}
	p := problem(64)
	var data []byte
	add := func(l *line) {
		raw, err := seal(l)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, raw...)
	}
	add(&line{Kind: kindHeader, Version: journalVersion, Fingerprint: m.Fingerprint})
	measure := func(chunk int, ns, simulated float64, verdict string) {
		add(&line{
			Kind: kindMeasure, Problem: &p, ISA: tile.Generic, SourceHash: "h", Config: tile.Config{"chunk": chunk},
			Ns: ns, AgainstNs: ns, RoofNs: 50, BoundBy: "compute", SimulatedNs: simulated, Verdict: verdict,
		})
	}
	measure(1, 100, 100, verdictOK)
	measure(2, 200, 100, verdictOK)
	measure(3, 60, 100, verdictSlow)
	measure(4, 40, 100, verdictTooFast)
	measure(5, 0, 100, verdictWrong)
	measure(6, 100, 0, verdictOK) // this config cannot be recorded either
	add(&line{Kind: kindBlock, Problem: &p, ISA: tile.Generic, SourceHash: "h", Configs: []tile.Config{{"chunk": 1}}, BlockNs: []float64{110}})
	if err := os.WriteFile(filepath.Join(dir, journalFile), data, 0o644); err != nil {
		t.Fatal(err)
	}
	rows, err := Check(t.Context(), m, CheckOptions{Dir: dir})
	want := []string{verdictExplained, verdictSlower, verdictFaster, verdictBeatsRoof, verdictUnknown}
	if err != nil || len(rows) != len(want) {
		t.Fatalf("%v, %+v", err, rows)
	}
	for i, c := range rows {
		if c.Verdict != want[i] || c.OK() == (c.Verdict == verdictBeatsRoof) {
			t.Errorf("%+v, want %q", c, want[i])
		}
	}
	if rows[0].MedianNs != 110 || math.Abs(rows[0].Ratio-1.1) > 1e-12 {
		t.Errorf("%+v", rows[0])
	}
}

// The real library goes the whole way on tiny problems.
func TestLibrary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	m, err := machine.Detect()
	if err != nil {
		t.Skip(err)
	}
	hash := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 1, Shape: tile.Shape{N: 4, D: 64, H: 64, Tau: 4}}
	o := Options{Problems: []tile.Problem{problem(20), hash}, Dir: t.TempDir(), Budget: 3e9, Worker: child(t, "library")}
	r, err := Run(t.Context(), m, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Problems {
		if x.MaxError > x.ErrorBound || !(x.MedianNs > 0) {
			t.Errorf("%+v", x)
		}
		if x.DenseNs < 0 || x.DenseNs > 0 && x.Problem != hash {
			t.Errorf("%s: dense layer %g", x.Problem, x.DenseNs)
		}
	}
	if len(r.Problems) > 0 && len(r.Crossovers) == 0 && len(r.Notes) == 0 { // measured, or said why not
		t.Errorf("%+v", r)
	}
	for _, c := range r.Crossovers {
		t.Logf("%s: %s", c.Problem, c.Text())
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
	s, err := Bench(t.Context(), m, choice, BenchOptions{Rounds: 3, Worker: child(t, "library")})
	if err != nil {
		t.Skip(err) // a machine that drifts in every block is no failure of this test
	}
	if s.Problem() != hash || s.Samples < 1 || !(s.MedianNs > 0 && s.RoofNs > 0 && s.CeilingFlopsPerS > 0 && s.DenseNs > 0) || s.Source != "flag" {
		t.Errorf("%+v", s)
	}
	if f := s.Form; f == nil || !(f.RoofNs > 0 && f.Fraction > 0) || f.Bytes["L1"] <= 0 || f.Fraction > 1 != (f.Note != "") || s.RoofNs > s.MedianNs && s.Failed == "" {
		t.Errorf("%+v", s.Form)
	}
	choice.Candidate.Config = tile.Config{"group": 3}
	if _, err := Bench(t.Context(), m, choice, BenchOptions{Worker: child(t, "library")}); err == nil {
		t.Error("a bad config is taken")
	}
}
