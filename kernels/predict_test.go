package kernels

import (
	"math"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// typicalDevice is this machine with typical rates.
func typicalDevice(t testing.TB, isa tile.ISA, threads int) *sim.Device {
	t.Helper()
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	d, err := sim.CPU(m, nil, isa, threads)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// predictedProblems are problems whose recordings are shared between numbers of tokens.
func predictedProblems() (ps []tile.Problem) {
	for _, op := range []string{tile.LinearAttention, tile.DeltaRule} {
		rule := map[string]string{tile.LinearAttention: tile.RuleGated, tile.DeltaRule: tile.RuleGatedDelta}[op]
		for _, dir := range []string{tile.Forward, tile.Backward} {
			for _, threads := range []int{1, 3} {
				ps = append(ps, tile.Problem{Op: op, Rule: rule, Decay: tile.DecayHead, DType: tile.Float32, Dir: dir, Threads: threads,
					Shape: tile.Shape{B: 2, T: 1, Hq: 4, Hkv: 2, Dk: 40, Dv: 48}})
				if op == tile.DeltaRule && dir == tile.Backward { // heads that the fused form takes, so large that two tokens would wake all threads
					p := ps[len(ps)-1]
					p.Shape.Hq, p.Shape.Hkv, p.Shape.Dk, p.Shape.Dv = 8, 8, 128, 128
					ps = append(ps, p)
				}
			}
		}
	}
	return ps
}

// TestPredictSharesRecordings compares what is extrapolated from two chunks with a recording of each number of tokens.
func TestPredictSharesRecordings(t *testing.T) {
	isas := ISAs()
	isa := isas[len(isas)-1]
	for _, p := range predictedProblems() {
		d := typicalDevice(t, isa, p.Threads)
		x := NewPredictor(d)
		for _, tokens := range []int{1, 7, 64, 65, 130, 512, 1000, 4096} {
			p.Shape.T = tokens
			configs := []tile.Config{Default(p, isa)}
			if _, has := configs[0]["form"]; has {
				for _, form := range []int{formChunk, formRecurrence} {
					configs = append(configs, Complete(p, isa, tile.Config{"form": form, "chunk": min(32, max(1, tokens))}))
				}
			}
			for _, cfg := range configs {
				c := tile.Candidate{ISA: isa, Config: cfg}
				if CheckConfig(p, c) != nil {
					continue
				}
				program, err := Record(p, c)
				if err != nil {
					t.Fatal(err)
				}
				want, err := sim.Simulate(d, program)
				if err != nil {
					t.Fatal(err)
				}
				got, err := x.Predict(p, c)
				if err != nil {
					t.Fatal(err)
				}
				near := func(what string, a, b float64) {
					if math.Abs(a-b) > 1e-6*math.Abs(b)+2 {
						t.Errorf("%s, %s: %s is %g, recorded as it is %g", p, c, what, a, b)
					}
				}
				near("time", got.TimeNs, want.TimeNs)
				near("lower bound", got.LowerBoundNs, want.LowerBoundNs)
				near("flops", float64(got.Flops), float64(want.Flops))
				if got.BoundBy != want.BoundBy {
					t.Errorf("%s, %s: bound by %s, recorded as it is by %s", p, c, got.BoundBy, want.BoundBy)
				}
				for i, l := range d.Levels {
					near("traffic of "+l.Name, float64(got.Bytes[i]), float64(want.Bytes[l.Name]))
				}
			}
		}
	}
}

// TestPredictAnyOrder asks for numbers of tokens in several orders: the first one's must not show in the estimates of the others.
func TestPredictAnyOrder(t *testing.T) {
	isas := ISAs()
	isa := isas[len(isas)-1]
	tokens := []int{1, 63, 64, 65, 130, 500, 4096, 100000}
	for _, p := range predictedProblems() {
		d := typicalDevice(t, isa, p.Threads)
		p.Shape.T = tokens[len(tokens)-1]
		c := tile.Candidate{ISA: isa, Config: Complete(p, isa, tile.Config{"chunk": 32})}
		if CheckConfig(p, c) != nil { // its default form has chunks of one length
			c.Config = Default(p, isa)
		}
		want := map[int]sim.Estimate{}
		for _, order := range [][]int{tokens, {100000, 4096, 500, 130, 65, 64, 63, 1}, {130, 100000, 1, 4096, 64, 500, 65, 63}} {
			x := NewPredictor(d)
			for _, p.Shape.T = range order {
				got, err := x.Predict(p, c)
				if err != nil {
					continue // a chunk longer than the problem, in any order
				}
				if before, seen := want[p.Shape.T]; seen && got != before {
					t.Errorf("%s: %+v, in another order %+v", p, got, before)
				}
				want[p.Shape.T] = got
			}
		}
		if len(want) < 5 {
			t.Errorf("%s: %d estimates", p, len(want))
		}
	}
}

func TestPredictTellsConfigsApart(t *testing.T) {
	isas := ISAs()
	isa := isas[len(isas)-1]
	p := DefaultProblems(1)[3]
	x := NewPredictor(typicalDevice(t, isa, 1))
	times := map[float64]bool{}
	for _, chunk := range []int{16, 32, 64, 128, 16, 64} {
		e, err := x.Predict(p, tile.Candidate{ISA: isa, Config: Complete(p, isa, tile.Config{"form": formChunk, "chunk": chunk})})
		if err != nil {
			t.Fatal(err)
		}
		times[e.TimeNs] = true
	}
	if len(times) != 4 {
		t.Errorf("%d times of 4 configs", len(times))
	}
	if _, err := x.Predict(p, tile.Candidate{ISA: isa, Config: tile.Config{"form": 7}}); err == nil {
		t.Error("no error for a config that is none")
	}
}

func TestPredictAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates")
	}
	isas := ISAs()
	isa := isas[len(isas)-1]
	x := NewPredictor(typicalDevice(t, isa, 1))
	p := predictedProblems()[0]
	p.Threads, p.Shape.T = 1, 100
	c := tile.Candidate{ISA: isa, Config: Complete(p, isa, tile.Config{"chunk": 16})}
	tokens := 100
	if n := testing.AllocsPerRun(100, func() {
		tokens++
		p.Shape.T = tokens
		if _, err := x.Predict(p, c); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations for each prediction of a recorded candidate", n)
	}
}

// BenchmarkPredict is candidates that were recorded, at another number of tokens each.
func BenchmarkPredict(b *testing.B) {
	ps, cs := recordedCandidates()
	x := NewPredictor(typicalDevice(b, cs[0].ISA, 1))
	tokens := 0
	predict := func(i int) {
		p := ps[i%len(ps)]
		tokens++
		p.Shape.T = 256 + tokens%8192
		if _, err := x.Predict(p, cs[i%len(ps)]); err != nil {
			b.Fatal(err)
		}
	}
	for i := range ps {
		predict(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		predict(i)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "predictions/s")
}
