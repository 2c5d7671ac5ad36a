package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Packed sequences give what each gives alone, and the states kept on the way are those of the shorter sequences.
func TestPackedSequences(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(21, 22))
		for i := range rounds(60) {
			hkv, group := 1+r.IntN(3), 1+r.IntN(2)
			s := tile.Shape{B: 1, Hq: hkv * group, Hkv: hkv, Dk: 1 + r.IntN(40), Dv: 1 + r.IntN(50)}
			offsets := packedOffsets(r)
			s.T = offsets[len(offsets)-1]
			n := len(offsets) - 1
			p := attentionProblem(i, 1+r.IntN(4), s)
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			a := c.attention
			states := generator{r}.normal(n*s.Hkv*s.Dk*s.Dv, 0.3)
			var keep []int
			for at := 1; at <= s.T; at++ {
				if r.IntN(12) == 0 {
					keep = append(keep, at)
				}
			}
			whole := alikePacked(tile.Problem{Op: p.Op, Rule: p.Rule, Decay: p.Decay, DType: p.DType, Dir: p.Dir, Threads: p.Threads,
				Shape: tile.Shape{B: n, T: s.T, Hq: s.Hq, Hkv: s.Hkv, Dk: s.Dk, Dv: s.Dv}})
			cand := anyConfig(t, r, whole, isa)
			in := a.inputs()
			in.PastState, in.Offsets, in.Keep = Tensor{Data: states, Shape: []int{n, s.Hkv, s.Dk, s.Dv}}, offsets, keep
			out := &Outputs{Output: NewTensor(1, s.T, s.Hq*s.Dv), PresentState: NewTensor(n, s.Hkv, s.Dk, s.Dv)}
			if keep != nil {
				out.KeptStates = NewTensor(len(keep), 1, s.Hkv, s.Dk, s.Dv)
			}
			if err := forwardCandidate(p, &cand, a.headDecay, false, in, out); err != nil {
				t.Fatal(err)
			}
			size := s.Hkv * s.Dk * s.Dv
			for b := range n {
				lo, hi := offsets[b], offsets[b+1]
				want := oracleOf(p, a, lo, hi, states[b*size:(b+1)*size])
				bound := ErrorBound(p)
				if e := relativeError(out.Output.Data[lo*s.Hq*s.Dv:hi*s.Hq*s.Dv], want.Output, want.OutputAbs); e > bound {
					t.Errorf("%s %s: output of rows %d to %d: error %g", p, cand, lo, hi, e)
				}
				if e := relativeError(out.PresentState.Data[b*size:(b+1)*size], want.State, want.StateAbs); e > bound {
					t.Errorf("%s %s: state of rows %d to %d: error %g", p, cand, lo, hi, e)
				}
				for k, at := range keep {
					if at > lo && at <= hi {
						want := oracleOf(p, a, lo, at, states[b*size:(b+1)*size])
						if e := relativeError(out.KeptStates.Data[k*size:(k+1)*size], want.State, want.StateAbs); e > bound {
							t.Errorf("%s %s: state after row %d: error %g", p, cand, at, e)
						}
					}
				}
			}
		}
	})
}

// inputs shows the arrays of a case of one batch item, or more without offsets, as a caller gives them.
func (a attentionArgs) inputs() *Inputs {
	s := a.problem.Shape
	in := &Inputs{
		Query: Tensor{Data: a.query, Shape: []int{s.B, s.T, s.Hq * s.Dk}}, Key: Tensor{Data: a.key, Shape: []int{s.B, s.T, a.keyHeads * s.Dk}},
		Value: Tensor{Data: a.value, Shape: []int{s.B, s.T, s.Hkv * s.Dv}},
	}
	if a.past != nil {
		in.PastState = Tensor{Data: a.past, Shape: []int{s.B, s.Hkv, s.Dk, s.Dv}}
	}
	if a.decay != nil {
		width := s.Hkv
		if a.problem.Decay == tile.DecayKey {
			width *= s.Dk
		}
		in.Decay = Tensor{Data: a.decay, Shape: []int{s.B, s.T, width}}
	}
	if a.beta != nil {
		in.Beta = Tensor{Data: a.beta, Shape: []int{s.B, s.T, a.betaHeads}}
	}
	return in
}

