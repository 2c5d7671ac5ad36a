package asm

import (
	"fmt"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

// BenchmarkDelta walks 48 tokens over one panel of a state that stays in L1, and makes their products. Useful flops are 2 for what a key reads, what it
// updates and what each query reads.
func BenchmarkDelta(b *testing.B) {
	for _, isa := range ISAs() {
		p, _ := Primitives(isa)
		for _, k := range p.Delta {
			for _, dk := range []int{64, 128} {
				for _, heads := range []int{1, 2, 3} {
					const tokens = 48
					// Places in a page that differ, since a load waits for a store 4 KiB away.
					arena, used := guard.Float32s(b, 1<<18, false), 0
					buffer := func(n int) []float32 {
						used += n + 16*11
						return arena[used-n : used]
					}
					block := k.Block(heads)
					x := tile.Delta{Recur: tile.Recur{Q: buffer(tokens * heads * dk), K: buffer(tokens * dk), V: buffer(tokens * k.NR), O: buffer(tokens * heads * k.NR), S: buffer(dk * k.NR),
						LDQ: heads * dk, HeadQ: dk, LDK: dk, LDV: k.NR, LDO: heads * k.NR, HeadO: k.NR, LDS: k.NR, T: tokens, Heads: heads, Dk: dk, N: k.NR},
						C: buffer(tokens / block * tile.Record(block, heads)), Block: block}
					name := fmt.Sprintf("%s/%dx%d/dk=%d/heads=%d", isa, block, k.NR, dk, heads)
					b.Run("sweep/"+name, func(b *testing.B) {
						for b.Loop() {
							k.Run(&x)
						}
						b.ReportMetric(float64((4+2*heads)*tokens*dk*k.NR)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
					})
					b.Run("couple/"+name, func(b *testing.B) {
						for b.Loop() {
							p.Couple(&x)
						}
						b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tokens, "ns/token")
					})
				}
			}
		}
	}
}
