package roofline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/digest"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

const hostile = `<script>alert(1)</script><b>"EPYC" & 'Sons'</b></script><!--{{.}}`

// realProfile is the example's machine with answers whose kernels the simulator knows, with all the evidence there may be.
func realProfile(t *testing.T) (*profile.Profile, *Evidence) {
	t.Helper()
	p := exampleProfile()
	p.Entries = nil
	e := &Evidence{Created: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Strategy: "model", Seed: 1}
	for threads := 1; threads <= 2; threads++ {
		for _, isa := range []tile.ISA{tile.Generic, tile.AVX2} {
			for i, problem := range []tile.Problem{
				{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead, Shape: tile.Shape{B: 1, T: 32, Hq: 2, Hkv: 2, Dk: 32, Dv: 32}},
				{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayHead, Shape: tile.Shape{B: 1, T: 64, Hq: 1, Hkv: 2, Dk: 32, Dv: 32}},
				{Op: tile.HashLayer, Weighting: tile.WeightingPaper, Shape: tile.Shape{N: 8, D: 256, H: 256, Tau: 8}},
			} {
				problem.DType, problem.Dir, problem.Threads = tile.Float32, tile.Forward, threads
				config := kernels.Default(problem, isa)
				ns := 40e3 * float64(i+1) / float64(threads)
				p.Entries = append(p.Entries, profile.Entry{Problem: problem, ISA: isa, Config: config, SourceHash: kernels.SourceHash(problem.Op, isa),
					MedianNs: ns, MinNs: ns * 0.98, MaxNs: ns * 1.1, Samples: 12, RoofNs: ns / 3, BoundBy: Compute, SimulatedNs: ns * 0.8,
					MaxError: 1e-7, ErrorBound: 1e-5, DetectableEffect: 0.01, Candidates: 3, TieSet: []tile.Config{config}})
				for k := range 6 {
					other := tile.Config{}
					for name, v := range config {
						other[name] = v
					}
					for name := range other {
						other[name] *= 1 + k
					}
					e.Trials = append(e.Trials, Trial{Problem: problem, ISA: isa, Config: other, MedianNs: ns * (1 + 0.2*float64(k)), SimulatedNs: ns * (0.8 + 0.1*float64(k)), Verdict: "ok"})
				}
			}
		}
	}
	p.Entries[0].SimulatedNs, p.Entries[0].TieSet = 0, nil
	e.Trials[0].SimulatedNs = 0
	return p, e
}

