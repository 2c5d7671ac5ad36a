package tuner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

func options(dir string) Options {
	return Options{Problems: []tile.Problem{problem(512)}, ISAs: []tile.ISA{tile.AVX2}, Budget: 10 * time.Second, Dir: dir}
}

func tune(t *testing.T, s *planted, o Options) *Report {
	t.Helper()
	r, err := run(context.Background(), s, s.clock, plantedMachine(), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func only(t *testing.T, r *Report) Result {
	t.Helper()
	if len(r.Problems) != 1 || len(r.Skipped) != 0 {
		t.Fatalf("problems %v, skipped %v", r.Problems, r.Skipped)
	}
	return r.Problems[0]
}

func is(c tile.Config, chunk, mr int) bool { return c["chunk"] == chunk && c["mr"] == mr }

func TestFindsBest(t *testing.T) {
	for _, strategy := range Strategies() {
		for seed := range uint64(10) {
			s := plant(seed)
			o := options(t.TempDir())
			o.Strategy, o.Seed = strategy, seed
			r := tune(t, s, o)
			x := only(t, r)
			if !is(x.Config, 64, 8) || x.Space != 11 || x.Source != SourceMeasured || !r.Complete {
				t.Errorf("%s, seed %d: %+v", strategy, seed, x)
			}
			if !(x.MedianNs > 50e3 && x.MedianNs < 53e3 && x.DetectableEffect < 0.05) {
				t.Errorf("%s, seed %d: median %g, detectable %g", strategy, seed, x.MedianNs, x.DetectableEffect)
			}
			p, err := profile.Read(r.Profile)
			if err != nil {
				t.Fatal(err)
			}
			if e, d, stale := p.Lookup(problem(512), o.ISAs, s.SourceHash); e == nil || d != 0 || stale || !is(e.Config, 64, 8) {
				t.Errorf("the profile says %v", e)
			}
		}
	}
}

// The fastest candidates are wrong or fail: they are never timed and never win.
func TestWrongNeverWins(t *testing.T) {
	for _, wrongDefault := range []bool{false, true} {
		s := plant(1)
		bad := func(c tile.Config) bool { return is(c, 64, 8) || (wrongDefault && is(c, 32, 4)) }
		s.wrong = bad
		s.fails = func(c tile.Config) bool { return is(c, 32, 8) }
		x := only(t, tune(t, s, options(t.TempDir())))
		if !is(x.Config, 128, 8) && !is(x.Config, 64, 6) {
			t.Errorf("won: %v", x.Config)
		}
		if n := s.ran["chunk=64,mr=8"] + s.ran["chunk=32,mr=8"]; n != 0 {
			t.Errorf("wrong candidates were run %d times", n)
		}
		if x.Wrong < 2 {
			t.Errorf("%d wrong reported", x.Wrong)
		}
	}
	s := plant(1)
	s.wrong = func(tile.Config) bool { return true }
	r := tune(t, s, options(t.TempDir()))
	if len(r.Problems) != 0 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Reason, "is right") {
		t.Errorf("%+v", r)
	}
	if _, err := profile.Read(r.Profile); err != nil {
		t.Error("an empty profile should be sound: ", err)
	}
}

// A candidate under its roof is an error unless the roof was measured too low.
func TestTooFast(t *testing.T) {
	for _, low := range []bool{false, true} {
		s := plant(1)
		honest := s.ns
		s.ns = func(p tile.Problem, c tile.Candidate) float64 {
			if is(c.Config, 16, 4) {
				return 20e3
			}
			return honest(p, c)
		}
		s.roof = 30e3
		if low {
			s.cheat = 15e3
		}
		r := tune(t, s, options(t.TempDir()))
		x := only(t, r)
		if low {
			if len(r.Errors) != 0 || !is(x.Config, 16, 4) {
				t.Errorf("the roof was too low: %v, errors %v", x.Config, r.Errors)
			}
			continue
		}
		if len(r.Errors) != 1 || !is(r.Errors[0].Config, 16, 4) || !is(x.Config, 64, 8) {
			t.Errorf("won %v, errors %v", x.Config, r.Errors)
		} else if msg := r.Errors[0].Error(); !strings.Contains(msg, "under its roof") {
			t.Error(msg)
		}
	}
	s := plant(1) // the incumbent itself
	s.roof = 1e9
	s.cheat = 1e9
	if r := tune(t, s, options(t.TempDir())); len(r.Problems) != 0 || len(r.Errors) == 0 {
		t.Errorf("%+v", r)
	}
}

// Candidates that are alike are a tie set, and the fixed rule picks the same one whatever the noise.
func TestTies(t *testing.T) {
	for seed := range uint64(20) {
		s := plant(seed)
		s.ns = func(_ tile.Problem, c tile.Candidate) float64 {
			if c.Config["chunk"] >= 64 {
				return 50e3
			}
			return 70e3
		}
		s.values["mr"] = []int{6}
		x := only(t, tune(t, s, options(t.TempDir())))
		if !is(x.Config, 64, 6) || len(x.TieSet) != 1 || !is(x.TieSet[0], 128, 6) {
			// One run in twenty may tell two alike apart: then the tie set says so.
			if len(x.TieSet) == 0 && x.Config["chunk"] >= 64 {
				t.Logf("seed %d: %v without a tie", seed, x.Config)
				continue
			}
			t.Errorf("seed %d: %v, tie set %v", seed, x.Config, x.TieSet)
		}
	}
}

// Of those that are alike the one nearest to the default wins; with more of them than the final has room for, the tie set has the others
// too, by their times of round one.
func TestPlainest(t *testing.T) {
	beyond := 0
	for seed := range uint64(20) {
		s := plant(seed)
		s.standard = tile.Config{"chunk": 32, "mr": 8}
		many := seed >= 10
		if many {
			s.values["mr"] = []int{4, 5, 6, 7, 8}
		}
		s.ns = func(_ tile.Problem, c tile.Candidate) float64 {
			if c.Config["chunk"] >= 64 {
				return 50e3
			}
			return 70e3
		}
		x := only(t, tune(t, s, options(t.TempDir())))
		if !many && !is(x.Config, 64, 8) && !is(x.Config, 128, 8) {
			t.Errorf("seed %d: %v", seed, x.Config)
		}
		for _, c := range append(x.TieSet, x.Config) {
			if c["chunk"] < 64 {
				t.Errorf("seed %d: %v is in the tie set", seed, c)
			}
		}
		if len(x.TieSet) > finalists-2 { // but for the winner and the default
			beyond++
		}
	}
	if beyond < 5 {
		t.Errorf("the tie set goes beyond the final in %d runs of 10", beyond)
	}
}

// An existing answer stays unless the gain is proven to be above 2 %.
func TestKeepsAnswer(t *testing.T) {
	gain := [2]float64{1, 1} // of the two fastest
	s := plant(3)
	s.ns = func(_ tile.Problem, c tile.Candidate) float64 {
		switch {
		case is(c.Config, 128, 8):
			return 50e3 / gain[1]
		case is(c.Config, 16, 4):
			return 50e3 / gain[0]
		}
		return 60e3
	}
	o := options(t.TempDir())
	if x := only(t, tune(t, s, o)); !is(x.Config, 128, 8) {
		t.Logf("first answer %v", x.Config)
	}
	first := only(t, tune(t, s, o))
	if first.Source != SourceKept {
		t.Errorf("source %q", first.Source)
	}
	other := 0
	if is(first.Config, 16, 4) {
		other = 1
	}
	gain[other] = 1.01
	if x := only(t, tune(t, s, o)); x.Config.String() != first.Config.String() || x.Source != SourceKept {
		t.Errorf("changed to %v for 1 %%", x.Config)
	}
	gain[other] = 1.2
	x := only(t, tune(t, s, o))
	if x.Config.String() == first.Config.String() {
		t.Errorf("kept %v against 20 %%", x.Config)
	}
	if c := x.Change; c == nil || !c.Done || c.From.String() != first.Config.String() || c.To.String() != x.Config.String() || c.Gain < 0.15 || c.Gain > 0.25 {
		t.Errorf("change %+v", c)
	}
}

// What cannot win is not run.
func TestPruned(t *testing.T) {
	s := plant(1)
	s.lower = func(c tile.Config) float64 {
		if c["chunk"] == 16 {
			return 75e3 // above the default's 66 µs
		}
		return 1
	}
	x := only(t, tune(t, s, options(t.TempDir())))
	if x.Pruned != 3 {
		t.Errorf("%d pruned", x.Pruned)
	}
	for name, n := range s.ran {
		if strings.Contains(name, "chunk=16") && n > 0 {
			t.Errorf("%s was run", name)
		}
	}
}

// Blocks in which the machine is slow are void: a phase of 1.5 times slower changes nothing.
func TestDriftVoided(t *testing.T) {
	for seed := range uint64(5) {
		s := plant(seed)
		s.clock.slowdown = func(now time.Duration) float64 {
			if now/(7*time.Millisecond)%4 == 3 {
				return 1.5
			}
			return 1
		}
		r := tune(t, s, options(t.TempDir()))
		if x := only(t, r); !is(x.Config, 64, 8) || x.MaxNs > 70e3 {
			t.Errorf("seed %d: %+v", seed, x)
		}
		if r.Voided == 0 {
			t.Error("no block was void")
		}
	}
}

// A call that takes no time is refused, not divided by.
func TestNoTime(t *testing.T) {
	s := plant(1)
	s.ns = func(tile.Problem, tile.Candidate) float64 { return 0 }
	r := tune(t, s, options(t.TempDir()))
	if len(r.Problems) != 0 || len(r.Skipped) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestBudget(t *testing.T) {
	for _, budget := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 20 * time.Second} {
		s := plant(1)
		o := options(t.TempDir())
		o.Budget = budget
		o.ISAs = []tile.ISA{tile.Generic, tile.AVX2}
		o.Problems = nil
		for _, n := range []int{1, 512, 4096, 1 << 18, 333, 777} { // the fourth takes 26 ms a run, 200 ms in portable Go
			o.Problems = append(o.Problems, problem(n))
		}
		r := tune(t, s, o)
		if over := s.clock.now - budget; over > 60*time.Millisecond {
			t.Errorf("budget %v passed by %v", budget, over)
		}
		if n := len(r.Problems) + len(r.Skipped); n != 12 {
			t.Errorf("budget %v: %d of 12 accounted for", budget, n)
		}
		for _, k := range r.Skipped {
			if k.Reason == "" {
				t.Error("skipped without a reason")
			}
		}
		answered := map[tile.ISA]int{}
		for _, x := range r.Problems {
			answered[x.ISA]++
		}
		if budget >= 300*time.Millisecond && answered[tile.AVX2] < answered[tile.Generic] {
			t.Errorf("budget %v: %v", budget, answered)
		}
		if budget == 20*time.Second && len(r.Problems) != 12 {
			t.Errorf("skipped with plenty of time: %v", r.Skipped)
		}
		t.Logf("budget %v: %d answered, used %v", budget, len(r.Problems), s.clock.now)
	}
}

// The same seed gives the same run.
func TestDeterministic(t *testing.T) {
	var first []byte
	for range 2 {
		o := options(t.TempDir())
		o.Strategy, o.Seed = "random", 7
		s := plant(7)
		tune(t, s, o)
		data, err := os.ReadFile(filepath.Join(o.Dir, journalFile))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Error("the journals differ")
		}
	}
}

