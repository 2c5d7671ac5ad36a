package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// BenchmarkOp times the default config of the problems that users have, on each ISA with one thread. Useful GFLOP/s is what the
// op's definition asks, whatever the chunk adds.
func BenchmarkOp(b *testing.B) {
	for _, p := range DefaultProblems(1) {
		for _, isa := range tested() {
			if isa == tile.Generic && p.Shape.T > 512 {
				continue // seconds a run, and no news
			}
			b.Run("op="+p.Op+"/shape="+p.Shape.String()+"/isa="+string(isa), func(b *testing.B) {
				c, err := NewCase(p, 1)
				if err != nil {
					b.Fatal(err)
				}
				x, err := c.Prepare(tile.Candidate{ISA: isa, Config: Default(p, isa)})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					x.Run()
				}
				b.ReportMetric(float64(sim.UsefulFlops(p))/float64(b.Elapsed().Nanoseconds())*float64(b.N), "GFLOP/s")
			})
		}
	}
}
