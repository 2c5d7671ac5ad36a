//go:build librooftune && (amd64 || arm64)

package main

/*
#define ROOFTUNE_TYPES_ONLY
#include "rooftune.h"
*/
import "C"

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

var weightings = [...]string{C.ROOFTUNE_WEIGHTING_PAPER: tile.WeightingPaper, C.ROOFTUNE_WEIGHTING_RELEASED: tile.WeightingReleased}

//export rooftune_hash_layer_forward
func rooftune_hash_layer_forward(op *C.rooftune_hash_layer, input, tables, bias, output *C.rooftune_tensor, codes *C.int32_t, weights *C.float,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	return report(hashLayer(op, input, tables, bias, output, codes, weights), message, size)
}

func hashLayer(op *C.rooftune_hash_layer, input, tables, bias, output *C.rooftune_tensor, codes *C.int32_t, weights *C.float) error {
	if op == nil {
		return invalid("op", "NULL", "an operator")
	}
	weighting, err := choose("weighting", weightings[:], op.weighting)
	if err != nil {
		return err
	}
	layer := kernels.HashLayer{Tau: int(op.tau), Weighting: weighting, Threads: int(op.threads)}
	var in kernels.HashInputs
	var out kernels.HashOutputs
	if err := views(array{"input", &in.Input, input}, array{"tables", &in.Tables, tables}, array{"bias", &in.Bias, bias},
		array{"output", &out.Output, output}); err != nil {
		return err
	}
	// The codes' length is that of the tables' first dimension, which Forward checks.
	if len(in.Input.Shape) == 2 && len(in.Tables.Shape) == 3 && in.Tables.Shape[0] <= len(in.Input.Data) {
		n := in.Input.Shape[0] * in.Tables.Shape[0]
		if codes != nil {
			out.Codes = unsafe.Slice((*int32)(codes), n)
		}
		if weights != nil {
			out.Weights = unsafe.Slice((*float32)(weights), n)
		}
	}
	return layer.Forward(&out, &in)
}

//export rooftune_causal_conv_forward
func rooftune_causal_conv_forward(op *C.rooftune_causal_conv, input, weight, bias, past, output, present *C.rooftune_tensor,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	return report(causalConv(op, input, weight, bias, past, output, present), message, size)
}

func causalConv(op *C.rooftune_causal_conv, input, weight, bias, past, output, present *C.rooftune_tensor) error {
	if op == nil {
		return invalid("op", "NULL", "an operator")
	}
	conv := kernels.CausalConv{Threads: int(op.threads)}
	if op.silu != 0 {
		conv.Activation = kernels.ActivationSiLU
	}
	var in kernels.ConvInputs
	var out kernels.ConvOutputs
	if err := views(array{"input", &in.Input, input}, array{"weight", &in.Weight, weight}, array{"bias", &in.Bias, bias},
		array{"past_state", &in.PastState, past}, array{"output", &out.Output, output}, array{"present_state", &out.PresentState, present}); err != nil {
		return err
	}
	return conv.Forward(&out, &in)
}
