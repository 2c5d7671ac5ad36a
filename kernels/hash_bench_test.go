package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// BenchmarkHashLayer times hash layers of 1024 tokens in their slabs by type of table, one thread, and what comes before the passes: hashing and
// spreading codes and weights.
func BenchmarkHashLayer(b *testing.B) {
	for _, p := range []tile.Problem{{DType: tile.Float32}, {DType: tile.BFloat16}, {DType: tile.Int8}, {DType: tile.Int8, Precision: tile.Int8}} {
		p.Op, p.Dir, p.Threads, p.Weighting, p.Shape = tile.HashLayer, tile.Forward, 1, tile.WeightingPaper, tile.Shape{N: 1024, D: 1024, H: 1024, Tau: 8}
		isa := tested()[len(tested())-1]
		b.Run("dtype="+p.DType+"/precision="+p.Precision, func(b *testing.B) {
			c, err := NewCase(p, 1)
			if err != nil {
				b.Fatal(err)
			}
			x, err := c.Prepare(tile.Candidate{ISA: isa, Config: Default(p, isa)})
			if err != nil {
				b.Fatal(err)
			}
			b.Run("part=all", func(b *testing.B) {
				for b.Loop() {
					x.Run()
				}
			})
			b.Run("part=hashing", func(b *testing.B) {
				slab, ok := x.hash.(*hashSlab)
				if !ok {
					b.Skip("no slabs")
				}
				for b.Loop() {
					slab.hashing.part(0)
				}
			})
		})
	}
}
