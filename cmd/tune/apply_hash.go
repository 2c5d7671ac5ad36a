package main

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/hashfile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// applyHash runs a hash layer on arrays.
type applyHash struct {
	flags *applyFlags
	in    kernels.HashInputs
}

func (a *applyHash) arrays() []applyArray {
	arrays := []applyArray{{"input", true, &a.in.Input}, {"bias", false, &a.in.Bias}}
	if a.flags.tables == "" {
		arrays = append(arrays, applyArray{"tables", true, &a.in.Tables})
	}
	return arrays
}

// convert opens tables that lie in a file of their own and narrows tables to the type that is asked for.
func (a *applyHash) convert() error {
	o := kernels.HashTableOptions{DType: a.flags.dtype, Layout: kernels.LayoutRows}
	if a.flags.dtype != "" && !slices.Contains([]string{tile.Float32, tile.BFloat16, tile.Int8}, a.flags.dtype) {
		return fmt.Errorf("--dtype %s: tables are float32, bfloat16 or int8", a.flags.dtype)
	}
	if p, err := parsePrecision(a.flags.precision); err != nil || p == tile.BFloat16 {
		return fmt.Errorf("--precision %q: must be float32, or int8 with int8 tables", a.flags.precision)
	}
	if a.flags.tables != "" {
		opened, err := hashfile.Open(a.flags.tables, hashfile.Options{Tensor: a.flags.tensor, Tables: o})
		if err != nil {
			return err
		}
		a.in.Prepared = opened.HashTables // until the process ends
		return nil
	}
	if a.flags.dtype == "" || a.flags.dtype == tile.Float32 {
		return nil
	}
	prepared, err := kernels.PrepareHashTables(a.in.Tables, o)
	if err != nil {
		return inFlagNames(err)
	}
	a.in.Prepared, a.in.Tables = prepared, kernels.Tensor{}
	return nil
}

// tableShape and tableType are those of the tables, wherever they come from.
func (a *applyHash) tableShape() []int {
	if a.in.Prepared != nil {
		return a.in.Prepared.Shape()
	}
	return a.in.Tables.Shape
}

func (a *applyHash) tableType() string {
	switch {
	case a.in.Prepared != nil:
		return a.in.Prepared.DType()
	case a.in.Tables.DType != "":
		return a.in.Tables.DType
	}
	return tile.Float32
}

func (a *applyHash) problem() tile.Problem {
	p := tile.Problem{Op: tile.HashLayer, DType: a.tableType(), Dir: tile.Forward, Threads: a.flags.threads, Weighting: a.flags.weighting}
	if p.Weighting == "" {
		p.Weighting = tile.WeightingPaper
	}
	if p.DType == tile.Int8 && a.flags.precision == tile.Int8 {
		p.Precision = tile.Int8
	}
	x, t := a.in.Input.Shape, a.tableShape()
	if len(x) == 2 && len(t) == 3 {
		// A row count that is no power of two is refused with the tables' shape, whatever tau is taken.
		p.Shape = tile.Shape{N: x[0], D: x[1], H: t[2], Tau: bits.Len(uint(max(t[1], 2) - 1))}
	}
	return p
}

func (a *applyHash) outputs() map[string][]int {
	s := a.problem().Shape
	tables := 0
	if len(a.tableShape()) == 3 {
		tables = a.tableShape()[0]
	}
	return map[string][]int{"output": {s.N, s.H}, "codes": {s.N, tables}, "weights": {s.N, tables}}
}

func (a *applyHash) forward(given *tile.Candidate) ([]npz.Array, error) {
	p, shapes := a.problem(), a.outputs()
	if given != nil && given.Config["form"] == 1 { // which reads panels
		if a.in.Prepared == nil {
			prepared, err := kernels.PrepareHashTables(a.in.Tables, kernels.HashTableOptions{Layout: kernels.LayoutRows})
			if err != nil {
				return nil, err
			}
			a.in.Prepared, a.in.Tables = prepared, kernels.Tensor{}
		}
		a.in.Prepared.AddPanels()
	}
	codes := shapes["codes"]
	output := kernels.NewTensor(shapes["output"]...)
	outputs := kernels.HashOutputs{Output: output, Codes: make([]int32, codes[0]*codes[1]), Weights: make([]float32, codes[0]*codes[1])}
	op := kernels.HashLayer{Tau: max(1, p.Shape.Tau), Weighting: p.Weighting, Precision: p.Precision, Threads: a.flags.threads, Candidate: given}
	if err := op.Forward(&outputs, &a.in); err != nil {
		return nil, err
	}
	return []npz.Array{{Name: "output", Shape: output.Shape, Data: output.Data}, {Name: "codes", Shape: codes, Data: outputs.Codes},
		{Name: "weights", Shape: codes, Data: outputs.Weights}}, nil
}
