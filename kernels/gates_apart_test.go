package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func apartProblem(r *rand.Rand, i int, s tile.Shape) tile.Problem {
	p := deltaBackwardProblem(i, 1+r.IntN(3), s)
	p.Dir, p.Gates = tile.Forward, tile.GatesApart
	return p
}

func TestGatesApartMatchOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(71, 72))
		for i := range rounds(60) {
			group, hkv := 1+r.IntN(3), 1+r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(120), Hq: hkv * group, Hkv: hkv, Dk: 2 + r.IntN(70), Dv: 2 + r.IntN(70)}
			if i%5 == 0 {
				s.T = 1 + r.IntN(9)
			}
			if r.IntN(4) == 0 {
				s.Hq, s.Hkv = s.Hkv, s.Hq
			}
			p := apartProblem(r, i, s)
			p.DType = []string{tile.Float32, tile.Float32, tile.BFloat16}[r.IntN(3)]
			if r.IntN(4) == 0 {
				p.FeatureMap = tile.MapL2
			}
			c := backwardCase(t, p, uint64(i))
			a := &c.attention
			rows := s.B * s.T
			if r.IntN(3) == 0 {
				a.eraseWidth, a.beta = 1, a.beta[:rows*s.Hkv]
			}
			if r.IntN(3) == 0 {
				a.writeWidth, a.write = 1, a.write[:rows*s.Hkv]
			}
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// Two tokens of one head by hand, with q = k: S = 0; u = write*v - Sᵀ(erase*k); S += k uᵀ.
func TestGatesApartByHand(t *testing.T) {
	tensor := func(v []float32, shape ...int) Tensor { return Tensor{Data: v, Shape: shape} }
	in := &Inputs{
		Query: tensor([]float32{1, 0, 1, 2}, 1, 2, 2), Key: tensor([]float32{1, 2, 3, 1}, 1, 2, 2), Value: tensor([]float32{4, 8, 2, 6}, 1, 2, 2),
		Beta: tensor([]float32{9, 9, 0.5, 0.25}, 1, 2, 2), Write: tensor([]float32{0.5, 0.25, 1, 0.5}, 1, 2, 2),
	}
	// Token 1: u = (2, 2), S = (2 2; 4 4), o = (2, 2). Token 2: erase*k = (1.5, 0.25) reads (4, 4), u = (2-4, 3-4) = (-2, -1), S = (-4 -1; 2 3), o = (0, 5).
	for _, isa := range ISAs() {
		p := tile.Problem{Op: tile.DeltaRule, Rule: tile.RuleDelta, Shape: tile.Shape{B: 1, T: 2, Hq: 1, Hkv: 1, Dk: 2, Dv: 2}, DType: tile.Float32, Dir: tile.Forward, Threads: 1, Decay: tile.DecayNone, Gates: tile.GatesApart}
		cand := tile.Candidate{ISA: isa, Config: Default(p, isa)}
		out := &Outputs{Output: NewTensor(1, 2, 2), PresentState: NewTensor(1, 1, 2, 2)}
		o := &DeltaRule{QHeads: 1, KVHeads: 1, Rule: tile.RuleDelta, Scale: 1, Candidate: &cand}
		if err := o.Forward(out, in); err != nil {
			t.Fatal(err)
		}
		if want := []float32{2, 2, 0, 5}; !slices.Equal(out.Output.Data, want) {
			t.Errorf("%s: output %v, want %v", isa, out.Output.Data, want)
		}
		if want := []float32{-4, -1, 2, 3}; !slices.Equal(out.PresentState.Data, want) {
			t.Errorf("%s: state %v, want %v", isa, out.PresentState.Data, want)
		}
	}
}

// A write gate that is beta gives the rule with one gate; packed sequences take theirs by rows.
func TestGatesApartAsOne(t *testing.T) {
	r := rand.New(rand.NewPCG(73, 74))
	for i := range 24 {
		s := tile.Shape{B: 1, T: 70, Hq: 4, Hkv: 2, Dk: 24, Dv: 40}
		p := deltaBackwardProblem(i, 1+r.IntN(3), s)
		c := backwardCase(t, p, uint64(i))
		op, _, _, in := deltaArgs(c)
		in.Offsets, in.PastState = []int{0, 30, 30, 70}, Tensor{}
		forward := func() (output, state []float32) {
			out := &Outputs{Output: NewTensor(1, s.T, s.Hq*s.Dv), PresentState: NewTensor(3, s.Hkv, s.Dk, s.Dv)}
			if err := op.Forward(out, in); err != nil {
				t.Fatal(err)
			}
			return out.Output.Data, out.PresentState.Data
		}
		one, state := forward()
		in.Write = in.Beta
		in.Write.Data = slices.Clone(in.Beta.Data)
		if i%2 == 0 { // the same gate for all channels
			spread := func(width int) Tensor {
				t := NewTensor(1, s.T, s.Hkv*width)
				for i := range t.Data {
					t.Data[i] = c.attention.beta[i/width]
				}
				return t
			}
			in.Beta, in.Write = spread(s.Dk), spread(s.Dv)
		}
		apart, stateApart := forward()
		for _, x := range []struct{ got, want []float32 }{{apart, one}, {stateApart, state}} {
			for i, want := range x.want {
				if diff := math.Abs(float64(x.got[i] - want)); !(diff <= 1e-4*(1+math.Abs(float64(want)))) {
					t.Fatalf("%s: element %d is %g, want %g", p, i, x.got[i], want)
				}
			}
		}
	}
}

func TestGatesApartArguments(t *testing.T) {
	for name, x := range map[string]struct {
		argument string
		spoil    func(o *DeltaRule, in *Inputs)
	}{
		"as it should be": {"", func(*DeltaRule, *Inputs) {}},
		"channels":        {"", func(_ *DeltaRule, in *Inputs) { in.Write, in.Beta = NewTensor(1, 3, 10), NewTensor(1, 3, 8) }},
		"shared":          {"", func(_ *DeltaRule, in *Inputs) { in.Beta = NewTensor(1, 3, 1) }},
		"width":           {"write", func(_ *DeltaRule, in *Inputs) { in.Write = NewTensor(1, 3, 8) }},
		"beta's width":    {"beta", func(_ *DeltaRule, in *Inputs) { in.Beta = NewTensor(1, 3, 10) }},
		"one gate":        {"beta", func(_ *DeltaRule, in *Inputs) { in.Write, in.Beta = Tensor{}, NewTensor(1, 3, 8) }},
		"no beta":         {"beta", func(_ *DeltaRule, in *Inputs) { in.Beta = Tensor{} }},
		"front":           {"write", func(o *DeltaRule, _ *Inputs) { o.Front = tile.FrontSiLU }},
	} {
		o := &DeltaRule{QHeads: 2, KVHeads: 2}
		in := &Inputs{Query: NewTensor(1, 3, 8), Key: NewTensor(1, 3, 8), Value: NewTensor(1, 3, 10), Decay: NewTensor(1, 3, 2), Beta: NewTensor(1, 3, 2), Write: NewTensor(1, 3, 2)}
		x.spoil(o, in)
		err := o.Forward(&Outputs{Output: NewTensor(1, 3, 10)}, in)
		if x.argument != "" {
			wantRefusal(t, err, x.argument)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	in := &Inputs{Query: NewTensor(1, 3, 8), Key: NewTensor(1, 3, 8), Value: NewTensor(1, 3, 10), Write: NewTensor(1, 3, 2)}
	wantRefusal(t, (&LinearAttention{QHeads: 2, KVHeads: 2}).Forward(&Outputs{Output: NewTensor(1, 3, 10)}, in), "write")
}
