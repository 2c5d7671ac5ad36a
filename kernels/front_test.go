package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// deltaFrontRules are the rules of delta-rule without fixed decays, which no front makes.
var deltaFrontRules = []int{4, gatedDelta, 7}

// Every front, alone and with normed queries and keys, of every type.
func TestDeltaFront(t *testing.T) {
	dtypes := []string{tile.Float32, tile.Float32, tile.BFloat16, tile.Float16}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(51, 52))
		for i := range rounds(120) {
			group, hkv := 1+r.IntN(3), 1+r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(100), Hq: hkv * group, Hkv: hkv, Dk: 1 + r.IntN(70), Dv: 1 + r.IntN(70)}
			p := attentionProblem(deltaFrontRules[i%3], 1+r.IntN(4), s)
			p.Front, p.DType = tile.Fronts()[r.IntN(4)], dtypes[r.IntN(4)]
			if r.IntN(2) == 0 {
				p.FeatureMap = tile.MapL2
			}
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			if r.IntN(4) == 0 {
				c.attention.decayLog = nil
			}
			if r.IntN(4) == 0 {
				c.attention.decayBias = nil
			}
			if tile.FrontHas(p.Front, tile.FrontGates) {
				c.attention.betaScale = 1 + r.Float32()
			}
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// Gates that are far out: sigmoid and softplus must neither overflow nor lose their small results.
func TestDeltaFrontExtremeGates(t *testing.T) {
	far := []float32{0, -0.5, 100, -100, 30, -30, 1e30, -1e30, float32(math.Inf(1)), float32(math.Inf(-1))}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(53, 54))
		for _, rule := range deltaFrontRules {
			p := attentionProblem(rule, 2, tile.Shape{B: 1, T: 50, Hq: 2, Hkv: 2, Dk: 12, Dv: 20})
			p.Front = tile.FrontGates
			c, err := NewCase(p, 5)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range [][]float32{c.attention.decay, c.attention.beta} {
				for i := range v {
					v[i] = far[r.IntN(len(far))]
				}
			}
			for range 3 {
				compare(t, c, anyConfig(t, r, p, isa))
			}
		}
	})
}

// log1p against the float64 function.
func TestLog1p(t *testing.T) {
	for i := range 1 << 16 {
		x := float32(math.Exp2(-float64(i) / (1 << 10)))
		want := math.Log1p(float64(x))
		if got := float64(log1p(x)); math.Abs(got-want) > 4*eps*want { // 2 ulp
			t.Fatalf("log1p(%g) is %g, want %g", x, got, want)
		}
	}
	if log1p(0) != 0 {
		t.Fatal("log1p(0) is not 0")
	}
}

// The public fields reach the driver, gates may be float32 beside 16-bit activations, and wrong arguments are refused by name.
func TestDeltaFrontArguments(t *testing.T) {
	for _, rule := range []int{gatedDelta, 7} {
		p := attentionProblem(rule, 2, tile.Shape{B: 2, T: 9, Hq: 4, Hkv: 2, Dk: 5, Dv: 6})
		p.Front, p.FeatureMap = tile.FrontSiLUGates, tile.MapL2
		c, err := NewCase(p, 3)
		if err != nil {
			t.Fatal(err)
		}
		width := p.Shape.Hkv
		if p.Decay == tile.DecayKey {
			width *= p.Shape.Dk
		}
		c.attention.betaScale = 2
		good := func() (*DeltaRule, *Inputs, *Outputs) {
			a, s := c.attention, p.Shape
			in := a.inputs()
			in.DecayLog, in.DecayBias = Tensor{Data: a.decayLog, Shape: []int{s.Hkv}}, Tensor{Data: a.decayBias, Shape: []int{width}}
			return &DeltaRule{QHeads: 4, KVHeads: 2, Front: tile.FrontSiLUGates, BetaScale: 2, FeatureMap: tile.MapL2, FeatureMapEps: caseMapEps}, in,
				&Outputs{Output: Tensor{Data: a.output, Shape: []int{s.B, s.T, s.Hq * s.Dv}}, PresentState: Tensor{Data: a.state, Shape: []int{s.B, s.Hkv, s.Dk, s.Dv}}}
		}
		o, in, out := good()
		if err := o.Forward(out, in); err != nil {
			t.Fatal(err)
		}
		wantOracle(t, c, c.attention.past, "")

		half := *c
		half.Problem.DType, half.attention.problem.DType = tile.BFloat16, tile.BFloat16
		h := &half.attention
		h.query, h.key, h.value, h.output = slices.Clone(h.query), slices.Clone(h.key), slices.Clone(h.value), slices.Clone(h.output)
		for _, x := range []struct {
			t *Tensor
			v []float32
		}{{&in.Query, h.query}, {&in.Key, h.key}, {&in.Value, h.value}, {&out.Output, h.output}} {
			*x.t = x.t.As(tile.BFloat16)
			copy(x.v, x.t.As(tile.Float32).Data)
		}
		if err := o.Forward(out, in); err != nil {
			t.Fatal(err)
		}
		h.bits.output = out.Output.Bits
		wantOracle(t, &half, h.past, "float32 gates")

		for name, x := range map[string]struct {
			argument string
			spoil    func(o *DeltaRule, in *Inputs, out *Outputs)
		}{
			"unknown front":     {"Front", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Front = "gelu" }},
			"unknown map":       {"FeatureMap", func(o *DeltaRule, in *Inputs, out *Outputs) { o.FeatureMap = tile.MapReLU }},
			"fixed decay":       {"HeadDecay", func(o *DeltaRule, in *Inputs, out *Outputs) { o.HeadDecay, in.Decay = []float32{-1, -1}, Tensor{} }},
			"log without gates": {"decay_log", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Front, o.BetaScale = tile.FrontSiLU, 0 }},
			"scale":             {"BetaScale", func(o *DeltaRule, in *Inputs, out *Outputs) { o.BetaScale = float32(math.NaN()) }},
			"scale of no gates": {"BetaScale", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Front = tile.FrontSiLU }},
			"log's shape":       {"decay_log", func(o *DeltaRule, in *Inputs, out *Outputs) { in.DecayLog = NewTensor(3) }},
			"bias's shape":      {"decay_bias", func(o *DeltaRule, in *Inputs, out *Outputs) { in.DecayBias = NewTensor(width + 1) }},
			"bias over output":  {"output", func(o *DeltaRule, in *Inputs, out *Outputs) { in.DecayBias.Data = out.Output.Data[:width] }},
		} {
			o, in, out := good()
			x.spoil(o, in, out)
			t.Run(name, func(t *testing.T) { wantRefusal(t, o.Forward(out, in), x.argument) })
		}
	}
}

// A front's calls are recorded like any others.
func TestRecordDeltaFront(t *testing.T) {
	for _, rule := range deltaFrontRules {
		p := attentionProblem(rule, 1, tile.Shape{B: 1, T: 200, Hq: 2, Hkv: 2, Dk: 32, Dv: 32})
		p.Front, p.FeatureMap = tile.FrontSiLUGates, tile.MapL2
		apart := p
		apart.Front, apart.Gates = tile.FrontNone, tile.GatesApart
		for _, p := range []tile.Problem{p, apart} {
			for _, p.Dir = range []string{tile.Forward, tile.Backward} {
				for _, isa := range tested() {
					if _, err := Record(p, tile.Candidate{ISA: isa, Config: Default(p, isa)}); err != nil {
						t.Errorf("%s on %s: %v", p, isa, err)
					}
				}
			}
		}
	}
}
