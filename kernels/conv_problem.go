package kernels

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// convParams are the tunables of a causal convolution.
func convParams(s tile.Shape) []tile.Param {
	stream := []int{0, 1}
	if s.L == 1 {
		stream = []int{0}
	}
	return []tile.Param{
		{Name: "rows", Values: upTo(s.B*s.C, 4, 16, 64), Doc: "channels of one call"},
		{Name: "stream", Values: stream, Doc: "1: outputs are stored past the caches"},
	}
}

// defaultConv is the config that tuning of a convolution begins with: what a call moves fits the second cache, many short rows being worth
// a call where few are not. Stores past the caches pay where nothing is computed between them and nothing stays in a cache anyway;
// with SiLU they cost up to twice the time (results/icelake-2026-11-25-attention.md).
func defaultConv(p tile.Problem) tile.Config {
	const (
		shortRow = 512
		uncached = 32 << 20 // bytes of input and output
	)
	s := p.Shape
	cfg := tile.Config{"rows": 16, "stream": 0}
	if s.L <= shortRow {
		cfg["rows"] = 64
	}
	cfg["rows"] = min(cfg["rows"], max(1, s.B*s.C))
	if p.Rule != ActivationSiLU && float64(s.B)*float64(s.C)*float64(s.L)*8 >= uncached {
		cfg["stream"] = 1
	}
	return cfg
}

// checkConvConfig is CheckConfig for a convolution.
func checkConvConfig(p tile.Problem, cfg tile.Config) error {
	limits := map[string][2]int{"rows": {1, maxConvRows}, "stream": {0, 1}}
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		if _, ok := limits[name]; !ok {
			return fmt.Errorf("kernels: %s has no tunable %q", p.Op, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		v, given := cfg[name]
		if !given {
			return fmt.Errorf("kernels: config of %s lacks %q", p.Op, name)
		}
		if l := limits[name]; v < l[0] || v > l[1] {
			return fmt.Errorf("kernels: %s=%d must be from %d to %d", name, v, l[0], l[1])
		}
	}
	return nil
}

// checkConvShape is CheckProblem for a convolution.
func checkConvShape(p tile.Problem) error {
	s := p.Shape
	if p.Rule != ActivationNone && p.Rule != ActivationSiLU {
		return fmt.Errorf("rule %q must be %s or %s", p.Rule, ActivationNone, ActivationSiLU)
	}
	if s.B < 0 || s.C < 1 || s.L < 0 || s.K < 1 {
		return fmt.Errorf("shape %s: b and l must not be negative, c and k positive", s)
	}
	if s.T != 0 || s.Hq != 0 || s.Hkv != 0 || s.Dk != 0 || s.Dv != 0 || s.N != 0 || s.D != 0 || s.H != 0 || s.Tau != 0 {
		return fmt.Errorf("shape must give b, c, l and k alone")
	}
	for _, v := range [][]int{{s.B, s.C, s.L}, {s.B, s.C, s.K}, {1, 1, s.L, s.K}} {
		if _, ok := volume(v); !ok {
			return fmt.Errorf("shape %s is too large to address", s)
		}
	}
	return nil
}

// problem is a problem like that of checked arguments, which stands for all lengths up to the next power of two and all types: calls of many
// lengths are few problems.
func (a *convArgs) problem() tile.Problem {
	p := tile.Problem{Op: tile.CausalConv, Rule: ActivationNone, DType: tile.Float32, Dir: tile.Forward, Threads: a.threads,
		Shape: tile.Shape{B: a.b, C: a.c, L: a.l, K: a.k}}
	if a.l > 1 {
		p.Shape.L = 1 << bits.Len(uint(a.l-1))
	}
	if a.silu {
		p.Rule = ActivationSiLU
	}
	return p
}

// generatedConv generates a convolution's arrays: normal numbers, weights of norm about 1. One of one token updates its state in place.
func generatedConv(p tile.Problem, g generator) convArgs {
	s := p.Shape
	x := func(sigma float64, shape ...int) Tensor {
		n, _ := volume(shape)
		return Tensor{Data: g.normal(n, sigma), Shape: shape}
	}
	a := convArgs{b: s.B, c: s.C, l: s.L, k: s.K, threads: p.Threads, dtype: tile.Float32, silu: p.Rule == ActivationSiLU}
	a.input, a.weight, a.bias, a.past = x(1, s.B, s.C, s.L), x(0.5, s.C, 1, s.K), x(0.1, s.C), x(1, s.B, s.C, s.K-1)
	a.newOutputs()
	if s.L == 1 {
		a.state = a.past
	}
	return a
}

// newOutputs gives a case outputs of its own.
func (a *convArgs) newOutputs() {
	a.output = Tensor{Data: aligned(a.b * a.c * a.l), Shape: []int{a.b, a.c, a.l}}
	a.state = Tensor{Data: aligned(a.b * a.c * (a.k - 1)), Shape: []int{a.b, a.c, a.k - 1}}
}

// oracle is the float64 answer.
func (a *convArgs) oracle() generic.ConvResult {
	return generic.Conv{B: a.b, C: a.c, L: a.l, K: a.k, SiLU: a.silu}.Oracle(a.input.Data, a.weight.Data, a.bias.Data, a.past.Data)
}

// oracleError is the largest error of a case's outputs. The state is copied, and so exact.
func (a *convArgs) oracleError(want generic.ConvResult) float64 {
	e := relativeError(a.output.Data, want.Output, want.OutputAbs)
	if !slices.Equal(a.state.Data, want.State) {
		e = max(e, 1)
	}
	return e
}

// recordConv records the busiest worker's calls; a decode step, whose sums are scalar, as calls of one output.
func recordConv(p tile.Problem, c tile.Candidate, r *sim.Recorder) (*sim.Program, error) {
	s := p.Shape
	rows := s.B * s.C
	if rows == 0 || s.L == 0 {
		return nil, fmt.Errorf("kernels: nothing to record in %s", p)
	}
	x := &conv{}
	a := convArgs{b: s.B, c: s.C, l: s.L, k: s.K, threads: p.Threads, dtype: tile.Float32, silu: p.Rule == ActivationSiLU}
	x.withConfig(r.Primitives(), c.Config)
	x.set(a)
	workers := x.workers
	short := min(rows, recordedTrips*x.block)
	a.input, a.weight, a.bias = Tensor{Data: blank(short * s.L)}, Tensor{Data: blank(short * s.K)}, Tensor{Data: blank(short)}
	a.output, a.past, a.state = Tensor{Data: blank(short * s.L)}, Tensor{Data: blank(short * (s.K - 1))}, Tensor{Data: blank(short * (s.K - 1))}
	a.b, a.c = 1, short
	x.convArgs = a
	w := x.work[0]
	r.Buffer("input", a.input.Data, sim.Input)
	r.Buffer("weight", a.weight.Data, sim.Input)
	r.Buffer("bias", a.bias.Data, sim.Input)
	r.Buffer("output", a.output.Data, sim.Output)
	r.Buffer("join", w.join, sim.Scratch)
	r.Buffer("ones", w.ones, sim.Scratch)
	r.Buffer("sums", w.sums, sim.Scratch)
	for i := 0; i < short; i += x.block {
		x.rows(w, i, min(x.block, short-i))
		r.Trip()
	}
	share := float64((rows + workers - 1) / workers)
	return r.Program(p.String(), c.Config, max(share/float64(x.block), float64((short+x.block-1)/x.block)), workers)
}
