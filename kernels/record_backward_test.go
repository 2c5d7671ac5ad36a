package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// A recording of both sweeps executes the flops that the driver's own calls count, but for the decays at the start of blocks and the
// past state's gradient, and simulates slower than the roof.
func TestRecordBackward(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, isa := range tested() {
		d, err := sim.CPU(m, nil, isa, 1)
		if err != nil {
			t.Fatal(err)
		}
		for rule := range backwardRules {
			for _, tokens := range []int{5, 10, 47, 512} {
				for order := range 2 {
					p := backwardProblem(rule, 1, tile.Shape{B: 1, T: tokens, Hq: 4, Hkv: 2, Dk: 64, Dv: 32})
					c := tile.Candidate{ISA: isa, Config: Default(p, isa)}
					c.Config["chunk"], c.Config["order"] = 16, order
					program, err := Record(p, c)
					if err != nil {
						t.Fatal(err)
					}
					recordsWhatRuns(t, p, c, program)
					aboveRoof(t, d, p, c, program)
				}
			}
		}
	}
}

func TestBackwardConfigRefused(t *testing.T) {
	p := backwardProblem(0, 1, tile.Shape{B: 1, T: 64, Hq: 1, Hkv: 1, Dk: 16, Dv: 16})
	for _, spoil := range []func(c tile.Config){
		func(c tile.Config) { c["form"] = 1 },
		func(c tile.Config) { delete(c, "ahead") },
		func(c tile.Config) { c["chunk"] = 0 },
		func(c tile.Config) { c["copy"] = 3 },
		func(c tile.Config) { c["block"] = 77 },
	} {
		c := tile.Candidate{ISA: tile.Generic, Config: Default(p, tile.Generic)}
		if err := CheckConfig(p, c); err != nil {
			t.Fatal(err)
		}
		if spoil(c.Config); CheckConfig(p, c) == nil {
			t.Errorf("%s: accepted", c)
		}
	}
}

// recordsWhatRuns checks that a recording of a backward pass executes about the flops that the driver's own calls count, which are no fewer
// than the useful ones.
func recordsWhatRuns(t *testing.T, p tile.Problem, c tile.Candidate, program *sim.Program) {
	t.Helper()
	x, err := backwardCase(t, p, 1).Prepare(c)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x.ExecutedFlops()
	if err != nil {
		t.Fatal(err)
	}
	if got := program.Flops(); float64(got) < float64(want)/1.1 || float64(got) > 1.1*float64(want) {
		t.Errorf("%s on %s: recorded %d flops, the driver executes %d", p, c, got, want)
	}
	if useful := sim.UsefulFlops(p); want < useful {
		t.Errorf("%s: executed %d flops, fewer than the useful %d", p, want, useful)
	}
}
