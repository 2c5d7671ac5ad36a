package main

import (
	"math/bits"

	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// applyHash runs a hash layer on arrays.
type applyHash struct {
	flags *applyFlags
	in    kernels.HashInputs
}

func (a *applyHash) arrays() []applyArray {
	return []applyArray{{"input", true, &a.in.Input}, {"tables", true, &a.in.Tables}, {"bias", false, &a.in.Bias}}
}

func (a *applyHash) problem() tile.Problem {
	p := tile.Problem{Op: tile.HashLayer, DType: "float32", Dir: "fwd", Threads: a.flags.threads, Weighting: a.flags.weighting}
	if p.Weighting == "" {
		p.Weighting = tile.WeightingPaper
	}
	x, t := a.in.Input.Shape, a.in.Tables.Shape
	if len(x) == 2 && len(t) == 3 {
		// A row count that is no power of two is refused with the tables' shape, whatever tau is taken.
		p.Shape = tile.Shape{N: x[0], D: x[1], H: t[2], Tau: bits.Len(uint(max(t[1], 2) - 1))}
	}
	return p
}

func (a *applyHash) outputs() map[string][]int {
	s := a.problem().Shape
	tables := 0
	if len(a.in.Tables.Shape) == 3 {
		tables = a.in.Tables.Shape[0]
	}
	return map[string][]int{"output": {s.N, s.H}, "codes": {s.N, tables}, "weights": {s.N, tables}}
}

func (a *applyHash) forward(given *tile.Candidate) ([]npz.Array, error) {
	p, shapes := a.problem(), a.outputs()
	codes := shapes["codes"]
	output := kernels.NewTensor(shapes["output"]...)
	outputs := kernels.HashOutputs{Output: output, Codes: make([]int32, codes[0]*codes[1]), Weights: make([]float32, codes[0]*codes[1])}
	op := kernels.HashLayer{Tau: max(1, p.Shape.Tau), Weighting: p.Weighting, Threads: a.flags.threads, Candidate: given}
	if err := op.Forward(&outputs, &a.in); err != nil {
		return nil, err
	}
	return []npz.Array{{Name: "output", Shape: output.Shape, Data: output.Data}, {Name: "codes", Shape: codes, Data: outputs.Codes},
		{Name: "weights", Shape: codes, Data: outputs.Weights}}, nil
}
