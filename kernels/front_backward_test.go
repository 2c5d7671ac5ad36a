package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// frontBackwardCase is a backward case of delta-rule behind a front, an L2 norm or gates apart, with some of the arrays that may be absent left out.
func frontBackwardCase(t *testing.T, r *rand.Rand, i int, s tile.Shape) *Case {
	t.Helper()
	p := deltaBackwardProblem(i, 1+r.IntN(4), s)
	switch r.IntN(3) {
	case 0:
		p.Gates = tile.GatesApart
	default:
		p.Front = tile.Fronts()[1+r.IntN(3)]
	}
	if p.Decay == tile.DecayFixed && tile.FrontHas(p.Front, tile.FrontGates) {
		p.Front = tile.FrontSiLU
	}
	if r.IntN(2) == 0 {
		p.FeatureMap = tile.MapL2
	}
	c := backwardCase(t, p, uint64(i))
	a := &c.attention
	rows := s.B * s.T
	if p.Gates != "" {
		if r.IntN(3) == 0 {
			a.writeWidth, a.write, a.gradWrite = 1, a.write[:rows*s.Hkv], a.gradWrite[:rows*s.Hkv]
		}
		switch r.IntN(4) {
		case 0:
			a.eraseWidth, a.beta, a.gradBeta = 1, a.beta[:rows*s.Hkv], a.gradBeta[:rows*s.Hkv]
		case 1:
			a.eraseWidth, a.betaHeads, a.beta, a.gradBeta = 1, 1, a.beta[:rows], a.gradBeta[:rows]
		}
	} else if r.IntN(4) == 0 {
		shareBeta(a)
	}
	if a.hasGates() {
		a.betaScale = 1 - r.Float32()/2
	}
	for _, absent := range []*[]float32{
		&a.past, &a.gradState, &a.gradPast, &a.gradDecay, &a.gradBeta, &a.gradWrite, &a.gradDecayLog, &a.gradDecayBias, &a.decayLog, &a.decayBias,
	} {
		if r.IntN(6) == 0 {
			*absent = nil
		}
	}
	return c
}

func TestFrontBackwardMatchesOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(81, 82))
		for i := range rounds(120) {
			group, hkv := 1+r.IntN(3), 1+r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(110), Hq: hkv * group, Hkv: hkv, Dk: anyWidth(r, 70), Dv: anyWidth(r, 70)}
			if r.IntN(4) == 0 {
				s.Hq, s.Hkv = s.Hkv, s.Hq
			}
			c := frontBackwardCase(t, r, i, s)
			compareBackward(t, c, anyConfig(t, r, c.Problem, isa))
		}
	})
}

// The oracle's gradients behind a front or gates apart are those of the forward oracle's loss, by differences.
func TestFrontBackwardOracleDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(83, 84))
	for i := range 60 {
		s := tile.Shape{B: 2, T: 4, Hq: 4, Hkv: 2, Dk: 3, Dv: 4}
		if i%3 == 0 {
			s.Hq, s.Hkv = s.Hkv, s.Hq
		}
		c := frontBackwardCase(t, r, i, s)
		a := &c.attention
		a.gradState = generator{r}.normal(s.B*s.Hkv*s.Dk*s.Dv, 1)
		if c.Problem.FeatureMap == tile.MapL2 { // rows next to nothing bend too much for a step
			for _, v := range [][]float32{a.query, a.key} {
				for i := range v {
					v[i] += float32(math.Copysign(1, float64(v[i])))
				}
			}
		}
		deltaByDifferences(t, c)
	}
}

// Numbers that are far out must neither overflow nor lose the small slopes that they have.
func TestFrontBackwardExtremes(t *testing.T) {
	far := []float32{0, -0.5, 100, -100, 30, -30, 1e-30, -1e-41}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(85, 86))
		for i := range rounds(24) {
			p := deltaBackwardProblem([]int{0, 2, 3}[i%3], 2, tile.Shape{B: 1, T: 50, Hq: 2, Hkv: 2, Dk: 12, Dv: 20})
			p.Front = []string{tile.FrontGates, tile.FrontSiLUGates}[i%2]
			c := backwardCase(t, p, uint64(i))
			a := &c.attention
			arrays := [][]float32{a.decay, a.beta}
			if i%2 == 1 {
				arrays = [][]float32{a.value}
			}
			for _, v := range arrays {
				for i := range v {
					v[i] = far[r.IntN(len(far))]
				}
			}
			compareBackward(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// Packed sequences have the gradients that each has alone, those of a front's parameters the sum of theirs.
func TestFrontBackwardPacked(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(87, 88))
		for i := range rounds(50) {
			few, group := 1+r.IntN(2), 1+r.IntN(2)
			s := tile.Shape{B: 1, Hq: few * group, Hkv: few, Dk: anyWidth(r, 40), Dv: anyWidth(r, 50)}
			if r.IntN(3) == 0 {
				s.Hq, s.Hkv = s.Hkv, s.Hq
			}
			offsets := packedOffsets(r)
			s.T = offsets[len(offsets)-1]
			n := len(offsets) - 1
			c := frontBackwardCase(t, r, i, s)
			a, g, size := &c.attention, generator{r}, s.Hkv*s.Dk*s.Dv
			a.past, a.gradState, a.gradPast = g.normal(n*size, 0.3), g.normal(n*size, 1), make([]float32, n*size)
			op, grads, gout, in := deltaArgs(c)
			states := []int{n, s.Hkv, s.Dk, s.Dv}
			in.Offsets, in.PastState.Shape, grads.PastState.Shape, gout.PresentState.Shape = offsets, states, states, states
			whole := c.Problem
			whole.Shape.B = n
			cand := anyConfig(t, r, alikePacked(whole), isa)
			op.Candidate = &cand
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
			want := [2][]float64{make([]float64, len(a.gradDecayLog)), make([]float64, len(a.gradDecayBias))}
			abs := [2][]float64{make([]float64, len(a.gradDecayLog)), make([]float64, len(a.gradDecayBias))}
			a.offsets = offsets
			for b := range n {
				one := a.sequence(b)
				o := one.oracleBackward()
				if e := one.backwardError(o); !(e <= ErrorBound(one.problem)) {
					t.Errorf("%s %s: rows %d to %d: error %g above %g", c.Problem, cand, offsets[b], offsets[b+1], e, ErrorBound(one.problem))
				}
				for i, x := range [2][2][]float64{{o.DecayLog, o.DecayLogAbs}, {o.DecayBias, o.DecayBiasAbs}} {
					for j := range want[i] {
						want[i][j] += x[0][j]
						abs[i][j] += x[1][j]
					}
				}
			}
			for i, got := range [2][]float32{a.gradDecayLog, a.gradDecayBias} {
				if e := relativeError(got, want[i], abs[i]); !(e <= ErrorBound(c.Problem)) {
					t.Errorf("%s %s: error of parameters %g above %g", c.Problem, cand, e, ErrorBound(c.Problem))
				}
			}
		}
	})
}

