package asm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

func TestOctets(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(11, 12))
			for n := range 70 {
				x := guarded(t, between(r, 8*n, -3, 3), end)
				for i := range x {
					if r.IntN(6) == 0 {
						x[i] = []float32{0, float32(math.Copysign(0, -1)), infinity, -infinity, quietNaN, 90, -200, 1e-38, -1e-45}[r.IntN(9)]
					}
				}
				wantOctets(t, p, x, n, end, n%3 != 0)
			}
		})
	})
}

// wantOctets compares with the portable primitive.
func wantOctets(t *testing.T, p *tile.Primitives, x []float32, n int, end, norm bool) {
	t.Helper()
	got := &tile.Octets{X: x, Code: guard.Int32s(t, n, end), P: guard.Float32s(t, n, end), N: n}
	want := &tile.Octets{X: x, Code: make([]int32, n), P: make([]float32, n), N: n}
	if norm {
		got.Norm, want.Norm = guard.Float32s(t, n, end), make([]float32, n)
	}
	portable.Octets(want)
	p.Octets(got)
	near := func(a, b float32) bool {
		if a != a || b != b {
			return a != a && b != b
		}
		return a == b || math.Abs(float64(a)-float64(b)) <= 48*0x1p-24*math.Abs(float64(b))
	}
	for i := range n {
		if got.Code[i] != want.Code[i] {
			t.Fatalf("n=%d: Code[%d] = %#x, want %#x of %v", n, i, got.Code[i], want.Code[i], x[8*i:8*i+8])
		}
		if !near(got.P[i], want.P[i]) {
			t.Fatalf("n=%d: P[%d] = %g, want %g", n, i, got.P[i], want.P[i])
		}
		if norm && !near(got.Norm[i], want.Norm[i]) {
			t.Fatalf("n=%d: Norm[%d] = %g, want %g", n, i, got.Norm[i], want.Norm[i])
		}
	}
}

func FuzzOctets(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 0, 0x3f, 0x80, 0, 0, 0x7f, 0xc0, 0, 0}, uint8(17), true)
	f.Add([]byte{0x7f, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff}, uint8(3), false)
	f.Fuzz(func(t *testing.T, data []byte, count uint8, norm bool) {
		n := int(count % 64)
		for _, p := range availableTables() {
			wantOctets(t, p, guarded(t, numbers(data, 8*n), true), n, true, norm)
		}
	})
}

func TestOctetsAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for _, n := range []int{3, 40} {
			o := &tile.Octets{X: make([]float32, 8*n), Code: make([]int32, n), P: make([]float32, n), Norm: make([]float32, n), N: n}
			if allocs := testing.AllocsPerRun(10, func() { p.Octets(o) }); allocs != 0 {
				t.Errorf("%d octets: %v allocations", n, allocs)
			}
		}
	})
}

func BenchmarkOctets(b *testing.B) {
	for _, p := range availableTables() {
		b.Run(string(p.ISA), func(b *testing.B) {
			const n = 4096
			o := &tile.Octets{X: between(rand.New(rand.NewPCG(1, 2)), 8*n, -2, 2), Code: make([]int32, n), P: make([]float32, n), N: n}
			for b.Loop() {
				p.Octets(o)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/code")
		})
	}
}
