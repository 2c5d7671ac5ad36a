package asm

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

func guardedWords(t testing.TB, n int, end bool) []uint32 {
	v := guard.Int32s(t, n, end)
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// Every result is the portable primitive's, bit for bit: there is one product in it, and one rounding.
func TestSpread(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(21, 22))
			for n := range 70 {
				tau, shift := 1+n%9, n%8
				s := &tile.Spread{Code: guard.Int32s(t, n, end), Weight: guarded(t, between(r, n, 0, 1), end), First: guardedWords(t, n, end),
					Offset: guardedWords(t, n, end), Tau: tau, Shift: shift, N: n, Largest: -1}
				if n%3 != 0 {
					s.Scaled = guard.Float32s(t, n, end)
				}
				if n%3 == 1 {
					s.Scales = guarded(t, between(r, n<<tau, 0, 3), end)
				}
				for i := range n {
					s.Code[i], s.First[i] = int32(r.IntN(1<<tau)), r.Uint32N(1<<20)
					if r.IntN(40) == 0 {
						s.Weight[i] = []float32{0, infinity, quietNaN, 1e-45, math.MaxFloat32}[r.IntN(5)]
					}
				}
				want := *s
				want.Offset, want.Scaled = make([]uint32, n), make([]float32, len(s.Scaled))
				portable.Spread(&want)
				p.Spread(s)
				for i := range n {
					if s.Offset[i] != want.Offset[i] {
						t.Fatalf("n=%d: Offset[%d] = %d, want %d", n, i, s.Offset[i], want.Offset[i])
					}
				}
				for i, w := range want.Scaled {
					if math.Float32bits(s.Scaled[i]) != math.Float32bits(w) {
						t.Fatalf("n=%d: Scaled[%d] = %g, want %g", n, i, s.Scaled[i], w)
					}
				}
				if a, b := s.Largest, want.Largest; len(s.Scaled) > 0 && a != b && !(a != a && b != b) {
					t.Fatalf("n=%d: Largest = %g, want %g", n, a, b)
				}
			}
		})
	})
}

func TestQuantize(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(23, 24))
			for n := 0; n <= 96; n += 16 {
				for _, bits := range []int{16, 8} {
					most := float32(int(1)<<bits - 1)
					weight := guarded(t, between(r, n, 0, 1), end)
					for i := 0; i < n; i += 5 {
						weight[i] = []float32{0, 1, 0.5 / most, 1.5 / most, 1e-45}[r.IntN(5)]
					}
					q := &tile.Quantize{Weight: weight, Quant: guardedWords(t, n/2, end), By: most, Bits: bits, N: n}
					want := *q
					want.Quant = make([]uint32, n/2)
					portable.Quantize(&want)
					p.Quantize(q)
					for i, w := range want.Quant {
						if q.Quant[i] != w {
							t.Fatalf("n=%d, bits=%d: Quant[%d] = %#x, want %#x", n, bits, i, q.Quant[i], w)
						}
					}
				}
			}
		})
	})
}
