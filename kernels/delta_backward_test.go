package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

var deltaBackwardRules = []tile.Problem{
	{Op: tile.DeltaRule, Rule: tile.RuleDelta, Decay: tile.DecayNone},
	{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayFixed},
	{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead},
	{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayKey},
}

func deltaBackwardProblem(rule, threads int, s tile.Shape) tile.Problem {
	p := deltaBackwardRules[rule%len(deltaBackwardRules)]
	p.Shape, p.DType, p.Dir, p.Threads = s, tile.Float32, tile.Backward, threads
	return p
}

// shareBeta leaves one beta for all heads of a token.
func shareBeta(a *attentionArgs) {
	s := a.problem.Shape
	for i := range s.B * s.T {
		a.beta[i] = a.beta[i*s.Hkv]
	}
	a.beta, a.betaHeads = a.beta[:s.B*s.T], 1
	a.gradBeta = a.gradBeta[:s.B*s.T]
}

// anyWidth is any width, every other time one that the fused form takes.
func anyWidth(r *rand.Rand, most int) int {
	if r.IntN(2) == 0 {
		return 32 * (1 + r.IntN(3))
	}
	return 1 + r.IntN(most)
}

func TestDeltaBackwardMatchesOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(31, 32))
		for i := range rounds(60) {
			group, hkv := 1+r.IntN(3), 1+r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(150), Hq: hkv * group, Hkv: hkv, Dk: anyWidth(r, 70), Dv: anyWidth(r, 70)}
			p := deltaBackwardProblem(i, 1+r.IntN(4), s)
			c := backwardCase(t, p, uint64(i))
			if r.IntN(4) == 0 {
				shareBeta(&c.attention)
			}
			for _, absent := range []*[]float32{&c.attention.past, &c.attention.gradState, &c.attention.gradPast, &c.attention.gradDecay, &c.attention.gradBeta} {
				if r.IntN(4) == 0 {
					*absent = nil
				}
			}
			compareBackward(t, c, anyConfig(t, r, p, isa))
		}
	})
}

func TestDeltaBackwardModelShapes(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(33, 34))
		for i, s := range []tile.Shape{
			{B: 1, T: 193, Hq: 4, Hkv: 2, Dk: 128, Dv: 128}, {B: 1, T: 256, Hq: 2, Hkv: 2, Dk: 64, Dv: 64}, {B: 2, T: 130, Hq: 1, Hkv: 1, Dk: 64, Dv: 128},
			{B: 1, T: 1, Hq: 4, Hkv: 4, Dk: 128, Dv: 128}, {B: 1, T: 70, Hq: 1, Hkv: 1, Dk: 256, Dv: 256}, {B: 1, T: 0, Hq: 1, Hkv: 1, Dk: 8, Dv: 8},
		} {
			for rule := range deltaBackwardRules {
				p := deltaBackwardProblem(rule, 1+i%3, s)
				compareBackward(t, backwardCase(t, p, uint64(i)), anyConfig(t, r, p, isa))
			}
		}
	})
}

// Strong decay, none, growth and decay to zero must stay within the bound at every chunk size.
func TestDeltaBackwardExtremeDecay(t *testing.T) {
	fills := map[string]func(r *rand.Rand) float32{
		"zero":   func(*rand.Rand) float32 { return 0 },
		"strong": func(*rand.Rand) float32 { return -20 },
		"grow":   func(r *rand.Rand) float32 { return 0.01 * r.Float32() },
		"neginf": func(r *rand.Rand) float32 { return []float32{0, -0.1, float32(math.Inf(-1))}[r.IntN(3)] },
		"bursts": func(r *rand.Rand) float32 { return []float32{-0.01, -0.01, -0.01, -80}[r.IntN(4)] },
	}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for name, fill := range fills {
			for rule := 1; rule < len(deltaBackwardRules); rule++ {
				r := rand.New(rand.NewPCG(37, uint64(rule)))
				for _, s := range []tile.Shape{{B: 1, T: 133, Hq: 4, Hkv: 2, Dk: 24, Dv: 40}, {B: 1, T: 133, Hq: 4, Hkv: 2, Dk: 32, Dv: 64}} {
					p := deltaBackwardProblem(rule, 2, s)
					c := backwardCase(t, p, 7)
					for _, gates := range [][]float32{c.attention.decay, c.attention.headDecay} {
						for i := range gates {
							gates[i] = fill(r)
						}
					}
					t.Run(fmt.Sprintf("%s/%s/%s", name, p.Decay, s), func(t *testing.T) {
						for range 4 {
							compareBackward(t, c, anyConfig(t, r, p, isa))
						}
					})
				}
			}
		}
	})
}

