package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

var backwardRules = []tile.Problem{
	{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone},
	{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayFixed},
	{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayHead},
	{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayKey},
}

func backwardProblem(rule, threads int, s tile.Shape) tile.Problem {
	p := backwardRules[rule%len(backwardRules)]
	p.Shape, p.DType, p.Dir, p.Threads = s, "float32", tile.Backward, threads
	return p
}

func backwardCase(t testing.TB, p tile.Problem, seed uint64) *Case {
	t.Helper()
	c, err := NewCase(p, seed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// compareBackward runs a candidate on a case and compares all it writes with the oracle on the same arrays.
func compareBackward(t testing.TB, c *Case, cand tile.Candidate) {
	t.Helper()
	x, err := c.Prepare(cand)
	if err != nil {
		t.Fatal(err)
	}
	x.Run()
	for _, o := range c.attention.gradients(c.attention.oracleBackward()) {
		if e := relativeError(o.got, o.want, o.abs); !(e <= ErrorBound(c.Problem)) {
			t.Fatalf("%s %s: %s error %.3g above %.3g", c.Problem, cand, o.name, e, ErrorBound(c.Problem))
		}
	}
}

func TestBackwardMatchesOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(21, 22))
		for i := range rounds(60) {
			group, hkv := 1+r.IntN(3), 1+r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(150), Hq: hkv * group, Hkv: hkv, Dk: 1 + r.IntN(70), Dv: 1 + r.IntN(70)}
			p := backwardProblem(i, 1+r.IntN(4), s)
			c := backwardCase(t, p, uint64(i))
			if r.IntN(4) == 0 {
				c.attention.past = nil
			}
			if r.IntN(4) == 0 {
				c.attention.gradState = nil
			}
			if r.IntN(4) == 0 {
				c.attention.gradPast = nil
			}
			if r.IntN(4) == 0 {
				c.attention.gradDecay = nil
			}
			compareBackward(t, c, anyConfig(t, r, p, isa))
		}
	})
}

func TestBackwardModelShapes(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(23, 24))
		for i, s := range []tile.Shape{
			{B: 1, T: 193, Hq: 4, Hkv: 2, Dk: 128, Dv: 128}, {B: 1, T: 256, Hq: 2, Hkv: 2, Dk: 64, Dv: 64},
			{B: 2, T: 130, Hq: 1, Hkv: 1, Dk: 64, Dv: 128}, {B: 1, T: 1, Hq: 4, Hkv: 4, Dk: 128, Dv: 128},
			{B: 1, T: 70, Hq: 1, Hkv: 1, Dk: 256, Dv: 256},
		} {
			for rule := range backwardRules {
				p := backwardProblem(rule, 1+i%3, s)
				compareBackward(t, backwardCase(t, p, uint64(i)), anyConfig(t, r, p, isa))
			}
		}
	})
}

// Few heads are split over the panels of dk and dv, and the sums over keys join them again.
func TestBackwardSplits(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(25, 26))
		for rule := range backwardRules {
			p := backwardProblem(rule, 4, tile.Shape{B: 1, T: 700, Hq: 1, Hkv: 1, Dk: 112, Dv: 80})
			c := backwardCase(t, p, 3)
			x, err := c.Prepare(anyConfig(t, r, p, isa))
			if err != nil {
				t.Fatal(err)
			}
			if b := x.driver.(*backward); b.split < 2 {
				t.Fatalf("%s: %d units of %d workers", p, b.units, b.workers)
			}
			compareBackward(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// Strong decay, none, growth and decay to zero must stay within the bound at every chunk size.
func TestBackwardExtremeDecay(t *testing.T) {
	fills := map[string]func(r *rand.Rand) float32{
		"zero":    func(*rand.Rand) float32 { return 0 },
		"strong":  func(*rand.Rand) float32 { return -20 },
		"grow":    func(r *rand.Rand) float32 { return 0.05 * r.Float32() },
		"growing": func(r *rand.Rand) float32 { return 0.4 },
		"neginf":  func(r *rand.Rand) float32 { return []float32{0, -0.1, float32(math.Inf(-1))}[r.IntN(3)] },
		"bursts":  func(r *rand.Rand) float32 { return []float32{-0.01, -0.01, -0.01, -80}[r.IntN(4)] },
		"rare":    func(r *rand.Rand) float32 { return []float32{-0.01, -30}[r.IntN(50)/49] },
		"killing": func(r *rand.Rand) float32 { return -200 },
	}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for name, fill := range fills {
			for rule, base := range backwardRules[1:] {
				r := rand.New(rand.NewPCG(27, uint64(rule)))
				p := backwardProblem(rule+1, 2, tile.Shape{B: 1, T: 133, Hq: 4, Hkv: 2, Dk: 24, Dv: 40})
				c := backwardCase(t, p, 7)
				for i := range c.attention.decay {
					c.attention.decay[i] = fill(r)
				}
				for i := range c.attention.headDecay {
					c.attention.headDecay[i] = fill(r)
				}
				t.Run(fmt.Sprintf("%s/%s", name, base.Decay), func(t *testing.T) {
					for range 4 {
						compareBackward(t, c, anyConfig(t, r, p, isa))
					}
				})
			}
		}
	})
}

