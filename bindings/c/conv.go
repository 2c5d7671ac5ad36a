//go:build librooftune && (amd64 || arm64)

package main

/*
#define ROOFTUNE_TYPES_ONLY
#include "rooftune.h"
*/
import "C"

import "github.com/rooftune/rooftune/kernels"

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
