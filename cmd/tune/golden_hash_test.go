package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels/tile"
)

func TestGoldenHashBackward(t *testing.T) {
	dir := filepath.Join(golden(t), "papers")
	var index struct{ Cases []paperCase }
	readIndex(t, filepath.Join(dir, "index.json"), &index)
	ran := 0
	for _, c := range index.Cases {
		if c.Op != "memory_layer" {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			a := openArrays(t, filepath.Join(dir, c.File))
			eachISA(t, func(t *testing.T, isa tile.ISA) {
				x, _ := a.input(t, "in_x", "input")
				tables, _ := a.input(t, "in_tables", "tables")
				dy, _ := a.input(t, "in_dy", "grad_output")
				got := apply(t, []npz.Array{x, tables, dy}, "--op", tile.HashLayer, "--dir", "bwd", "--weighting", c.weighting(t), "--isa", string(isa))
				normalised(t, "grad_input", got.values(t, "grad_input"), a.values(t, "grad_x"), c.RTol)
				normalised(t, "grad_tables", got.values(t, "grad_tables"), a.values(t, "grad_tables"), c.RTol)
				bias := make([]float64, tables.Shape[2])
				for i, g := range a.values(t, "in_dy") {
					bias[i%len(bias)] += g
				}
				normalised(t, "grad_bias", got.values(t, "grad_bias"), bias, c.RTol)
			})
		})
	}
	if ran == 0 {
		t.Error("no case of memory_layer")
	}
}

// weighting is the first word of a case's own.
func (c paperCase) weighting(t *testing.T) string {
	weighting, _, _ := strings.Cut(c.params(t).Weighting, " ")
	return strings.TrimSuffix(weighting, ":")
}
