package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// optionProblem draws a backward problem with options.
func optionProblem(r *rand.Rand, i int, s tile.Shape) tile.Problem {
	p := backwardProblem(r.IntN(len(backwardRules)), 1+r.IntN(4), s)
	maps := tile.FeatureMaps()
	p.FeatureMap, p.Normalize = maps[i%len(maps)], r.IntN(2) == 0
	if p.Rule == tile.RuleLinear {
		p.Full = r.IntN(3) > 0
	}
	return p
}

// Feature maps, the normaliser, the form that is not causal and shared query heads, alone and together.
func TestBackwardOptions(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(41, 42))
		for i := range rounds(120) {
			group, few := 1+r.IntN(3), 1+r.IntN(2)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(80), Hq: few * group, Hkv: few, Dk: 1 + r.IntN(50), Dv: 1 + r.IntN(50)}
			if r.IntN(3) == 0 {
				s.Hq, s.Hkv = s.Hkv, s.Hq
			}
			p := optionProblem(r, i, s)
			c := backwardCase(t, p, uint64(i))
			a := &c.attention
			for _, v := range []*[]float32{&a.past, &a.pastNorm, &a.gradState, &a.gradNorm, &a.gradPast, &a.gradPastNorm, &a.gradDecay} {
				if r.IntN(6) == 0 {
					*v = nil
				}
			}
			compareBackward(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// The oracle's gradients with options are those of the forward oracle's loss, by differences.
func TestBackwardOracleOptionsByDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	for i := range 60 {
		s := tile.Shape{B: 1, T: 5, Hq: 4, Hkv: 2, Dk: 3, Dv: 2}
		if i%3 == 0 {
			s.Hq, s.Hkv = s.Hkv, s.Hq
		}
		p := optionProblem(r, i, s)
		a := backwardCase(t, p, uint64(i)).attention
		for _, v := range [][]float32{a.query, a.key} {
			for i, x := range v { // away from the corners of relu and elu+1
				v[i] = x + float32(math.Copysign(0x1p-6, float64(x)))
			}
		}
		loss := func() float64 {
			res := oracleCase(p, a).Oracle(a.query, a.key, a.value, a.past, a.decay, nil)
			sum := 0.0
			for _, x := range []struct {
				of   []float64
				grad []float32
			}{{res.Output, a.gradOutput}, {res.State, a.gradState}, {res.Norm, a.gradNorm}} {
				for i, y := range x.of {
					sum += y * float64(x.grad[i])
				}
			}
			return sum
		}
		want := a.oracleBackward()
		for _, v := range []struct {
			name string
			data []float32
			grad []float64
		}{{"query", a.query, want.Query}, {"key", a.key, want.Key}, {"value", a.value, want.Value}, {"past", a.past, want.Past},
			{"decay", a.decay, want.Decay}, {"past norm", a.pastNorm, want.PastNorm}} {
			if len(v.data) != len(v.grad) {
				t.Fatalf("%s: %d gradients of %d numbers of %s", p, len(v.grad), len(v.data), v.name)
			}
			byDifferences(t, p, v.name, v.data, v.grad, loss, 0x1p-12, 1e-4)
		}
	}
}

// A NaN or Inf in a feature map's input reaches the gradients that the sequential adjoint gives it to, and no others.
func TestBackwardOptionsNonFinite(t *testing.T) {
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(45, 46))
		for i := range rounds(60) {
			p := backwardProblem(r.IntN(len(backwardRules)), 1+r.IntN(2), tile.Shape{B: 1, T: 1 + r.IntN(60), Hq: 2, Hkv: 1, Dk: 20, Dv: 36})
			p.FeatureMap, p.Normalize = tile.FeatureMaps()[i%5], i%2 == 0
			c := backwardCase(t, p, uint64(i))
			a := c.attention
			for _, v := range [][]float32{a.query, a.key, a.value, a.gradOutput} {
				if r.IntN(3) == 0 {
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
					if e := math.Abs(g - w); finite(w) && finite(o.abs[i]) && !(e <= ErrorBound(p)*(o.abs[i]+1e-30)) {
						t.Fatalf("%s %s: %s[%d] = %v, oracle %v, abs %v", p, cand, o.name, i, g, w, o.abs[i])
					}
				}
			}
		}
	})
}

// optionArgs are backwardArgs with a problem's options.
func optionArgs(c *Case) (*LinearAttention, *Gradients, *OutputGradients, *Inputs) {
	a, p := c.attention, c.Problem
	s := p.Shape
	op, grads, gout, in := backwardArgs(c)
	gout.Output.Shape = []int{s.B, s.T, max(s.Hq, s.Hkv) * s.Dv}
	op.Full, op.FeatureMap, op.FeatureMapEps, op.Normalize, op.NormalizeEps = p.Full, p.FeatureMap, a.mapEps, p.Normalize, a.normEps
	op.InverseGQA = s.Hq < s.Hkv
	if p.Normalize {
		norm := []int{s.B, s.Hkv, s.Dk}
		in.PastNormalizer, grads.PastNormalizer, gout.PresentNormalizer = Tensor{Data: a.pastNorm, Shape: norm}, Tensor{Data: a.gradPastNorm, Shape: norm}, Tensor{Data: a.gradNorm, Shape: norm}
	}
	return op, grads, gout, in
}

