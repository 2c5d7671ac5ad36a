//go:build librooftune && (amd64 || arm64)

package main

/*
#define ROOFTUNE_TYPES_ONLY
#include "rooftune.h"
*/
import "C"

import (
	"sync"
	"unsafe"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// rules, featureMaps and fronts are the names behind the C constants.
var (
	rules = [...]string{C.ROOFTUNE_LINEAR: tile.RuleLinear, C.ROOFTUNE_GATED: tile.RuleGated,
		C.ROOFTUNE_DELTA: tile.RuleDelta, C.ROOFTUNE_GATED_DELTA: tile.RuleGatedDelta}
	featureMaps = [...]string{C.ROOFTUNE_MAP_NONE: tile.MapNone, C.ROOFTUNE_MAP_RELU: tile.MapReLU, C.ROOFTUNE_MAP_ELU1: tile.MapELU,
		C.ROOFTUNE_MAP_EXP: tile.MapExp, C.ROOFTUNE_MAP_L2NORM: tile.MapL2}
	fronts = [...]string{C.ROOFTUNE_FRONT_NONE: tile.FrontNone, C.ROOFTUNE_FRONT_SILU: tile.FrontSiLU, C.ROOFTUNE_FRONT_GATES: tile.FrontGates,
		C.ROOFTUNE_FRONT_SILU_GATES: tile.FrontSiLUGates}
)

// attention holds the Go side of a call. They are reused, so that a call allocates nothing.
type attention struct {
	linear kernels.LinearAttention
	delta  kernels.DeltaRule
	in     kernels.Inputs
	out    kernels.Outputs
	grads  kernels.Gradients
	gout   kernels.OutputGradients
}

var attentions = sync.Pool{New: func() any { return new(attention) }}

// done drops what a call lent.
func (a *attention) done() {
	*a = attention{}
	attentions.Put(a)
}

// set takes over the op and its inputs, and says whether the rule is a delta rule.
func (a *attention) set(op *C.rooftune_attention, in *C.rooftune_attention_inputs) (delta bool, err error) {
	if op == nil {
		return false, invalid("op", "NULL", "an operator")
	}
	if in == nil {
		return false, invalid("in", "NULL", "the inputs")
	}
	rule, err := choose("rule", rules[:], op.rule)
	if err != nil {
		return false, err
	}
	featureMap, err := choose("feature_map", featureMaps[:], op.feature_map)
	if err != nil {
		return false, err
	}
	front, err := choose("front", fronts[:], op.front)
	if err != nil {
		return false, err
	}
	var headDecay []float32
	if op.head_decay != nil && op.kv_heads > 0 && op.kv_heads < maxBytes {
		headDecay = unsafe.Slice((*float32)(op.head_decay), op.kv_heads)
	}
	precision := ""
	if op.bf16_products != 0 {
		precision = tile.BFloat16
	}
	delta = rule == tile.RuleDelta || rule == tile.RuleGatedDelta
	if delta {
		for _, x := range []struct {
			name string
			set  bool
		}{{"full", op.full != 0}, {"normalize", op.normalize != 0}} {
			if x.set {
				return false, invalid(x.name, "set", "0 with a delta rule")
			}
		}
		a.delta = kernels.DeltaRule{QHeads: int(op.q_heads), KVHeads: int(op.kv_heads), Rule: rule, Scale: float32(op.scale), HeadDecay: headDecay,
			InverseGQA: op.inverse_gqa != 0, Front: front, BetaScale: float32(op.beta_scale), FeatureMap: featureMap,
			FeatureMapEps: float32(op.feature_map_eps), Precision: precision, Threads: int(op.threads)}
	} else {
		for _, x := range []struct {
			name string
			set  bool
		}{{"front", front != tile.FrontNone}, {"beta_scale", op.beta_scale != 0}} {
			if x.set {
				return false, invalid(x.name, "set", "0 without a delta rule")
			}
		}
		a.linear = kernels.LinearAttention{QHeads: int(op.q_heads), KVHeads: int(op.kv_heads), Rule: rule, Scale: float32(op.scale), HeadDecay: headDecay,
			Full: op.full != 0, FeatureMap: featureMap, FeatureMapEps: float32(op.feature_map_eps), Normalize: op.normalize != 0,
			NormalizeEps: float32(op.normalize_eps), InverseGQA: op.inverse_gqa != 0, Precision: precision, Threads: int(op.threads)}
	}
	if a.in.Offsets, err = counted("offsets", (*C.int64_t)(in.offsets), in.offsets_count); err != nil {
		return false, err
	}
	if a.in.Keep, err = counted("keep", (*C.int64_t)(in.keep), in.keep_count); err != nil {
		return false, err
	}
	return delta, views(
		array{"query", &a.in.Query, &in.query}, array{"key", &a.in.Key, &in.key}, array{"value", &a.in.Value, &in.value},
		array{"past_state", &a.in.PastState, &in.past_state}, array{"past_normalizer", &a.in.PastNormalizer, &in.past_normalizer},
		array{"decay", &a.in.Decay, &in.decay}, array{"beta", &a.in.Beta, &in.beta}, array{"write", &a.in.Write, &in.write},
		array{"decay_log", &a.in.DecayLog, &in.decay_log}, array{"decay_bias", &a.in.DecayBias, &in.decay_bias})
}

// array is a tensor to view.
type array struct {
	name string
	to   *kernels.Tensor
	from *C.rooftune_tensor
}

// views sets several tensors.
func views(arrays ...array) error {
	for _, x := range arrays {
		if err := view(x.name, x.to, x.from); err != nil {
			return err
		}
	}
	return nil
}

//export rooftune_attention_forward
func rooftune_attention_forward(op *C.rooftune_attention, in *C.rooftune_attention_inputs, out *C.rooftune_attention_outputs,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	a := attentions.Get().(*attention)
	defer a.done()
	return report(a.forward(op, in, out), message, size)
}

func (a *attention) forward(op *C.rooftune_attention, in *C.rooftune_attention_inputs, out *C.rooftune_attention_outputs) error {
	delta, err := a.set(op, in)
	if err != nil {
		return err
	}
	if out == nil {
		return invalid("out", "NULL", "the outputs")
	}
	if err := views(array{"output", &a.out.Output, &out.output}, array{"present_state", &a.out.PresentState, &out.present_state},
		array{"present_normalizer", &a.out.PresentNormalizer, &out.present_normalizer},
		array{"kept_states", &a.out.KeptStates, &out.kept_states}); err != nil {
		return err
	}
	if delta {
		return a.delta.Forward(&a.out, &a.in)
	}
	return a.linear.Forward(&a.out, &a.in)
}

//export rooftune_attention_backward
func rooftune_attention_backward(op *C.rooftune_attention, in *C.rooftune_attention_inputs, grads *C.rooftune_attention_gradients,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	a := attentions.Get().(*attention)
	defer a.done()
	return report(a.backward(op, in, grads), message, size)
}

func (a *attention) backward(op *C.rooftune_attention, in *C.rooftune_attention_inputs, grads *C.rooftune_attention_gradients) error {
	delta, err := a.set(op, in)
	if err != nil {
		return err
	}
	if grads == nil {
		return invalid("grads", "NULL", "the gradients")
	}
	if err := views(array{"grad_output", &a.gout.Output, &grads.output}, array{"grad_present_state", &a.gout.PresentState, &grads.present_state},
		array{"grad_present_normalizer", &a.gout.PresentNormalizer, &grads.present_normalizer},
		array{"grad_query", &a.grads.Query, &grads.query}, array{"grad_key", &a.grads.Key, &grads.key}, array{"grad_value", &a.grads.Value, &grads.value},
		array{"grad_past_state", &a.grads.PastState, &grads.past_state},
		array{"grad_past_normalizer", &a.grads.PastNormalizer, &grads.past_normalizer}, array{"grad_decay", &a.grads.Decay, &grads.decay},
		array{"grad_beta", &a.grads.Beta, &grads.beta}, array{"grad_write", &a.grads.Write, &grads.write},
		array{"grad_decay_log", &a.grads.DecayLog, &grads.decay_log}, array{"grad_decay_bias", &a.grads.DecayBias, &grads.decay_bias}); err != nil {
		return err
	}
	if delta {
		return a.delta.Backward(&a.grads, &a.gout, &a.in)
	}
	return a.linear.Backward(&a.grads, &a.gout, &a.in)
}
