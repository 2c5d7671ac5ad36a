package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// A recording of every trip must execute the flops that the driver's own calls count, but for the waste beside diagonals; and a
// recording of the first trips must extrapolate to the whole.
func TestRecordCountsWhatRuns(t *testing.T) {
	for rule := range attentionRules {
		for _, tokens := range []int{10, 20, 47, 48, 512} {
			for _, order := range []int{0, 1} {
				p := attentionProblem(rule, 1, tile.Shape{B: 1, T: tokens, Hq: 4, Hkv: 2, Dk: 64, Dv: 32})
				c := tile.Candidate{ISA: tile.Generic, Config: Default(p, tile.Generic)}
				c.Config["chunk"], c.Config["order"] = 16, order
				program, err := Record(p, c)
				if err != nil {
					t.Fatal(err)
				}
				cs, err := NewCase(p, 1)
				if err != nil {
					t.Fatal(err)
				}
				x, err := cs.Prepare(c)
				if err != nil {
					t.Fatal(err)
				}
				want, err := x.ExecutedFlops()
				if err != nil {
					t.Fatal(err)
				}
				got, least := program.Flops(), want
				if p.Decay == tile.DecayKey { // a ragged chunk decays the state once like a whole one, of which the record takes a part
					least -= int64(p.Shape.Hkv * p.Shape.Dk * p.Shape.Dv)
				}
				if got < least || float64(got) > 1.1*float64(want) {
					t.Errorf("%s order=%d: recorded %d flops, the driver executes %d", p, order, got, want)
				}
				if u := sim.UsefulFlops(p); want < u {
					t.Errorf("%s: executed %d flops, fewer than the useful %d", p, want, u)
				}
			}
		}
	}
}

// Every default problem can be recorded and simulated on this machine, on every ISA, at 1 and 2 threads.
func TestRecordDefaultProblems(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for threads := 1; threads <= 2; threads++ {
		for i, p := range DefaultProblems(threads) {
			if underRace && i%5 != 0 {
				continue
			}
			for _, isa := range tested() {
				c := tile.Candidate{ISA: isa, Config: Default(p, isa)}
				program, err := Record(p, c)
				if err != nil {
					t.Fatalf("%s on %s: %v", p, isa, err)
				}
				d, err := sim.CPU(m, nil, isa, threads)
				if err != nil {
					t.Fatal(err)
				}
				aboveRoof(t, d, p, c, program)
			}
		}
	}
}

// A problem that no memory holds gets the default config, not a crash.
func TestExplainHugeProblem(t *testing.T) {
	isolate(t)
	for _, p := range []tile.Problem{
		attentionProblem(gatedDelta, 1, tile.Shape{B: 1, T: 1, Hq: 1, Hkv: 1, Dk: 1 << 24, Dv: 1 << 24}),
		{Op: tile.HashLayer, DType: "float32", Dir: "fwd", Threads: 1, Weighting: tile.WeightingPaper, Shape: tile.Shape{N: 1, D: 1 << 20, H: 1 << 20, Tau: 10}},
	} {
		if c := explain(t, p); c.Source != SourceDefault {
			t.Errorf("%s: %+v", p, c)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	m, err := machine.Detect()
	if err != nil {
		b.Fatal(err)
	}
	isas := tested()
	isa := isas[len(isas)-1]
	for _, p := range DefaultProblems(1) {
		b.Run(p.Op+"/"+p.Shape.String(), func(b *testing.B) {
			d, err := sim.CPU(m, nil, isa, 1)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				program, err := Record(p, tile.Candidate{ISA: isa, Config: Default(p, isa)})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := sim.Simulate(d, program); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Every driver and option that the tuner may meet can be recorded, and what is recorded takes no less time than its roof.
func TestRecordOptions(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	grouped, shared := tile.Shape{B: 1, T: 80, Hq: 4, Hkv: 2, Dk: 32, Dv: 48}, tile.Shape{B: 1, T: 80, Hq: 2, Hkv: 4, Dk: 32, Dv: 48}
	linear := tile.Problem{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone}
	gated := tile.Problem{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayHead}
	delta := tile.Problem{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead}
	with := func(p tile.Problem, change func(*tile.Problem)) tile.Problem {
		change(&p)
		return p
	}
	var problems []tile.Problem
	for _, dir := range []string{tile.Forward, tile.Backward} {
		for _, p := range []tile.Problem{
			linear, gated, delta,
			with(gated, func(p *tile.Problem) { p.Decay = tile.DecayKey }),
			with(delta, func(p *tile.Problem) { p.Decay = tile.DecayKey }),
			with(linear, func(p *tile.Problem) { p.Normalize, p.FeatureMap = true, tile.MapELU }),
			with(gated, func(p *tile.Problem) { p.FeatureMap = tile.MapL2 }),
			with(linear, func(p *tile.Problem) { p.Full, p.Normalize, p.FeatureMap = true, true, tile.MapReLU }),
		} {
			p.Dir = dir
			problems = append(problems, p)
		}
	}
	for _, gate := range []string{tile.DecayHead, tile.DecayKey} {
		problems = append(problems,
			with(delta, func(p *tile.Problem) { p.Dir, p.Decay, p.Gates = tile.Forward, gate, tile.GatesApart }),
			with(delta, func(p *tile.Problem) { p.Dir, p.Decay, p.Front = tile.Forward, gate, tile.FrontSiLUGates }))
	}
	for _, isa := range tested() {
		d, err := sim.CPU(m, nil, isa, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			for _, p.Shape = range []tile.Shape{grouped, shared} {
				p.DType, p.Threads = tile.Float32, 1
				c := tile.Candidate{ISA: isa, Config: Default(p, isa)}
				program, err := Record(p, c)
				if err != nil {
					t.Errorf("%s on %s: %v", p, c, err)
					continue
				}
				aboveRoof(t, d, p, c, program)
			}
		}
	}
}

// aboveRoof checks that what was recorded is simulated to take no less time than the problem's roof.
func aboveRoof(t *testing.T, d *sim.Device, p tile.Problem, c tile.Candidate, program *sim.Program) {
	t.Helper()
	r, err := sim.Simulate(d, program)
	if err != nil {
		t.Fatalf("%s on %s: %v", p, c, err)
	}
	roof, err := sim.Roof(d, p)
	if err != nil {
		t.Fatal(err)
	}
	if r.TimeNs < roof.RoofNs {
		t.Errorf("%s on %s: simulated %.0f ns, faster than its roof %.0f ns", p, c, r.TimeNs, roof.RoofNs)
	}
}

// TestRecordOneToken records decode steps of every decay, heads and instruction set.
func TestRecordOneToken(t *testing.T) {
	for _, p := range []tile.Problem{{Op: tile.LinearAttention, Rule: tile.RuleGated}, {Op: tile.DeltaRule, Rule: tile.RuleGatedDelta}} {
		p.DType, p.Dir, p.Threads = tile.Float32, tile.Forward, 1
		for _, p.Decay = range []string{tile.DecayHead, tile.DecayKey, tile.DecayFixed} {
			for _, heads := range [][2]int{{8, 8}, {8, 2}, {4, 8}} {
				p.Shape = tile.Shape{B: 1, T: 1, Hq: heads[0], Hkv: heads[1], Dk: 64, Dv: 64}
				for _, isa := range ISAs() {
					if _, err := Record(p, tile.Candidate{ISA: isa, Config: Default(p, isa)}); err != nil {
						t.Errorf("%s on %s: %v", p, isa, err)
					}
				}
			}
		}
	}
}
