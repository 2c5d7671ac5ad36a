package asm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func TestMap(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(9, 10))
			for _, kind := range []int{tile.MapPositive, tile.MapSteps} {
				for round := range 600 {
					m, n := r.IntN(4), r.IntN(70)
					ls, ld := n+round%2*3, n+round%3*2
					want := &tile.Map{Src: spread(t, r, m, n, ls, end), Dst: spread(t, r, m, n, ld, end), LDS: ls, LDD: ld, M: m, N: n, Kind: kind}
					for range r.IntN(5) {
						if len(want.Src) > 0 {
							want.Src[r.IntN(len(want.Src))] = special[r.IntN(len(special))]
						}
					}
					got := *want
					got.Dst = guarded(t, want.Dst, end)
					src := slices.Clone(want.Src)
					portable.Map(want)
					p.Map(&got)
					what := fmt.Sprintf("kind=%d m=%d n=%d round %d", kind, m, n, round)
					wantSame(t, what, got.Dst, want.Dst)
					wantSame(t, what+" source", got.Src, src)

					in := *want // in place
					in.Dst, in.LDD = in.Src, in.LDS
					wantIn := in
					wantIn.Src = slices.Clone(in.Src)
					wantIn.Dst = wantIn.Src
					portable.Map(&wantIn)
					p.Map(&in)
					wantSame(t, what+" in place", in.Dst, wantIn.Dst)
				}
			}
		})
	})
}
