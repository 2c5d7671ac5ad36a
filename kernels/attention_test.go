package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// anyConfig picks a config at random from a problem's search space.
func anyConfig(t testing.TB, r *rand.Rand, p tile.Problem, isa tile.ISA) tile.Candidate {
	t.Helper()
	params, err := Params(p, isa)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		c := tile.Candidate{ISA: isa, Config: tile.Config{}}
		for _, q := range params {
			if q.Active(c.Config) {
				c.Config[q.Name] = q.Values[r.IntN(len(q.Values))]
			}
		}
		if CheckConfig(p, c) == nil {
			return c
		}
	}
	t.Fatalf("no config of %s on %s passes CheckConfig", p, isa)
	return tile.Candidate{}
}

// compare runs a candidate on a case and compares all it writes with the oracle on the same arrays.
func compare(t testing.TB, c *Case, cand tile.Candidate) {
	t.Helper()
	p := c.Problem
	if p.Op == tile.HashLayer {
		c.hash.newOutputs() // with codes and weights
	}
	x, err := c.Prepare(cand)
	if err != nil {
		t.Fatal(err)
	}
	past := slices.Clone(c.attention.past) // a decode step updates it
	x.Run()
	if p.Op == tile.HashLayer {
		want := c.hash.oracle()
		if p.Dir == tile.Forward && !slices.Equal(c.hash.codes, want.forward.Codes) {
			t.Fatalf("%s %s: codes differ", p, cand)
		}
		for _, o := range c.hash.compared(want) {
			if e := relativeError(o.got, o.want, o.abs); e > ErrorBound(p) {
				t.Fatalf("%s %s: %s error %.3g above %.3g", p, cand, o.name, e, ErrorBound(p))
			}
		}
		return
	}
	wantOracle(t, c, past, cand.String())
}

// wantOracle compares all that a call on a case has written with the oracle.
func wantOracle(t testing.TB, c *Case, past []float32, what string) {
	t.Helper()
	c.attention.written()
	p, a := c.Problem, c.attention
	want := oracleCase(p, a).Oracle(a.query, a.key, a.value, past, a.decay, a.beta)
	for _, o := range []struct {
		name, dtype string
		got         []float32
		want, abs   []float64
	}{
		{"output", p.DType, a.output, want.Output, want.OutputAbs}, {"state", p.StateDType, a.state, want.State, want.StateAbs},
		{"normalizer", "", a.norm, want.Norm, want.Norm},
	} {
		if len(o.got) != len(o.want) {
			t.Fatalf("%s %s: %d values of %s, want %d", p, what, len(o.got), o.name, len(o.want))
		}
		if e := storedError(o.dtype, ErrorBound(p), o.got, o.want, o.abs); e > ErrorBound(p) {
			t.Fatalf("%s %s: %s error %.3g above %.3g", p, what, o.name, e, ErrorBound(p))
		}
	}
}

var attentionRules = []tile.Problem{
	{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone},
	{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayFixed},
	{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayHead},
	{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayKey},
	{Op: tile.DeltaRule, Rule: tile.RuleDelta, Decay: tile.DecayNone},
	{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead},
	{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayFixed},
	{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayKey},
}

// gatedDelta is the place of that rule.
const gatedDelta = 5

func attentionProblem(rule, threads int, s tile.Shape) tile.Problem {
	p := attentionRules[rule%len(attentionRules)]
	p.Shape, p.DType, p.Dir, p.Threads = s, "float32", "fwd", threads
	return p
}

// rounds cuts the repeats of a test on random cases where each is slow.
func rounds(n int) int {
	if underRace {
		return n / 10
	}
	return n
}

func eachISA(t *testing.T, f func(t *testing.T, isa tile.ISA)) {
	for _, isa := range tested() {
		t.Run(string(isa), func(t *testing.T) { f(t, isa) })
	}
}

func TestAttentionMatchesOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range rounds(150) {
			group := 1 + r.IntN(3)
			hkv := 1 + r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(150), Hq: hkv * group, Hkv: hkv, Dk: 1 + r.IntN(70), Dv: 1 + r.IntN(70)}
			p := attentionProblem(i, 1+r.IntN(4), s)
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			switch r.IntN(4) {
			case 0:
				c.attention.past = nil
			case 1:
				if c.attention.beta != nil {
					c.attention.betaHeads = 1
				}
			}
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// The shapes that models use, where every register tile is full.
func TestAttentionModelShapes(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(3, 4))
		for i, s := range []tile.Shape{
			{B: 1, T: 193, Hq: 4, Hkv: 2, Dk: 128, Dv: 128}, {B: 1, T: 256, Hq: 2, Hkv: 2, Dk: 64, Dv: 64},
			{B: 2, T: 130, Hq: 1, Hkv: 1, Dk: 64, Dv: 128}, {B: 1, T: 1, Hq: 4, Hkv: 4, Dk: 128, Dv: 128},
			{B: 1, T: 70, Hq: 1, Hkv: 1, Dk: 256, Dv: 256}, {B: 1, T: 65, Hq: 3, Hkv: 1, Dk: 80, Dv: 80},
		} {
			for rule := range attentionRules {
				p := attentionProblem(rule, 1+i%3, s)
				c, err := NewCase(p, uint64(i))
				if err != nil {
					t.Fatal(err)
				}
				compare(t, c, anyConfig(t, r, p, isa))
			}
		}
	})
}

// Strong decay, no decay, growth, decay to zero, and betas outside (0,1) must stay within the bound at every chunk size.
func TestAttentionExtremeGates(t *testing.T) {
	fills := map[string]func(r *rand.Rand) float32{
		"zero":    func(*rand.Rand) float32 { return 0 },
		"strong":  func(*rand.Rand) float32 { return -20 },
		"grow":    func(r *rand.Rand) float32 { return 0.05 * r.Float32() },
		"neginf":  func(r *rand.Rand) float32 { return []float32{0, -0.1, float32(math.Inf(-1))}[r.IntN(3)] },
		"bursts":  func(r *rand.Rand) float32 { return []float32{-0.01, -0.01, -0.01, -80}[r.IntN(4)] },
		"denorm":  func(r *rand.Rand) float32 { return -2.2 },
		"killing": func(r *rand.Rand) float32 { return -200 },
	}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for name, fill := range fills {
			for rule, base := range attentionRules {
				if base.Decay == tile.DecayNone {
					continue
				}
				r := rand.New(rand.NewPCG(5, uint64(rule)))
				p := attentionProblem(rule, 2, tile.Shape{B: 1, T: 133, Hq: 2, Hkv: 2, Dk: 24, Dv: 40})
				c, err := NewCase(p, 7)
				if err != nil {
					t.Fatal(err)
				}
				for i := range c.attention.decay {
					c.attention.decay[i] = fill(r)
				}
				for i := range c.attention.headDecay {
					c.attention.headDecay[i] = fill(r)
				}
				for i := range c.attention.beta {
					c.attention.beta[i] = []float32{0, 1, 2, -0.5, 0.3}[r.IntN(5)]
				}
				t.Run(fmt.Sprintf("%s/%s", name, p.Rule), func(t *testing.T) {
					for range 4 {
						compare(t, c, anyConfig(t, r, p, isa))
					}
				})
			}
		}
	})
}

// Keys that are nearly the same with betas near 2: no triangle of a delta rule is worse conditioned, and updates grow from token to token.
func TestAttentionParallelKeys(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(13, 14))
		for rule, base := range attentionRules {
			if base.Op != tile.DeltaRule {
				continue
			}
			p := attentionProblem(rule, 1, tile.Shape{B: 1, T: 133, Hq: 2, Hkv: 2, Dk: 24, Dv: 40})
			c, err := NewCase(p, 7)
			if err != nil {
				t.Fatal(err)
			}
			makeParallel(c, r)
			for range 6 {
				compare(t, c, anyConfig(t, r, p, isa))
			}
		}
	})
}

