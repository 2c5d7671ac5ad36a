package kernels

import (
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Feature maps, the normaliser and the form that is not causal, alone and together.
func TestLinearAttentionOptions(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(31, 32))
		maps := tile.FeatureMaps()
		for i := range rounds(160) {
			group := 1 + r.IntN(3)
			hkv := 1 + r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(100), Hq: hkv * group, Hkv: hkv, Dk: 1 + r.IntN(70), Dv: 1 + r.IntN(70)}
			p := attentionProblem(r.IntN(4), 1+r.IntN(4), s)
			p.FeatureMap, p.Normalize = maps[i%len(maps)], r.IntN(2) == 0
			if p.Rule == tile.RuleLinear {
				p.Full = r.IntN(3) > 0
			}
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) == 0 {
				c.attention.past, c.attention.pastNorm = nil, nil
				if s.T == 1 {
					c.attention.state = aligned(len(c.attention.state))
				}
			}
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// The public fields reach the driver, and wrong ones are refused by name.
func TestLinearAttentionOptionArguments(t *testing.T) {
	p := tile.Problem{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone, DType: "float32", Dir: "fwd", Threads: 2,
		Full: true, Normalize: true, FeatureMap: tile.MapELU, Shape: tile.Shape{B: 2, T: 9, Hq: 2, Hkv: 2, Dk: 5, Dv: 6}}
	c, err := NewCase(p, 3)
	if err != nil {
		t.Fatal(err)
	}
	good := func() (*LinearAttention, *Inputs, *Outputs) {
		a, s := c.attention, p.Shape
		in := a.inputs()
		in.PastNormalizer = Tensor{Data: a.pastNorm, Shape: []int{s.B, s.Hkv, s.Dk}}
		return &LinearAttention{QHeads: 2, KVHeads: 2, Full: true, FeatureMap: tile.MapELU, Normalize: true, NormalizeEps: caseNormEps}, in,
			&Outputs{Output: Tensor{Data: a.output, Shape: []int{s.B, s.T, s.Hq * s.Dv}}, PresentState: Tensor{Data: a.state, Shape: []int{s.B, s.Hkv, s.Dk, s.Dv}},
				PresentNormalizer: Tensor{Data: a.norm, Shape: []int{s.B, s.Hkv, s.Dk}}}
	}
	o, in, out := good()
	if err := o.Forward(out, in); err != nil {
		t.Fatal(err)
	}
	wantOracle(t, c, c.attention.past, "")
	for name, x := range map[string]struct {
		argument string
		spoil    func(o *LinearAttention, in *Inputs, out *Outputs)
	}{
		"full with decay": {"Full", func(o *LinearAttention, in *Inputs, out *Outputs) {
			o.Rule, o.HeadDecay = tile.RuleGated, []float32{-1, -1}
		}},
		"keep with full":     {"Keep", func(o *LinearAttention, in *Inputs, out *Outputs) { in.Keep = []int{2} }},
		"unknown map":        {"FeatureMap", func(o *LinearAttention, in *Inputs, out *Outputs) { o.FeatureMap = "gelu" }},
		"negative eps":       {"NormalizeEps", func(o *LinearAttention, in *Inputs, out *Outputs) { o.NormalizeEps = -1 }},
		"negative map eps":   {"FeatureMapEps", func(o *LinearAttention, in *Inputs, out *Outputs) { o.FeatureMapEps = -1 }},
		"norm not asked for": {"past_normalizer", func(o *LinearAttention, in *Inputs, out *Outputs) { o.Normalize = false }},
		"norm shape":         {"present_normalizer", func(o *LinearAttention, in *Inputs, out *Outputs) { out.PresentNormalizer = NewTensor(2, 2, 6) }},
		"norm over output":   {"output", func(o *LinearAttention, in *Inputs, out *Outputs) { out.PresentNormalizer.Data = out.Output.Data[:20] }},
	} {
		o, in, out := good()
		x.spoil(o, in, out)
		t.Run(name, func(t *testing.T) { wantRefusal(t, o.Forward(out, in), x.argument) })
	}
}
