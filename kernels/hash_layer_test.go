package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// hashTypes are the types of tables, with the precision of weights.
var hashTypes = [][2]string{{tile.Float32, ""}, {tile.BFloat16, ""}, {tile.Int8, ""}, {tile.Int8, tile.Int8}}

func TestHashFormsMatchOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(24, 25))
		for i := range rounds(120) {
			p := hashProblem(tile.Forward, weightings[i%2], 1+r.IntN(4), tile.Shape{N: r.IntN(150), D: 1 + r.IntN(90), H: 1 + r.IntN(200), Tau: 1 + r.IntN(10)})
			p.DType, p.Precision = hashTypes[i%4][0], hashTypes[i%4][1]
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			for j := range c.hash.input {
				if r.IntN(10) == 0 {
					c.hash.input[j] = []float32{0, float32(math.Copysign(0, -1)), 100, -100, 1e-30}[r.IntN(5)]
				}
			}
			if i%3 == 0 {
				c.hash.bias = nil
			}
			cand := anyConfig(t, r, p, isa)
			if cand.Config["form"] == formSlab {
				cand.Config["tokens"], cand.Config["slab"] = 1+r.IntN(70), 1+r.IntN(9)
			}
			compare(t, c, cand)
		}
	})
}

// Large outputs go past the caches, but for a ragged last panel.
func TestHashStreams(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		prim, _ := primitives(isa)
		for _, kind := range hashTypes {
			p := hashProblem(tile.Forward, tile.WeightingPaper, 2, tile.Shape{N: 500, D: 24, H: 528, Tau: 4})
			p.DType, p.Precision = kind[0], kind[1]
			if !hasSlab(p, prim) {
				continue
			}
			c, err := NewCase(p, 3)
			if err != nil {
				t.Fatal(err)
			}
			cfg := defaultHashForm(p, prim, formSlab)
			cfg["slab"], cfg["tokens"] = 4, 256
			compare(t, c, tile.Candidate{ISA: isa, Config: cfg})
		}
	})
}

// NaN and Inf in one token reach no other.
func TestHashNonFinite(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		prim, _ := primitives(isa)
		for _, kind := range hashTypes {
			for _, form := range []int{formRows, formSlab} {
				p := hashProblem(tile.Forward, tile.WeightingReleased, 2, tile.Shape{N: 70, D: 64, H: 130, Tau: 8})
				p.DType, p.Precision = kind[0], kind[1]
				c, err := NewCase(p, 9)
				if err != nil {
					t.Fatal(err)
				}
				c.hash.input[3*64+5], c.hash.input[66*64] = float32(math.NaN()), float32(math.Inf(-1))
				compare(t, c, tile.Candidate{ISA: isa, Config: defaultHashForm(p, prim, form)})
			}
		}
	})
}

func TestHashRecords(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(26, 27))
		for i := range 12 {
			p := hashProblem([]string{tile.Forward, tile.Forward, tile.Backward}[i%3], tile.WeightingReleased, 1+i%2, tile.Shape{N: 1 + r.IntN(300), D: 8 * (1 + r.IntN(30)), H: 1 + r.IntN(300), Tau: 4 + r.IntN(6)})
			if p.Dir == tile.Forward {
				p.DType, p.Precision = hashTypes[i%4][0], hashTypes[i%4][1]
			}
			c := anyConfig(t, r, p, isa)
			if _, err := Record(p, c); err != nil {
				t.Fatalf("%s %s: %v", p, c, err)
			}
		}
	})
}
