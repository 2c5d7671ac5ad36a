package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func hashProblem(dir, weighting string, threads int, s tile.Shape) tile.Problem {
	return tile.Problem{Op: tile.HashLayer, DType: tile.Float32, Dir: dir, Threads: threads, Weighting: weighting, Shape: s}
}

var weightings = []string{tile.WeightingPaper, tile.WeightingReleased}

func TestHashBackwardMatchesOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(22, 23))
		for i := range rounds(60) {
			tau := 1 + r.IntN(10)
			p := hashProblem(tile.Backward, weightings[i%2], 1+r.IntN(4), tile.Shape{N: r.IntN(80), D: 1 + r.IntN(60), H: 1 + r.IntN(100), Tau: tau})
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			for j := range c.hash.input {
				if r.IntN(10) == 0 {
					c.hash.input[j] = []float32{0, float32(math.Copysign(0, -1)), 100, -100, 1e-30}[r.IntN(5)]
				}
			}
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// The same bits whatever the number of workers, and NaN reaches only what it must.
func TestHashBackwardThreads(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		var want hashArgs
		for _, threads := range []int{1, 2, 5} {
			p := hashProblem(tile.Backward, tile.WeightingReleased, threads, tile.Shape{N: 100, D: 300, H: 500, Tau: 8})
			c, err := NewCase(p, 5)
			if err != nil {
				t.Fatal(err)
			}
			c.hash.gradOutput[17*500+3] = float32(math.NaN())
			x, err := c.Prepare(tile.Candidate{ISA: isa, Config: Default(p, isa)})
			if err != nil {
				t.Fatal(err)
			}
			if x.driver.parts() != threads {
				t.Fatalf("%d workers, want %d", x.driver.parts(), threads)
			}
			x.Run()
			if threads == 1 {
				want = c.hash
				for i, v := range c.hash.gradInput {
					if nan := i/300 == 17 && c.hash.input[i] != 0; nan != (v != v) {
						t.Fatalf("grad_input[%d] = %g", i, v)
					}
				}
				for i, v := range c.hash.gradBias {
					if (i == 3) != (v != v) {
						t.Fatalf("grad_bias[%d] = %g", i, v)
					}
				}
				continue
			}
			for _, pair := range [][2][]float32{{c.hash.gradInput, want.gradInput}, {c.hash.gradTables, want.gradTables}, {c.hash.gradBias, want.gradBias}} {
				if !slices.EqualFunc(pair[0], pair[1], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
					t.Fatalf("%d threads: other bits than 1", threads)
				}
			}
		}
	})
}

func TestHashBackwardRefuses(t *testing.T) {
	type call struct {
		op    HashLayer
		grads HashGradients
		dy    Tensor
		in    HashInputs
	}
	good := func() *call {
		return &call{HashLayer{Tau: 3}, HashGradients{Input: NewTensor(2, 7), Tables: NewTensor(3, 8, 5), Bias: NewTensor(5)}, NewTensor(2, 5),
			HashInputs{Input: NewTensor(2, 7), Tables: NewTensor(3, 8, 5), Bias: NewTensor(5)}}
	}
	run := func(c *call) error { return c.op.Backward(&c.grads, c.dy, &c.in) }
	if err := run(good()); err != nil {
		t.Fatal(err)
	}
	some := good()
	some.grads = HashGradients{Bias: NewTensor(5)}
	if err := run(some); err != nil {
		t.Fatal("bias alone:", err)
	}
	for name, c := range map[string]struct {
		argument string
		spoil    func(*call)
	}{
		"tau":            {"Tau", func(c *call) { c.op.Tau = 17 }},
		"gradient rank":  {"grad_output", func(c *call) { c.dy = NewTensor(10) }},
		"gradient rows":  {"grad_output", func(c *call) { c.dy = NewTensor(3, 5) }},
		"input gradient": {"grad_input", func(c *call) { c.grads.Input = NewTensor(2, 8) }},
		"table gradient": {"grad_tables", func(c *call) { c.grads.Tables = NewTensor(3, 4, 5) }},
		"bias gradient":  {"grad_bias", func(c *call) { c.grads.Bias = NewTensor(4) }},
		"over input":     {"grad_input", func(c *call) { c.grads.Input = c.in.Input }},
		"over tables":    {"grad_tables", func(c *call) { c.grads.Tables = c.in.Tables }},
		"over another":   {"grad_bias", func(c *call) { c.grads.Bias.Data = c.grads.Tables.Data[:5] }},
	} {
		t.Run(name, func(t *testing.T) {
			x := good()
			c.spoil(x)
			wantRefusal(t, run(x), c.argument)
		})
	}
	wantRefusal(t, (&HashLayer{Tau: 3}).Backward(nil, NewTensor(2, 5), &HashInputs{}), "grads")
}

func generatorOf(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 1))} }
