package asm

import (
	"fmt"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

// BenchmarkRecur walks 64 tokens over one panel of a state that stays in L1.
func BenchmarkRecur(b *testing.B) {
	for _, isa := range ISAs() {
		p, _ := Primitives(isa)
		for _, k := range p.Recur {
			for _, dk := range []int{64, 128} {
				for _, decays := range []bool{false, true} {
					b.Run(fmt.Sprintf("%s/%dx%d/dk=%d/decays=%v", isa, k.Tokens, k.NR, dk, decays), func(b *testing.B) {
						const tokens = 60
						// Places in a page that differ, since a load waits for a store 4 KiB away.
						arena, used := guard.Float32s(b, 1<<17, false), 0
						buffer := func(n int) []float32 {
							used += n + 16*11
							return arena[used-n : used]
						}
						x := tile.Recur{Q: buffer(tokens * dk), K: buffer(tokens * dk), V: buffer(tokens * k.NR), O: buffer(tokens * k.NR), S: buffer(dk * k.NR),
							LDQ: dk, LDK: dk, LDV: k.NR, LDO: k.NR, LDS: k.NR, T: tokens, Heads: 1, Dk: dk, N: k.NR}
						if decays {
							x.Decay = buffer(tokens)
							for i := range x.Decay {
								x.Decay[i] = 1
								if i%k.Tokens == 0 {
									x.Decay[i] = 0.5
								}
							}
						}
						for b.Loop() {
							k.Run(&x)
						}
						b.ReportMetric(4*float64(tokens*dk*k.NR)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
					})
				}
			}
		}
	}
}
