package asm

import (
	"fmt"
	"reflect"
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
		if len(p.Recur) == 0 {
			t.Error("no recurrence")
		}
		for i, k := range p.Recur {
			if found, ok := tile.FindBlock(p.Recur, k.Tokens, k.NR); !ok || found.Run == nil {
				t.Errorf("no recurrence for %d x %d", k.Tokens, k.NR)
			}
			for _, other := range p.Recur[:i] {
				if other.Tokens == k.Tokens && other.NR == k.NR {
					t.Errorf("two recurrences for %d x %d", k.Tokens, k.NR)
				}
			}
		}
		filled(t, string(p.ISA), reflect.ValueOf(p).Elem())
	})
}

// filled checks that no function of a table is nil and no list empty, also in what the table holds. Pair alone may be absent.
func filled(t *testing.T, name string, table reflect.Value) {
	for field, x := range table.Fields() {
		at := name + "." + field.Name
		switch x.Kind() {
		case reflect.Func:
			if x.IsNil() {
				t.Errorf("%s is empty", at)
			}
		case reflect.Slice:
			if x.Len() == 0 && x.Type().Elem().Kind() == reflect.Struct {
				t.Errorf("%s is empty", at)
			}
			for i := range x.Len() {
				if x.Index(i).Kind() == reflect.Struct {
					filled(t, fmt.Sprintf("%s[%d]", at, i), x.Index(i))
				}
			}
		case reflect.Pointer:
			if !x.IsNil() {
				filled(t, at, x.Elem())
			}
		}
	}
}

func TestSourceHash(t *testing.T) {
	// On any machine: the sources are embedded whatever it can run.
	seen := map[string]tile.ISA{}
	for _, isa := range []tile.ISA{tile.AVX2, tile.AVX512, tile.NEON} {
		h := SourceHash(isa)
		if other, twice := seen[h]; len(h) != 64 || twice {
			t.Errorf("%s: hash %q, another than for %q wanted", isa, h, other)
		}
		seen[h] = isa
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