// Huge and tiny numbers must not overflow or vanish where their products do not.
func TestBackwardExtremeNumbers(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(28, 29))
		for rule := range backwardRules {
			for _, big := range []float32{0x1p40, 0x1p-40, 0x1p60} {
				p := backwardProblem(rule, 1, tile.Shape{B: 1, T: 300, Hq: 2, Hkv: 1, Dk: 20, Dv: 36})
				c := backwardCase(t, p, 5)
				for i := range c.attention.decay {
					c.attention.decay[i] *= 3 // carries reach their limit within the chunks
				}
				a := c.attention
				for _, v := range [][]float32{a.query, a.key, a.value, a.gradOutput} {
					for range 3 {
						v[r.IntN(len(v))] *= big
					}
				}
				compareBackward(t, c, anyConfig(t, r, p, isa))
			}
		}
	})
}

// A NaN or Inf reaches the gradients that the sequential adjoint gives it to, and no others.
func TestBackwardNonFinite(t *testing.T) {
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(30, 31))
		for i := range rounds(160) {
			p := backwardProblem(i, 1+r.IntN(2), tile.Shape{B: 2, T: 1 + r.IntN(90), Hq: 4, Hkv: 2, Dk: 20, Dv: 36})
			c := backwardCase(t, p, uint64(i))
			a := c.attention
			for _, v := range [][]float32{a.query, a.key, a.value, a.past, a.decay, a.gradOutput, a.gradState} {
				if len(v) > 0 && r.IntN(4) == 0 {
					v[r.IntN(len(v))] = bad[r.IntN(len(bad))]
				}
			}
			cand := anyConfig(t, r, p, isa)
			x, err := c.Prepare(cand)
			if err != nil {
				t.Fatal(err)
			}
			x.Run()
			for _, o := range c.attention.gradients(c.attention.oracleBackward()) {
				for i, w := range o.want {
					g := float64(o.got[i])
					if finite(w) != finite(g) {
						t.Fatalf("%s %s: %s[%d] = %v, oracle %v", p, cand, o.name, i, g, w)
					}
					if e := math.Abs(g - w); finite(w) && !(e <= ErrorBound(p)*(o.abs[i]+1e-30)) {
						t.Fatalf("%s %s: %s[%d] = %v, oracle %v, abs %v", p, cand, o.name, i, g, w, o.abs[i])
					}
				}
			}
		}
	})
}

// The oracle's gradients are those of the forward oracle's loss, by differences.
func TestBackwardOracleByDifferences(t *testing.T) {
	for rule := range backwardRules {
		p := backwardProblem(rule, 1, tile.Shape{B: 1, T: 6, Hq: 4, Hkv: 2, Dk: 3, Dv: 2})
		a := backwardCase(t, p, 11).attention
		s := p.Shape
		loss := func() float64 {
			r := generic.Attention{B: s.B, T: s.T, Hq: s.Hq, Hkv: s.Hkv, Dk: s.Dk, Dv: s.Dv, Scale: float64(a.scale), HeadDecay: a.headDecay, KeyDecay: p.Decay == tile.DecayKey}.
				Oracle(a.query, a.key, a.value, a.past, a.decay, nil)
			sum := 0.0
			for i, x := range r.Output {
				sum += x * float64(a.gradOutput[i])
			}
			for i, x := range r.State {
				sum += x * float64(a.gradState[i])
			}
			return sum
		}
		want := a.oracleBackward()
		for _, v := range []struct {
			name string
			data []float32
			grad []float64
		}{{"query", a.query, want.Query}, {"key", a.key, want.Key}, {"value", a.value, want.Value}, {"past", a.past, want.Past}, {"decay", a.decay, want.Decay}} {
			byDifferences(t, p, v.name, v.data, v.grad, loss, 0x1p-10, 1e-6)
		}
	}
}

