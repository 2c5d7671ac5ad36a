package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// The defaults are right on packed sequences, in both directions.
func TestVerifyPacked(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for rule := range 8 {
			for _, dir := range []string{tile.Forward, tile.Backward} {
				p := attentionProblem(rule, 2, tile.Shape{B: 2, T: 90, Hq: 4, Hkv: 2, Dk: 19, Dv: 35})
				p.Dir = dir
				if err := CheckProblem(p); err != nil {
					t.Fatal(err)
				}
				e, bound, err := VerifyPacked(p, tile.Candidate{ISA: isa, Config: Default(p, isa)}, 1)
				if err != nil || !(e <= bound) {
					t.Errorf("%s %s: error %g above %g: %v", p, isa, e, bound, err)
				}
			}
		}
	})
}
