package main

import (
	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// applyAttention runs linear-attention or delta-rule on arrays.
type applyAttention struct {
	flags *applyFlags
	in    kernels.Inputs
}

func (a *applyAttention) arrays() []applyArray {
	return []applyArray{
		{"query", true, &a.in.Query}, {"key", true, &a.in.Key}, {"value", true, &a.in.Value},
		{"past_state", false, &a.in.PastState}, {"decay", false, &a.in.Decay}, {"beta", false, &a.in.Beta},
	}
}

func (a *applyAttention) problem() tile.Problem {
	f := a.flags
	p := tile.Problem{Op: f.op, Rule: defaultRule(f.op, f.rule), DType: "float32", Dir: "fwd", Threads: f.threads, Decay: tile.DecayNone}
	switch {
	case f.headDecay != nil:
		p.Decay = tile.DecayFixed
	case a.in.Decay.Shape != nil:
		p.Decay = tile.DecayHead
	}
	q, v := a.in.Query.Shape, a.in.Value.Shape
	if len(q) == 3 && len(v) == 3 && f.qHeads > 0 && f.kvHeads > 0 {
		p.Shape = tile.Shape{B: q[0], T: q[1], Hq: f.qHeads, Hkv: f.kvHeads, Dk: q[2] / f.qHeads, Dv: v[2] / f.kvHeads}
		if d := a.in.Decay.Shape; len(d) == 3 && d[2] == f.kvHeads*p.Shape.Dk && p.Shape.Dk > 1 {
			p.Decay = tile.DecayKey
		}
	}
	return p
}

func (a *applyAttention) outputs() map[string][]int {
	s := a.problem().Shape
	return map[string][]int{"output": {s.B, s.T, s.Hq * s.Dv}, "present_state": {s.B, s.Hkv, s.Dk, s.Dv}}
}

func (a *applyAttention) forward(given *tile.Candidate) ([]npz.Array, error) {
	f, p := a.flags, a.problem()
	out, state := a.outputs()["output"], a.outputs()["present_state"]
	outputs := kernels.Outputs{Output: kernels.NewTensor(out...), PresentState: kernels.NewTensor(state...)}
	var err error
	if f.op == tile.LinearAttention {
		op := kernels.LinearAttention{QHeads: f.qHeads, KVHeads: f.kvHeads, Rule: p.Rule, Scale: f.scale, HeadDecay: f.headDecay,
			Threads: f.threads, Candidate: given}
		err = op.Forward(&outputs, &a.in)
	} else {
		op := kernels.DeltaRule{QHeads: f.qHeads, KVHeads: f.kvHeads, Rule: p.Rule, Scale: f.scale, Threads: f.threads, Candidate: given}
		err = op.Forward(&outputs, &a.in)
	}
	if err != nil {
		return nil, err
	}
	return []npz.Array{{Name: "output", Shape: out, Data: outputs.Output.Data}, {Name: "present_state", Shape: state, Data: outputs.PresentState.Data}}, nil
}
