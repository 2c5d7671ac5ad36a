package asm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// TestFold compares with portable Go to the bit: the operations are the same, one rounding each.
func TestFold(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(7, 8))
			unsafe := 0
			for round := range 1500 {
				m, n, heads, gap := 1+r.IntN(6), r.IntN(70), r.IntN(4), r.IntN(2)*3
				head := n + gap
				want := &tile.Fold{
					G: spread(t, r, m, n, n+gap, end), K: spread(t, r, m, n, n+gap, end), Q: spreadHeads(t, r, m, max(1, heads), n, max(1, heads)*head, head, end),
					KOut: spread(t, r, m, n, n+gap, end), QOut: spreadHeads(t, r, m, max(1, heads), n, max(1, heads)*head, head, end), D: spread(t, r, 1, n, n, end),
					LDG: n + gap, LDK: n + gap, LDQ: max(1, heads) * head, HeadQ: head, LDKOut: n + gap, LDQOut: max(1, heads) * head, HeadQOut: head,
					M: m, N: n, Heads: heads,
				}
				low := float32(0.01)
				if round%3 == 0 {
					low = 1e-6
				}
				for i := range want.G {
					if want.G[i] != canary {
						want.G[i] = low + (1-low)*r.Float32()
					}
				}
				if round%4 == 0 && len(want.G) > 0 {
					want.G[r.IntN(len(want.G))] = special[r.IntN(len(special))]
				}
				got := *want
				got.KOut, got.QOut, got.D, got.Unsafe = guarded(t, want.KOut, end), guarded(t, want.QOut, end), guarded(t, want.D, end), !got.Unsafe
				inputs := [][]float32{slices.Clone(want.G), slices.Clone(want.K), slices.Clone(want.Q)}
				portable.Fold(want)
				p.Fold(&got)
				what := fmt.Sprintf("m=%d n=%d heads=%d round %d", m, n, heads, round)
				if got.Unsafe != want.Unsafe {
					t.Fatalf("%s: Unsafe = %v, want %v", what, got.Unsafe, want.Unsafe)
				}
				if want.Unsafe {
					unsafe++
				}
				wantSame(t, what+" keys", got.KOut, want.KOut)
				wantSame(t, what+" queries", got.QOut, want.QOut)
				wantSame(t, what+" decays", got.D, want.D)
				for i, in := range [][]float32{got.G, got.K, got.Q} {
					wantSame(t, what+" inputs", in, inputs[i])
				}
			}
			if unsafe < 50 {
				t.Errorf("only %d unsafe blocks", unsafe)
			}
		})
	})
}
