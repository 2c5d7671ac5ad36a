package tuner

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/digest"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// interrupted cancels a run as it prepares its n-th candidate, and returns the journal.
func interrupted(t *testing.T, o Options, s *planted, runs int) []byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := runs
	s.prepares = func() {
		if left--; left == 0 {
			cancel()
		}
	}
	_, err := run(ctx, s, s.clock, plantedMachine(), nil, o)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	data, err := os.ReadFile(filepath.Join(o.Dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func small(seed uint64) *planted {
	s := plant(seed)
	s.values = map[string][]int{"chunk": {32, 64}, "mr": {4, 8}}
	return s
}

// Whatever byte a killed run's journal ends at, the next run goes on from what is whole and ends with the same answer.
func TestResumeAtEveryByte(t *testing.T) {
	o := options(t.TempDir())
	o.Problems = []tile.Problem{problem(512), problem(64)}
	full := interrupted(t, o, small(1), 11) // in the middle of the second problem
	h, err := parseJournal(full)
	if err != nil || len(h.lines) < 10 {
		t.Fatalf("%v, %d lines", err, len(h.lines))
	}
	for cut := range full { // what is whole is read, whatever byte ends the file
		h, err := parseJournal(full[:cut])
		whole := bytes.Count(full[:cut], []byte("\n"))
		if err != nil || h.good != bytes.LastIndexByte(full[:cut], '\n')+1 || len(h.lines) != max(whole-1, 0) || (h.header != nil) != (whole > 0) {
			t.Fatalf("cut at %d: %v, %d good, %d lines of %d", cut, err, h.good, len(h.lines), whole)
		}
	}
	most := 0
	for cut := 0; cut <= len(full); cut += max(1, len(full)/30) {
		dir := t.TempDir()
		o.Dir = dir
		if err := os.WriteFile(filepath.Join(dir, journalFile), full[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		r := tune(t, small(2), o)
		if len(r.Problems) != 2 || !is(r.Problems[0].Config, 64, 8) || !is(r.Problems[1].Config, 64, 8) {
			t.Fatalf("cut at %d: %+v", cut, r.Problems)
		}
		if whole := bytes.Count(full[:cut], []byte("\n")); whole > 1 && r.Resumed == 0 && whole > 3 {
			t.Fatalf("cut at %d: nothing taken over of %d lines", cut, whole)
		}
		if _, err := profile.Read(r.Profile); err != nil {
			t.Fatal(err)
		}
		most = max(most, r.Resumed)
		data, _ := os.ReadFile(filepath.Join(dir, journalFile))
		if after, err := parseJournal(data); err != nil || !after.complete || len(after.notes) != 0 {
			t.Fatalf("cut at %d: the resumed journal: %v, %+v", cut, err, after.notes)
		}
	}
	if most < 3 {
		t.Errorf("at most %d measurements were taken over", most)
	}
}

// Nothing that was finished is done again: a resumed run verifies and times only what is missing.
func TestResumeRedoesNothing(t *testing.T) {
	o := options(t.TempDir())
	data := interrupted(t, o, plant(1), 6)
	h, _ := parseJournal(data)
	done := map[string]bool{}
	for _, l := range h.lines {
		if l.Kind == kindMeasure {
			done[l.Config.String()] = true
		}
	}
	s := plant(2)
	r := tune(t, s, o)
	if s.checked != 11-len(done) {
		t.Errorf("%d verified again, %d of 11 were done", s.checked, len(done))
	}
	if r.Resumed == 0 || !r.Complete {
		t.Errorf("%+v", r)
	}
	// A completed journal is not taken over.
	s = plant(3)
	if r = tune(t, s, o); r.Resumed != 0 || s.checked == 0 {
		t.Errorf("took over %d of a complete run", r.Resumed)
	}
}

func TestResumeIgnores(t *testing.T) {
	for name, change := range map[string]func(data []byte) []byte{
		"damaged line": func(data []byte) []byte {
			lines := bytes.SplitAfter(data, []byte("\n"))
			lines[2][len(lines[2])/2] ^= 1
			return bytes.Join(lines, nil)
		},
		"damaged header": func(data []byte) []byte { data[20] ^= 1; return data },
		"rubbish":        func(data []byte) []byte { return append([]byte("{}\nrubbish\n"), data...) },
		"zeros":          func(data []byte) []byte { return append(data, make([]byte, 1000)...) },
	} {
		o := options(t.TempDir())
		data := change(interrupted(t, o, plant(1), 6))
		if err := os.WriteFile(filepath.Join(o.Dir, journalFile), data, 0o644); err != nil {
			t.Fatal(err)
		}
		r := tune(t, plant(2), o)
		if x := only(t, r); !is(x.Config, 64, 8) || len(r.Notes) == 0 {
			t.Errorf("%s: %v, notes %q", name, x.Config, r.Notes)
		}
	}
}

// Other kernel sources, another machine: measured afresh.
func TestResumeNotForeign(t *testing.T) {
	o := options(t.TempDir())
	interrupted(t, o, plant(1), 6)
	m := plantedMachine()
	m.Fingerprint = "fedcba9876543210"
	s := plant(2)
	r, err := run(t.Context(), s, s.clock, m, nil, o)
	if err != nil || r.Resumed != 0 || len(r.Notes) == 0 {
		t.Errorf("%v, %+v", err, r)
	}
	h := &history{lines: []*line{{Kind: kindMeasure, Problem: &tile.Problem{}, SourceHash: "old", Config: tile.Config{"a": 1}}}}
	if p := h.of(unit{}, "new"); len(p.measures) != 0 {
		t.Error("a line of other sources is used")
	}
}

func TestJournalNewer(t *testing.T) {
	o := options(t.TempDir())
	raw, _ := seal(&line{Kind: kindHeader, Version: 9})
	path := filepath.Join(o.Dir, journalFile)
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	s := plant(1)
	if _, err := run(t.Context(), s, s.clock, plantedMachine(), nil, o); !errors.Is(err, errNewerJournal) || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("error %v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, raw) {
		t.Error("overwritten")
	}
}

type fullDisk struct{ room int }

func (w *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// After the first failed write nothing more is written: a journal must have no hole.
func TestJournalFullDisk(t *testing.T) {
	j := &journal{w: &fullDisk{300}, sync: func() error { return nil }, synced: time.Now()}
	l := &line{Kind: kindFinalists, Problem: &tile.Problem{}, Configs: []tile.Config{{"a": 1}}}
	var first error
	for range 5 {
		if err := j.append(l); err != nil {
			if first == nil {
				first = err
			} else if err != first {
				t.Errorf("then %v", err)
			}
		}
	}
	if first == nil || !strings.Contains(first.Error(), "no space") {
		t.Errorf("error %v", first)
	}
	if f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil {
		defer f.Close()
		j := &journal{w: f, sync: f.Sync, synced: time.Now()}
		if j.append(l) == nil {
			t.Error("/dev/full took a line")
		}
	}
}

func FuzzJournal(f *testing.F) {
	e := profile.Entry{Problem: problem(1), ISA: tile.AVX2, SourceHash: "h", MedianNs: 2, MinNs: 1, MaxNs: 3, Samples: 1, RoofNs: 1, Candidates: 1}
	p := problem(1)
	var all []byte
	for _, l := range []*line{
		{Kind: kindHeader, Version: 1, Fingerprint: "f"},
		{Kind: kindMeasure, Problem: &p, ISA: tile.AVX2, SourceHash: "h", Config: tile.Config{"a": 1}, Ns: 1, AgainstNs: 2, Verdict: verdictOK},
		{Kind: kindFinalists, Problem: &p, ISA: tile.AVX2, SourceHash: "h", Configs: []tile.Config{{"a": 1}}},
		{Kind: kindBlock, Problem: &p, ISA: tile.AVX2, SourceHash: "h", Configs: []tile.Config{{"a": 1}}, BlockNs: []float64{1}},
		{Kind: kindAnswer, Entry: &e},
		{Kind: kindComplete},
	} {
		raw, err := seal(l)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, raw...)
		f.Add(bytes.TrimSpace(raw), true)
	}
	f.Add(all, false)
	f.Add([]byte(`{"kind":"measure"}`), true)
	f.Fuzz(func(t *testing.T, data []byte, content bool) {
		if content { // the checksum would stop nearly every mutation: fuzz what is behind it too
			var b bytes.Buffer
			b.WriteString(`{"sum":"`)
			b.WriteString(digest.Sum(data))
			b.WriteString(`","line":`)
			b.Write(data)
			b.WriteString("}\n")
			data = b.Bytes()
		}
		h, err := parseJournal(data)
		if err != nil {
			return
		}
		if h.good > len(data) {
			t.Fatal("good beyond the end")
		}
		h.of(unit{problem(1), tile.AVX2}, "h")
	})
}
