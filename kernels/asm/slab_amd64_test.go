//go:build amd64 && !noasm

package asm

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/cpuid/v2"

	"github.com/rooftune/rooftune/kernels/tile"
)

// AVX2's other passes over slabs of int8 than the table's, on a CPU with AVX-VNNI: those of a CPU without it.
func TestSlabWords(t *testing.T) {
	if !cpuid.CPU.Supports(cpuid.AVXVNNI, cpuid.AVX2, cpuid.FMA3, cpuid.F16C) {
		t.Skip("the table has these, or the CPU none")
	}
	other := avx2
	other.SlabBytes = byteWords
	checkSlab(t, &other)
	checkExactIntegers(t, &other)
}

// AVX-512's table takes AVX2's pass over float32 where it is faster, so both have the same sums, to the bit.
func TestSlabFloatsAlike(t *testing.T) {
	if !slices.Contains(tables, &avx512) {
		t.Skip("this CPU lacks AVX-512")
	}
	r := rand.New(rand.NewPCG(17, 18))
	for g := range 18 {
		const tokens, rows = 3, 5
		wide := slabCase(t, r, tokens, g, tile.SlabFloats, 4, g%2 == 0, true)
		wide.Floats = between(r, g*rows*tile.SlabFloats, -1, 1)
		narrow := *wide
		narrow.Y = slices.Clone(wide.Y)
		slabFloatsAVX512(wide)
		slabFloatsAVX2(&narrow)
		wantSame(t, "sums", wide.Y, narrow.Y)
	}
}
