package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// recurCase is a recurrence in guarded memory.
type recurCase struct {
	p    tile.Recur
	what string
}

type recurShape struct{ tokens, heads, dk, n int }

// newRecur makes a random case. Bits of variant choose decays, key decays, row factors, backwards, accumulation, streaming, gaps
// between the rows and a prefetch.
func newRecur(t testing.TB, r *rand.Rand, s recurShape, variant int, end bool) recurCase {
	gap := func(n int) int {
		if variant>>6&1 == 1 {
			return n + 3
		}
		return n
	}
	p := tile.Recur{
		T: s.tokens, Heads: s.heads, Dk: s.dk, N: s.n, LDK: gap(s.dk), LDV: gap(s.n), LDS: gap(s.n), LDD: gap(s.dk), HeadQ: gap(s.dk), HeadO: gap(s.n),
		Reverse: variant>>3&1 == 1, Accumulate: variant>>4&1 == 1, Stream: variant>>5&1 == 1,
	}
	p.LDQ, p.LDO = gap(s.heads*p.HeadQ), gap(s.heads*p.HeadO)
	p.K, p.V, p.S = spread(t, r, s.tokens, s.dk, p.LDK, end), spread(t, r, s.tokens, s.n, p.LDV, end), spread(t, r, s.dk, s.n, p.LDS, end)
	p.Q = spreadHeads(t, r, s.tokens, s.heads, s.dk, p.LDQ, p.HeadQ, end)
	p.O = spreadHeads(t, r, s.tokens, s.heads, s.n, p.LDO, p.HeadO, end)
	switch variant & 3 {
	case 1:
		p.Decay = guarded(t, between(r, s.tokens, 0, 1), end)
	case 2: // at blocks of 12 tokens, and one more
		p.Decay = guarded(t, between(r, s.tokens, 0, 1), end)
		for i := range p.Decay {
			if i%12 != 0 && i != 50 {
				p.Decay[i] = 1
			}
		}
	case 3:
		p.D = spread(t, r, s.tokens, s.dk, p.LDD, end)
		p.Decay = guarded(t, make([]float32, s.tokens), end)
		for i := range p.Decay {
			if i%12 != 0 {
				p.Decay[i] = 1
			}
		}
	}
	if variant>>2&1 == 1 {
		p.RowV, p.RowO = guarded(t, between(r, s.tokens, -2, 2), end), guarded(t, between(r, s.tokens*s.heads, -2, 2), end)
	}
	if variant>>7&1 == 1 {
		p.Prefetch = [3]tile.Prefetch{{Rows: p.Q, LD: p.LDQ, Lines: 2}, {}, {Rows: p.V, LD: p.LDV, Lines: 1}}
	}
	return recurCase{p, fmt.Sprintf("%+v variant %08b", s, variant)}
}

// spreadHeads lays out rows of heads, with canaries between rows and between heads.
func spreadHeads(t testing.TB, r *rand.Rand, rows, heads, cols, ld, head int, end bool) []float32 {
	if rows == 0 || cols == 0 {
		return nil
	}
	v := spread(t, r, rows, (heads-1)*head+cols, ld, end)
	for i := range v {
		if at := i % ld; at < heads*head && at%head >= cols {
			v[i] = canary
		}
	}
	return v
}

// recurReference is the scalar loop of tile.Recur in float64, with the same sums over absolute values.
func recurReference(p *tile.Recur) (o, s, oAbs, sAbs []float64) {
	o, oAbs, s, sAbs = make([]float64, len(p.O)), make([]float64, len(p.O)), make([]float64, len(p.S)), make([]float64, len(p.S))
	for i, x := range p.O {
		o[i], oAbs[i] = float64(x), math.Abs(float64(x))
	}
	for i, x := range p.S {
		s[i], sAbs[i] = float64(x), math.Abs(float64(x))
	}
	for i := range p.T {
		t := i
		if p.Reverse {
			t = p.T - 1 - i
		}
		row := func(rows []float32, i int) float64 {
			if rows == nil {
				return 1
			}
			return float64(rows[i])
		}
		for k := range p.Dk {
			if d := row(p.Decay, i); d != 1 {
				if p.D != nil {
					d = float64(p.D[i*p.LDD+k])
				}
				for j := range p.N {
					s[k*p.LDS+j] *= d
					sAbs[k*p.LDS+j] *= math.Abs(d)
				}
			}
			for j := range p.N {
				x := float64(p.K[t*p.LDK+k]) * (row(p.RowV, i) * float64(p.V[t*p.LDV+j]))
				s[k*p.LDS+j] += x
				sAbs[k*p.LDS+j] += math.Abs(x)
			}
		}
		for h := range p.Heads {
			for j := range p.N {
				sum, sumAbs := 0.0, 0.0
				for k := range p.Dk {
					q := float64(p.Q[t*p.LDQ+h*p.HeadQ+k])
					sum += q * s[k*p.LDS+j]
					sumAbs += math.Abs(q) * sAbs[k*p.LDS+j]
				}
				at := t*p.LDO + h*p.HeadO + j
				if !p.Accumulate {
					o[at], oAbs[at] = 0, 0
				}
				o[at] += row(p.RowO, i*p.Heads+h) * sum
				oAbs[at] += math.Abs(row(p.RowO, i*p.Heads+h)) * sumAbs
			}
		}
	}
	return o, s, oAbs, sAbs
}

