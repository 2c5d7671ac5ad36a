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

var weightings = [...]string{C.ROOFTUNE_WEIGHTING_PAPER: tile.WeightingPaper, C.ROOFTUNE_WEIGHTING_RELEASED: tile.WeightingReleased}

// hashLayer holds the Go side of a call. They are reused, so that a call allocates nothing.
type hashLayer struct {
	op    kernels.HashLayer
	in    kernels.HashInputs
	out   kernels.HashOutputs
	grads kernels.HashGradients
}

var hashLayers = sync.Pool{New: func() any { return new(hashLayer) }}

// done drops what a call lent.
func (l *hashLayer) done() {
	*l = hashLayer{}
	hashLayers.Put(l)
}

// set takes over the op.
func (l *hashLayer) set(op *C.rooftune_hash_layer) error {
	if op == nil {
		return invalid("op", "NULL", "an operator")
	}
	weighting, err := choose("weighting", weightings[:], op.weighting)
	if err != nil {
		return err
	}
	l.op = kernels.HashLayer{Tau: int(op.tau), Weighting: weighting, Threads: int(op.threads)}
	if op.int8_weights != 0 {
		l.op.Precision = tile.Int8
	}
	return nil
}

// hashInputs takes over a layer's inputs.
func hashInputs(to *kernels.HashInputs, in *C.rooftune_hash_inputs) (err error) {
	if in.prepared != nil {
		if to.Prepared, err = preparedTables(in.prepared); err != nil {
			return err
		}
	}
	return views(array{"input", &to.Input, &in.input}, array{"tables", &to.Tables, &in.tables}, array{"bias", &to.Bias, &in.bias})
}

// hashOutputs takes over a layer's outputs. Codes and weights come without a length: theirs is that of the input by the tables, whose shapes
// are checked with the other arguments.
func hashOutputs(to *kernels.HashOutputs, out *C.rooftune_hash_outputs, input kernels.Tensor, in *kernels.HashInputs) error {
	if err := view("output", &to.Output, &out.output); err != nil {
		return err
	}
	tables := in.Tables.Shape
	if in.Prepared != nil {
		tables = in.Prepared.Shape()
	}
	if len(input.Shape) != 2 || len(tables) != 3 {
		return nil // refused there
	}
	n, k := input.Shape[0], tables[0]
	fits := k == 0 || n <= maxBytes/4/k
	if out.codes != nil {
		if !fits {
			return invalid("codes", "an array larger than memory", "(N,K)")
		}
		to.Codes = unsafe.Slice((*int32)(out.codes), n*k)
	}
	if out.weights != nil {
		if !fits {
			return invalid("weights", "an array larger than memory", "(N,K)")
		}
		to.Weights = unsafe.Slice((*float32)(out.weights), n*k)
	}
	return nil
}

//export rooftune_hash_layer_forward
func rooftune_hash_layer_forward(op *C.rooftune_hash_layer, in *C.rooftune_hash_inputs, out *C.rooftune_hash_outputs,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	l := hashLayers.Get().(*hashLayer)
	defer l.done()
	return report(l.forward(op, in, out), message, size)
}

func (l *hashLayer) forward(op *C.rooftune_hash_layer, in *C.rooftune_hash_inputs, out *C.rooftune_hash_outputs) error {
	if err := l.set(op); err != nil {
		return err
	}
	if in == nil {
		return invalid("in", "NULL", "the inputs")
	}
	if out == nil {
		return invalid("out", "NULL", "the outputs")
	}
	if err := hashInputs(&l.in, in); err != nil {
		return err
	}
	if err := hashOutputs(&l.out, out, l.in.Input, &l.in); err != nil {
		return err
	}
	return l.op.Forward(&l.out, &l.in)
}

//export rooftune_hash_layer_forward_sets
func rooftune_hash_layer_forward_sets(op *C.rooftune_hash_layer, in *C.rooftune_hash_inputs, out *C.rooftune_hash_outputs, count C.int64_t,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	return report(forwardSets(op, in, out, count), message, size)
}

// maxSets bounds the sets of a call.
const maxSets = 1 << 16

func forwardSets(op *C.rooftune_hash_layer, in *C.rooftune_hash_inputs, out *C.rooftune_hash_outputs, count C.int64_t) error {
	var l hashLayer
	if err := l.set(op); err != nil {
		return err
	}
	if count < 1 || count > maxSets {
		return invalid("count", itoa(int64(count)), "1 to 65536")
	}
	if in == nil {
		return invalid("in", "NULL", "the inputs")
	}
	if out == nil {
		return invalid("out", "NULL", "the outputs")
	}
	ins, outs := make([]kernels.HashInputs, count), make([]kernels.HashOutputs, count)
	for i := range ins {
		if err := hashInputs(&ins[i], &unsafe.Slice(in, count)[i]); err != nil {
			return err
		}
		if err := hashOutputs(&outs[i], &unsafe.Slice(out, count)[i], ins[0].Input, &ins[i]); err != nil {
			return err
		}
	}
	return l.op.ForwardSets(outs, ins)
}

//export rooftune_hash_layer_backward
func rooftune_hash_layer_backward(op *C.rooftune_hash_layer, in *C.rooftune_hash_inputs, grads *C.rooftune_hash_gradients,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	l := hashLayers.Get().(*hashLayer)
	defer l.done()
	return report(l.backward(op, in, grads), message, size)
}

func (l *hashLayer) backward(op *C.rooftune_hash_layer, in *C.rooftune_hash_inputs, grads *C.rooftune_hash_gradients) error {
	if err := l.set(op); err != nil {
		return err
	}
	if in == nil {
		return invalid("in", "NULL", "the inputs")
	}
	if grads == nil {
		return invalid("grads", "NULL", "the gradients")
	}
	if err := hashInputs(&l.in, in); err != nil {
		return err
	}
	var output kernels.Tensor
	if err := views(array{"grad_output", &output, &grads.output}, array{"grad_input", &l.grads.Input, &grads.input},
		array{"grad_tables", &l.grads.Tables, &grads.tables}, array{"grad_bias", &l.grads.Bias, &grads.bias}); err != nil {
		return err
	}
	return l.op.Backward(&l.grads, output, &l.in)
}
