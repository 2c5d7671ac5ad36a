package main

import (
	"fmt"
	"slices"

	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// applyAttention runs linear-attention or delta-rule on arrays.
type applyAttention struct {
	flags     *applyFlags
	in        kernels.Inputs
	precision string // of the products, as Problem.Precision
}

func (a *applyAttention) arrays() []applyArray {
	return []applyArray{
		{"query", true, &a.in.Query}, {"key", true, &a.in.Key}, {"value", true, &a.in.Value},
		{"past_state", false, &a.in.PastState}, {"decay", false, &a.in.Decay}, {"beta", false, &a.in.Beta}, {"write", false, &a.in.Write},
		{"past_normalizer", false, &a.in.PastNormalizer}, {"decay_log", false, &a.in.DecayLog}, {"decay_bias", false, &a.in.DecayBias},
	}
}

func (a *applyAttention) problem() tile.Problem {
	f := a.flags
	p := tile.Problem{Op: f.op, Rule: defaultRule(f.op, f.rule), DType: dtypeOf(a.in.Query), Dir: f.dir, Threads: f.threads, Decay: tile.DecayNone,
		Full: f.full, Normalize: f.normalize, FeatureMap: f.featureMap, Front: f.front, Precision: a.precision}
	if s := a.stateDType(); s != tile.Float32 {
		p.StateDType = s
	}
	if a.in.Write.Shape != nil {
		p.Gates = tile.GatesApart
	}
	switch {
	case f.headDecay != nil:
		p.Decay = tile.DecayFixed
	case a.in.Decay.Shape != nil:
		p.Decay = tile.DecayHead
	}
	if d := a.in.Decay.Shape; len(d) == 3 && d[2] > f.kvHeads {
		p.Decay = tile.DecayKey
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
	shapes := map[string][]int{"output": {s.B, s.T, max(s.Hq, s.Hkv) * s.Dv}, "present_state": {s.B, s.Hkv, s.Dk, s.Dv}}
	if a.flags.normalize {
		shapes["present_normalizer"] = []int{s.B, s.Hkv, s.Dk}
	}
	return shapes
}

func dtypeOf(t kernels.Tensor) string {
	if t.DType == "" {
		return tile.Float32
	}
	return t.DType
}

// stateDType is the type of the states: the one asked for, else the past state's, else that of the other arrays.
func (a *applyAttention) stateDType() string {
	switch {
	case a.flags.stateDType != "":
		return a.flags.stateDType
	case a.in.PastState.Shape != nil:
		return dtypeOf(a.in.PastState)
	}
	return dtypeOf(a.in.Query)
}

// convert reads the precision and rounds the arrays to the types that the flags ask for.
func (a *applyAttention) convert() error {
	var err error
	if a.precision, err = parsePrecision(a.flags.precision); err != nil {
		return err
	}
	dtypes := []string{tile.Float32, tile.BFloat16, tile.Float16}
	beta := &a.in.Beta
	if a.in.Write.Shape != nil { // gates apart are float32, whatever the other arrays are
		beta = &kernels.Tensor{}
	}
	for _, d := range []struct {
		flag, dtype string
		arrays      []*kernels.Tensor
	}{
		{"dtype", a.flags.dtype, []*kernels.Tensor{&a.in.Query, &a.in.Key, &a.in.Value, &a.in.Decay, beta}},
		{"state-dtype", a.flags.stateDType, []*kernels.Tensor{&a.in.PastState}},
	} {
		if d.dtype == "" {
			continue
		}
		if !slices.Contains(dtypes, d.dtype) {
			return fmt.Errorf("--%s %s: must be one of %s", d.flag, d.dtype, list(dtypes))
		}
		for _, t := range d.arrays {
			if t.Shape != nil {
				*t = t.As(d.dtype)
			}
		}
	}
	return nil
}

// zeroed is an output of some type.
func zeroed(dtype string, shape []int) kernels.Tensor {
	if dtype == tile.Float32 {
		return kernels.NewTensor(shape...)
	}
	return kernels.NewHalfTensor(dtype, shape...)
}

func (a *applyAttention) forward(given *tile.Candidate) ([]npz.Array, error) {
	f, p := a.flags, a.problem()
	shapes := a.outputs()
	out := kernels.Outputs{Output: zeroed(dtypeOf(a.in.Query), shapes["output"]), PresentState: zeroed(a.stateDType(), shapes["present_state"])}
	if f.normalize {
		out.PresentNormalizer = kernels.NewTensor(shapes["present_normalizer"]...)
	}
	var err error
	if f.op == tile.LinearAttention {
		op := kernels.LinearAttention{QHeads: f.qHeads, KVHeads: f.kvHeads, Rule: p.Rule, Scale: f.scale, HeadDecay: f.headDecay,
			Full: f.full, FeatureMap: f.featureMap, FeatureMapEps: f.featureMapEps, Normalize: f.normalize, NormalizeEps: f.normalizeEps,
			InverseGQA: f.inverseGQA, Precision: p.Precision, Threads: f.threads, Candidate: given}
		err = op.Forward(&out, &a.in)
	} else {
		op := kernels.DeltaRule{QHeads: f.qHeads, KVHeads: f.kvHeads, Rule: p.Rule, Scale: f.scale, HeadDecay: f.headDecay, InverseGQA: f.inverseGQA,
			Front: f.front, BetaScale: f.betaScale, FeatureMap: f.featureMap, FeatureMapEps: f.featureMapEps, Precision: p.Precision, Threads: f.threads, Candidate: given}
		err = op.Forward(&out, &a.in)
	}
	if err != nil {
		return nil, err
	}
	arrays := []npz.Array{written("output", out.Output), written("present_state", out.PresentState)}
	if f.normalize {
		arrays = append(arrays, written("present_normalizer", out.PresentNormalizer))
	}
	return arrays, nil
}
