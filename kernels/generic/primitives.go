// Package generic fills the table of primitives in portable Go, and holds the
// float64 oracles of the ops.
package generic

import "github.com/rooftune/rooftune/kernels/tile"

// Primitives returns the table in portable Go. It runs everywhere and defines
// what the assembly tables must compute, up to the order of sums and the
// roundings that fused multiply-adds save. The products' first register tile is the
// one that the Go compiler does best with.
func Primitives() *tile.Primitives {
	return &tile.Primitives{
		ISA:        tile.Generic,
		NN:         []tile.ProductKernel{nn(2, 4, nn2x4), nn(4, 2, nn4x2), nn(4, 4, nn4x4)},
		NT:         []tile.ProductKernel{nt(2, 4, nt2x4), nt(4, 2, nt4x2), nt(4, 4, nt4x4)},
		TN:         []tile.ProductKernel{tn(4, 2, tn4x2), tn(2, 4, tn2x4), tn(4, 4, tn4x4)},
		Recur:      []tile.RecurKernel{{Tokens: 1, NR: 16, Run: recur}},
		Delta:      []tile.DeltaKernel{{Tokens: 1, NR: 16, Run: delta}},
		Steps:      []tile.StepKernel{StepsBy(delta)},
		Chunk:      &Chunk,
		Couple:     couple,
		Solve:      solve,
		Substitute: substitute,
		Pack:       pack,
		Turn:       Turn,
		Dots:       Dots,
		Decay:      decay,
		Exp:        exp,
		Fold:       fold,
		Map:        elementwise,
		Blend:      blend,
		Trail:      Trail,
		Widen:      widen,
		Narrow:     narrow,
		Conv:       conv,
		Gather:     gather,
		Octets:     octets,
		Spread:     Spread, Quantize: Quantize,

		GatherHalf: GatherHalf, GatherBytes: GatherBytes, SlabFloats: slabFloats, SlabHalves: slabHalves,
		SlabBytes: []tile.ByteKernel{{Bits: 0, Run: slabBytes}, {Bits: 16, Run: slabBytes16}, {Bits: 8, Run: slabBytes8}},
		Pair:      &pairs,
	}
}