// Decay per key with the same decay for all keys of a head is decay per head.
func TestBackwardOracleKeyIsHead(t *testing.T) {
	p := backwardProblem(2, 1, tile.Shape{B: 2, T: 9, Hq: 4, Hkv: 2, Dk: 5, Dv: 3})
	a := backwardCase(t, p, 12).attention
	head := a.oracleBackward()
	decay := a.decay
	a.decay = nil
	for _, g := range decay {
		a.decay = append(a.decay, slices.Repeat([]float32{g}, p.Shape.Dk)...)
	}
	a.problem.Decay = tile.DecayKey
	key := a.oracleBackward()
	for i := range head.Query {
		if head.Query[i] != key.Query[i] {
			t.Fatalf("query gradient %d: %v with decay per head, %v per key", i, head.Query[i], key.Query[i])
		}
	}
	for i, want := range head.Decay {
		sum := 0.0
		for _, x := range key.Decay[i*p.Shape.Dk:][:p.Shape.Dk] {
			sum += x
		}
		if math.Abs(sum-want) > 1e-12*head.DecayAbs[i] {
			t.Errorf("decay gradient %d: %v per head, %v over keys", i, want, sum)
		}
	}
}

// The same config and thread count give the same bits.
func TestBackwardRepeats(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(32, 33))
		for rule := range backwardRules {
			p := backwardProblem(rule, 3, tile.Shape{B: 1, T: 300, Hq: 2, Hkv: 1, Dk: 70, Dv: 65})
			c := backwardCase(t, p, 1)
			x, err := c.Prepare(anyConfig(t, r, p, isa))
			if err != nil {
				t.Fatal(err)
			}
			x.Run()
			a := &c.attention
			first := [][]float32{slices.Clone(a.gradQuery), slices.Clone(a.gradKey), slices.Clone(a.gradValue), slices.Clone(a.gradPast), slices.Clone(a.gradDecay)}
			for range 3 {
				x.Run()
				for i, v := range [][]float32{a.gradQuery, a.gradKey, a.gradValue, a.gradPast, a.gradDecay} {
					if !slices.Equal(first[i], v) {
						t.Fatalf("%s: two runs differ", p)
					}
				}
			}
		}
	})
}

// backwardArgs are a call's arguments from a case's arrays.
func backwardArgs(c *Case) (*LinearAttention, *Gradients, *OutputGradients, *Inputs) {
	a, s := c.attention, c.Problem.Shape
	state := []int{s.B, s.Hkv, s.Dk, s.Dv}
	in := &Inputs{
		Query: Tensor{Data: a.query, Shape: []int{s.B, s.T, s.Hq * s.Dk}}, Key: Tensor{Data: a.key, Shape: []int{s.B, s.T, s.Hkv * s.Dk}},
		Value: Tensor{Data: a.value, Shape: []int{s.B, s.T, s.Hkv * s.Dv}}, PastState: Tensor{Data: a.past, Shape: state},
	}
	grads := &Gradients{Query: Tensor{Data: a.gradQuery, Shape: in.Query.Shape}, Key: Tensor{Data: a.gradKey, Shape: in.Key.Shape}, Value: Tensor{Data: a.gradValue, Shape: in.Value.Shape}, PastState: Tensor{Data: a.gradPast, Shape: state}}
	if a.decay != nil {
		width := s.Hkv
		if c.Problem.Decay == tile.DecayKey {
			width *= s.Dk
		}
		in.Decay = Tensor{Data: a.decay, Shape: []int{s.B, s.T, width}}
		grads.Decay = Tensor{Data: a.gradDecay, Shape: in.Decay.Shape}
	}
	op := &LinearAttention{QHeads: s.Hq, KVHeads: s.Hkv, Rule: c.Problem.Rule, HeadDecay: a.headDecay, Threads: c.Problem.Threads}
	return op, grads, &OutputGradients{Output: Tensor{Data: a.gradOutput, Shape: []int{s.B, s.T, s.Hq * s.Dv}}, PresentState: Tensor{Data: a.gradState, Shape: state}}, in
}

