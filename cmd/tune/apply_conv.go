package main

import (
	"fmt"

	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// applyConv runs a causal convolution on arrays.
type applyConv struct {
	flags *applyFlags
	in    kernels.ConvInputs
}

func (a *applyConv) arrays() []applyArray {
	return []applyArray{{"input", true, &a.in.Input}, {"weight", true, &a.in.Weight}, {"bias", false, &a.in.Bias}, {"past_state", false, &a.in.PastState}}
}

func (a *applyConv) problem() tile.Problem {
	p := tile.Problem{Op: tile.CausalConv, Rule: a.flags.activation, DType: dtypeOf(a.in.Input), Dir: tile.Forward, Threads: a.flags.threads}
	if p.Rule == kernels.ActivationSwish {
		p.Rule = kernels.ActivationSiLU
	}
	if x, w := a.in.Input.Shape, a.in.Weight.Shape; len(x) == 3 && len(w) == 3 {
		p.Shape = tile.Shape{B: x[0], C: x[1], L: x[2], K: w[2]}
	}
	return p
}

func (a *applyConv) outputs() map[string][]int {
	s := a.problem().Shape
	return map[string][]int{"output": {s.B, s.C, s.L}, "present_state": {s.B, s.C, max(0, s.K-1)}}
}

// convert rounds the arrays to the type that the flags ask for.
func (a *applyConv) convert() error {
	if a.flags.dtype == "" {
		return nil
	}
	for _, t := range []*kernels.Tensor{&a.in.Input, &a.in.Weight, &a.in.Bias, &a.in.PastState} {
		if t.Shape == nil {
			continue
		}
		if d := a.flags.dtype; d != tile.Float32 && d != tile.BFloat16 && d != tile.Float16 {
			return fmt.Errorf("--dtype %s: must be float32, bfloat16 or float16", d)
		}
		*t = t.As(a.flags.dtype)
	}
	return nil
}

func (a *applyConv) forward(given *tile.Candidate) ([]npz.Array, error) {
	dtype, shapes := dtypeOf(a.in.Input), a.outputs()
	out := kernels.ConvOutputs{Output: zeroed(dtype, shapes["output"]), PresentState: zeroed(dtype, shapes["present_state"])}
	op := kernels.CausalConv{Activation: a.flags.activation, Threads: a.flags.threads, ISA: tile.ISA(a.flags.isa), Candidate: given}
	if err := op.Forward(&out, &a.in); err != nil {
		return nil, err
	}
	return []npz.Array{written("output", out.Output), written("present_state", out.PresentState)}, nil
}
