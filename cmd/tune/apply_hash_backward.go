package main

import (
	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// applyHashBackward computes the gradients of a hash layer.
type applyHashBackward struct {
	applyHash
	gradOutput kernels.Tensor
}

func (a *applyHashBackward) arrays() []applyArray {
	return append(a.applyHash.arrays(), applyArray{"grad_output", true, &a.gradOutput})
}

func (a *applyHashBackward) problem() tile.Problem {
	p := a.applyHash.problem()
	p.Dir = tile.Backward
	return p
}

func (a *applyHashBackward) outputs() map[string][]int {
	return map[string][]int{"grad_input": a.in.Input.Shape, "grad_tables": a.tableShape(), "grad_bias": {a.problem().Shape.H}}
}

func (a *applyHashBackward) forward(given *tile.Candidate) ([]npz.Array, error) {
	var grads kernels.HashGradients
	var arrays []npz.Array
	for _, g := range []struct {
		name string
		to   *kernels.Tensor
	}{{"grad_input", &grads.Input}, {"grad_tables", &grads.Tables}, {"grad_bias", &grads.Bias}} {
		*g.to = kernels.NewTensor(a.outputs()[g.name]...)
		arrays = append(arrays, npz.Array{Name: g.name, Shape: g.to.Shape, Data: g.to.Data})
	}
	p := a.problem()
	op := kernels.HashLayer{Tau: max(1, p.Shape.Tau), Weighting: p.Weighting, Threads: a.flags.threads, Candidate: given}
	if err := op.Backward(&grads, a.gradOutput, &a.in); err != nil {
		return nil, err
	}
	return arrays, nil
}
