//go:build amd64 && !noasm

package asm

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// tables holds the table of each instruction set that this CPU has, slowest first.
var tables = detect()

func detect() []*tile.Primitives {
	var t []*tile.Primitives
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C) {
		if cpuid.CPU.Supports(cpuid.AVXVNNI) {
			avx2.SlabBytes = byteDots
		}
		t = append(t, &avx2)
	}
	if len(t) == 1 && cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.BMI2) {
		if cpuid.CPU.Supports(cpuid.AVX512BF16) {
			avx512.Pair = &pairs
		}
		if cpuid.CPU.Supports(cpuid.AVX512VNNI) {
			avx512.SlabBytes = append(avx512.SlabBytes, tile.ByteKernel{Bits: 16, Run: slabBytes16AVX512}, tile.ByteKernel{Bits: 8, Run: slabBytes8AVX512})
		}
		t = append(t, &avx512)
	}
	return t
}

var avx2 = tile.Primitives{
	ISA: tile.AVX2,
	NN: []tile.ProductKernel{
		{MR: 6, NR: 16, Run: productNN6x16AVX2},
		{MR: 4, NR: 24, Run: productNN4x24AVX2},
		{MR: 4, NR: 16, Run: productNN4x16AVX2},
	},
	TN: []tile.ProductKernel{
		{MR: 6, NR: 16, Run: productTN6x16AVX2},
		{MR: 4, NR: 24, Run: productTN4x24AVX2},
		{MR: 4, NR: 16, Run: productTN4x16AVX2},
	},
	NT: []tile.ProductKernel{
		{MR: 3, NR: 4, Run: productNT3x4AVX2},
		{MR: 2, NR: 4, Run: productNT2x4AVX2},
		{MR: 4, NR: 3, Run: productNT4x3AVX2},
	},
	Recur: []tile.RecurKernel{
		{Tokens: 3, NR: 16, Shared: []int{2, 1, 1}, Run: recur3x16AVX2},
		{Tokens: 4, NR: 16, Shared: []int{2, 1, 1}, Run: recur4x16AVX2},
	},
	Delta: []tile.DeltaKernel{
		{Tokens: 3, NR: 16, Shared: []int{2}, Run: delta3x16AVX2},
	},
	Steps:  []tile.StepKernel{generic.StepsBy(delta3x16AVX2)},
	Chunk:  &tile.ChunkKernels{Forward: chunkForwardAVX2, Begin: chunkBeginAVX2, Query: chunkQueryAVX2, End: chunkEndAVX2},
	Couple: coupleAVX2,
	Solve:  solveAVX2, Substitute: substituteAVX2, Pack: packAVX2, Turn: turnInAVX2, Dots: dotsAVX2, Decay: decayAVX2, Exp: expAVX2, Fold: foldAVX2, Map: mapAVX2, Blend: blendAVX2, Trail: trailAVX2, Widen: widenAVX2, Narrow: narrowAVX2, Conv: convAVX2, Gather: gatherAVX2, Octets: octetsInAVX2,
	GatherHalf: gatherHalfInAVX2, GatherBytes: gatherBytesInAVX2, SlabFloats: slabFloatsAVX2, SlabHalves: slabHalvesAVX2,
	Spread: spreadInFours, Quantize: quantizeInFours,
	SlabBytes: byteWords,
}

// byteWords and byteDots are AVX2's passes over slabs of int8, without AVX-VNNI and with it.
var (
	byteWords = []tile.ByteKernel{{Bits: 0, Run: slabBytesAVX2}, {Bits: 16, Run: slabBytes16AVX2}, {Bits: 8, Run: slabBytes8AVX2}}
	byteDots  = []tile.ByteKernel{{Bits: 0, Run: slabBytesAVX2}, {Bits: 16, Run: slabDots16AVX2}, {Bits: 8, Run: slabDots8AVX2}}
)

// pairs are AVX-512's primitives of bfloat16 products, on a CPU with AVX512_BF16.
var pairs = tile.PairPrimitives{
	NN: []tile.PairKernel{
		{MR: 8, NR: 32, Run: pairNN8x32AVX512},
		{MR: 12, NR: 32, Run: pairNN12x32AVX512},
	},
	TN: []tile.PairKernel{
		{MR: 8, NR: 32, Run: pairTN8x32AVX512},
		{MR: 12, NR: 32, Run: pairTN12x32AVX512},
	},
	Pack: pairPackAVX512, Turn: pairTurnAVX512,
}

var avx512 = tile.Primitives{
	ISA: tile.AVX512,
	NN: []tile.ProductKernel{
		{MR: 8, NR: 32, Run: productNN8x32AVX512},
		{MR: 12, NR: 32, Run: productNN12x32AVX512},
		{MR: 6, NR: 64, Run: productNN6x64AVX512},
		{MR: 4, NR: 32, Run: productNN4x32AVX512},
	},
	TN: []tile.ProductKernel{
		{MR: 8, NR: 32, Run: productTN8x32AVX512},
		{MR: 12, NR: 32, Run: productTN12x32AVX512},
		{MR: 6, NR: 64, Run: productTN6x64AVX512},
		{MR: 4, NR: 32, Run: productTN4x32AVX512},
	},
	NT: []tile.ProductKernel{
		{MR: 4, NR: 4, Run: productNT4x4AVX512},
		{MR: 6, NR: 4, Run: productNT6x4AVX512},
		{MR: 2, NR: 8, Run: productNT2x8AVX512},
	},
	Recur: []tile.RecurKernel{
		{Tokens: 4, NR: 32, Shared: []int{4, 3, 2, 1, 1, 1, 1}, Run: recur4x32AVX512},
		{Tokens: 3, NR: 64, Shared: []int{2, 1, 1}, Run: recur3x64AVX512},
		{Tokens: 6, NR: 32, Shared: []int{3, 2, 1}, Run: recur6x32AVX512},
	},
	Delta: []tile.DeltaKernel{
		{Tokens: 4, NR: 32, Shared: []int{3, 2, 2}, Run: delta4x32AVX512},
		{Tokens: 2, NR: 64, Run: delta2x64AVX512},
		{Tokens: 3, NR: 48, Shared: []int{2}, Run: delta3x48AVX512},
	},
	Steps:  []tile.StepKernel{{NR: 64, Run: steps64AVX512}, {NR: 48, Run: steps48AVX512}, {NR: 80, Run: steps80AVX512}, {NR: 32, Run: steps32AVX512}, generic.StepsBy(delta4x32AVX512)},
	Chunk:  &tile.ChunkKernels{Forward: chunkForwardAVX512, Begin: chunkBeginAVX512, Query: chunkQueryAVX512, End: chunkEndAVX512},
	Couple: coupleAVX512,
	Solve:  solveAVX512, Substitute: substituteAVX512, Pack: packAVX512, Turn: turnInAVX512, Dots: dotsAVX512, Decay: decayAVX512, Exp: expAVX512, Fold: foldAVX512, Map: mapAVX512, Blend: blendAVX512, Trail: trailAVX512, Widen: widenAVX512, Narrow: narrowAVX512, Conv: convAVX512, Gather: gatherAVX512, Octets: octetsInAVX512,
	GatherHalf: gatherHalfInAVX512, GatherBytes: gatherBytesInAVX512, SlabFloats: slabFloatsInAVX512, SlabHalves: slabHalvesAVX512,
	Spread: spreadInAVX512, Quantize: quantizeInFours,
	SlabBytes: []tile.ByteKernel{{Bits: 0, Run: slabBytesAVX512}},
}
