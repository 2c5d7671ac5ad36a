package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

func TestMap(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(9, 10))
			for _, kind := range []int{tile.MapPositive, tile.MapSteps, tile.MapGate, tile.MapSlope, tile.MapTimes} {
				for round := range 250 {
					m, n := r.IntN(4), r.IntN(70)
					ls, ld := n+round%2*3, n+round%3*2
					want := &tile.Map{Src: spread(t, r, m, n, ls, end), Dst: spread(t, r, m, n, ld, end), LDS: ls, LDD: ld, M: m, N: n, Kind: kind}
					if round%7 == 0 {
						want.LDS = 0 // one row for all
					}
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

					if want.LDS < n {
						continue
					}
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

func TestBlend(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(11, 12))
			for round := range 300 {
				m, n := r.IntN(4), r.IntN(100)
				ls, ld := n+round%2*3, n+round%3*2
				if round%5 == 0 {
					ls = 0
				}
				rows := m
				if ls == 0 {
					rows = min(m, 1)
				}
				want := &tile.Blend{Src: spread(t, r, rows, n, max(n, ls), end), Dst: spread(t, r, m, n, ld, end), LDS: ls, LDD: ld, M: m, N: n}
				if r.IntN(2) == 0 {
					want.A = spread(t, r, 1, m, m, end)
				}
				if r.IntN(2) == 0 {
					want.B = spread(t, r, 1, m, m, end)
				}
				if r.IntN(3) == 0 && n > 0 && m > 0 {
					want.Src[r.IntN(n)] = special[r.IntN(len(special))]
				}
				got, src := *want, slices.Clone(want.Src)
				got.Dst = guarded(t, want.Dst, end)
				before := slices.Clone(want.Dst)
				portable.Blend(want)
				p.Blend(&got)
				wantSame(t, "source", got.Src, src)
				for i, w := range want.Dst {
					if g := got.Dst[i]; !alike(g, w) && !(math.Abs(float64(g)-float64(w)) <= 0x1p-22*(math.Abs(float64(before[i]))+2*math.Abs(float64(w)))) {
						t.Fatalf("m=%d n=%d round %d: element %d is %g, want %g", m, n, round, i, g, w)
					}
				}
			}
		})
	})
}

func TestTrail(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(13, 14))
			for round := range 300 {
				m, n, heads := r.IntN(5), r.IntN(70), 1+r.IntN(3)
				wide, ld := heads*n+round%2*3, n+round%3*2
				if round%5 == 0 { // rows that may be streamed, where memory begins at a vector
					ld = (n + 15) / 16 * 16
				}
				want := &tile.Trail{
					X: spread(t, r, m, heads*n, wide, end), LDX: wide, HeadX: n, DX: spread(t, r, m, heads*n, wide, end), LDDX: wide, HeadDX: n,
					Y: spread(t, r, m, n, ld, end), LDY: ld, DY: spread(t, r, m, n, ld, end), LDDY: ld, Dst: spread(t, r, m, n, ld, end), LDD: ld,
					M: m, N: n, Heads: heads, Stream: round%2 == 0,
				}
				room := (n + tile.TrailLanes - 1) / tile.TrailLanes * tile.TrailLanes
				want.Sum = make([]float64, room)
				for i := range want.Sum {
					want.Sum[i] = 2*r.Float64() - 1
				}
				for range r.IntN(3) {
					if m*n > 0 {
						want.X[r.IntN(heads*n)] = special[r.IntN(len(special))]
					}
				}
				got := *want
				got.Dst, got.Sum = guarded(t, want.Dst, end), slices.Clone(want.Sum)
				generic.Trail(want)
				p.Trail(&got)
				bound := 0x1p-22 * float64(4+m*(heads+1))
				for i, w := range want.Dst {
					if g := got.Dst[i]; !alike(g, w) && !(math.Abs(float64(g)-float64(w)) <= bound*max(1, math.Abs(float64(w)))) {
						t.Fatalf("m=%d n=%d heads=%d round %d: element %d is %g, want %g", m, n, heads, round, i, g, w)
					}
				}
				for i, w := range want.Sum {
					if g := got.Sum[i]; !alike(float32(g), float32(w)) && !(math.Abs(g-w) <= bound*max(1, math.Abs(w))) || i >= n && g != w {
						t.Fatalf("m=%d n=%d heads=%d round %d: sum %d is %g, want %g", m, n, heads, round, i, g, w)
					}
				}
			}
		})
	})
}
