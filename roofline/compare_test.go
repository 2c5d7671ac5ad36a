package roofline

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

func TestCompare(t *testing.T) {
	entry := func(tokens int, isa tile.ISA, ns, effect float64) profile.Entry {
		return profile.Entry{ISA: isa, MedianNs: ns, DetectableEffect: effect, Config: tile.Config{"chunk": 16}, BoundBy: Compute,
			Problem: tile.Problem{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead, DType: tile.Float32, Dir: tile.Forward, Threads: 2,
				Shape: tile.Shape{B: 1, T: tokens, Hq: 16, Hkv: 32, Dk: 128, Dv: 128}}}
	}
	before := &profile.Profile{Entries: []profile.Entry{
		entry(1, tile.AVX2, 100, 0), entry(2, tile.AVX2, 100, 0), entry(3, tile.AVX2, 100, 0), entry(4, tile.AVX2, 100, 0.3), entry(5, tile.AVX2, 100, 0), entry(6, tile.AVX2, 100, 0),
	}}
	after := &profile.Profile{Entries: []profile.Entry{
		entry(1, tile.AVX512, 50, 0), // another ISA is another answer
		entry(2, tile.AVX2, 150, 0),
		entry(3, tile.AVX2, 80, 0),
		entry(4, tile.AVX2, 120, 0), // less than the first run could have seen
		entry(5, tile.AVX2, 101.9, 0),
		entry(6, tile.AVX2, 102.1, 0),
	}}
	want := map[int]string{2: Slower, 3: Faster, 4: Same, 5: Same, 6: Slower}
	changes := Compare(before, after)
	if len(changes) != 7 || changes[0].Problem.Shape.T != 2 || changes[0].Ratio != 1.5 {
		t.Fatalf("%d changes, first %+v", len(changes), changes[0])
	}
	for _, c := range changes {
		tokens := c.Problem.Shape.T
		switch {
		case tokens == 1 && c.ISA == tile.AVX2:
			if c.Verdict != OnlyFirst || c.AfterNs != 0 || c.Ratio != 0 {
				t.Errorf("%+v", c)
			}
		case tokens == 1:
			if c.Verdict != OnlyOther || c.BeforeNs != 0 {
				t.Errorf("%+v", c)
			}
		case c.Verdict != want[tokens]:
			t.Errorf("T%d is %s, want %s", tokens, c.Verdict, want[tokens])
		}
	}
	var b bytes.Buffer
	if err := CompareTable(&b, changes); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, text := range []string{"slower", "faster", "unknown", "1 faster, 2 slower, 2 the same, 2 in one profile only"} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("no %q in\n%s", text, &b)
		}
	}

	after.Entries[1].Config = tile.Config{"chunk": 32, "panel": 128, "prefetch": 4, "register": 8}
	changed := Changed(before, after)
	if len(changed) != 1 || changed[0].Problem.Shape.T != 2 {
		t.Fatalf("changed: %+v", changed)
	}
	b.Reset()
	if err := ChangedTable(&b, "would change", changed, len(before.Entries)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"chunk=16", "-> chunk=32", "would change: 1 of the profile's 6 answers"} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("no %q in\n%s", text, &b)
		}
	}
}

func TestLabel(t *testing.T) {
	p := tile.Problem{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead, DType: tile.Float32, Dir: tile.Forward, Shape: tile.Shape{B: 1, T: 4096, Hq: 16, Hkv: 32, Dk: 128, Dv: 128}}
	if got := Label(p); got != "delta-rule/gated_delta T4096 H16/32 d128" {
		t.Error(got)
	}
	p.Dir, p.Decay, p.DType = tile.Backward, tile.DecayKey, tile.BFloat16
	if got := Label(p); got != "delta-rule/gated_delta, decay key, bfloat16 bwd T4096 H16/32 d128" {
		t.Error(got)
	}
}
