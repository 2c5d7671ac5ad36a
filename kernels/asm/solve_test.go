package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// solve returns the arguments of a solve. L has small values, as where it is
// made of products of unit vectors, so that the bound below holds.
func (w *workspace) solve(n, width, options int) *tile.Solve {
	w.next = 0
	s := &tile.Solve{N: n, W: width}
	s.L, s.LDL = w.matrix(n, n, options)
	s.X, s.LDX = w.matrix(n, width, options)
	for i := range n {
		for j := range n {
			if j >= i {
				s.L[i*s.LDL+j] = 0
			}
		}
	}
	return s
}

// checkSolve compares with the float64 loop. The bound follows the loop on absolute values.
func checkSolve(t *testing.T, run func(*tile.Solve), s *tile.Solve) {
	t.Helper()
	l, old := slices.Clone(s.L), slices.Clone(s.X)
	before := *s
	run(s)
	if s.N != before.N || s.W != before.W || s.LDL != before.LDL || s.LDX != before.LDX {
		t.Fatalf("N=%d W=%d: the arguments were changed", before.N, before.W)
	}
	if !same(l, s.L) {
		t.Fatalf("N=%d W=%d: L was changed", s.N, s.W)
	}
	want, bound := make([]float64, s.N*s.W), make([]float64, s.N*s.W)
	for i := range s.N {
		for c := range s.W {
			sum, scale, inherited := float64(old[i*s.LDX+c]), math.Abs(float64(old[i*s.LDX+c])), 0.0
			for j := range i {
				f := float64(s.L[i*s.LDL+j])
				sum -= f * want[j*s.W+c]
				scale += math.Abs(f * want[j*s.W+c])
				inherited += math.Abs(f) * bound[j*s.W+c]
			}
			want[i*s.W+c] = sum
			bound[i*s.W+c] = inherited*1.01 + float64(i+2)*0x1p-24*1.01*scale
		}
	}
	for at, got := range s.X {
		i, c := at/max(1, s.LDX), at%max(1, s.LDX)
		if c >= s.W {
			if math.Float32bits(got) != math.Float32bits(old[at]) {
				t.Fatalf("N=%d W=%d: X[%d,%d], outside of the block, was written", s.N, s.W, i, c)
			}
			continue
		}
		if w, e := want[i*s.W+c], bound[i*s.W+c]; !(math.Abs(float64(got)-w) <= e) {
			t.Fatalf("N=%d W=%d ldl=%d ldx=%d: X[%d,%d] = %g, want %g within %g", s.N, s.W, s.LDL, s.LDX, i, c, got, w, e)
		}
	}
}

func TestSolve(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		w := newWorkspace(t, 1)
		for n := range 35 {
			for width := range 69 {
				options := w.rng.IntN(1<<7) | (n+width)%2*atEnd
				checkSolve(t, p.Solve, w.solve(n, width, options))
				if n < 20 && width < 36 {
					checkSolve(t, p.Solve, w.solve(n, width, options^atEnd^withGaps))
				}
			}
		}
		checkSolve(t, p.Solve, w.solve(64, 128, withGaps))
	})
}

// TestSolveLater checks that the rows of X do not depend on later ones, NaN or not.
func TestSolveLater(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		w := newWorkspace(t, 2)
		for bad := range 21 {
			s := w.solve(21, 21, 0)
			s.X[bad*s.LDX+3] = untouched
			p.Solve(s)
			for i := range s.N {
				for c := range s.W {
					if got := s.X[i*s.LDX+c]; (got != got) != (c == 3 && i >= bad) {
						t.Fatalf("X[%d,%d] = %g with NaN in X[%d,3]", i, c, got, bad)
					}
				}
			}
		}
	})
}

func TestSolveAllocations(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		s := newWorkspace(t, 3).solve(17, 33, 0)
		if n := testing.AllocsPerRun(10, func() { p.Solve(s) }); n != 0 {
			t.Fatalf("%g allocations a call", n)
		}
	})
}

func FuzzSolve(f *testing.F) {
	f.Add(uint64(1), uint8(9), uint8(33), uint8(0))
	f.Add(uint64(2), uint8(0), uint8(1), uint8(127))
	f.Fuzz(func(t *testing.T, seed uint64, n, width, options uint8) {
		w := newWorkspace(t, seed)
		for _, isa := range ISAs() {
			p, _ := Primitives(isa)
			checkSolve(t, p.Solve, w.solve(int(n)%60, int(width)%100, int(options)%(1<<7)))
		}
	})
}

// BenchmarkSolve reports the useful rate: N(N-1)W operations.
func BenchmarkSolve(b *testing.B) {
	for _, isa := range ISAs() {
		p, _ := Primitives(isa)
		for _, size := range [][2]int{{64, 32}, {64, 128}, {32, 128}, {64, 48}} {
			b.Run(fmt.Sprintf("isa=%s/n=%d/w=%d", isa, size[0], size[1]), func(b *testing.B) {
				s := newWorkspace(b, 4).solve(size[0], size[1], 0)
				rng := rand.New(rand.NewPCG(5, 5))
				for i := range s.L {
					// So small that X stays finite however often it is solved.
					s.L[i] *= rng.Float32() * 1e-6
				}
				for b.Loop() {
					p.Solve(s)
				}
				b.ReportMetric(float64(size[0]*(size[0]-1)*size[1])*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
