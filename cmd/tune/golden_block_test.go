package main

import (
	"path/filepath"
	"testing"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// memory_block cases run in the library, both passes.
func TestGoldenMemoryBlock(t *testing.T) {
	dir := filepath.Join(golden(t), "papers")
	var index struct{ Cases []paperCase }
	readIndex(t, filepath.Join(dir, "index.json"), &index)
	ran := 0
	for _, c := range index.Cases {
		if c.Op != "memory_block" {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			a := openArrays(t, filepath.Join(dir, c.File))
			tensor := func(name string) kernels.Tensor {
				t.Helper()
				x, ok := a.input(t, name, name)
				if !ok {
					t.Fatalf("no array %q", name)
				}
				return kernels.Tensor{Shape: x.Shape, Data: x.Data.([]float32)}
			}
			in := &kernels.MemoryBlockInputs{
				Input: tensor("in_x"), Scale: tensor("in_ln_g"), Shift: tensor("in_ln_b"),
				First:  kernels.HashInputs{Tables: tensor("in_T1"), Bias: tensor("in_b1")},
				Second: kernels.HashInputs{Tables: tensor("in_T2"), Bias: tensor("in_b2")},
			}
			dy := tensor("in_dy")
			for _, weighting := range []string{tile.WeightingPaper, tile.WeightingReleased} {
				block := &kernels.MemoryBlock{Tau: 4, ExtraBits: 2, Weighting: weighting}
				output := kernels.NewTensor(dy.Shape...)
				if err := block.Forward(output, in); err != nil {
					t.Fatal(err)
				}
				if weighting != blockWeighting {
					continue
				}
				normalised(t, "output", widened(output), a.values(t, "out_y"), c.RTol)
				like := func(x kernels.Tensor) kernels.Tensor { return kernels.NewTensor(x.Shape...) }
				grads := &kernels.MemoryBlockGradients{
					Input: like(in.Input), Scale: like(in.Scale), Shift: like(in.Shift),
					First:  kernels.HashGradients{Tables: like(in.First.Tables), Bias: like(in.First.Bias)},
					Second: kernels.HashGradients{Tables: like(in.Second.Tables), Bias: like(in.Second.Bias)},
				}
				if err := block.Backward(grads, dy, in); err != nil {
					t.Fatal(err)
				}
				for name, got := range map[string]kernels.Tensor{
					"grad_x": grads.Input, "grad_ln_g": grads.Scale, "grad_ln_b": grads.Shift, "grad_T1": grads.First.Tables,
					"grad_b1": grads.First.Bias, "grad_T2": grads.Second.Tables, "grad_b2": grads.Second.Bias,
				} {
					normalised(t, name, widened(got), a.values(t, name), c.RTol)
				}
			}
		})
	}
	if ran == 0 {
		t.Error("no case of memory_block")
	}
}

// blockWeighting is that of the golden case, which the public code made.
const blockWeighting = tile.WeightingReleased

func widened(x kernels.Tensor) []float64 {
	v := make([]float64, len(x.Data))
	for i, f := range x.Data {
		v[i] = float64(f)
	}
	return v
}
