package tuner

import (
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// What a form's simulated traffic takes never stands in for the op's own roof, on whichever side of it the time is.
func TestFormIsNoRoof(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Skip(err)
	}
	p := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 1, Shape: tile.Shape{N: 4, D: 64, H: 64, Tau: 4}}
	isa := kernels.ISAs()[0]
	b, err := newBench(m, kernels.Choice{Problem: p, Candidate: tile.Candidate{ISA: isa, Config: kernels.Default(p, isa)}}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	for range b.probes {
		b.ceilings = append(b.ceilings, []float64{1e9, 1e9, 1e9})
	}
	var slow, fast Sample
	for s, ns := range map[*Sample]float64{&slow: 1e9, &fast: 1e-3} {
		b.blocks = []Block{{1, ns}}
		if err := b.judge(s); err != nil {
			t.Fatal(err)
		}
		if s.Form == nil || s.Form.LeastNs != s.RoofNs || s.Form.Fraction != s.Form.RoofNs/ns {
			t.Fatalf("%g ns: %+v of a roof of %g", ns, s.Form, s.RoofNs)
		}
	}
	if slow.RoofNs != fast.RoofNs || slow.BoundBy != fast.BoundBy {
		t.Errorf("the roof is %g (%s) for a slow time, %g (%s) for a fast one", slow.RoofNs, slow.BoundBy, fast.RoofNs, fast.BoundBy)
	}
	if slow.Form.Note != "" || fast.Form.Note == "" {
		t.Errorf("notes %q of a slow time, %q of a fast one", slow.Form.Note, fast.Form.Note)
	}
}
