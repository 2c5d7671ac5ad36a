package asm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

func eachPair(t *testing.T, run func(t *testing.T, p *tile.PairPrimitives)) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		if p.Pair == nil {
			t.Skipf("%s has no bfloat16 products on this CPU", p.ISA)
		}
		run(t, p.Pair)
	})
}

// words are n uint32 in guarded memory, each pair finite with exponents near 0, some denormal.
func words(t testing.TB, r *rand.Rand, n int, end bool) []uint32 {
	f := guard.Float32s(t, n, end)
	w := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(f))), n)
	for i := range w {
		lo, hi := float32(r.NormFloat64()), float32(r.NormFloat64())
		if r.IntN(9) == 0 {
			lo = 0x1p-130
		}
		w[i] = math.Float32bits(lo)>>16 | math.Float32bits(hi)&^0xffff
	}
	return w
}

func reals(t testing.TB, r *rand.Rand, n int, end bool) []float32 {
	f := guard.Float32s(t, n, end)
	for i := range f {
		f[i] = float32(r.NormFloat64())
	}
	return f
}

func TestPairProducts(t *testing.T) {
	eachPair(t, func(t *testing.T, p *tile.PairPrimitives) {
		reference := generic.Primitives().Pair
		for _, form := range []struct {
			name  string
			tn    bool
			ks    []tile.PairKernel
			exact func(*tile.PairProduct)
		}{{"NN", false, p.NN, reference.NN[0].Run}, {"TN", true, p.TN, reference.TN[0].Run}} {
			for _, kernel := range form.ks {
				kernel.Run(&tile.PairProduct{Stream: true}) // a fence and nothing else
				r := rand.New(rand.NewPCG(1, uint64(kernel.MR)))
				for trial := range 400 {
					m, n, k := 1+r.IntN(30), 1+r.IntN(80), r.IntN(40)
					end := trial%2 == 0
					rows, cols := m, k
					if form.tn {
						rows, cols = k, m
					}
					pad := r.IntN(3)
					q := tile.PairProduct{LDA: cols + pad, LDB: n + pad, LDC: n + pad, M: m, N: n, K: k}
					if trial%5 == 0 { // whole lines
						q.N = 32 * (1 + r.IntN(2))
						n, q.LDB, q.LDC = q.N, q.N, q.N
						q.Stream, end = true, true
					}
					size := func(rows, cols, ld int) int { return max(0, (rows-1)*ld+cols) }
					if rows > 0 && cols > 0 {
						q.A = words(t, r, size(rows, cols, q.LDA), end)
					}
					if k > 0 {
						q.B = words(t, r, size(k, n, q.LDB), end)
					}
					q.C = reals(t, r, size(m, n, q.LDC), end)
					if uintptr(unsafe.Pointer(&q.C[0]))%64 != 0 {
						q.Stream = false
					}
					if trial%3 == 0 {
						q.Row = reals(t, r, m, end)
					}
					if trial%4 > 1 {
						q.Beta = 0.75
					}
					if !form.tn && trial%7 > 3 {
						q.Lower, q.Lead = true, r.IntN(10)
						for i := range m {
							for x := min(k, q.Lead+i/2+1); x < k; x++ {
								q.A[i*q.LDA+x] = 0
							}
						}
					}
					if trial%6 == 0 {
						q.Ahead = [3]tile.Prefetch{{Rows: q.C, LD: q.LDC, Lines: 2}, {}, {Rows: q.C, LD: q.LDC, Lines: 1}}
					}
					want, got := q, q
					want.C = slices.Clone(q.C)
					form.exact(&want)
					kernel.Run(&got)
					for i, w := range want.C {
						scale := float32(math.Abs(float64(w))) + 50
						if d := got.C[i] - w; !(d < scale*1e-5 && d > -scale*1e-5) {
							t.Fatalf("%s %dx%d, %+v: C[%d] = %v, want %v", form.name, kernel.MR, kernel.NR, []any{m, n, k, q.Beta, q.Lower, q.Lead}, i, got.C[i], w)
						}
					}
				}
			}
		}
	})
}

func TestPairPack(t *testing.T) {
	special := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, 0x1p-126, 0x1p-130, -0x1.ffp-127, 0,
		math.Float32frombits(0x3f808000), math.Float32frombits(0x3f818000), math.Float32frombits(0x7f7f7fff)}
	eachPair(t, func(t *testing.T, p *tile.PairPrimitives) {
		r := rand.New(rand.NewPCG(1, 2))
		for trial := range 1500 {
			m, n, end := 1+r.IntN(9), 1+r.IntN(100), trial%2 == 0
			q := tile.PairPack{M: m, N: n, Across: trial%3 == 0, LDS: n + r.IntN(3), LDM: n + r.IntN(3)}
			rows, cols := m, (n+1)/2
			if q.Across {
				rows, cols = (m+1)/2, n
			}
			q.LDD = cols + r.IntN(3)
			q.Src = reals(t, r, (m-1)*q.LDS+n, end)
			q.Dst = words(t, r, (rows-1)*q.LDD+cols, end)
			if trial%4 == 0 {
				q.Row = reals(t, r, m, end)
			}
			if !q.Across && trial%5 < 2 {
				q.Mask = reals(t, r, (m-1)*q.LDM+n, end)
			}
			if trial%7 == 0 {
				q.Src[r.IntN(len(q.Src))] = special[r.IntN(len(special))]
			}
			want, got := q, q
			want.Dst, got.NonFinite = slices.Clone(q.Dst), trial%8 == 0
			generic.Primitives().Pair.Pack(&want)
			p.Pack(&got)
			for i, w := range want.Dst {
				if beyond := !q.Across && n%2 == 1 && i%q.LDD == cols-1; got.Dst[i] != w && !(beyond && got.Dst[i] == w|1<<31) {
					t.Fatalf("%d x %d, across %v: Dst[%d] = %#x, want %#x", m, n, q.Across, i, got.Dst[i], w)
				}
			}
			if got.NonFinite != want.NonFinite {
				t.Fatalf("%d x %d, across %v: NonFinite %v, want %v", m, n, q.Across, got.NonFinite, want.NonFinite)
			}
		}
	})
}

func TestPairTurn(t *testing.T) {
	eachPair(t, func(t *testing.T, p *tile.PairPrimitives) {
		r := rand.New(rand.NewPCG(1, 3))
		for _, m := range []int{0, 16, 48} {
			for _, n := range []int{0, 16, 64} {
				for _, end := range []bool{false, true} {
					q := tile.PairTurn{M: m, N: n, LDS: n + 3, LDD: m + 5}
					if m*n > 0 {
						q.Src, q.Dst = words(t, r, (m-1)*q.LDS+n, end), words(t, r, (n-1)*q.LDD+m, end)
					}
					want := q
					want.Dst = slices.Clone(q.Dst)
					generic.Primitives().Pair.Turn(&want)
					p.Turn(&q)
					if !slices.Equal(q.Dst, want.Dst) {
						t.Errorf("%d x %d: wrong", m, n)
					}
				}
			}
		}
	})
}
