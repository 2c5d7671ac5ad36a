package asm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

// halves lays 16-bit numbers out in guarded memory.
func halves(t testing.TB, v []uint16, end bool) []uint16 {
	if len(v) == 0 {
		return nil
	}
	h := guard.Uint16s(t, len(v), end)
	copy(h, v)
	return h
}

// TestWiden takes every 16-bit pattern, and every length of row.
func TestWiden(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			for _, bfloat := range []bool{true, false} {
				want := tile.Widen{Src: halves(t, all, end), Dst: make([]float32, len(all)), LDS: len(all), LDD: len(all), M: 1, N: len(all), BFloat16: bfloat}
				got := want
				got.Dst = guard.Float32s(t, len(all), end)
				portable.Widen(&want)
				p.Widen(&got)
				for i, w := range want.Dst {
					if math.Float32bits(w) != math.Float32bits(got.Dst[i]) {
						t.Fatalf("bfloat16 %v: %#x is %#x, want %#x", bfloat, i, math.Float32bits(got.Dst[i]), math.Float32bits(w))
					}
				}
				for n := range 40 {
					const rows, gap = 3, 5
					src := halves(t, all[30000:][:(rows-1)*(n+gap)+n], end)
					dst := spread(t, rand.New(rand.NewPCG(1, 1)), rows, n, n+2, end)
					want := tile.Widen{Src: src, Dst: dst, LDS: n + gap, LDD: n + 2, M: rows, N: n, BFloat16: bfloat}
					got := want
					got.Dst = guarded(t, dst, end)
					portable.Widen(&want)
					p.Widen(&got)
					wantSame(t, "rows", got.Dst, want.Dst)
				}
			}
		})
	})
}

// TestNarrow takes every number that lies on or beside a 16-bit one or half way between two, and random ones.
func TestNarrow(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var values []float32
	for i := range uint32(1 << 16) {
		for _, offset := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} { // bfloat16
			values = append(values, math.Float32frombits(i<<16+offset))
		}
	}
	for i := range uint32(1 << 15) { // float16, by its exponent and its fraction's places
		bits := (112+i>>10)<<23 | i&1023<<13
		for _, offset := range []uint32{0, 1, 0xfff, 0x1000, 0x1001, 0x1fff} {
			values = append(values, math.Float32frombits(bits+offset), -math.Float32frombits(bits+offset))
		}
	}
	for range 1 << 16 {
		values = append(values, math.Float32frombits(r.Uint32()), math.Float32frombits(0x33000000+r.Uint32N(0x06000000))) // also the denormal float16
	}
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			src := guarded(t, values, end)
			for _, bfloat := range []bool{true, false} {
				n := len(src)
				want := tile.Narrow{Src: src, Dst: make([]uint16, n), LDS: n, LDD: n, M: 1, N: n, BFloat16: bfloat}
				got := want
				got.Dst = guard.Uint16s(t, n, end)
				portable.Narrow(&want)
				p.Narrow(&got)
				for i, w := range want.Dst {
					if w != got.Dst[i] {
						t.Fatalf("bfloat16 %v: %v (%#x) is %#x, want %#x", bfloat, src[i], math.Float32bits(src[i]), got.Dst[i], w)
					}
				}
				for n := range 40 {
					const rows, gap = 3, 5
					src := spread(t, r, rows, n, n+2, end)
					dst := make([]uint16, max(0, (rows-1)*(n+gap)+n))
					for i := range dst {
						dst[i] = 0xabcd
					}
					want := tile.Narrow{Src: src, Dst: dst, LDS: n + 2, LDD: n + gap, M: rows, N: n, BFloat16: bfloat}
					got := want
					got.Dst = halves(t, dst, end)
					portable.Narrow(&want)
					p.Narrow(&got)
					for i := range want.Dst {
						if want.Dst[i] != got.Dst[i] {
							t.Fatalf("rows of %d: element %d is %#x, want %#x", n, i, got.Dst[i], want.Dst[i])
						}
					}
				}
			}
		})
	})
}