// Any number of threads gives the same bits for the same config, key heads that state heads share have the sum of the gradients that keys repeated for each have, to the bound.
func TestFrontBackwardThreads(t *testing.T) {
	r := rand.New(rand.NewPCG(89, 90))
	for i := range 24 {
		s := tile.Shape{B: 1, T: 300, Hq: 2, Hkv: 4, Dk: 64, Dv: 32}
		c := frontBackwardCase(t, r, i, s)
		a := &c.attention
		op, grads, gout, in := deltaArgs(c)
		isas := ISAs()
		cand := anyConfig(t, r, c.Problem, isas[i%len(isas)])
		op.Candidate = &cand
		few := make([]float32, s.T*s.Hq*s.Dk)
		for row := range s.T {
			for h := range s.Hkv {
				copy(few[(row*s.Hq+h/2)*s.Dk:][:s.Dk], a.key[(row*s.Hkv+h/2*2)*s.Dk:])
				copy(a.key[(row*s.Hkv+h)*s.Dk:][:s.Dk], few[(row*s.Hq+h/2)*s.Dk:])
			}
		}
		if err := op.Backward(grads, gout, in); err != nil {
			t.Fatal(err)
		}
		want := make([]float64, len(few))
		for j, x := range a.oracleBackward().Key {
			row, h, k := j/s.Dk/s.Hkv, j/s.Dk%s.Hkv, j%s.Dk
			want[(row*s.Hq+h/2)*s.Dk+k] += x
		}
		in.Key, grads.Key = Tensor{Data: few, Shape: []int{1, s.T, s.Hq * s.Dk}}, NewTensor(1, s.T, s.Hq*s.Dk)
		var first [][]float32
		for op.Threads = 1; op.Threads <= 3; op.Threads++ {
			if err := op.Backward(grads, gout, in); err != nil {
				t.Fatal(err)
			}
			var got [][]float32
			for _, v := range []Tensor{grads.Query, grads.Key, grads.Value, grads.Decay, grads.Beta, grads.Write, grads.DecayLog, grads.DecayBias, grads.PastState} {
				got = append(got, slices.Clone(v.Data))
			}
			if first == nil {
				first = got
			} else if !slices.EqualFunc(got, first, slices.Equal) {
				t.Fatalf("%s: %d threads give other bits", c.Problem, op.Threads)
			}
		}
		largest := 0.0
		for _, x := range want {
			largest = max(largest, math.Abs(x))
		}
		for j, x := range want {
			if d := math.Abs(float64(grads.Key.Data[j]) - x); !(d <= 1e-4*largest) {
				t.Fatalf("%s: gradient of shared key %d is %g, want %g", c.Problem, j, grads.Key.Data[j], x)
			}
		}
	}
}

func TestFrontBackwardAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates")
	}
	for _, p := range []tile.Problem{{Front: tile.FrontSiLUGates}, {Gates: tile.GatesApart}} {
		for _, rule := range []int{0, 2, 3} {
			q := deltaBackwardProblem(rule, 2, tile.Shape{B: 1, T: 200, Hq: 4, Hkv: 4, Dk: 64, Dv: 64})
			q.Front, q.Gates, q.FeatureMap = p.Front, p.Gates, tile.MapL2
			c := backwardCase(t, q, 1)
			isas := ISAs()
			x, err := c.Prepare(tile.Candidate{ISA: isas[len(isas)-1], Config: Default(q, isas[len(isas)-1])})
			if err != nil {
				t.Fatal(err)
			}
			x.Run()
			if n := testing.AllocsPerRun(10, x.Run); n > 0 {
				t.Errorf("%s: %g allocations a call", q, n)
			}
		}
	}
}