func forwardCandidate(p tile.Problem, cand *tile.Candidate, headDecay []float32, inverse bool, in *Inputs, out *Outputs) error {
	if p.Op == tile.DeltaRule {
		return (&DeltaRule{QHeads: p.Shape.Hq, KVHeads: p.Shape.Hkv, Rule: p.Rule, HeadDecay: headDecay, Threads: p.Threads, Candidate: cand, InverseGQA: inverse}).Forward(out, in)
	}
	return (&LinearAttention{QHeads: p.Shape.Hq, KVHeads: p.Shape.Hkv, Rule: p.Rule, HeadDecay: headDecay, Threads: p.Threads, Candidate: cand,
		InverseGQA: inverse}).Forward(out, in)
}

// oracleOf evaluates rows lo to hi of a case of one batch item.
func oracleOf(p tile.Problem, a attentionArgs, lo, hi int, past []float32) generic.AttentionResult {
	s := p.Shape
	rows := func(v []float32) []float32 {
		if len(v) == 0 {
			return nil
		}
		width := len(v) / s.T
		return v[lo*width : hi*width]
	}
	return generic.Attention{
		B: 1, T: hi - lo, Hq: s.Hq, Hkv: s.Hkv, Dk: s.Dk, Dv: s.Dv, Delta: p.Op == tile.DeltaRule, Scale: float64(a.scale),
		HeadDecay: a.headDecay, KeyDecay: p.Decay == tile.DecayKey, BetaHeads: a.betaHeads,
	}.Oracle(rows(a.query), rows(a.key), rows(a.value), past, rows(a.decay), rows(a.beta))
}

// State heads that share a query head, and key heads that state heads share.
func TestInverseGQA(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(23, 24))
		for i := range rounds(40) {
			hq, shared := 1+r.IntN(3), 2+r.IntN(2)
			p := attentionProblem(i, 1+r.IntN(3), tile.Shape{B: 1 + r.IntN(2), T: r.IntN(70), Hq: hq, Hkv: hq * shared, Dk: 1 + r.IntN(40), Dv: 1 + r.IntN(50)})
			s := p.Shape
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, c, anyConfig(t, r, p, isa))

			// With as many key heads as query heads: what keys repeated for each state head give.
			a, cand := c.attention, anyConfig(t, r, p, isa)
			repeated := slices.Clone(a.key)
			few := make([]float32, s.B*s.T*hq*s.Dk)
			for row := range s.B * s.T {
				for h := range s.Hkv {
					copy(few[(row*hq+h/shared)*s.Dk:][:s.Dk], a.key[(row*s.Hkv+h/shared*shared)*s.Dk:])
					copy(repeated[(row*s.Hkv+h)*s.Dk:][:s.Dk], a.key[(row*s.Hkv+h/shared*shared)*s.Dk:])
				}
			}
			run := func(key Tensor) []float32 {
				in := a.inputs()
				in.Key = key
				out := &Outputs{Output: NewTensor(s.B, s.T, s.Hkv*s.Dv)}
				if err := forwardCandidate(p, &cand, a.headDecay, true, in, out); err != nil {
					t.Fatal(err)
				}
				return out.Output.Data
			}
			if got, want := run(Tensor{Data: few, Shape: []int{s.B, s.T, hq * s.Dk}}), run(Tensor{Data: repeated, Shape: []int{s.B, s.T, s.Hkv * s.Dk}}); !slices.Equal(got, want) {
				t.Errorf("%s %s: shared key heads give another answer than repeated ones", p, cand)
			}
			in := a.inputs()
			if err := forwardCandidate(p, &cand, a.headDecay, false, in, &Outputs{Output: NewTensor(s.B, s.T, s.Hkv*s.Dv)}); err == nil {
				t.Errorf("%s: accepted without InverseGQA", p)
			}
		}
	})
}

// Every unit is walked by one worker.
func TestShareOf(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	for range 2000 {
		offsets := []int{0}
		for range r.IntN(8) {
			offsets = append(offsets, offsets[len(offsets)-1]+r.IntN(3)*r.IntN(50))
		}
		s := sequences{offsets: offsets}
		perItem, workers := 1+r.IntN(5), 1+r.IntN(6)
		units, next := (len(offsets)-1)*perItem, 0
		for w := range workers {
			first, last := s.shareOf(w, workers, units, perItem)
			if first != next || last < first {
				t.Fatalf("%v x %d on %d workers: worker %d has units %d to %d, want from %d", offsets, perItem, workers, w, first, last, next)
			}
			next = last
		}
		if next != units {
			t.Fatalf("%v x %d on %d workers: %d units of %d", offsets, perItem, workers, next, units)
		}
	}
}

func TestSequencesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		argument string
		spoil    func(in *Inputs, out *Outputs)
	}{
		"two batch items": {"query", func(in *Inputs, out *Outputs) {
			in.Query.Shape, in.Key.Shape, in.Value.Shape, out.Output.Shape = []int{2, 5, 8}, []int{2, 5, 8}, []int{2, 5, 8}, []int{2, 5, 8}
		}},
		"no offsets":         {"Offsets", func(in *Inputs, out *Outputs) { in.Offsets = []int{} }},
		"not from 0":         {"Offsets", func(in *Inputs, out *Outputs) { in.Offsets[0] = 1 }},
		"not to the end":     {"Offsets", func(in *Inputs, out *Outputs) { in.Offsets[2] = 9 }},
		"descending":         {"Offsets", func(in *Inputs, out *Outputs) { in.Offsets[1] = 11 }},
		"too few past":       {"past_state", func(in *Inputs, out *Outputs) { in.PastState = NewTensor(1, 1, 8, 8) }},
		"keep nothing":       {"Keep", func(in *Inputs, out *Outputs) { in.Keep[0] = 0 }},
		"keep twice":         {"Keep", func(in *Inputs, out *Outputs) { in.Keep[1] = 3 }},
		"keep past the end":  {"Keep", func(in *Inputs, out *Outputs) { in.Keep[1] = 11 }},
		"kept states shape":  {"kept_states", func(in *Inputs, out *Outputs) { out.KeptStates = NewTensor(1, 1, 1, 8, 8) }},
		"kept without Keep":  {"kept_states", func(in *Inputs, out *Outputs) { in.Keep = nil }},
		"kept over an input": {"kept_states", func(in *Inputs, out *Outputs) { out.KeptStates.Data = in.PastState.Data }},
	} {
		t.Run(name, func(t *testing.T) {
			in := &Inputs{Query: NewTensor(1, 10, 8), Key: NewTensor(1, 10, 8), Value: NewTensor(1, 10, 8), PastState: NewTensor(2, 1, 8, 8), Offsets: []int{0, 4, 10}, Keep: []int{3, 10}}
			out := &Outputs{Output: NewTensor(1, 10, 8), KeptStates: NewTensor(2, 1, 1, 8, 8)}
			op := &LinearAttention{QHeads: 1, KVHeads: 1}
			if err := op.Forward(out, in); err != nil {
				t.Fatal("the valid call is refused:", err)
			}
			c.spoil(in, out)
			wantRefusal(t, op.Forward(out, in), c.argument)
		})
	}
}

// A server's batches grow from call to call, and it may not want the states: the room for them grows with the batch.
func TestPackedWithoutState(t *testing.T) {
	for _, rule := range []int{0, gatedDelta} {
		for _, n := range []int{3, 4, 2} {
			p := attentionProblem(rule, 1, tile.Shape{B: 1, T: n, Hq: 1, Hkv: 1, Dk: 8, Dv: 16})
			c, err := NewCase(p, uint64(n))
			if err != nil {
				t.Fatal(err)
			}
			in := c.attention.inputs()
			in.PastState = Tensor{}
			in.Offsets = []int{0}
			for i := range n {
				in.Offsets = append(in.Offsets, i+1)
			}
			out := &Outputs{Output: NewTensor(1, n, 16)}
			if err := forwardCandidate(p, nil, nil, false, in, out); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				want := oracleOf(p, c.attention, i, i+1, nil)
				if e := relativeError(out.Output.Data[i*16:(i+1)*16], want.Output, want.OutputAbs); e > ErrorBound(p) {
					t.Errorf("%s: sequence %d of %d: error %g", p, i, n, e)
				}
			}
		}
	}
}

// packedOffsets are the offsets of up to five sequences, some of them empty.
func packedOffsets(r *rand.Rand) []int {
	offsets := []int{0}
	for range r.IntN(6) {
		offsets = append(offsets, offsets[len(offsets)-1]+r.IntN(4)*r.IntN(30))
	}
	return offsets
}
