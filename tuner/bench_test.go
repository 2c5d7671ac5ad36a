package tuner

import (
	"testing"
	"time"

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
		if s.Form == nil || s.Form.Fraction != s.Form.RoofNs/ns {
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

// One thread runs the candidate that was forced, else what the library would choose for it, and none where it cannot.
func TestOneThread(t *testing.T) {
	p := tile.Problem{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone, DType: "float32", Dir: "fwd", Threads: 2, Shape: tile.Shape{B: 1, T: 32, Hq: 2, Hkv: 2, Dk: 16, Dv: 16}}
	single := p
	single.Threads = 1
	chosen, err := kernels.Explain(single)
	if err != nil {
		t.Fatal(err)
	}
	forced := tile.Candidate{ISA: kernels.ISAs()[0], Config: kernels.Complete(p, kernels.ISAs()[0], tile.Config{"chunk": 8})}
	for source, want := range map[string]tile.Candidate{SourceFlag: forced, kernels.SourceEmbedded: chosen.Candidate} {
		a := oneThread(kernels.Choice{Problem: p, Candidate: forced, Source: source})
		if a == nil || a.candidate.String() != want.String() {
			t.Fatalf("%s: %+v, want %s", source, a, want)
		}
		if err := a.Run(); err != nil {
			t.Error(err)
		}
	}
	forced.Config = tile.Config{"chunk": -1}
	if a := oneThread(kernels.Choice{Problem: p, Candidate: forced, Source: SourceFlag}); a != nil {
		t.Errorf("%+v", a.candidate)
	}
}

// A round is void if either of its blocks is, and goes on without one thread where that fails.
func TestBenchRound(t *testing.T) {
	ran := 0
	call := batched{Call: stubCall(func() error { ran++; return nil }), runs: 100}
	for _, b := range []*bench{
		{meter: meter{clock: wallClock{}, single: true}, alone: &alone{batched: call, meter: meter{clock: &robbedClock{}, single: true}}},
		{meter: meter{clock: &robbedClock{}, single: true}, alone: &alone{batched: call, meter: meter{clock: wallClock{}, single: true}}},
	} {
		for k := range 2 {
			if _, _, good, err := b.round(k, call); good || err != nil || b.alone == nil {
				t.Errorf("round %d: good %v, %v", k, good, err)
			}
		}
	}
	ran = 0
	b := &bench{meter: meter{clock: wallClock{}, single: true}}
	b.alone = &alone{batched: batched{Call: stubCall(func() error { return errNoTime }), runs: 100}, meter: meter{clock: wallClock{}, single: true}}
	ns, _, _, err := b.round(1, call)
	if err != nil || !(ns > 0) || b.alone != nil || ran < 100 {
		t.Errorf("%g ns, %v, %d runs, one thread %v", ns, err, ran, b.alone)
	}
	if _, _, _, err := b.round(0, batched{Call: stubCall(func() error { return errNoTime }), runs: 1}); err == nil {
		t.Error("an error of the call itself is lost")
	}
}

// robbedClock says that others had the CPUs for a minute whenever it is asked.
type robbedClock struct {
	wallClock
	waited int64
}

func (c *robbedClock) Pressure() pressure {
	c.waited += int64(time.Minute)
	return pressure{waitedNs: c.waited}
}

// stubCall is a call of a function.
type stubCall func() error

func (c stubCall) Run() error                    { return c() }
func (c stubCall) ExecutedFlops() (int64, error) { return 0, nil }
func (c stubCall) Close()                        {}
