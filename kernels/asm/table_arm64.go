//go:build arm64 && !noasm

package asm

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// tables holds the one table of arm64: every CPU that Go runs on there has Advanced SIMD. Products of bfloat16 are an extension.
var tables = func() []*tile.Primitives {
	if cpuid.CPU.Supports(cpuid.BF16) {
		neon.Pair = &pairs
	}
	return []*tile.Primitives{&neon}
}()

// pairs are the primitives of bfloat16 products, on a CPU with FEAT_BF16: 6x16 by BFMMLA, which does twice the work of BFDOT and wants operands zipped, 4x16 by
// BFDOT. Both take denormal operands as 0 and flush sums, as tile.PairPrimitives says, and round each of their two additions for a pair to odd: twice the error of
// rounding to nearest, which ErrorBound allows for. Their speed could not be measured: a step of two pairs is 24 BFMMLA and 11 instructions that zip for 48 BFDOT.
var pairs = tile.PairPrimitives{
	NN: []tile.PairKernel{
		{MR: 6, NR: 16, Run: pairNN6x16NEON},
		{MR: 4, NR: 16, Run: pairNN4x16NEON},
	},
	TN: []tile.PairKernel{
		{MR: 6, NR: 16, Run: pairTN6x16NEON},
		{MR: 4, NR: 16, Run: pairTN4x16NEON},
	},
	Pack: pairPackInNEON, Turn: pairTurnNEON,
}

// The first tiles keep 24 vectors of sums in registers and load least for a multiply-add: 6x16 loads a vector for 4.4
// of them. This is counted and not measured: by LLVM's models of Neoverse N1, N2, V1 and V2 the loops of all tiles are bound by
// the multiply-adds, those of the recurrence also by the stores of the state, which take the same pipes: 4x8 is to reach 88 to 94 % of
// the peak, 6x8 92 to 95 % (83 % on N1), 2x16 80 to 89 %; heads that share a state 85 to 95 % in blocks and 83 to 91 % token by token.
var neon = tile.Primitives{
	ISA: tile.NEON,
	NN: []tile.ProductKernel{
		{MR: 6, NR: 16, Run: productNN6x16NEON},
		{MR: 8, NR: 12, Run: productNN8x12NEON},
		{MR: 8, NR: 8, Run: productNN8x8NEON},
		{MR: 4, NR: 16, Run: productNN4x16NEON},
	},
	TN: []tile.ProductKernel{
		{MR: 6, NR: 16, Run: productTN6x16NEON},
		{MR: 8, NR: 12, Run: productTN8x12NEON},
		{MR: 8, NR: 8, Run: productTN8x8NEON},
		{MR: 4, NR: 16, Run: productTN4x16NEON},
	},
	NT: []tile.ProductKernel{
		{MR: 6, NR: 4, Run: productNT6x4NEON},
		{MR: 4, NR: 4, Run: productNT4x4NEON},
		{MR: 3, NR: 8, Run: productNT3x8NEON},
	},
	Recur: []tile.RecurKernel{
		{Tokens: 4, NR: 8, Shared: []int{4, 2, 2}, Run: recur4x8NEON},
		{Tokens: 6, NR: 8, Shared: []int{4, 2, 2}, Run: recur6x8NEON},
		{Tokens: 2, NR: 16, Run: recur2x16NEON},
	},
	Delta:  []tile.DeltaKernel{{Tokens: deltaTokens, NR: deltaColumns, Shared: deltaShared, Run: deltaNEON}},
	Steps:  []tile.StepKernel{generic.StepsBy(deltaNEON)},
	Couple: coupleNEON,
	Solve:  solveNEON, Substitute: substituteNEON, Pack: packNEON, Decay: decayNEON, Exp: expNEON, Fold: foldNEON, Map: mapNEON, Blend: blendNEON, Widen: widenNEON, Narrow: narrowNEON,
	Conv:   convNEON,
	Gather: gatherNEON, GatherHalf: gatherHalfNEON, GatherBytes: gatherBytesNEON,
	Turn: turnNEON, Dots: dotsNEON, Trail: trailNEON,
	Octets: octetsInNEON,
	Spread: spreadInFours, Quantize: quantizeInFours,
	SlabFloats: slabFloatsNEON, SlabHalves: slabHalvesNEON,
	SlabBytes: []tile.ByteKernel{{Run: slabBytesNEON}, {Bits: 16, Run: slabBytes16NEON}, {Bits: 8, Run: slabBytes8NEON}},
}
