package kernels

import (
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func TestHashFormsRefuse(t *testing.T) {
	for _, p := range []tile.Problem{
		{Op: tile.HashLayer, Shape: tile.Shape{N: 1, D: 64, H: 8, Tau: 8}, DType: "float32", Dir: tile.Backward, Threads: 1, Weighting: tile.WeightingPaper},
		{Op: tile.HashLayer, Shape: tile.Shape{N: 1, D: 63, H: 8, Tau: 8}, DType: "float32", Dir: "fwd", Threads: 0, Weighting: tile.WeightingPaper},
	} {
		forms, err := HashForms(p, tile.Generic)
		if err == nil || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v, error %v", p, forms, err)
		}
	}
}

// The numbers are small integers, so every order of additions gives the same sum exactly.
func TestDense(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for _, s := range []tile.Shape{{N: 1, D: 8, H: 5, Tau: 4}, {N: 70, D: 300, H: 77, Tau: 4}} {
			for threads := 1; threads <= 3; threads++ {
				p := tile.Problem{Op: tile.HashLayer, Shape: s, DType: "float32", Dir: "fwd", Threads: threads, Weighting: tile.WeightingPaper}
				a, err := NewDense(p, isa)
				if err != nil {
					t.Fatal(err)
				}
				a.Run()
				for i := range s.N {
					for j := range s.H {
						want := float32(0)
						for k := range s.D {
							want += a.input[i*s.D+k] * a.weights[(j/a.width*s.D+k)*a.width+j%a.width]
						}
						if got := a.output[i*s.H+j]; got != want {
							t.Fatalf("%s: output[%d,%d] = %v, want %v", p, i, j, got, want)
						}
					}
				}
			}
		}
	})
}