// makeParallel makes a case's keys of about unit length and nearly parallel, and betas close to 2.
func makeParallel(c *Case, r *rand.Rand) {
	for i := range c.attention.key {
		c.attention.key[i] = float32(1/math.Sqrt(float64(c.Problem.Shape.Dk))) * (1 + 1e-3*float32(r.NormFloat64()))
	}
	for i := range c.attention.beta {
		c.attention.beta[i] = 2 - 1e-3*r.Float32()
	}
}

// A NaN or Inf goes through as in the sequential form: never to an earlier token, another head or another batch item.
func TestAttentionNonFinite(t *testing.T) {
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(8, 9))
		for i := range rounds(120) {
			p := attentionProblem(i, 1+r.IntN(2), tile.Shape{B: 2, T: 1 + r.IntN(90), Hq: 4, Hkv: 2, Dk: 20, Dv: 36})
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			a := c.attention
			for _, v := range [][]float32{a.query, a.key, a.value, a.past, a.decay, a.beta} {
				if len(v) > 0 && r.IntN(2) == 0 {
					v[r.IntN(len(v))] = bad[r.IntN(len(bad))]
				}
			}
			if i%7 == 0 {
				a.value[r.IntN(len(a.value))] = math.MaxFloat32
			}
			compareNonFinite(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// compareNonFinite checks that a value is finite exactly where the oracle's is, and right there. Where the oracle has an infinity
// the kernel may have any non-finite value: products that the sequential form never makes can turn Inf into NaN.
func compareNonFinite(t *testing.T, c *Case, cand tile.Candidate) {
	t.Helper()
	x, err := c.Prepare(cand)
	if err != nil {
		t.Fatal(err)
	}
	past := slices.Clone(c.attention.past)
	x.Run()
	s, a := c.Problem.Shape, c.attention
	want := generic.Attention{
		B: s.B, T: s.T, Hq: s.Hq, Hkv: s.Hkv, Dk: s.Dk, Dv: s.Dv, Delta: c.Problem.Op == tile.DeltaRule,
		Scale: float64(a.scale), HeadDecay: a.headDecay, KeyDecay: c.Problem.Decay == tile.DecayKey, BetaHeads: a.betaHeads,
	}.Oracle(a.query, a.key, a.value, past, a.decay, a.beta)
	for _, o := range []struct {
		name      string
		got       []float32
		want, abs []float64
	}{{"output", a.output, want.Output, want.OutputAbs}, {"state", a.state, want.State, want.StateAbs}} {
		for i, w := range o.want {
			g := float64(o.got[i])
			if math.Abs(w) > math.MaxFloat32 || math.IsNaN(w) {
				if !math.IsNaN(g) && !math.IsInf(g, 0) {
					t.Fatalf("%s %s: %s[%d] = %v, oracle %v", c.Problem, cand, o.name, i, g, w)
				}
				continue
			}
			if o.abs[i] > math.MaxFloat32/64 {
				continue // an intermediate may overflow on the way to a finite answer
			}
			if e := math.Abs(g - w); !(e <= ErrorBound(c.Problem)*(o.abs[i]+1e-30)) {
				t.Fatalf("%s %s: %s[%d] = %v, oracle %v", c.Problem, cand, o.name, i, g, w)
			}
		}
	}
}

// The same config and thread count give the same bits; another thread count or chunk agrees within the bound (compare does that).
func TestAttentionRepeats(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(10, 11))
		for rule := range attentionRules {
			p := attentionProblem(rule, 3, tile.Shape{B: 1, T: 100, Hq: 2, Hkv: 1, Dk: 33, Dv: 65})
			c, err := NewCase(p, 1)
			if err != nil {
				t.Fatal(err)
			}
			x, err := c.Prepare(anyConfig(t, r, p, isa))
			if err != nil {
				t.Fatal(err)
			}
			x.Run()
			first, state := slices.Clone(c.attention.output), slices.Clone(c.attention.state)
			for range 5 {
				clear(c.attention.output)
				x.Run()
				if !slices.Equal(first, c.attention.output) || !slices.Equal(state, c.attention.state) {
					t.Fatalf("%s: two runs differ", p)
				}
			}
		}
	})
}

