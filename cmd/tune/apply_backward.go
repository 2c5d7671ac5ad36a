package main

import (
	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// applyBackward computes the gradients of an attention op.
type applyBackward struct {
	applyAttention
	gout kernels.OutputGradients
}

func (a *applyBackward) arrays() []applyArray {
	var inputs []applyArray
	for _, in := range a.applyAttention.arrays() {
		if in.name != "beta" || a.flags.op == tile.DeltaRule {
			inputs = append(inputs, in)
		}
	}
	return append(inputs, applyArray{"grad_output", true, &a.gout.Output}, applyArray{"grad_present_state", false, &a.gout.PresentState},
		applyArray{"grad_present_normalizer", false, &a.gout.PresentNormalizer})
}

func (a *applyBackward) outputs() map[string][]int {
	shapes := map[string][]int{"grad_query": a.in.Query.Shape, "grad_key": a.in.Key.Shape, "grad_value": a.in.Value.Shape}
	for name, t := range map[string]kernels.Tensor{
		"past_state": a.in.PastState, "past_normalizer": a.in.PastNormalizer, "decay": a.in.Decay, "beta": a.in.Beta,
		"write": a.in.Write, "decay_log": a.in.DecayLog, "decay_bias": a.in.DecayBias,
	} {
		if t.Shape != nil {
			shapes["grad_"+name] = t.Shape
		}
	}
	return shapes
}

// forward runs the backward pass.
func (a *applyBackward) forward(given *tile.Candidate) ([]npz.Array, error) {
	var grads kernels.Gradients
	var arrays []npz.Array
	for _, g := range []struct {
		name string
		to   *kernels.Tensor
	}{
		{"grad_query", &grads.Query}, {"grad_key", &grads.Key}, {"grad_value", &grads.Value},
		{"grad_past_state", &grads.PastState}, {"grad_decay", &grads.Decay},
		{"grad_beta", &grads.Beta}, {"grad_past_normalizer", &grads.PastNormalizer},
		{"grad_write", &grads.Write}, {"grad_decay_log", &grads.DecayLog}, {"grad_decay_bias", &grads.DecayBias},
	} {
		if shape, ok := a.outputs()[g.name]; ok {
			*g.to = kernels.NewTensor(shape...)
			arrays = append(arrays, npz.Array{Name: g.name, Shape: shape, Data: g.to.Data})
		}
	}
	f := a.flags
	var op interface {
		Backward(*kernels.Gradients, *kernels.OutputGradients, *kernels.Inputs) error
	} = &kernels.DeltaRule{QHeads: f.qHeads, KVHeads: f.kvHeads, Rule: a.problem().Rule, Scale: f.scale, HeadDecay: f.headDecay,
		InverseGQA: f.inverseGQA, Front: f.front, BetaScale: f.betaScale, FeatureMap: f.featureMap, FeatureMapEps: f.featureMapEps, Threads: f.threads, Candidate: given}
	if f.op == tile.LinearAttention {
		op = &kernels.LinearAttention{QHeads: f.qHeads, KVHeads: f.kvHeads, Rule: a.problem().Rule, Scale: f.scale, HeadDecay: f.headDecay,
			Full: f.full, FeatureMap: f.featureMap, FeatureMapEps: f.featureMapEps, Normalize: f.normalize, NormalizeEps: f.normalizeEps, InverseGQA: f.inverseGQA, Threads: f.threads, Candidate: given}
	}
	if err := op.Backward(&grads, &a.gout, &a.in); err != nil {
		return nil, err
	}
	return arrays, nil
}