// Keys that are nearly one another, with beta near 2, make triangles badly conditioned.
func TestDeltaBackwardParallelKeys(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(65, 66))
		for i := range rounds(12) {
			s := tile.Shape{B: 1, T: 20 + r.IntN(60), Hq: 2, Hkv: 2, Dk: anyWidth(r, 40), Dv: anyWidth(r, 40)}
			p := deltaBackwardProblem(i, 1, s)
			c := backwardCase(t, p, uint64(i))
			a := &c.attention
			for t := range s.T {
				for h := range s.Hkv {
					key, first := a.key[(t*s.Hkv+h)*s.Dk:][:s.Dk], a.key[h*s.Dk:][:s.Dk]
					sum := 0.0
					for k := range key {
						key[k] = first[k] + 1e-3*key[k]
						sum += float64(key[k]) * float64(key[k])
					}
					for k := range key {
						key[k] /= float32(math.Sqrt(sum))
					}
					a.beta[t*s.Hkv+h] = 1.9 + 0.1*r.Float32()
				}
			}
			for range 3 {
				compareBackward(t, c, anyConfig(t, r, p, isa))
			}
		}
	})
}

// Arrays of any alignment do: what is stored past the caches otherwise is not then.
func TestDeltaBackwardUnaligned(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(67, 68))
		p := deltaBackwardProblem(2, 1, tile.Shape{B: 1, T: 70, Hq: 2, Hkv: 1, Dk: 64, Dv: 32})
		c := backwardCase(t, p, 3)
		a := &c.attention
		for _, v := range []*[]float32{&a.query, &a.key, &a.value, &a.gradOutput, &a.gradQuery, &a.gradKey, &a.gradValue} {
			moved := aligned(len(*v) + 1)[1:]
			copy(moved, *v)
			*v = moved
		}
		for range 8 {
			compareBackward(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// The oracle's gradients against differences of the forward oracle's outputs.
func TestDeltaBackwardOracleDifferences(t *testing.T) {
	for rule := range deltaBackwardRules {
		p := deltaBackwardProblem(rule, 1, tile.Shape{B: 1, T: 5, Hq: 4, Hkv: 2, Dk: 3, Dv: 4})
		deltaByDifferences(t, backwardCase(t, p, 9))
	}
}

// deltaByDifferences holds all gradients of a case's oracle against differences of a loss that is made of the forward oracle's outputs.
func deltaByDifferences(t *testing.T, c *Case) {
	t.Helper()
	a := &c.attention
	loss := func() (sum float64) {
		o := oracleCase(c.Problem, *a).Oracle(a.query, a.key, a.value, a.past, a.decay, a.beta)
		for i, g := range a.gradOutput {
			sum += float64(g) * o.Output[i]
		}
		for i, g := range a.gradState {
			sum += float64(g) * o.State[i]
		}
		return sum
	}
	r := a.oracleBackward()
	for _, x := range []struct {
		name     string
		values   []float32
		gradient []float64
	}{
		{"query", a.query, r.Query}, {"key", a.key, r.Key}, {"value", a.value, r.Value}, {"past", a.past, r.Past}, {"decay", a.decay, r.Decay}, {"beta", a.beta, r.Beta},
		{"write", a.write, r.Write}, {"decay_log", a.decayLog, r.DecayLog}, {"decay_bias", a.decayBias, r.DecayBias},
	} {
		byDifferences(t, c.Problem, x.name, x.values, x.gradient, loss, 0x1p-9, 1e-4)
	}
}

func TestDeltaBackwardAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates")
	}
	p := deltaBackwardProblem(2, 2, tile.Shape{B: 1, T: 200, Hq: 4, Hkv: 4, Dk: 64, Dv: 64})
	c := backwardCase(t, p, 1)
	isas := ISAs()
	x, err := c.Prepare(tile.Candidate{ISA: isas[len(isas)-1], Config: Default(p, isas[len(isas)-1])})
	if err != nil {
		t.Fatal(err)
	}
	x.Run()
	if n := testing.AllocsPerRun(10, x.Run); n > 0 {
		t.Errorf("%g allocations a call", n)
	}
}

