package kernels

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/results"
)

var tuned = attentionProblem(gatedDelta, 1, tile.Shape{B: 1, T: 64, Hq: 2, Hkv: 2, Dk: 32, Dv: 32})

// isolate gives the test a config directory of its own and the usual choice back at its end.
func isolate(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("HOME", dir)
	t.Setenv("AppData", dir)
	t.Setenv(EnvProfile, "")
	embedded = fstest.MapFS{}
	current.Store(nil)
	t.Cleanup(func() {
		embedded = results.Profiles
		current.Store(nil)
	})
}

// testProfile has one answer for tuned on each given ISA, with a chunk that tells them apart.
func testProfile(t *testing.T, change func(p *profile.Profile), isas ...tile.ISA) *profile.Profile {
	t.Helper()
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	p := &profile.Profile{Schema: profile.Schema, Created: time.Now().UTC(), Go: runtime.Version(), Machine: *m}
	for i, isa := range isas {
		cfg := Default(tuned, tile.Generic)
		if _, ok := primitives(isa); ok {
			cfg = Default(tuned, isa)
		}
		cfg["chunk"] = 32
		p.Entries = append(p.Entries, profile.Entry{
			Problem: tuned, ISA: isa, Config: cfg, SourceHash: SourceHash(tuned.Op, isa),
			MedianNs: 1000 / float64(i+1), MinNs: 900 / float64(i+1), MaxNs: 1100 / float64(i+1), Samples: 9,
			RoofNs: 100, BoundBy: "compute", SimulatedNs: 800, MaxError: 1e-7, ErrorBound: 1e-5, DetectableEffect: 0.01, Candidates: 3,
		})
	}
	if change != nil {
		change(p)
	}
	return p
}

