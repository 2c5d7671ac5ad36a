package kernels

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// goodArgs is a valid call of gated_delta with 2 query heads over 1 state head.
func goodArgs() (*DeltaRule, *Inputs, *Outputs) {
	return &DeltaRule{QHeads: 2, KVHeads: 1, Rule: tile.RuleGatedDelta}, &Inputs{
		Query: NewTensor(2, 3, 8), Key: NewTensor(2, 3, 4), Value: NewTensor(2, 3, 5),
		PastState: NewTensor(2, 1, 4, 5), Decay: NewTensor(2, 3, 1), Beta: NewTensor(2, 3, 1),
	}, &Outputs{Output: NewTensor(2, 3, 10), PresentState: NewTensor(2, 1, 4, 5)}
}

func TestDeltaRuleRefuses(t *testing.T) {
	if o, in, out := goodArgs(); o.Forward(out, in) != nil {
		t.Fatal("the valid call is refused:", o.Forward(out, in))
	}
	for name, c := range map[string]struct {
		argument string
		spoil    func(o *DeltaRule, in *Inputs, out *Outputs)
	}{
		"query rank":              {"query", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Query = NewTensor(6, 8) }},
		"key rank":                {"key", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Key = NewTensor(6, 4) }},
		"value rank":              {"value", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Value = NewTensor(2, 3, 5, 1) }},
		"state rank":              {"past_state", func(o *DeltaRule, in *Inputs, out *Outputs) { in.PastState = NewTensor(2, 4, 5) }},
		"decay rank":              {"decay", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Decay = NewTensor(2, 3) }},
		"beta rank":               {"beta", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Beta = NewTensor(6) }},
		"query width":             {"query", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Query = NewTensor(2, 3, 7) }},
		"key width":               {"key", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Key = NewTensor(2, 3, 8) }},
		"value width 0":           {"value", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Value = NewTensor(2, 3, 0) }},
		"batch differs":           {"value", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Value = NewTensor(1, 3, 5) }},
		"tokens differ":           {"key", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Key = NewTensor(2, 4, 4) }},
		"state heads":             {"past_state", func(o *DeltaRule, in *Inputs, out *Outputs) { in.PastState = NewTensor(2, 2, 4, 5) }},
		"decay width":             {"decay", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Decay = NewTensor(2, 3, 2) }},
		"beta width":              {"beta", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Beta = NewTensor(2, 3, 2) }},
		"heads do not divide":     {"QHeads", func(o *DeltaRule, in *Inputs, out *Outputs) { o.QHeads, o.KVHeads = 3, 2 }},
		"more state heads":        {"QHeads", func(o *DeltaRule, in *Inputs, out *Outputs) { o.QHeads, o.KVHeads = 1, 2 }},
		"no query heads":          {"QHeads", func(o *DeltaRule, in *Inputs, out *Outputs) { o.QHeads = 0 }},
		"negative state heads":    {"KVHeads", func(o *DeltaRule, in *Inputs, out *Outputs) { o.KVHeads = -1 }},
		"negative threads":        {"Threads", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Threads = -1 }},
		"scale NaN":               {"Scale", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Scale = float32(math.NaN()) }},
		"rule of the other op":    {"Rule", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Rule = "gated" }},
		"rule in capitals":        {"Rule", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Rule = "Delta" }},
		"decay missing":           {"decay", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Decay = Tensor{} }},
		"decay with delta":        {"decay", func(o *DeltaRule, in *Inputs, out *Outputs) { o.Rule = tile.RuleDelta }},
		"beta missing":            {"beta", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Beta = Tensor{} }},
		"negative shape":          {"value", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Value.Shape = []int{2, 3, -5} }},
		"negative tokens":         {"query", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Query.Shape = []int{2, -3, 8} }},
		"overflowing shape":       {"query", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Query.Shape = []int{1 << 40, 1 << 40, 8} }},
		"overflowing state":       {"query", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Query.Shape = []int{2, 3, math.MaxInt &^ 1} }},
		"data shorter than shape": {"query", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Query.Data = in.Query.Data[1:] }},
		"output width":            {"output", func(o *DeltaRule, in *Inputs, out *Outputs) { out.Output = NewTensor(2, 3, 5) }},
		"output missing":          {"output", func(o *DeltaRule, in *Inputs, out *Outputs) { out.Output = Tensor{} }},
		"present state shape":     {"present_state", func(o *DeltaRule, in *Inputs, out *Outputs) { out.PresentState = NewTensor(2, 1, 5, 4) }},
		"output over value":       {"output", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Value.Data = out.Output.Data[:30] }},
		"output over state":       {"output", func(o *DeltaRule, in *Inputs, out *Outputs) { out.PresentState.Data = out.Output.Data[:40] }},
		"state over key":          {"present_state", func(o *DeltaRule, in *Inputs, out *Outputs) { in.Key.Data = out.PresentState.Data[10:34] }},
		"state half over past": {"present_state", func(o *DeltaRule, in *Inputs, out *Outputs) {
			both := make([]float32, 60)
			in.PastState.Data, out.PresentState.Data = both[:40], both[20:]
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o, in, out := goodArgs()
			c.spoil(o, in, out)
			wantRefusal(t, o.Forward(out, in), c.argument)
		})
	}
	o, in, out := goodArgs()
	wantRefusal(t, o.Forward(nil, in), "out")
	wantRefusal(t, o.Forward(out, nil), "in")
}