// Packed sequences have the gradients that each has alone, whatever the options.
func TestBackwardPacked(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(47, 48))
		for i := range rounds(80) {
			few, group := 1+r.IntN(2), 1+r.IntN(2)
			s := tile.Shape{B: 1, Hq: few * group, Hkv: few, Dk: 1 + r.IntN(40), Dv: 1 + r.IntN(50)}
			if r.IntN(3) == 0 {
				s.Hq, s.Hkv = s.Hkv, s.Hq
			}
			offsets := packedOffsets(r)
			s.T = offsets[len(offsets)-1]
			n := len(offsets) - 1
			p := backwardProblem(i, 1+r.IntN(4), s)
			if i%2 == 0 {
				p = optionProblem(r, i, s)
			}
			c := backwardCase(t, p, uint64(i))
			a := &c.attention
			g := generator{r}
			size, norm := s.Hkv*s.Dk*s.Dv, s.Hkv*s.Dk
			a.past, a.gradState, a.gradPast = g.normal(n*size, 0.3), g.normal(n*size, 1), make([]float32, n*size)
			if p.Normalize {
				a.pastNorm, a.gradNorm, a.gradPastNorm = g.uniform(n*norm, 0, 1), g.normal(n*norm, 1), make([]float32, n*norm)
			}
			op, grads, gout, in := optionArgs(c)
			states, norms := []int{n, s.Hkv, s.Dk, s.Dv}, []int{n, s.Hkv, s.Dk}
			in.Offsets, in.PastState.Shape, grads.PastState.Shape, gout.PresentState.Shape = offsets, states, states, states
			if p.Normalize {
				in.PastNormalizer.Shape, grads.PastNormalizer.Shape, gout.PresentNormalizer.Shape = norms, norms, norms
			}
			whole := p
			whole.Shape.B, whole.Shape.T = n, s.T
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

// Key heads that state heads share have the sum of the gradients that keys repeated for each state head have.
func TestBackwardSharedKeys(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(49, 50))
		for i := range rounds(40) {
			hq, shared := 1+r.IntN(2), 2+r.IntN(2)
			s := tile.Shape{B: 1 + r.IntN(2), T: 1 + r.IntN(60), Hq: hq, Hkv: hq * shared, Dk: 1 + r.IntN(40), Dv: 1 + r.IntN(40)}
			p := optionProblem(r, i, s)
			c := backwardCase(t, p, uint64(i))
			a := &c.attention
			few := make([]float32, s.B*s.T*hq*s.Dk)
			for row := range s.B * s.T {
				for h := range s.Hkv {
					copy(few[(row*hq+h/shared)*s.Dk:][:s.Dk], a.key[(row*s.Hkv+h/shared*shared)*s.Dk:])
					copy(a.key[(row*s.Hkv+h)*s.Dk:][:s.Dk], few[(row*hq+h/shared)*s.Dk:])
				}
			}
			want := a.oracleBackward()
			op, grads, gout, in := optionArgs(c)
			cand := anyConfig(t, r, p, isa)
			op.Candidate = &cand
			in.Key = Tensor{Data: few, Shape: []int{s.B, s.T, hq * s.Dk}}
			grads.Key = NewTensor(s.B, s.T, hq*s.Dk)
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
			sum, abs := make([]float64, len(few)), make([]float64, len(few))
			for row := range s.B * s.T {
				for h := range s.Hkv {
					for k := range s.Dk {
						sum[(row*hq+h/shared)*s.Dk+k] += want.Key[(row*s.Hkv+h)*s.Dk+k]
						abs[(row*hq+h/shared)*s.Dk+k] += want.KeyAbs[(row*s.Hkv+h)*s.Dk+k]
					}
				}
			}
			if e := relativeError(grads.Key.Data, sum, abs); !(e <= ErrorBound(p)) {
				t.Errorf("%s %s: error of shared keys %g above %g", p, cand, e, ErrorBound(p))
			}
			if e := relativeError(grads.Query.Data, want.Query, want.QueryAbs); !(e <= ErrorBound(p)) {
				t.Errorf("%s %s: error of shared queries %g above %g", p, cand, e, ErrorBound(p))
			}
		}
	})
}

