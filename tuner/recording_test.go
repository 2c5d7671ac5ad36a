package tuner

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/formats"
)

// A journal goes out as T4 with its real errors and as a cache, both are read back, and the fastest right config comes in again.
func TestRecordings(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Skip(err)
	}
	p := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 1, Shape: tile.Shape{N: 4, D: 64, H: 64, Tau: 4}}
	isa := kernels.ISAs()[0]
	configs, err := Space(p, isa)
	if err != nil || len(configs) < 6 {
		t.Fatalf("%v, %d configs", err, len(configs))
	}
	dir := t.TempDir()
	var data []byte
	add := func(l *line) {
		raw, err := seal(l)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, raw...)
	}
	small, large, bound := 1e-7, 0.5, 1e-5
	row := func(i int, ns float64, verdict string, e *float64) {
		add(&line{Kind: kindMeasure, Problem: &p, ISA: isa, SourceHash: kernels.SourceHash(p.Op, isa), Config: configs[i], Against: configs[0],
			Ns: ns, AgainstNs: ns, RoofNs: 10, BoundBy: "L1", VerifyNs: 2e6, MaxError: e, ErrorBound: &bound, Verdict: verdict})
	}
	add(&line{Kind: kindHeader, Version: journalVersion, Fingerprint: m.Fingerprint})
	row(0, 4000, verdictOK, &small)
	row(1, 3000, verdictOK, &small)
	row(2, 0, verdictWrong, &large)
	row(3, 0, verdictFailed, nil)
	row(4, 0, verdictTimeout, nil)
	row(5, 0, verdictDrifted, &small)
	add(&line{Kind: kindBlock, Problem: &p, ISA: isa, SourceHash: "h", Configs: []tile.Config{configs[0], configs[1]}, BlockNs: []float64{4100, 2900}})
	add(&line{Kind: kindBlock, Problem: &p, ISA: isa, SourceHash: "h", Configs: []tile.Config{configs[0], configs[1]}, BlockNs: []float64{3900, 3300}})
	if err := os.WriteFile(filepath.Join(dir, journalFile), data, 0o644); err != nil {
		t.Fatal(err)
	}
	all := func(tile.Problem, tile.ISA) bool { return true }
	rs, err := Recordings(dir, m, all)
	if err != nil || len(rs) != 1 || len(rs[0].T4.Results) != 5 {
		t.Fatalf("%v, %+v", err, rs)
	}
	kinds := []string{formats.Correct, formats.Correct, formats.InvalidCorrectness, formats.InvalidRuntime, formats.InvalidTimeout}
	errs := []float64{small, small, large, 1, 1}
	for i, r := range rs[0].T4.Results {
		if r.Invalidity != kinds[i] || r.Correctness != errs[i] {
			t.Errorf("row %d: %s, %g", i, r.Invalidity, r.Correctness)
		}
	}
	var cache, t4 bytes.Buffer
	if err := rs[0].Cache.Write(&cache); err != nil {
		t.Fatal(err)
	}
	if err := rs[0].T4.Write(&t4); err != nil {
		t.Fatal(err)
	}
	back, err := formats.ParseCache(cache.Bytes())
	if err != nil || len(back.Entries) != 5 || math.Abs(back.Entries[1].Value-0.0031) > 1e-12 || len(back.Entries[1].Repeats) != 2 || back.Entries[0].VerificationTime != 2 {
		t.Fatalf("%v, %+v", err, back)
	}
	for name, write := range map[string][]byte{"cache": cache.Bytes(), "t4": t4.Bytes()} {
		path := filepath.Join(t.TempDir(), "recorded.json")
		if err := os.WriteFile(path, write, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := formats.ReadResults(path)
		if err != nil {
			t.Fatal(name, err)
		}
		folder := t.TempDir()
		e, at, err := Import(folder, m, c, p, isa, child(t, "library"))
		if err != nil {
			t.Fatal(name, err)
		}
		if e.Config.String() != configs[1].String() || e.MedianNs < 3099 || e.MedianNs > 3101 || e.MaxError > e.ErrorBound || e.MaxError == small {
			t.Errorf("%s: %+v", name, e)
		}
		in, err := profile.Read(at)
		if err != nil || len(in.Entries) != 1 || in.Entries[0].SourceHash != kernels.SourceHash(p.Op, isa) {
			t.Errorf("%s: %v, %+v", name, err, in)
		}
	}
	other := p
	other.Op = "matmul"
	if _, _, err := Import(t.TempDir(), m, back, other, isa, child(t, "library")); err == nil {
		t.Error("an unknown op is taken")
	}
	back.Params[0].Name = "tile"
	if _, _, err := Import(t.TempDir(), m, back, p, isa, child(t, "library")); err == nil {
		t.Error("a foreign space is taken")
	}
	if _, err := Recordings(t.TempDir(), m, all); err == nil {
		t.Error("no journal, and no error")
	}
}
