package kernels

import (
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// TestChunksAreAccepted checks that CheckConfig lets through whatever chunk a space offers, the other tunables being at their defaults.
func TestChunksAreAccepted(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for rule := range attentionRules {
			for _, tokens := range []int{1, 9, 100, 200, 257, 306, 511, 512, 2000} {
				p := attentionProblem(rule, 2, tile.Shape{B: 1, T: tokens, Hq: 2, Hkv: 2, Dk: 24, Dv: 300})
				params, err := Params(p, isa)
				if err != nil {
					t.Fatal(err)
				}
				at := slices.IndexFunc(params, func(q tile.Param) bool { return q.Name == "chunk" })
				for _, v := range params[at].Values {
					c := tile.Candidate{ISA: isa, Config: Default(p, isa)}
					c.Config["chunk"] = v
					if err := CheckConfig(p, c); err != nil {
						t.Errorf("%s: %v", p, err)
					}
				}
			}
		}
	})
}