// Calls of one sequence in parts, each with the past state of the part before and the state gradient of the part after, give the
// gradients of the whole.
func TestBackwardSplitsOverCalls(t *testing.T) {
	for rule := range backwardRules {
		whole := backwardProblem(rule, 1, tile.Shape{B: 1, T: 90, Hq: 4, Hkv: 2, Dk: 16, Dv: 24})
		c := backwardCase(t, whole, 3)
		op, grads, gout, in := backwardArgs(c)
		s := whole.Shape
		// The states at the cuts, from the oracle.
		want := c.attention.oracleBackward()
		cuts := []int{0, 1, 38, 80, 90}
		past := c.attention.past
		var states [][]float32
		cut := func(x Tensor, lo, hi int) Tensor {
			if x.Shape == nil {
				return x
			}
			w := x.Shape[2]
			return Tensor{Data: x.Data[lo*w : hi*w], Shape: []int{1, hi - lo, w}}
		}
		for i := range cuts[1:] {
			states = append(states, past)
			past = stateAfter(c.attention, past, cuts[i], cuts[i+1])
		}
		gradState := slices.Clone(c.attention.gradState)
		for i := len(cuts) - 2; i >= 0; i-- {
			lo, hi := cuts[i], cuts[i+1]
			part := *in
			part.Query, part.Key, part.Value, part.Decay = cut(in.Query, lo, hi), cut(in.Key, lo, hi), cut(in.Value, lo, hi), cut(in.Decay, lo, hi)
			part.PastState.Data = states[i]
			gp := NewTensor(s.B, s.Hkv, s.Dk, s.Dv)
			g := &Gradients{Query: cut(grads.Query, lo, hi), Key: cut(grads.Key, lo, hi), Value: cut(grads.Value, lo, hi), Decay: cut(grads.Decay, lo, hi), PastState: gp}
			o := &OutputGradients{Output: cut(gout.Output, lo, hi), PresentState: Tensor{Data: gradState, Shape: gp.Shape}}
			if err := op.Backward(g, o, &part); err != nil {
				t.Fatal(err)
			}
			gradState = gp.Data
		}
		copy(c.attention.gradPast, gradState)
		if e := c.attention.backwardError(want); e > ErrorBound(whole) {
			t.Errorf("%s: error %.3g above %.3g", whole, e, ErrorBound(whole))
		}
	}
}

// stateAfter is the state after tokens lo to hi in float64.
func stateAfter(a attentionArgs, past []float32, lo, hi int) []float32 {
	s := a.problem.Shape
	state := make([]float64, len(past))
	for i, x := range past {
		state[i] = float64(x)
	}
	for h := range s.Hkv {
		for t := lo; t < hi; t++ {
			for i := range s.Dk {
				g := 0.0
				switch a.problem.Decay {
				case tile.DecayFixed:
					g = float64(a.headDecay[h])
				case tile.DecayHead:
					g = float64(a.decay[t*s.Hkv+h])
				case tile.DecayKey:
					g = float64(a.decay[(t*s.Hkv+h)*s.Dk+i])
				}
				for j := range s.Dv {
					x := &state[(h*s.Dk+i)*s.Dv+j]
					*x = *x*math.Exp(g) + float64(a.key[(t*s.Hkv+h)*s.Dk+i])*float64(a.value[(t*s.Hkv+h)*s.Dv+j])
				}
			}
		}
	}
	out := make([]float32, len(state))
	for i, x := range state {
		out[i] = float32(x)
	}
	return out
}

func TestBackwardAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("sync.Pool drops prepared calls at random under the race detector")
	}
	for rule := range backwardRules {
		op, grads, gout, in := backwardArgs(backwardCase(t, backwardProblem(rule, 2, tile.Shape{B: 1, T: 40, Hq: 2, Hkv: 2, Dk: 32, Dv: 32}), 5))
		once := func() {
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(20, once); n != 0 {
			t.Errorf("%s: %v allocations a call", backwardRules[rule].Decay, n)
		}
	}
}