func wantRefusal(t *testing.T, err error, argument string) {
	t.Helper()
	var a *ArgumentError
	if !errors.As(err, &a) {
		t.Fatalf("got %v, want an ArgumentError", err)
	}
	if a.Argument != argument {
		t.Errorf("%v: names %q, want %q", err, a.Argument, argument)
	}
	if a.Got == "" || a.Must == "" || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v: must say what it was and what it must be, on one line", err)
	}
}

func TestLinearAttentionRefuses(t *testing.T) {
	in := &Inputs{Query: NewTensor(1, 2, 4), Key: NewTensor(1, 2, 4), Value: NewTensor(1, 2, 4)}
	out := &Outputs{Output: NewTensor(1, 2, 4)}
	linear := func(o LinearAttention, in Inputs) error {
		o.QHeads, o.KVHeads = 2, 2
		return o.Forward(out, &in)
	}
	if err := linear(LinearAttention{}, *in); err != nil {
		t.Fatal(err)
	}
	if err := linear(LinearAttention{Rule: tile.RuleGated, HeadDecay: []float32{-1, 0}}, *in); err != nil {
		t.Fatal(err)
	}
	withBeta, withDecay := *in, *in
	withBeta.Beta, withDecay.Decay = NewTensor(1, 2, 2), NewTensor(1, 2, 2)
	wantRefusal(t, linear(LinearAttention{}, withBeta), "beta")
	wantRefusal(t, linear(LinearAttention{}, withDecay), "decay")
	wantRefusal(t, linear(LinearAttention{Rule: tile.RuleGated}, *in), "decay")
	wantRefusal(t, linear(LinearAttention{Rule: tile.RuleGated, HeadDecay: []float32{-1}}, *in), "HeadDecay")
	wantRefusal(t, linear(LinearAttention{Rule: tile.RuleGated, HeadDecay: []float32{-1, -1}}, withDecay), "decay")
	wantRefusal(t, linear(LinearAttention{HeadDecay: []float32{-1, -1}}, *in), "HeadDecay")
	wantRefusal(t, linear(LinearAttention{Rule: tile.RuleDelta}, *in), "Rule")
}

func TestHashLayerMatchesOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(20, 21))
		for i := range rounds(60) {
			weighting := []string{tile.WeightingPaper, tile.WeightingReleased}[i%2]
			p := tile.Problem{Op: tile.HashLayer, DType: "float32", Dir: "fwd", Threads: 1 + r.IntN(4), Weighting: weighting,
				Shape: tile.Shape{N: r.IntN(150), D: 1 + r.IntN(90), H: 1 + r.IntN(200), Tau: 1 + r.IntN(8)}}
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			for j := range c.hash.input {
				if r.IntN(10) == 0 {
					c.hash.input[j] = []float32{0, float32(math.Copysign(0, -1)), 100, -100, 1e-30}[r.IntN(5)]
				}
			}
			if i%3 == 0 {
				c.hash.bias = nil
			}
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}

