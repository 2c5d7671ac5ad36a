package tuner

import (
	"math"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Between two uses of the same arrays twice the last cache is read.
func TestOpenCold(t *testing.T) {
	const last = 1 << 20
	hash := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 1, Shape: tile.Shape{N: 4, D: 64, H: 64, Tau: 4}}
	tiny := problem(1)
	tiny.Shape.Dk, tiny.Shape.Dv = 4, 4
	for name, p := range map[string]tile.Problem{"copies": problem(512), "one large": problem(20000), "sparse": hash, "tiny": tiny} {
		c, err := openCold(p, 1, last)
		if err != nil {
			t.Fatal(err)
		}
		between := 4*elements(p)*float64(len(c.copies)-1) + 8*float64(len(c.sweep))
		if between < coldTimes*last || len(c.copies) > maxCopies {
			t.Errorf("%s: %d copies and %d words: %g bytes between", name, len(c.copies), len(c.sweep), between)
		}
		if sweeps := len(c.sweep) > 0; sweeps != (name == "sparse" || name == "tiny") {
			t.Errorf("%s: sweeps %t", name, sweeps)
		}
		isa := kernels.ISAs()[0]
		x, err := c.Prepare(tile.Candidate{ISA: isa, Config: kernels.Default(p, isa)})
		if err != nil {
			t.Fatal(err)
		}
		if name == "one large" {
			continue
		}
		f := x.(fresher)
		for range len(c.copies) + 1 {
			f.Fresh()
			if err := x.Run(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := lastCache(&machine.Machine{Caches: []machine.Cache{{Bytes: 5}}}, &machine.Measured{Plateaus: []machine.Plateau{{Bytes: 7}}}); n != 7 {
		t.Error(n)
	}
	if n := lastCache(&machine.Machine{}, &machine.Measured{}); n != unknownLast {
		t.Error(n)
	}
}

// What is done before a run is not timed.
func TestFreshIsNotTimed(t *testing.T) {
	s := plant(1)
	s.scatter = 0
	c, _ := s.Open(problem(512), 1)
	x, _ := c.Prepare(tile.Candidate{ISA: tile.AVX2, Config: tile.Config{"chunk": 64, "mr": 8}})
	m := meter{clock: s.clock}
	ns, err := m.run(slowToPrepare{x, s.clock}, 3)
	if err != nil || math.Abs(ns-50e3) > 1 {
		t.Errorf("%g ns, %v", ns, err)
	}
	if s.clock.now < 3*10*time.Millisecond {
		t.Error("it was not prepared")
	}
}

type slowToPrepare struct {
	Call
	clock *still
}

func (x slowToPrepare) Fresh() { x.clock.pass(10e6) }

// Answers for cold caches stand beside those for warm ones, and a journal of the one is not taken for the other.
func TestColdBesideWarm(t *testing.T) {
	s := plant(1)
	o := options(t.TempDir())
	r := tune(t, s, o)
	interrupted(t, o, plant(1), 6)
	o.Cold = true
	cold := tune(t, plant(2), o)
	if cold.Resumed != 0 || !cold.Cold || len(cold.Notes) == 0 {
		t.Errorf("%+v", cold)
	}
	p, err := profile.Read(r.Profile)
	if err != nil || len(p.Entries) != 2 || p.Entries[0].Cold || !p.Entries[1].Cold {
		t.Errorf("%v, %+v", err, p)
	}
}