func TestBackwardRefuses(t *testing.T) {
	good := func() (*LinearAttention, *Gradients, *OutputGradients, *Inputs) {
		return backwardArgs(backwardCase(t, backwardProblem(2, 1, tile.Shape{B: 2, T: 3, Hq: 2, Hkv: 1, Dk: 4, Dv: 5}), 1))
	}
	if o, g, out, in := good(); o.Backward(g, out, in) != nil {
		t.Fatal("the valid call is refused:", o.Backward(g, out, in))
	}
	for name, c := range map[string]struct {
		argument string
		spoil    func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs)
	}{
		"output gradient missing": {"grad_output", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { out.Output = Tensor{} }},
		"output gradient width": {"grad_output", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			out.Output = NewTensor(2, 3, 5)
		}},
		"state gradient shape": {"grad_present_state", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			out.PresentState = NewTensor(2, 1, 5, 4)
		}},
		"query gradient missing": {"grad_query", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { g.Query = Tensor{} }},
		"key gradient shape":     {"grad_key", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { g.Key = NewTensor(2, 3, 5) }},
		"value gradient rank":    {"grad_value", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { g.Value = NewTensor(6, 5) }},
		"past gradient shape": {"grad_past_state", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			g.PastState = NewTensor(2, 1, 5, 4)
		}},
		"decay gradient shape": {"grad_decay", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { g.Decay = NewTensor(2, 3, 4) }},
		"decay gradient, no decay": {"grad_decay", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			o.Rule, in.Decay = tile.RuleLinear, Tensor{}
		}},
		"query gradient over key": {"grad_query", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			in.Key.Data = g.Query.Data[:24]
		}},
		"key gradient over output's": {"grad_key", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			g.Key.Data = out.Output.Data[:24]
		}},
		"gradients overlap": {"grad_value", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			g.Value.Data = g.Query.Data[:30]
		}},
		"query rank":  {"query", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { in.Query = NewTensor(6, 8) }},
		"kept states": {"Keep", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { in.Keep = []int{1} }},
		"delta rule":  {"Rule", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { o.Rule = tile.RuleDelta }},
	} {
		t.Run(name, func(t *testing.T) {
			o, g, out, in := good()
			c.spoil(o, g, out, in)
			wantRefusal(t, o.Backward(g, out, in), c.argument)
		})
	}
	o, g, out, in := good()
	wantRefusal(t, o.Backward(nil, out, in), "grads")
	wantRefusal(t, o.Backward(g, nil, in), "gout")
	wantRefusal(t, o.Backward(g, out, nil), "in")
	in.Value.Data = out.Output.Data[:30] // inputs may share memory
	if err := o.Backward(g, out, in); err != nil {
		t.Error(err)
	}
}

func FuzzBackward(f *testing.F) {
	f.Add(uint64(1), 0, 40, 1, 1, 16, 16)
	f.Add(uint64(2), 3, 17, 2, 2, 33, 5)
	f.Fuzz(func(t *testing.T, seed uint64, rule, tokens, group, hkv, dk, dv int) {
		in := func(v, n int) int { return 1 + int(uint(v)%uint(n)) }
		s := tile.Shape{B: 1, T: in(tokens, 140) - 1, Hkv: in(hkv, 3), Dk: in(dk, 80), Dv: in(dv, 80)}
		s.Hq = s.Hkv * in(group, 3)
		p := backwardProblem(int(uint(rule)%uint(len(backwardRules))), 1+int(seed%3), s)
		r := rand.New(rand.NewPCG(seed, 1))
		for _, isa := range tested() {
			compareBackward(t, backwardCase(t, p, seed), anyConfig(t, r, p, isa))
		}
	})
}

// byDifferences holds the gradient of a loss against the quotients of differences a step to both sides of each number.
func byDifferences(t *testing.T, p tile.Problem, name string, data []float32, grad []float64, loss func() float64, step float32, tolerance float64) {
	t.Helper()
	for i, x := range data {
		data[i] = x + step
		hi, up := loss(), float64(data[i])
		data[i] = x - step
		lo, down := loss(), float64(data[i])
		data[i] = x
		if d := (hi - lo) / (up - down); math.Abs(d-grad[i]) > tolerance*(1+math.Abs(d)) {
			t.Errorf("%s: gradient of %s[%d] is %v, by differences %v", p, name, i, grad[i], d)
		}
	}
}
