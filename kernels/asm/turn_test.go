package asm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// TestTurn compares with portable Go to the bit: there is one rounding.
func TestTurn(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(21, 22))
			for round := range 600 {
				m, n, gap := r.IntN(50), r.IntN(50), r.IntN(2)*3
				if round%4 == 0 {
					m, n = 16*(m/16), 16*(n/16)
				}
				want := &tile.Turn{Src: spread(t, r, m, n, n+gap, end), Dst: spread(t, r, n, m, m+gap, end), LDS: n + gap, LDD: m + gap, M: m, N: n}
				for range round % 3 * min(m, n, 1) {
					want.Src[r.IntN(m)*(n+gap)+r.IntN(n)] = []float32{quietNaN, infinity, -infinity, 0, 1e-45}[r.IntN(5)]
				}
				if round%2 == 0 {
					want.Row = guarded(t, between(r, m, -2, 2), end)
				}
				got := *want
				got.Dst = guarded(t, want.Dst, end)
				portable.Turn(want)
				p.Turn(&got)
				wantSame(t, "Dst", got.Dst, want.Dst)
			}
		})
	})
}

// TestDots compares with sums in float64, within what any order of summing may lose.
func TestDots(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(23, 24))
			for n := range 150 {
				m, gap := r.IntN(7), r.IntN(2)*5
				d := tile.Dots{X: spread(t, r, m, n, n+gap, end), Y: spread(t, r, m, n, n+2*gap, end), Dst: guarded(t, between(r, m, 8, 9), end), LDX: n + gap, LDY: n + 2*gap, M: m, N: n}
				p.Dots(&d)
				for i := range m {
					sum, abs := 0.0, 0.0
					for j := range n {
						x := float64(d.X[i*d.LDX+j]) * float64(d.Y[i*d.LDY+j])
						sum, abs = sum+x, abs+math.Abs(x)
					}
					if diff := math.Abs(float64(d.Dst[i]) - sum); !(diff <= float64(n+1)*0x1p-24*abs) {
						t.Fatalf("m=%d n=%d: Dst[%d] = %g, want %g", m, n, i, d.Dst[i], sum)
					}
				}
				if m*n > 0 { // what is beyond a row is not read
					d.X[r.IntN(m)*d.LDX+r.IntN(n)] = quietNaN
					p.Dots(&d)
					count := 0
					for _, x := range d.Dst {
						if x != x {
							count++
						}
					}
					if count != 1 {
						t.Fatalf("m=%d n=%d: a NaN in one row spoils %d", m, n, count)
					}
				}
			}
		})
	})
}

func TestTurnAndDotsAllocateNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		a, b := make([]float32, 40*40), make([]float32, 40*40)
		turn := &tile.Turn{Src: a, Dst: b, LDS: 40, LDD: 40, M: 39, N: 37}
		dots := &tile.Dots{X: a, Y: a, Dst: b, LDX: 40, LDY: 40, M: 39, N: 37}
		if allocs := testing.AllocsPerRun(10, func() { p.Turn(turn); p.Dots(dots) }); allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}
