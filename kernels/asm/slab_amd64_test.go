//go:build amd64 && !noasm

package asm

import (
	"testing"

	"github.com/klauspost/cpuid/v2"
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