// A recording executes the flops that the driver's own calls count (a ragged chunk counts as a part of a whole one, whose triangles are larger), and
// simulates slower than the roof.
func TestRecordDeltaBackward(t *testing.T) {
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, isa := range tested() {
		d, err := sim.CPU(m, nil, isa, 1)
		if err != nil {
			t.Fatal(err)
		}
		for rule := range deltaBackwardRules {
			for _, tokens := range []int{5, 64, 512} {
				p := deltaBackwardProblem(rule, 1, tile.Shape{B: 2, T: tokens, Hq: 4, Hkv: 2, Dk: 64, Dv: 32})
				c := tile.Candidate{ISA: isa, Config: Default(p, isa)}
				program, err := Record(p, c)
				if err != nil {
					t.Fatal(err)
				}
				recordsWhatRuns(t, p, c, program)
				aboveRoof(t, d, p, c, program)
			}
		}
	}
}

func TestDeltaBackwardRefuses(t *testing.T) {
	type arguments struct {
		op    DeltaRule
		grads Gradients
		gout  OutputGradients
		in    Inputs
	}
	for name, c := range map[string]struct {
		argument string
		spoil    func(a *arguments)
	}{
		"as it should be": {"", func(*arguments) {}},
		"rule":            {"Rule", func(a *arguments) { a.op.Rule = "linear" }},
		"no beta":         {"beta", func(a *arguments) { a.in.Beta, a.grads.Beta = Tensor{}, Tensor{} }},
		"beta's gradient": {"grad_beta", func(a *arguments) { a.grads.Beta = NewTensor(1, 3, 1) }},
		"decay per key":   {"", func(a *arguments) { a.in.Decay, a.grads.Decay = NewTensor(1, 3, 8), NewTensor(1, 3, 8) }},
		"its gradient":    {"grad_decay", func(a *arguments) { a.in.Decay = NewTensor(1, 3, 8) }},
		"output":          {"grad_output", func(a *arguments) { a.gout.Output = NewTensor(1, 3, 4) }},
		"overlap":         {"grad_beta", func(a *arguments) { a.grads.Beta = a.in.Beta }},
		"packed":          {"", func(a *arguments) { a.in.Offsets = []int{0, 3} }},
		"fewer queries":   {"", func(a *arguments) { a.op.QHeads, a.op.InverseGQA = 1, true }},
		"not allowed":     {"QHeads", func(a *arguments) { a.op.QHeads = 1 }},
		"kept states":     {"Keep", func(a *arguments) { a.in.Keep = []int{1} }},
		"front":           {"", func(a *arguments) { a.op.Front = tile.FrontSiLU }},
		"unknown front":   {"Front", func(a *arguments) { a.op.Front = "gelu" }},
		"feature map":     {"", func(a *arguments) { a.op.FeatureMap = tile.MapL2 }},
		"another map":     {"FeatureMap", func(a *arguments) { a.op.FeatureMap = tile.MapELU }},
		"gates apart":     {"", func(a *arguments) { a.in.Write, a.grads.Write = NewTensor(1, 3, 10), NewTensor(1, 3, 10) }},
		"their gradient":  {"grad_write", func(a *arguments) { a.in.Write, a.grads.Write = NewTensor(1, 3, 10), NewTensor(1, 3, 2) }},
		"without a gate":  {"grad_write", func(a *arguments) { a.grads.Write = NewTensor(1, 3, 10) }},
		"over the gate":   {"grad_write", func(a *arguments) { a.in.Write = NewTensor(1, 3, 2); a.grads.Write = a.in.Write }},
		"parameters": {"", func(a *arguments) {
			a.op.Front, a.grads.DecayLog, a.grads.DecayBias = tile.FrontGates, NewTensor(2), NewTensor(2)
		}},
		"no front":     {"grad_decay_log", func(a *arguments) { a.grads.DecayLog = NewTensor(2) }},
		"bias's width": {"grad_decay_bias", func(a *arguments) { a.op.Front, a.grads.DecayBias = tile.FrontGates, NewTensor(8) }},
		"over the log": {"grad_decay_log", func(a *arguments) {
			a.op.Front, a.in.DecayLog = tile.FrontGates, NewTensor(2)
			a.grads.DecayLog = a.in.DecayLog
		}},
	} {
		a := arguments{
			op:    DeltaRule{QHeads: 2, KVHeads: 2},
			grads: Gradients{Query: NewTensor(1, 3, 8), Key: NewTensor(1, 3, 8), Value: NewTensor(1, 3, 10), Decay: NewTensor(1, 3, 2), Beta: NewTensor(1, 3, 2)},
			gout:  OutputGradients{Output: NewTensor(1, 3, 10)},
			in:    Inputs{Query: NewTensor(1, 3, 8), Key: NewTensor(1, 3, 8), Value: NewTensor(1, 3, 10), Decay: NewTensor(1, 3, 2), Beta: NewTensor(1, 3, 2)},
		}
		c.spoil(&a)
		err := a.op.Backward(&a.grads, &a.gout, &a.in)
		if c.argument != "" {
			wantRefusal(t, err, c.argument)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Fewer query than state heads: the gradients of queries that state heads share are sums.
func TestDeltaBackwardInverseGQA(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(61, 62))
		for i := range rounds(40) {
			hq, shared := 1+r.IntN(3), 2+r.IntN(2)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(90), Hq: hq, Hkv: hq * shared, Dk: anyWidth(r, 50), Dv: anyWidth(r, 50)}
			p := deltaBackwardProblem(i, 1+r.IntN(4), s)
			compareBackward(t, backwardCase(t, p, uint64(i)), anyConfig(t, r, p, isa))
		}
	})
}

