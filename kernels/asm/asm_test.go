package asm

import (
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// TestTables checks that each table is complete and that its default products come first and once.
func TestTables(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for name, kernels := range map[string][]tile.ProductKernel{"NN": p.NN, "NT": p.NT, "TN": p.TN} {
			if len(kernels) < 3 {
				t.Errorf("%s has %d register tiles, want 3 or more", name, len(kernels))
			}
			for i, k := range kernels {
				if found, ok := tile.Find(kernels, k.MR, k.NR); !ok || found.Run == nil {
					t.Errorf("%s: no kernel for %d x %d", name, k.MR, k.NR)
				}
				for _, other := range kernels[:i] {
					if other.MR == k.MR && other.NR == k.NR {
						t.Errorf("%s: two kernels for %d x %d", name, k.MR, k.NR)
					}
				}
			}
		}
		if p.Solve == nil || p.Pack == nil || p.Decay == nil || p.Exp == nil || p.Fold == nil || p.Map == nil || p.Gather == nil {
			t.Error("the table has an empty entry")
		}
	})
}

func TestSourceHash(t *testing.T) {
	avx2, avx512 := SourceHash(tile.AVX2), SourceHash(tile.AVX512)
	if len(avx2) != 64 || len(avx512) != 64 || avx2 == avx512 {
		t.Errorf("hashes %q and %q, want two different ones", avx2, avx512)
	}
	if h := SourceHash(tile.Generic); h != "" {
		t.Errorf("hash %q for generic, which has no sources here", h)
	}
}

func TestUnknownISA(t *testing.T) {
	for _, isa := range []tile.ISA{tile.Generic, "neon9000", ""} {
		if _, ok := Primitives(isa); ok {
			t.Errorf("a table for %q", isa)
		}
	}
}