// Splitting a sequence over calls, the state updated in place, gives the whole sequence's answer.
func TestForwardSplitsOverCalls(t *testing.T) {
	const b, tokens, h, dk, dv = 1, 90, 2, 16, 24
	for rule, base := range attentionRules {
		if base.Decay == tile.DecayFixed {
			continue
		}
		p := attentionProblem(rule, 1, tile.Shape{B: b, T: tokens, Hq: h, Hkv: h, Dk: dk, Dv: dv})
		c, err := NewCase(p, 3)
		if err != nil {
			t.Fatal(err)
		}
		a := c.attention
		state := slices.Clone(a.past)
		output := make([]float32, len(a.output))
		for _, r := range [][2]int{{0, 1}, {1, 1}, {1, 37}, {37, 80}, {80, 90}} {
			lo, hi := r[0], r[1]
			cut := func(data []float32, width int) Tensor {
				if data == nil {
					return Tensor{}
				}
				return Tensor{Data: data[lo*width : hi*width], Shape: []int{b, hi - lo, width}}
			}
			st := Tensor{Data: state, Shape: []int{b, h, dk, dv}}
			in := &Inputs{Query: cut(a.query, h*dk), Key: cut(a.key, h*dk), Value: cut(a.value, h*dv), PastState: st, Decay: cut(a.decay, len(a.decay)/max(1, b*tokens)), Beta: cut(a.beta, h)}
			out := &Outputs{Output: cut(output, h*dv), PresentState: st}
			if err := forward(p.Op, p.Rule, h, h, in, out); err != nil {
				t.Fatal(err)
			}
		}
		want := generic.Attention{B: b, T: tokens, Hq: h, Hkv: h, Dk: dk, Dv: dv, Delta: p.Op == tile.DeltaRule, Scale: 0.25, KeyDecay: p.Decay == tile.DecayKey, BetaHeads: h}.
			Oracle(a.query, a.key, a.value, a.past, a.decay, a.beta)
		if e := relativeError(output, want.Output, want.OutputAbs); e > ErrorBound(p) {
			t.Errorf("%s: output error %.3g", p, e)
		}
		if e := relativeError(state, want.State, want.StateAbs); e > ErrorBound(p) {
			t.Errorf("%s: state error %.3g", p, e)
		}
	}
}

func forward(op, rule string, hq, hkv int, in *Inputs, out *Outputs) error {
	if op == tile.DeltaRule {
		return (&DeltaRule{QHeads: hq, KVHeads: hkv, Rule: rule}).Forward(out, in)
	}
	return (&LinearAttention{QHeads: hq, KVHeads: hkv, Rule: rule}).Forward(out, in)
}