// check runs a kernel on the case and compares. An element passes that no operation wrote to.
func (c recurCase) check(t *testing.T, kernel tile.RecurKernel) {
	t.Helper()
	want, wantS, oAbs, sAbs := recurReference(&c.p)
	bound := float64(4*c.p.T+c.p.Dk+16) / (1 << 24)
	inputs := [][]float32{c.p.Q, c.p.K, c.p.V, c.p.D, c.p.Decay, c.p.RowV, c.p.RowO}
	var before [][]float32
	for _, in := range inputs {
		before = append(before, slices.Clone(in))
	}
	kernel.Run(&c.p)
	for i, in := range inputs {
		wantSame(t, fmt.Sprintf("%s: input %d", c.what, i), in, before[i])
	}
	compare := func(name string, got []float32, want, abs []float64) {
		t.Helper()
		for i, w := range want {
			g := float64(got[i])
			if w == float64(canary) && g == w {
				continue
			}
			if math.IsNaN(w) != math.IsNaN(g) || math.IsInf(w, 0) && g != w || !math.IsNaN(w) && !math.IsInf(w, 0) && !(math.Abs(g-w) <= bound*abs[i]+0x1p-120) {
				t.Fatalf("%s: %s[%d] is %g, want %g, scale %g", c.what, name, i, g, w, abs[i])
			}
		}
	}
	compare("S", c.p.S, wantS, sAbs)
	compare("O", c.p.O, want, oAbs)
}

func eachRecur(t *testing.T, run func(t *testing.T, k tile.RecurKernel)) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for _, k := range p.Recur {
			t.Run(fmt.Sprintf("%dx%d", k.Tokens, k.NR), func(t *testing.T) { run(t, k) })
		}
	})
}

func TestRecur(t *testing.T) {
	eachRecur(t, func(t *testing.T, k tile.RecurKernel) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, s := range []recurShape{
				{0, 1, 4, 4}, {3, 1, 4, 0}, {1, 1, 1, 1}, {1, 1, 64, 64}, {1, 1, 128, 128}, {1, 1, 17, 203}, {1, 3, 16, 130}, {2, 1, 3, 5}, {4, 1, 8, 32}, {5, 2, 7, 33},
				{12, 1, 64, 64}, {13, 1, 5, 47}, {23, 1, 33, 17}, {64, 1, 16, 96}, {7, 4, 9, 31}, {6, 5, 8, 40}, {3, 9, 4, 16}, {5, 3, 7, 35}, {4, 4, 5, 33}, {3, 7, 3, 40}, {3, 8, 6, 31}, {60, 1, 1, 15}, {61, 1, 2, 16},
			} {
				t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) { // frees its guarded memory
					for variant := range 256 {
						newRecur(t, r, s, variant, end).check(t, k)
					}
				})
			}
		})
	})
}

// TestRecurNonFinite puts NaN and Inf everywhere: the same elements must become NaN, and no earlier token's.
func TestRecurNonFinite(t *testing.T) {
	eachRecur(t, func(t *testing.T, k tile.RecurKernel) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, s := range []recurShape{{13, 1, 5, 35}, {6, 2, 3, 17}, {1, 1, 4, 150}} {
			for _, bad := range []float32{quietNaN, infinity, -infinity} {
				for round := range 160 {
					c := newRecur(t, r, s, r.IntN(256), true)
					c.what += fmt.Sprintf(" %g round %d", bad, round)
					arrays := [][]float32{c.p.Q, c.p.K, c.p.V, c.p.S, c.p.Decay, c.p.D, c.p.RowV, c.p.RowO}
					a := arrays[round%len(arrays)]
					if len(a) == 0 {
						continue
					}
					a[r.IntN(len(a))] = bad
					c.check(t, k)
				}
			}
		}
	})
}

func TestRecurExtremes(t *testing.T) {
	eachRecur(t, func(t *testing.T, k tile.RecurKernel) {
		r := rand.New(rand.NewPCG(5, 6))
		for range 200 {
			c := newRecur(t, r, recurShape{9, 1, 6, 40}, r.IntN(256), true)
			for _, a := range [][]float32{c.p.K, c.p.V, c.p.S, c.p.RowV} {
				for i := range a {
					if a[i] != canary {
						a[i] *= float32(math.Exp2(float64(r.IntN(60) - 30)))
					}
				}
			}
			c.check(t, k)
		}
	})
}