func writeProfile(t *testing.T, p *profile.Profile) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profile.json")
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func explain(t *testing.T, p tile.Problem) Choice {
	t.Helper()
	c, err := Explain(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSelectionTakesTheProfile(t *testing.T) {
	isolate(t)
	isas := tested()
	path := writeProfile(t, testProfile(t, nil, isas...))
	t.Setenv(EnvProfile, path)
	c := explain(t, tuned)
	if c.Source != SourceEnvironment || c.Path != path || c.Stale || c.Nearest != nil {
		t.Errorf("choice %+v", c)
	}
	if best := isas[len(isas)-1]; c.Candidate.ISA != best || c.Candidate.Config["chunk"] != 32 {
		t.Errorf("chose %s, want %s with chunk 32", c.Candidate, best)
	}
	other := tuned
	other.Shape.T = 100
	if c := explain(t, other); c.Nearest == nil || *c.Nearest != tuned || c.ExpectedLoss == 0 || c.Candidate.Config["chunk"] != 32 {
		t.Errorf("an unknown shape: %+v", c)
	}
}

// Slabs are as large as their tokens and threads ask for, so another problem's size is not taken, but its form and way to fetch are.
func TestSelectionOfSlabs(t *testing.T) {
	isolate(t)
	isa := tested()[len(tested())-1]
	layer := tile.Problem{Op: tile.HashLayer, DType: tile.Float32, Dir: tile.Forward, Threads: 2, Weighting: tile.WeightingPaper, Shape: tile.Shape{N: 1024, D: 1024, H: 1024, Tau: 8}}
	path := writeProfile(t, testProfile(t, func(p *profile.Profile) {
		e := &p.Entries[0]
		e.Problem, e.SourceHash, e.Config = layer, SourceHash(layer.Op, isa), tile.Config{"form": formSlab, "slab": 2, "tokens": 1024, "fetch": 2}
	}, isa))
	t.Setenv(EnvProfile, path)
	if c := explain(t, layer); c.Candidate.Config["slab"] != 2 {
		t.Errorf("the tuned problem: %+v", c)
	}
	for _, change := range []func(p *tile.Problem){func(p *tile.Problem) { p.Threads = 1 }, func(p *tile.Problem) { p.Shape.N = 4096 }} {
		other := layer
		change(&other)
		want := Default(other, isa)
		want["fetch"] = 2
		if c := explain(t, other); c.Nearest == nil || !maps.Equal(c.Candidate.Config, want) {
			t.Errorf("%s: %+v, want %v", other, c, want)
		}
	}
}

// What suits many heads is carried over to one but for copies of rows that lie side by side, and panels that are too few for the threads, or too wide for the columns.
func TestSelectionOfOneHead(t *testing.T) {
	isolate(t)
	isa := tested()[len(tested())-1]
	prim, _ := primitives(isa)
	many := attentionProblem(gatedDelta, 1, tile.Shape{B: 1, T: 4096, Hq: 16, Hkv: 16, Dk: 64, Dv: 64})
	first := blocks(many, prim)[0]
	wide := first // where there are no wider panels
	for _, b := range blocks(many, prim) {
		if b[1] > first[1] {
			wide = b
		}
	}
	cfg := defaultRecurrence(many, prim)
	cfg["copy"], cfg["ahead"], cfg["block"], cfg["cols"] = 1, 0, wide[0], wide[1]
	path := writeProfile(t, testProfile(t, func(p *profile.Profile) {
		e := &p.Entries[0]
		e.Problem, e.SourceHash, e.Config = many, SourceHash(many.Op, isa), cfg
	}, isa))
	t.Setenv(EnvProfile, path)
	t.Setenv(EnvISA, string(isa))
	one := many
	one.Shape.Hq, one.Shape.Hkv = 1, 1
	for _, x := range []struct {
		threads, dv int
		block       [2]int
	}{{1, wide[1], wide}, {2, wide[1], first}, {1, 2 * wide[1], wide}, {1, first[1], first}, {1, wide[1] + first[1], first}} {
		one.Threads, one.Shape.Dv = x.threads, x.dv
		c := explain(t, one)
		want := maps.Clone(cfg)
		want["copy"], want["block"], want["cols"] = 0, x.block[0], x.block[1]
		if c.Source != SourceEnvironment || !maps.Equal(c.Candidate.Config, want) {
			t.Errorf("%d columns, %d threads: %v, want %v", x.dv, x.threads, c, want)
		}
	}
}

func TestSelectionUserProfile(t *testing.T) {
	isolate(t)
	p := testProfile(t, nil, tested()...)
	path, err := UserProfilePath(p.Machine.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	if c := explain(t, tuned); c.Source != SourceUser || c.Path != path {
		t.Errorf("choice %+v", c)
	}
	t.Setenv(EnvProfile, "off")
	current.Store(nil)
	if c := explain(t, tuned); c.Source != SourceModel && c.Source != SourceDefault {
		t.Errorf("off: choice %+v", c)
	}
}

// ROOFTUNE_ISA narrows: a profile's AVX-512 answer never runs under avx2.
func TestSelectionNarrowedISA(t *testing.T) {
	isas := tested()
	for _, only := range isas {
		isolate(t)
		t.Setenv(EnvProfile, writeProfile(t, testProfile(t, nil, isas[len(isas)-1])))
		t.Setenv(EnvISA, string(only))
		if c := explain(t, tuned); c.Candidate.ISA != only {
			t.Errorf("%s=%s: chose %s", EnvISA, only, c.Candidate)
		}
	}
	for names, want := range map[string][]tile.ISA{
		"":            isas,
		"nonsense":    {tile.Generic},
		"sve,amx":     {tile.Generic},
		" GENERIC ":   {tile.Generic},
		"generic,amx": {tile.Generic},
	} {
		if got := narrow(isas, names); !slices.Equal(got, want) {
			t.Errorf("narrow(%q) = %v, want %v", names, got, want)
		}
	}
}

func TestSelectionStaleBelowFresh(t *testing.T) {
	isas := tested()
	best := isas[len(isas)-1]
	old := func(p *profile.Profile) {
		for i := range p.Entries {
			p.Entries[i].SourceHash = strings.Repeat("0", 64)
			p.Entries[i].Config["chunk"] = 16
		}
	}
	isolate(t)
	t.Setenv(EnvProfile, writeProfile(t, testProfile(t, old, best)))
	if c := explain(t, tuned); !c.Stale || !strings.Contains(c.Reason, "stale") || c.Candidate.Config["chunk"] != 16 {
		t.Errorf("only a stale answer: %+v", c)
	}
	// A fresh answer in the user's profile goes first although the environment's is looked at before.
	p := testProfile(t, nil, best)
	path, err := UserProfilePath(p.Machine.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	current.Store(nil)
	if c := explain(t, tuned); c.Stale || c.Source != SourceUser {
		t.Errorf("stale and fresh: %+v", c)
	}
}

// A profile that cannot be used is refused with a reason, and the library works on.
func TestSelectionRefusesBadProfiles(t *testing.T) {
	good, err := testProfile(t, nil, tested()...).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := testProfile(t, func(p *profile.Profile) { p.Machine.Model++ }, tested()...).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[bytes.Index(flipped, []byte(`"median_ns"`))+13] ^= 1
	for name, data := range map[string][]byte{
		"truncated": good[:len(good)/2], "bit flipped": flipped, "another CPU model": foreign, "empty": {}, "not JSON": []byte("profile"),
		"newer": bytes.Replace(good, []byte(`"schema": 1`), []byte(`"schema": 99`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			path := filepath.Join(t.TempDir(), "profile.json")
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := Load(path); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("Load: %v, want one line", err)
			} else {
				t.Log(err)
			}
			t.Setenv(EnvProfile, path)
			c := explain(t, tuned)
			if c.Source == SourceEnvironment || len(c.Notes) == 0 || !strings.Contains(c.Notes[0], path) {
				t.Errorf("choice %+v", c)
			}
			o, in, out := goodArgs()
			if err := o.Forward(out, in); err != nil {
				t.Error(err)
			}
		})
	}
	isolate(t)
	if err := Load(filepath.Join(t.TempDir(), "missing.json")); err == nil {
		t.Error("Load of a missing file gave no error")
	}
}

// An answer that this build cannot run is passed over.
func TestSelectionIgnoresImpossibleConfigs(t *testing.T) {
	isolate(t)
	t.Setenv(EnvProfile, writeProfile(t, testProfile(t, func(p *profile.Profile) {
		for i := range p.Entries {
			p.Entries[i].Config = tile.Config{"chunk": 1 << 20}
		}
	}, tested()...)))
	if c := explain(t, tuned); c.Source == SourceEnvironment {
		t.Errorf("choice %+v", c)
	}
}

func TestSelectionForgets(t *testing.T) {
	isolate(t)
	t.Setenv(EnvProfile, writeProfile(t, testProfile(t, nil, tested()...)))
	p := tuned
	for n := range maxResolved + 10 {
		p.Shape.T = n
		explain(t, p)
	}
	if n := len(*current.Load().resolved.Load()); n > maxResolved {
		t.Errorf("%d choices kept", n)
	}
}

// A profile that came with the library answers on its own machine, and every one is whole and of the machine it is named after.
func TestEmbeddedProfiles(t *testing.T) {
	paths, err := fs.Glob(results.Profiles, "profiles/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d profiles, %v", len(paths), err)
	}
	for _, path := range paths {
		data, err := results.Profiles.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := profile.Parse(data)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if path != "profiles/"+p.Machine.Fingerprint+".json" {
			t.Errorf("%s is of machine %s", path, p.Machine.Fingerprint)
		}
	}

	isolate(t)
	p := testProfile(t, nil, tested()...)
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	embedded = fstest.MapFS{"profiles/" + p.Machine.Fingerprint + ".json": {Data: data}}
	if c := explain(t, tuned); c.Source != SourceEmbedded {
		t.Errorf("own machine: %+v", c)
	}
	embedded = fstest.MapFS{"profiles/sibling.json": {Data: data}}
	current.Store(nil)
	if c := explain(t, tuned); c.Source != SourceEmbedded {
		t.Errorf("same CPU model: %+v", c)
	}
}