func TestBadOptions(t *testing.T) {
	s := plant(1)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"budget":   func(o *Options) { o.Budget = -1 },
		"dir":      func(o *Options) { o.Dir = "" },
		"problems": func(o *Options) { o.Problems = nil },
		"isas":     func(o *Options) { o.ISAs = nil },
		"strategy": func(o *Options) { o.Strategy = "luck" },
		"folder":   func(o *Options) { o.Dir = file },
		"below":    func(o *Options) { o.Dir = filepath.Join(file, "x") },
	} {
		o := options(t.TempDir())
		change(&o)
		if _, err := run(context.Background(), s, s.clock, plantedMachine(), nil, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	held, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := plant(1)
	if _, err := run(context.Background(), s, s.clock, plantedMachine(), nil, options(dir)); !errors.Is(err, ErrLocked) ||
		!strings.Contains(err.Error(), fmt.Sprintf("process %d since ", os.Getpid())) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
	held.Release()
	tune(t, s, options(dir))
}

// Two runs of one host exclude each other whatever their folders.
func TestHostLocked(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	first, second := t.TempDir(), t.TempDir()
	held, err := Lock(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(second); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), first) {
		t.Errorf("error %v", err)
	}
	held.Release()
	again, err := Lock(second)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
	// A folder for temporary files that is not there leaves the other lock.
	t.Setenv("TMPDIR", filepath.Join(first, "none"))
	if held, err = Lock(second); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(second); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v", err)
	}
	held.Release()
}

func TestProfileKept(t *testing.T) {
	s := plant(1)
	o := options(t.TempDir())
	r := tune(t, s, o)
	o.Problems = []tile.Problem{problem(64)}
	tune(t, s, o)
	p, err := profile.Read(r.Profile)
	if err != nil || len(p.Entries) != 2 {
		t.Fatalf("%v, %v", p, err)
	}
	// Damaged: put aside. Newer: left alone.
	if err := os.WriteFile(r.Profile, []byte(`{"schema":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := tune(t, s, o); len(again.Notes) == 0 {
		t.Error("no note")
	}
	if _, err := os.Stat(r.Profile + ".damaged"); err != nil {
		t.Error(err)
	}
	newer := []byte(`{"schema":99}`)
	if err := os.WriteFile(r.Profile, newer, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := run(context.Background(), s, s.clock, plantedMachine(), nil, o); !errors.Is(err, profile.ErrNewer) {
		t.Errorf("error %v", err)
	}
	if now, _ := os.ReadFile(r.Profile); !bytes.Equal(now, newer) {
		t.Error("a newer profile was overwritten")
	}
}
