package generic

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func TestSubstitute(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	run := Primitives().Substitute
	for _, transposed := range []bool{false, true} {
		byHand := &tile.Substitute{
			L: []float32{9, 9, 9, 2, 9, 9, 3, 4, 9}, X: []float32{1, 5, 10}, Y: make([]float32, 3), Row: []float32{1, 2, -1}, LDL: 3, LDX: 1, LDY: 1, N: 3, W: 1,
			Transposed: transposed,
		}
		run(byHand)
		x, y := []float32{1, 3, -17}, []float32{1, 6, 17} // 5 - 2*1; 10 - 3*1 - 4*6
		if transposed {
			x, y = []float32{-149, 45, 10}, []float32{-149, 90, -10} // 5 - 4*-10; 1 - 2*90 - 3*-10
		}
		if !slices.Equal(byHand.X, x) || !slices.Equal(byHand.Y, y) {
			t.Errorf("by hand, transposed=%t: got %v and %v, want %v and %v", transposed, byHand.X, byHand.Y, x, y)
		}
		for n := range 14 {
			for _, w := range []int{0, 1, 2, 5, 16} {
				ldl, ldx, ldy := n+2, w+3, w+1
				l, x, y, row := matrix(r, n, n, ldl), matrix(r, n, w, ldx), matrix(r, n, w, ldy), matrix(r, 1, n, n)
				before := slices.Clone(x)
				run(&tile.Substitute{L: l, X: x, Y: y, Row: row, LDL: ldl, LDX: ldx, LDY: ldy, N: n, W: w, Transposed: transposed})
				for i := range n {
					for j := range w {
						if got, want := y[i*ldy+j], row[i]*x[i*ldx+j]; got != want {
							t.Fatalf("n=%d w=%d: Y[%d,%d] = %g, want %g", n, w, i, j, got, want)
						}
						// X and the triangle times Y must be the right-hand side again.
						sum, abs := float64(x[i*ldx+j]), math.Abs(float64(x[i*ldx+j]))
						for k := range n {
							factor := float32(0)
							if k < i && !transposed {
								factor = l[i*ldl+k]
							} else if k > i && transposed {
								factor = l[k*ldl+i]
							}
							term := float64(factor) * float64(y[k*ldy+j])
							sum, abs = sum+term, abs+math.Abs(term)
						}
						if want := float64(before[i*ldx+j]); !(math.Abs(sum-want) <= float64(n+1)*0x1p-23*abs) {
							t.Fatalf("n=%d w=%d transposed=%t row %d column %d: got back %g, want %g", n, w, transposed, i, j, sum, want)
						}
					}
				}
				wantGaps(t, "X", x, w, ldx)
				wantGaps(t, "Y", y, w, ldy)
			}
		}
	}
}