func page(t *testing.T, p *profile.Profile, e *Evidence) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, p, e); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// dataOf reads the JSON that a page carries for its script.
func dataOf(t *testing.T, html string) *reportData {
	t.Helper()
	m := regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`).FindStringSubmatch(html)
	if m == nil {
		t.Fatal("the page has no data")
	}
	d := new(reportData)
	if err := json.Unmarshal([]byte(m[1]), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHTMLEscapes(t *testing.T) {
	p, e := realProfile(t)
	m := &p.Machine
	m.Brand, m.Vendor, m.Hypervisor, m.OS, p.Go, e.Strategy = hostile, hostile, hostile, hostile, hostile, hostile
	m.Features = []string{hostile}
	p.Measured.Ceilings[0].ISA = hostile
	for i := range p.Entries {
		p.Entries[i].BoundBy = hostile
		p.Entries[i].TieSet = []tile.Config{{hostile: 1}}
	}
	for i := range e.Trials {
		e.Trials[i].Verdict = hostile
	}
	html := page(t, p, e)
	plain := page(t, exampleProfile(), nil)
	for _, tag := range []string{"<script", "</script", "<b>", "<!--", "<!DOCTYPE"} {
		if got, want := strings.Count(html, tag), strings.Count(plain, tag); got != want {
			t.Errorf("%d times %q in the page, %d without hostile names", got, tag, want)
		}
	}
	if !strings.Contains(html, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the brand is not there as text")
	}
	if d := dataOf(t, html); d.Points[0].Bound != hostile {
		t.Errorf("the data says %q", d.Points[0].Bound)
	}
}

// What is not known is null in the data and a word in the table, never 0.
func TestHTMLUnknown(t *testing.T) {
	p, _ := realProfile(t)
	p.Entries = p.Entries[:1]
	p.Entries[0].DetectableEffect, p.Entries[0].ErrorBound, p.Entries[0].MinNs = 0, 0, 0
	p.Machine.Cores, p.Machine.Caches, p.Measured.StealPct = 0, nil, -1
	p.Measured.Plateaus = nil
	p.Created = time.Time{}
	html := page(t, p, nil)
	d := dataOf(t, html).Points[0]
	if d.SimNs != nil || d.Effect != nil || d.Error != nil || d.MinNs != nil || d.Sweep != nil || d.DenseNs != nil {
		t.Errorf("unknown numbers have values: %+v", d)
	}
	for _, want := range []string{"<td class=\"n\">unknown</td>", "<dd>unknown, logical 2, usable 2</dd>", "<dt>profile made</dt><dd>unknown</dd>", "<dt>steal while measuring ceilings</dt><dd>unknown</dd>"} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s in the page", want)
		}
	}
}

func TestHTMLHoldsTheEvidence(t *testing.T) {
	p, e := realProfile(t)
	d := dataOf(t, page(t, p, e))
	if len(d.Points) != len(p.Entries) {
		t.Fatalf("%d points of %d answers", len(d.Points), len(p.Entries))
	}
	for _, pt := range d.Points {
		if !slices.Contains(kernels.ISAs(), pt.ISA) {
			if len(pt.Parts) != 0 || len(pt.Moved) != 0 { // its driver cannot be recorded here
				t.Errorf("%s %s: parts %v, traffic %v", pt.Problem, pt.ISA, pt.Parts, pt.Moved)
			}
		} else if len(pt.Parts) == 0 || len(pt.Moved) != len(levels) || pt.Moved[0] < pt.Least[0] {
			t.Errorf("%s %s: parts %v, traffic %v, least %v", pt.Problem, pt.ISA, pt.Parts, pt.Moved, pt.Least)
		}
		if pt.Sweep == nil || len(pt.Sweep.Rows) != 6 || pt.Stale {
			t.Errorf("%s %s: sweep %+v, stale %v", pt.Problem, pt.ISA, pt.Sweep, pt.Stale)
		}
	}
	reasons, times := 0, 0
	for _, group := range d.GPU {
		for _, g := range group {
			if g.Ns != nil && *g.Ns > 0 && g.Bound != "" {
				times++
			} else if g.Why != "" {
				reasons++
			}
		}
	}
	// Two ops have a published kernel; linear attention with two states for a query head has none.
	if times != 2*len(shownGPUs) || reasons != len(shownGPUs) {
		t.Errorf("%d GPU times, %d reasons", times, reasons)
	}
}

// A long run's profile: 500 points, and more candidates than a page takes.
func TestHTMLSize(t *testing.T) {
	p, e := large(t)
	html := page(t, p, e)
	if n := len(html); n > 1_500_000 {
		t.Errorf("the page has %d bytes", n)
	}
	d := dataOf(t, html)
	rows := 0
	for _, pt := range d.Points {
		rows += len(pt.Sweep.Rows)
		if len(pt.Sweep.Rows)+pt.Sweep.LeftOut != 40 || pt.Sweep.LeftOut == 0 {
			t.Fatalf("%d candidates and %d left out", len(pt.Sweep.Rows), pt.Sweep.LeftOut)
		}
	}
	if len(d.Points) != 500 || rows > maxTrials {
		t.Errorf("%d points with %d candidates", len(d.Points), rows)
	}
}

// large is a profile of 500 answers with 40 candidates each.
func large(t *testing.T) (*profile.Profile, *Evidence) {
	t.Helper()
	p, e := realProfile(t)
	base := p.Entries
	p.Entries, e.Trials = nil, nil
	for i := range 500 {
		x := base[i%len(base)]
		if x.Problem.Op == tile.HashLayer {
			x.Problem.Shape.N, x.Problem.Shape.D, x.Problem.Shape.H = 1, 32, 16+i
		} else {
			x.Problem.Shape.T, x.Problem.Shape.B = 1, 1+i
		}
		x.TieSet = []tile.Config{x.Config, x.Config, x.Config}
		p.Entries = append(p.Entries, x)
		for k := range 40 {
			e.Trials = append(e.Trials, Trial{Problem: x.Problem, ISA: x.ISA, Config: x.Config, MedianNs: x.MedianNs * (1 + float64(k)/17), SimulatedNs: x.MedianNs * 0.8123456, Verdict: "ok"})
		}
	}
	return p, e
}

// The chart library is the published one.
func TestVendoredFiles(t *testing.T) {
	readme, err := os.ReadFile("page/uplot/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"uPlot.iife.min.js", "uPlot.min.css", "LICENSE"} {
		data, err := os.ReadFile(filepath.Join("page/uplot", name))
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("%s  %s\n", digest.Sum(data), name); !strings.Contains(string(readme), line) {
			t.Errorf("%s is not the file that README.md names", name)
		}
	}
}