// One op value, many goroutines.
func TestForwardConcurrently(t *testing.T) {
	p := attentionProblem(gatedDelta, 2, tile.Shape{B: 1, T: 70, Hq: 4, Hkv: 2, Dk: 32, Dv: 32})
	c, err := NewCase(p, 5)
	if err != nil {
		t.Fatal(err)
	}
	a, s := c.attention, p.Shape
	op := &DeltaRule{QHeads: s.Hq, KVHeads: s.Hkv, Threads: 2}
	in := &Inputs{
		Query: Tensor{Data: a.query, Shape: []int{s.B, s.T, s.Hq * s.Dk}}, Key: Tensor{Data: a.key, Shape: []int{s.B, s.T, s.Hkv * s.Dk}},
		Value: Tensor{Data: a.value, Shape: []int{s.B, s.T, s.Hkv * s.Dv}}, PastState: Tensor{Data: a.past, Shape: []int{s.B, s.Hkv, s.Dk, s.Dv}},
		Decay: Tensor{Data: a.decay, Shape: []int{s.B, s.T, s.Hkv}}, Beta: Tensor{Data: a.beta, Shape: []int{s.B, s.T, s.Hkv}},
	}
	outs := make([]Outputs, 8)
	var wg sync.WaitGroup
	for i := range outs {
		wg.Go(func() {
			outs[i] = Outputs{Output: NewTensor(s.B, s.T, s.Hq*s.Dv), PresentState: NewTensor(s.B, s.Hkv, s.Dk, s.Dv)}
			for range 10 {
				if err := op.Forward(&outs[i], in); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range outs {
		if !slices.Equal(outs[0].Output.Data, outs[i].Output.Data) {
			t.Fatalf("goroutine %d got other bits", i)
		}
	}
}

func TestForwardAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("sync.Pool drops prepared calls at random under the race detector")
	}
	for rule := range attentionRules {
		p := attentionProblem(rule, 2, tile.Shape{B: 1, T: 40, Hq: 2, Hkv: 2, Dk: 32, Dv: 32})
		c, err := NewCase(p, 5)
		if err != nil {
			t.Fatal(err)
		}
		a, s := c.attention, p.Shape
		in := &Inputs{
			Query: Tensor{Data: a.query, Shape: []int{s.B, s.T, s.Hq * s.Dk}}, Key: Tensor{Data: a.key, Shape: []int{s.B, s.T, s.Hkv * s.Dk}},
			Value: Tensor{Data: a.value, Shape: []int{s.B, s.T, s.Hkv * s.Dv}},
		}
		if a.decay != nil {
			in.Decay = Tensor{Data: a.decay, Shape: []int{s.B, s.T, len(a.decay) / s.B / s.T}}
		}
		if a.beta != nil {
			in.Beta = Tensor{Data: a.beta, Shape: []int{s.B, s.T, s.Hkv}}
		}
		out := &Outputs{Output: Tensor{Data: a.output, Shape: []int{s.B, s.T, s.Hq * s.Dv}}, PresentState: Tensor{Data: a.state, Shape: []int{s.B, s.Hkv, s.Dk, s.Dv}}}
		linear := &LinearAttention{QHeads: 2, KVHeads: 2, Rule: p.Rule, HeadDecay: a.headDecay, Threads: 2}
		delta := &DeltaRule{QHeads: 2, KVHeads: 2, Rule: p.Rule, HeadDecay: a.headDecay, Threads: 2}
		once := func() {
			var err error
			if p.Op == tile.DeltaRule {
				err = delta.Forward(out, in)
			} else {
				err = linear.Forward(out, in)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(20, once); n != 0 {
			t.Errorf("%s: %v allocations a call", p, n)
		}
	}
}

func FuzzAttention(f *testing.F) {
	f.Add(uint64(1), 0, 40, 1, 1, 16, 16)
	f.Add(uint64(2), 4, 17, 2, 2, 33, 5)
	f.Fuzz(func(t *testing.T, seed uint64, rule, tokens, group, hkv, dk, dv int) {
		in := func(v, n int) int { return 1 + int(uint(v)%uint(n)) }
		s := tile.Shape{B: 1, T: in(tokens, 140) - 1, Hkv: in(hkv, 3), Dk: in(dk, 80), Dv: in(dv, 80)}
		s.Hq = s.Hkv * in(group, 3)
		p := attentionProblem(int(uint(rule)%uint(len(attentionRules))), 1+int(seed%3), s)
		c, err := NewCase(p, seed)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(seed, 1))
		for _, isa := range tested() {
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}
