package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func TestConv(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(11, 12))
			for round := range 1200 {
				m, n, k, gap := r.IntN(4), r.IntN(150), 1+r.IntN(7), r.IntN(2)*3
				if n == 0 {
					continue
				}
				c := &tile.Conv{
					Src: spread(t, r, m, n+k-1, n+k-1+gap, end), Dst: spread(t, r, m, n, n+gap, end), Weight: spread(t, r, 1, m*k, m*k, end),
					LDS: n + k - 1 + gap, LDD: n + gap, M: m, N: n, K: k, SiLU: round%2 == 0, Stream: round%3 == 0,
				}
				if round%4 < 2 {
					c.Bias = spread(t, r, 1, m, m, end)
				}
				if round%5 == 0 && m > 0 {
					c.Src[r.IntN(n)] = special[r.IntN(len(special))]
				}
				want := *c
				want.Dst = guarded(t, c.Dst, end)
				portable.Conv(&want)
				p.Conv(c)
				for i, w := range want.Dst {
					g := c.Dst[i]
					scale := math.Abs(float64(w)) + 8
					if alike(g, w) || math.Abs(float64(w)) > 1e20 {
						continue
					}
					if !(math.Abs(float64(g)-float64(w)) <= scale*float64(2*k+32)/(1<<24)) {
						t.Fatalf("%s: element %d is %g, want %g", fmt.Sprintf("m=%d n=%d k=%d round %d", m, n, k, round), i, g, w)
					}
				}
			}
		})
	})
}
