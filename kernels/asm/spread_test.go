package asm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

func guardedWords(t testing.TB, n int, end bool) []uint32 {
	v := guard.Int32s(t, n, end)
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// Every result is the portable primitive's, bit for bit: there is one product in it, and one rounding. Nothing else is written.
func TestSpread(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(21, 22))
			for n := range 70 {
				for _, g := range []int{1, 3, 4, 8, 16, 20, 64} {
					tokens, tau := n%4, 1+n%9
					ld := n + n%3
					slabs := (n + g - 1) / g
					stride, scaledStride := g*tokens+n%5, g*tokens+n%7
					s := &tile.Spread{T: tokens, N: n, G: g, LD: ld, Stride: stride, ScaledStride: scaledStride, Tau: tau, Shift: n % 8}
					s.First = guardedWords(t, n, end)
					for i := range s.First {
						s.First[i] = r.Uint32N(1 << 20)
					}
					all := max(0, (tokens-1)*ld+n)
					s.Code, s.Weight = guard.Int32s(t, all, end), guarded(t, between(r, all, 0, 1), end)
					places := func(stride int) int { // up to the last one
						if n == 0 || tokens == 0 {
							return 0
						}
						last := n - (slabs-1)*g // of the last slab, whose places may end before a slab's before it
						most := (slabs-1)*stride + (tokens-1)*g + last
						if slabs > 1 {
							most = max(most, (slabs-2)*stride+tokens*g)
						}
						return most
					}
					s.Offset, s.Scaled = guardedWords(t, places(stride), end), guard.Float32s(t, places(scaledStride), end)
					if n%3 != 0 {
						s.Largest = guarded(t, make([]float32, tokens), end)
					}
					if n%3 == 1 {
						s.Scales = guarded(t, between(r, n<<tau, 0, 3), end)
					}
					for i := range s.Code {
						s.Code[i] = int32(r.IntN(1 << tau))
						if r.IntN(40) == 0 {
							s.Weight[i] = []float32{0, infinity, quietNaN, 1e-45, math.MaxFloat32}[r.IntN(5)]
						}
					}
					for i := range s.Largest {
						s.Largest[i] = []float32{0, 0, 0.5, infinity, quietNaN}[r.IntN(5)]
					}
					want := *s
					want.Offset, want.Scaled, want.Largest = slices.Clone(s.Offset), slices.Clone(s.Scaled), slices.Clone(s.Largest)
					portable.Spread(&want)
					p.Spread(s)
					for i, w := range want.Offset {
						if s.Offset[i] != w {
							t.Fatalf("n=%d g=%d: Offset[%d] = %d, want %d", n, g, i, s.Offset[i], w)
						}
					}
					for i, w := range want.Scaled {
						if math.Float32bits(s.Scaled[i]) != math.Float32bits(w) {
							t.Fatalf("n=%d g=%d: Scaled[%d] = %g, want %g", n, g, i, s.Scaled[i], w)
						}
					}
					for i, w := range want.Largest {
						if x := s.Largest[i]; x != w && !(x != x && w != w) {
							t.Fatalf("n=%d g=%d: Largest[%d] = %g, want %g", n, g, i, x, w)
						}
					}
				}
			}
		})
	})
}

func TestQuantize(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(23, 24))
			for n := range 70 {
				for _, g := range []int{4, 8, 16, 20, 64} {
					for _, bits := range []int{16, 8} {
						tokens := n % 4
						most := float32(int(1)<<bits - 1)
						slabs, stride, weightStride := (n+g-1)/g, g*tokens+4*(n%3), g*tokens+4*(n%2)
						q := &tile.Quantize{T: tokens, N: n, G: g, WeightStride: weightStride, Stride: stride, Bits: bits, By: guard.Float32s(t, tokens, end)}
						weights, quant := 0, 0
						if last := n - (slabs-1)*g; n > 0 && tokens > 0 {
							weights = (slabs-1)*weightStride + (tokens-1)*g + last
							quant = (slabs-1)*stride + (tokens-1)*g + (last+3)/4*4
							if slabs > 1 {
								weights, quant = max(weights, (slabs-2)*weightStride+tokens*g), max(quant, (slabs-2)*stride+tokens*g)
							}
						}
						q.Weight = guarded(t, between(r, weights, 0, 1), end)
						for i := 0; i < weights; i += 5 {
							q.Weight[i] = []float32{0, 1, 0.5 / most, 1.5 / most, 1e-45}[r.IntN(5)]
						}
						q.Quant = guardedWords(t, quant/2, end)
						for i := range q.By {
							q.By[i] = most / float32(1+i)
						}
						want := *q
						want.Quant = slices.Clone(q.Quant)
						portable.Quantize(&want)
						p.Quantize(q)
						for i, w := range want.Quant {
							if q.Quant[i] != w {
								t.Fatalf("n=%d, g=%d, bits=%d: Quant[%d] = %#x, want %#x", n, g, bits, i, q.Quant[i], w)
							}
						}
					}
				}
			}
		})
	})
}