// deltaArgs gives a case's op and arguments as a caller would, with shared key heads if keys are given for fewer than the state heads.
func deltaArgs(c *Case) (*DeltaRule, *Gradients, *OutputGradients, *Inputs) {
	a, s := &c.attention, c.Problem.Shape
	tensor := func(v []float32, shape ...int) Tensor {
		if v == nil {
			return Tensor{}
		}
		return Tensor{Data: v, Shape: shape}
	}
	decay := s.Hkv
	if c.Problem.Decay == tile.DecayKey {
		decay *= s.Dk
	}
	in := &Inputs{
		Query: tensor(a.query, s.B, s.T, s.Hq*s.Dk), Key: tensor(a.key, s.B, s.T, s.Hkv*s.Dk), Value: tensor(a.value, s.B, s.T, s.Hkv*s.Dv),
		PastState: tensor(a.past, s.B, s.Hkv, s.Dk, s.Dv), Decay: tensor(a.decay, s.B, s.T, decay), Beta: tensor(a.beta, s.B, s.T, a.betaHeads),
	}
	gout := &OutputGradients{Output: tensor(a.gradOutput, s.B, s.T, max(s.Hq, s.Hkv)*s.Dv), PresentState: tensor(a.gradState, s.B, s.Hkv, s.Dk, s.Dv)}
	grads := &Gradients{
		Query: tensor(a.gradQuery, s.B, s.T, s.Hq*s.Dk), Key: tensor(a.gradKey, s.B, s.T, s.Hkv*s.Dk), Value: tensor(a.gradValue, s.B, s.T, s.Hkv*s.Dv),
		PastState: tensor(a.gradPast, s.B, s.Hkv, s.Dk, s.Dv), Decay: tensor(a.gradDecay, s.B, s.T, decay), Beta: tensor(a.gradBeta, s.B, s.T, a.betaHeads),
	}
	if c.Problem.Gates != "" {
		beta := []int{s.B, s.T, a.betaHeads * a.eraseWidth}
		in.Beta, in.Write = tensor(a.beta, beta...), tensor(a.write, s.B, s.T, s.Hkv*a.writeWidth)
		grads.Beta, grads.Write = tensor(a.gradBeta, beta...), tensor(a.gradWrite, s.B, s.T, s.Hkv*a.writeWidth)
	}
	in.DecayLog, in.DecayBias = tensor(a.decayLog, s.Hkv), tensor(a.decayBias, decay)
	grads.DecayLog, grads.DecayBias = tensor(a.gradDecayLog, s.Hkv), tensor(a.gradDecayBias, decay)
	op := &DeltaRule{QHeads: s.Hq, KVHeads: s.Hkv, Rule: c.Problem.Rule, Scale: a.scale, HeadDecay: a.headDecay, Threads: c.Problem.Threads, InverseGQA: true,
		Front: c.Problem.Front, FeatureMap: c.Problem.FeatureMap, FeatureMapEps: a.mapEps}
	if a.hasGates() {
		op.BetaScale = a.betaScale
	}
	return op, grads, gout, in
}