func TestHashLayerRefuses(t *testing.T) {
	good := func() (*HashLayer, *HashInputs, *HashOutputs) {
		return &HashLayer{Tau: 3}, &HashInputs{Input: NewTensor(2, 7), Tables: NewTensor(3, 8, 5), Bias: NewTensor(5)},
			&HashOutputs{Output: NewTensor(2, 5), Codes: make([]int32, 6), Weights: make([]float32, 6)}
	}
	if o, in, out := good(); o.Forward(out, in) != nil {
		t.Fatal("the valid call is refused:", o.Forward(out, in))
	}
	for name, c := range map[string]struct {
		argument string
		spoil    func(o *HashLayer, in *HashInputs, out *HashOutputs)
	}{
		"tau 0":             {"Tau", func(o *HashLayer, in *HashInputs, out *HashOutputs) { o.Tau = 0 }},
		"tau too large":     {"Tau", func(o *HashLayer, in *HashInputs, out *HashOutputs) { o.Tau = 40 }},
		"weighting":         {"Weighting", func(o *HashLayer, in *HashInputs, out *HashOutputs) { o.Weighting = "Paper" }},
		"threads":           {"Threads", func(o *HashLayer, in *HashInputs, out *HashOutputs) { o.Threads = -2 }},
		"input rank":        {"input", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Input = NewTensor(14) }},
		"input width 0":     {"input", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Input = NewTensor(2, 0) }},
		"tables rank":       {"tables", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Tables = NewTensor(24, 5) }},
		"tables rows":       {"tables", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Tables = NewTensor(3, 4, 5) }},
		"tables too few":    {"tables", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Tables = NewTensor(2, 8, 5) }},
		"bias width":        {"bias", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Bias = NewTensor(4) }},
		"output width":      {"output", func(o *HashLayer, in *HashInputs, out *HashOutputs) { out.Output = NewTensor(2, 4) }},
		"codes length":      {"codes", func(o *HashLayer, in *HashInputs, out *HashOutputs) { out.Codes = make([]int32, 5) }},
		"weights length":    {"weights", func(o *HashLayer, in *HashInputs, out *HashOutputs) { out.Weights = make([]float32, 7) }},
		"overflowing input": {"input", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Input.Shape = []int{1, math.MaxInt} }},
		"overflowing batch": {"input", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Input.Shape = []int{math.MaxInt / 2, 7} }},
		"negative input":    {"input", func(o *HashLayer, in *HashInputs, out *HashOutputs) { in.Input.Shape = []int{-2, 7} }},
		"output over table": {"output", func(o *HashLayer, in *HashInputs, out *HashOutputs) { out.Output.Data = in.Tables.Data[:10] }},
	} {
		t.Run(name, func(t *testing.T) {
			o, in, out := good()
			c.spoil(o, in, out)
			wantRefusal(t, o.Forward(out, in), c.argument)
		})
	}
}

func TestCheckProblemRefuses(t *testing.T) {
	good := attentionProblem(gatedDelta, 1, tile.Shape{B: 1, T: 2, Hq: 2, Hkv: 1, Dk: 3, Dv: 4})
	if err := CheckProblem(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(p *tile.Problem){
		"op":       func(p *tile.Problem) { p.Op = "attention" },
		"rule":     func(p *tile.Problem) { p.Rule = tile.RuleGated },
		"dtype":    func(p *tile.Problem) { p.DType = "float8" },
		"dir":      func(p *tile.Problem) { p.Dir = "sideways" },
		"threads":  func(p *tile.Problem) { p.Threads = 0 },
		"decay":    func(p *tile.Problem) { p.Decay = tile.DecayNone },
		"fixed":    func(p *tile.Problem) { p.Rule, p.Decay = tile.RuleDelta, tile.DecayFixed },
		"per what": func(p *tile.Problem) { p.Decay = "value" },
		"heads":    func(p *tile.Problem) { p.Shape.Hq, p.Shape.Hkv = 3, 2 },
		"width":    func(p *tile.Problem) { p.Shape.Dk = 0 },
		"negative": func(p *tile.Problem) { p.Shape.T = -1 },
		"too big":  func(p *tile.Problem) { p.Shape.B, p.Shape.T = 1<<40, 1<<40 },
		"mixed":    func(p *tile.Problem) { p.Shape.Tau = 8 },
	} {
		p := good
		spoil(&p)
		if CheckProblem(p) == nil {
			t.Errorf("%s: %+v is accepted", name, p)
		}
	}
}