// Any number of threads gives the same bits where heads are not split, and a second call allocates nothing.
func TestBackwardOptionsRepeat(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	for i := range rounds(30) {
		s := tile.Shape{B: 1, T: 300, Hq: 4, Hkv: 8, Dk: 40, Dv: 33}
		if i%2 == 0 {
			s.Hq = 8
		}
		p := optionProblem(r, i, s)
		cand := anyConfig(t, r, p, ISAs()[len(ISAs())-1])
		var first [][]float32
		for _, threads := range []int{1, 2, 4} { // which 8 state heads are shared out to evenly
			p.Threads = threads
			c := backwardCase(t, p, uint64(i))
			op, grads, gout, in := optionArgs(c)
			op.Threads, op.Candidate = threads, &cand
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
			a := c.attention
			got := [][]float32{a.gradQuery, a.gradKey, a.gradValue, a.gradPast, a.gradDecay, a.gradPastNorm}
			for j := range got {
				if first != nil && !slices.Equal(first[j], got[j]) {
					t.Fatalf("%s: array %d differs with %d threads", p, j, threads)
				}
			}
			first = got
		}
	}
	if underRace {
		t.Skip("sync.Pool drops prepared calls at random under the race detector")
	}
	for i := range 10 {
		p := optionProblem(r, i, tile.Shape{B: 1, T: 40, Hq: 2, Hkv: 4, Dk: 32, Dv: 32})
		p.Threads = 2
		op, grads, gout, in := optionArgs(backwardCase(t, p, 5))
		in.Offsets = []int{0, 40}
		once := func() {
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(5, once); n > 0 {
			t.Errorf("%s: %v allocations a call", p, n)
		}
	}
}

// A sequence in parts, each with the past state and normaliser of the part before and the gradients of the part after, has the gradients of the whole.
func TestBackwardOptionsSplitOverCalls(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 54))
	for i := range rounds(20) {
		s := tile.Shape{B: 1, T: 90, Hq: 4, Hkv: 2, Dk: 16, Dv: 24}
		p := optionProblem(r, i, s)
		p.Full, p.Normalize = false, true
		c := backwardCase(t, p, 3)
		a := &c.attention
		want := a.oracleBackward()
		const cut = 38
		offsets := []int{0, cut, s.T}
		halves := *a // both parts with room for two states
		size, norm := len(a.past), len(a.pastNorm)
		for _, v := range []*[]float32{&halves.past, &halves.gradState, &halves.gradPast} {
			*v = append(slices.Clone(*v), make([]float32, size)...)
		}
		for _, v := range []*[]float32{&halves.pastNorm, &halves.gradNorm, &halves.gradPastNorm} {
			*v = append(slices.Clone(*v), make([]float32, norm)...)
		}
		halves.offsets = offsets
		first := halves.sequence(0)
		state := oracleCase(first.problem, *first).Oracle(first.query, first.key, first.value, first.past, first.decay, nil)
		second := halves.sequence(1)
		for i, x := range state.State {
			second.past[i] = float32(x)
		}
		for i, x := range state.Norm {
			second.pastNorm[i] = float32(x)
		}
		copy(second.gradState, a.gradState)
		copy(second.gradNorm, a.gradNorm)
		for _, part := range []*attentionArgs{second, first} {
			op, grads, gout, in := optionArgs(&Case{Problem: part.problem, attention: *part})
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
			copy(first.gradState, second.gradPast)
			copy(first.gradNorm, second.gradPastNorm)
		}
		whole := *a
		whole.gradPast, whole.gradPastNorm = first.gradPast, first.gradPastNorm
		if e := whole.backwardError(want); !(e <= ErrorBound(p)) {
			t.Errorf("%s: error %.3g above %.3g", p, e, ErrorBound(p))
		}
	}
}

// Options in the arguments of a backward pass that are refused by name.
func TestBackwardOptionArguments(t *testing.T) {
	p := backwardProblem(0, 1, tile.Shape{B: 1, T: 5, Hq: 2, Hkv: 2, Dk: 4, Dv: 5})
	p.Normalize = true
	for name, c := range map[string]struct {
		argument string
		spoil    func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs)
	}{
		"precision": {"Precision", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) { o.Precision = tile.BFloat16 }},
		"norm without normalize": {"grad_past_normalizer", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			o.Normalize, in.PastNormalizer, out.PresentNormalizer = false, Tensor{}, Tensor{}
		}},
		"gradient of norm without normalize": {"grad_present_normalizer", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			o.Normalize, in.PastNormalizer = false, Tensor{}
		}},
		"norm shape": {"grad_past_normalizer", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			g.PastNormalizer = NewTensor(1, 2, 5)
		}},
		"norm over input": {"grad_past_normalizer", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			g.PastNormalizer.Data = in.PastNormalizer.Data
		}},
		"fewer query heads": {"QHeads", func(o *LinearAttention, g *Gradients, out *OutputGradients, in *Inputs) {
			o.QHeads, o.KVHeads = 1, 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o, g, out, in := optionArgs(backwardCase(t, p, 1))
			if err := o.Backward(g, out, in); err != nil {
				t.Fatal("the valid call is refused:", err)
			}
			c.spoil(o, g, out, in)
			wantRefusal(t, o.Backward(g, out, in), c.argument)
		})
	}
}