// Packed sequences have the gradients that each has alone.
func TestDeltaBackwardPacked(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(63, 64))
		for i := range rounds(50) {
			few, group := 1+r.IntN(2), 1+r.IntN(2)
			s := tile.Shape{B: 1, Hq: few * group, Hkv: few, Dk: anyWidth(r, 40), Dv: anyWidth(r, 50)}
			if r.IntN(3) == 0 {
				s.Hq, s.Hkv = s.Hkv, s.Hq
			}
			offsets := packedOffsets(r)
			s.T = offsets[len(offsets)-1]
			n := len(offsets) - 1
			p := deltaBackwardProblem(i, 1+r.IntN(4), s)
			c := backwardCase(t, p, uint64(i))
			a, g, size := &c.attention, generator{r}, s.Hkv*s.Dk*s.Dv
			if r.IntN(3) == 0 {
				shareBeta(a)
			}
			a.past, a.gradState, a.gradPast = g.normal(n*size, 0.3), g.normal(n*size, 1), make([]float32, n*size)
			op, grads, gout, in := deltaArgs(c)
			states := []int{n, s.Hkv, s.Dk, s.Dv}
			in.Offsets, in.PastState.Shape, grads.PastState.Shape, gout.PresentState.Shape = offsets, states, states, states
			whole := p
			whole.Shape.B = n
			cand := anyConfig(t, r, alikePacked(whole), isa)
			op.Candidate = &cand
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
			a.offsets = offsets
			for b := range n {
				one := a.sequence(b)
				if e := one.backwardError(one.oracleBackward()); !(e <= ErrorBound(one.problem)) {
					t.Errorf("%s %s: rows %d to %d: error %g above %g", p, cand, offsets[b], offsets[b+1], e, ErrorBound(one.problem))
				}
			}
		}
	})
}

// Key heads that state heads share have the sum of the gradients that keys repeated for each state head have, with any number of threads to the bit.
func TestDeltaBackwardSharedKeys(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(65, 66))
		for i := range rounds(24) {
			hq, shared := 1+r.IntN(2), 2+r.IntN(2)
			s := tile.Shape{B: 1 + r.IntN(2), T: 1 + r.IntN(60), Hq: hq, Hkv: hq * shared, Dk: anyWidth(r, 40), Dv: anyWidth(r, 40)}
			p := deltaBackwardProblem(i, 1, s)
			c := backwardCase(t, p, uint64(i))
			a := &c.attention
			few := make([]float32, s.B*s.T*hq*s.Dk)
			for row := range s.B * s.T {
				for h := range s.Hkv {
					copy(few[(row*hq+h/shared)*s.Dk:][:s.Dk], a.key[(row*s.Hkv+h/shared*shared)*s.Dk:])
					copy(a.key[(row*s.Hkv+h)*s.Dk:][:s.Dk], few[(row*hq+h/shared)*s.Dk:])
				}
			}
			cand := anyConfig(t, r, p, isa)
			op, grads, gout, in := deltaArgs(c)
			op.Candidate = &cand
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
			want := make([]float32, len(few))
			for row := range s.B * s.T {
				for h := range s.Hkv {
					for k, x := range a.gradKey[(row*s.Hkv+h)*s.Dk:][:s.Dk] {
						want[(row*hq+h/shared)*s.Dk+k] += x
					}
				}
			}
			query := slices.Clone(a.gradQuery)
			in.Key = Tensor{Data: few, Shape: []int{s.B, s.T, hq * s.Dk}}
			grads.Key = NewTensor(s.B, s.T, hq*s.Dk)
			for op.Threads = 1; op.Threads <= 3; op.Threads++ {
				if err := op.Backward(grads, gout, in); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(grads.Key.Data, want) || !slices.Equal(grads.Query.Data, query) {
					t.Fatalf("%s %s: shared keys' or their queries' gradients differ with %d threads", p, cand, op.Threads)
				}
			}
		}
	})
}
