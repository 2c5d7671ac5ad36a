package tuner

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// plantedHash is a subject whose hash layers take as long as told, beside dense ones of 1 µs a token.
type plantedHash struct{ *planted }

const plantedDense = 1e3 // ns a token

func (s plantedHash) Roof(tile.Problem, tile.ISA) (Roof, error) {
	return Roof{Ns: 1, BoundBy: "DRAM", Flops: 1000, Bytes: map[string]int64{"DRAM": 1000}}, nil
}

func (s plantedHash) Dense(p tile.Problem, _ tile.ISA) (Call, error) {
	return plantedCall{s.planted, plantedDense * float64(p.Shape.N), "dense"}, nil
}

func (s plantedHash) Forms(tile.Problem, tile.ISA) ([]tile.Config, error) {
	return []tile.Config{{"chunk": 16, "mr": 4}, {"chunk": 64, "mr": 8}}, nil
}

func (s plantedHash) FirstTokens(c Case, n int) (Case, error) {
	x := c.(plantedCase)
	x.p.Shape.N = n
	return x, nil
}

func hashProblem(n int) tile.Problem {
	return tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: 1, Shape: tile.Shape{N: n, D: 64, H: 64, Tau: 4}}
}

// One form takes 0.5 µs a token and 10 µs more for every 32 of them, the other 600 µs once and 0.1 µs a token: the first is faster than dense up to few
// tokens, the second from 667 on.
func TestCrossover(t *testing.T) {
	s := plantedHash{plant(1)}
	s.ns = func(p tile.Problem, c tile.Candidate) float64 {
		n := float64(p.Shape.N)
		if c.Config["chunk"] == 16 {
			return 500*n + 1e4*math.Floor(n/32)*n/32 // 1000 n at n about 51
		}
		return 600e3 + 100*n
	}
	o := options(t.TempDir())
	o.Problems = []tile.Problem{hashProblem(8), hashProblem(2048), problem(512)}
	r, err := run(t.Context(), s, s.clock, plantedMachine(), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if took := s.clock.now; took > o.Budget {
		t.Errorf("took %v of %v", took, o.Budget)
	}
	for _, x := range r.Problems {
		if x.Problem.Op != tile.HashLayer {
			if x.DenseNs != 0 {
				t.Errorf("%s has a dense layer", x.Problem)
			}
			continue
		}
		if want := plantedDense * float64(x.Problem.Shape.N); math.Abs(x.DenseNs/want-1) > 0.05 {
			t.Errorf("%s: dense takes %g, want %g", x.Problem, x.DenseNs, want)
		}
	}
	p, err := profile.Read(r.Profile)
	if err != nil {
		t.Fatal(err)
	}
	c := p.Crossover(hashProblem(17), tile.AVX2)
	if c == nil || len(p.Crossovers) != 1 || len(r.Crossovers) != 1 || c.Dense != profile.DenseDriver {
		t.Fatalf("%+v", p.Crossovers)
	}
	if last := c.Points[len(c.Points)-1]; last.Tokens != 2048 || last.Config["chunk"] != 64 || c.Points[0].Tokens != 1 || c.Points[0].Config["chunk"] != 16 {
		t.Errorf("%+v", c.Points)
	}
	x := c.Crossings()
	if len(x) != 2 || x[0].Hash || !x[1].Hash || x[0].Tokens < 32 || x[0].Tokens > 128 || x[1].Tokens < 512 || x[1].Tokens > 1024 {
		t.Errorf("crossings %+v of %+v", x, c.Points)
	}
}

// A dense layer that cannot be timed, or during which the run is interrupted, costs no answer that was decided.
func TestDenseFailsAnswerStands(t *testing.T) {
	for name, ends := range map[string]bool{"error": false, "interrupt": true} {
		s := failingDense{plantedHash{plant(1)}, func() {}}
		s.ns = func(tile.Problem, tile.Candidate) float64 { return 50e3 }
		o := options(t.TempDir())
		o.Problems = []tile.Problem{hashProblem(32)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if ends {
			s.began = cancel
		}
		r, err := run(ctx, s, s.clock, plantedMachine(), nil, o)
		if ends != errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if len(r.Problems) != 1 || r.Problems[0].DenseNs != 0 || r.Problems[0].Source != SourceMeasured {
			t.Fatalf("%s: %+v", name, r.Problems)
		}
		if !ends && !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "no dense layer today") }) {
			t.Errorf("%s: notes %q", name, r.Notes)
		}
		h, err := readJournal(o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		u := unit{o.Problems[0], o.ISAs[0]}
		if x := h.of(u, s.SourceHash(u.problem.Op, u.isa)); x.answer == nil {
			t.Errorf("%s: the journal has no answer", name)
		}
	}
}

// failingDense is a subject without dense layers.
type failingDense struct {
	plantedHash
	began func() // is called when one is asked for
}

func (s failingDense) Dense(tile.Problem, tile.ISA) (Call, error) {
	s.began()
	return nil, errors.New("no dense layer today")
}

// Cold runs, other ops and runs of a moment have no crossover, and say nothing false.
func TestNoCrossover(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"cold":     func(o *Options) { o.Cold = true },
		"short":    func(o *Options) { o.Budget = 500 * time.Millisecond },
		"backward": func(o *Options) { o.Problems[0].Dir = tile.Backward },
	} {
		s := plantedHash{plant(1)}
		s.ns = func(p tile.Problem, c tile.Candidate) float64 { return 50e3 }
		o := options(t.TempDir())
		o.Problems = []tile.Problem{hashProblem(32)}
		change(&o)
		r, err := run(t.Context(), s, s.clock, plantedMachine(), nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Crossovers) != 0 || name == "cold" && len(r.Problems) > 0 && r.Problems[0].DenseNs != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
