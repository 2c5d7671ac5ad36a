package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// checkSubstitute compares with the float64 loop, in a bound that follows the loop on absolute values.
func checkSubstitute(t *testing.T, run func(*tile.Substitute), s *tile.Substitute) {
	t.Helper()
	what := fmt.Sprintf("N=%d W=%d ldl=%d ldx=%d ldy=%d transposed=%t", s.N, s.W, s.LDL, s.LDX, s.LDY, s.Transposed)
	l, old, given := slices.Clone(s.L), slices.Clone(s.X), slices.Clone(s.Y)
	run(s)
	if !same(l, s.L) {
		t.Fatalf("%s: L was changed", what)
	}
	want, bound := make([]float64, s.N*s.W), make([]float64, s.N*s.W)
	for n := range s.N {
		i := n
		if s.Transposed {
			i = s.N - 1 - n
		}
		for c := range s.W {
			sum := float64(old[i*s.LDX+c])
			scale, inherited := math.Abs(sum), 0.0
			for m := range n {
				j, f := m, 0.0
				if s.Transposed {
					j = s.N - 1 - m
					f = float64(l[j*s.LDL+i])
				} else {
					f = float64(l[i*s.LDL+j])
				}
				f *= float64(s.Row[j])
				sum -= f * want[j*s.W+c]
				scale += math.Abs(f * want[j*s.W+c])
				inherited += math.Abs(f) * bound[j*s.W+c]
			}
			want[i*s.W+c] = sum
			bound[i*s.W+c] = inherited*1.01 + float64(n+3)*0x1p-24*1.01*scale
		}
	}
	check := func(name string, got, before []float32, ld int, factor func(i int) float64) {
		for at, x := range got {
			i, c := at/max(1, ld), at%max(1, ld)
			if c >= s.W {
				if math.Float32bits(x) != math.Float32bits(before[at]) {
					t.Fatalf("%s: %s[%d,%d], outside of the block, was written", what, name, i, c)
				}
				continue
			}
			w, e := want[i*s.W+c]*factor(i), bound[i*s.W+c]*math.Abs(factor(i))
			if e += math.Abs(w) * 0x1p-23; !(math.Abs(float64(x)-w) <= e) {
				t.Fatalf("%s: %s[%d,%d] = %g, want %g within %g", what, name, i, c, x, w, e)
			}
		}
	}
	check("X", s.X, old, s.LDX, func(int) float64 { return 1 })
	check("Y", s.Y, given, s.LDY, func(i int) float64 { return float64(s.Row[i]) })
}

// substitute returns arguments with small values in L, as where it is made of products of unit vectors.
func substitute(t testing.TB, r *rand.Rand, n, width int, transposed, end bool) *tile.Substitute {
	gap := r.IntN(2) * 3
	s := &tile.Substitute{N: n, W: width, LDL: n + gap, LDX: width + gap, LDY: width + 2*gap, Transposed: transposed}
	s.L, s.X, s.Y = spread(t, r, n, n, s.LDL, end), spread(t, r, n, width, s.LDX, end), spread(t, r, n, width, s.LDY, end)
	s.Row = guarded(t, between(r, n, -2, 2), end)
	for i := range n {
		for j := range n {
			if j >= i {
				s.L[i*s.LDL+j] = 0 // not used
			} else {
				s.L[i*s.LDL+j] *= 0.25
			}
		}
	}
	return s
}

func TestSubstitute(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(41, 42))
			for n := range 35 {
				for width := 0; width < 69; width += 1 + r.IntN(3) {
					checkSubstitute(t, p.Substitute, substitute(t, r, n, width, (n+width)%2 == 1, end))
				}
			}
			checkSubstitute(t, p.Substitute, substitute(t, r, 64, 128, false, end))
			checkSubstitute(t, p.Substitute, substitute(t, r, 64, 128, true, end))
		})
	})
}

// TestSubstituteLater checks that a row does not depend on those that are solved after it, NaN or not.
func TestSubstituteLater(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		r := rand.New(rand.NewPCG(43, 44))
		for bad := range 21 {
			for _, transposed := range []bool{false, true} {
				s := substitute(t, r, 21, 21, transposed, false)
				s.X[bad*s.LDX+3] = quietNaN
				p.Substitute(s)
				for i := range s.N {
					later := i >= bad
					if transposed {
						later = i <= bad
					}
					for c := range s.W {
						x, y := s.X[i*s.LDX+c], s.Y[i*s.LDY+c]
						if spoilt := c == 3 && later; (x != x) != spoilt || (y != y) != spoilt {
							t.Fatalf("transposed=%t: X[%d,%d] = %g, Y %g with NaN in X[%d,3]", transposed, i, c, x, y, bad)
						}
					}
				}
			}
		}
	})
}

func TestSubstituteAllocations(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		s := substitute(t, rand.New(rand.NewPCG(45, 46)), 17, 33, true, false)
		if n := testing.AllocsPerRun(10, func() { p.Substitute(s) }); n != 0 {
			t.Fatalf("%g allocations a call", n)
		}
	})
}
