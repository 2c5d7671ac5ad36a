package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// stepShape is a number of states and their size, in panels of columns.
type stepShape struct{ units, dk, panels int }

// newSteps makes a random case: states in any order, with gaps, and queries, keys and factors that some share.
func newSteps(t testing.TB, r *rand.Rand, k tile.StepKernel, s stepShape, keyDecay, gaps, end bool) tile.Steps {
	n := s.panels * k.NR
	gap := func(n int) int {
		if gaps {
			return n + 5
		}
		return n
	}
	p := tile.Steps{LDS: gap(n), Dk: s.dk, N: n, Scale: between(r, 1, -2, 2), Beta: between(r, s.units, -1, 2), KeyDecay: keyDecay}
	wide := 1
	if keyDecay {
		wide = s.dk
	}
	p.Q, p.K, p.V = spread(t, r, s.units, s.dk, gap(s.dk), end), spread(t, r, s.units, s.dk, gap(s.dk), end), spread(t, r, s.units, n, gap(n), end)
	p.O, p.S = spread(t, r, s.units, n, gap(n), end), spread(t, r, s.units*s.dk, n, p.LDS, end)
	p.Decay, p.Room = guarded(t, between(r, s.units*wide, 0, 1), end), guarded(t, make([]float32, tile.StepRoom(s.dk)), end)
	for i, x := range p.K {
		if x != canary {
			p.K[i] = x / float32(math.Sqrt(float64(s.dk)))
		}
	}
	for i, at := range r.Perm(s.units) {
		shared := i / 2
		p.Units = append(p.Units, tile.StepUnit{
			Q: shared * gap(s.dk), K: shared * gap(s.dk), V: i * gap(n), O: i * gap(n), S: at * s.dk * p.LDS, Decay: shared * wide, Beta: i,
		})
	}
	return p
}

// checkSteps runs a kernel and compares what it took with the scalar loop of tile.Delta, and that it left the rest alone.
func checkSteps(t *testing.T, what string, p tile.Steps, k tile.StepKernel, wantDone int) {
	t.Helper()
	o, s := slices.Clone(p.O), slices.Clone(p.S)
	inputs := [][]float32{p.Q, p.K, p.V, p.Decay, p.Beta, p.Scale}
	var before [][]float32
	for _, in := range inputs {
		before = append(before, slices.Clone(in))
	}
	k.Run(&p)
	if k.NR == 1 { // stops nowhere
		wantDone = len(p.Units)
	}
	if p.Done != wantDone {
		t.Fatalf("%s: took %d states, want %d", what, p.Done, wantDone)
	}
	for i, in := range inputs {
		wantSame(t, fmt.Sprintf("%s: input %d", what, i), in, before[i])
	}
	bound := float64(p.Dk+20) / (1 << 24)
	for i, u := range p.Units[:p.Done] {
		one := tile.Recur{Q: p.Q[u.Q:], K: p.K[u.K:], V: p.V[u.V:], O: o[u.O:][:p.N], S: s[u.S:][:(p.Dk-1)*p.LDS+p.N], Decay: p.Decay[u.Decay:], RowV: p.Beta[u.Beta:],
			RowO: p.Scale, LDS: p.LDS, T: 1, Heads: 1, Dk: p.Dk, N: p.N}
		if p.KeyDecay {
			one.Decay, one.D = []float32{0}, one.Decay
		}
		wantO, wantS, oAbs, sAbs := deltaReference(&tile.Delta{Recur: one, Beta: p.Beta[u.Beta:]})
		for _, x := range []struct {
			name      string
			got, dst  []float32
			want, abs []float64
		}{{"O", p.O[u.O:], one.O, wantO, oAbs}, {"S", p.S[u.S:], one.S, wantS, sAbs}} {
			for j, w := range x.want {
				g := float64(x.got[j])
				switch finite := !math.IsNaN(w) && !math.IsInf(w, 0); {
				case !finite && !math.IsNaN(g) && !math.IsInf(g, 0), finite && x.abs[j] < math.MaxFloat32/64 && !(math.Abs(g-w) <= bound*x.abs[j]+0x1p-100):
					t.Fatalf("%s: %s[%d] of state %d is %g, want %g, scale %g", what, x.name, j, i, g, w, x.abs[j])
				}
			}
			copy(x.dst, x.got) // what is left must be as it was
		}
	}
	wantSame(t, what+": other outputs", p.O, o)
	wantSame(t, what+": other states", p.S, s)
}

func eachSteps(t *testing.T, run func(t *testing.T, k tile.StepKernel)) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for _, k := range p.Steps {
			t.Run(fmt.Sprint(k.NR), func(t *testing.T) { run(t, k) })
		}
	})
}

func TestSteps(t *testing.T) {
	eachSteps(t, func(t *testing.T, k tile.StepKernel) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, s := range []stepShape{{0, 4, 1}, {1, 1, 1}, {1, 2, 1}, {1, 64, 1}, {1, 17, 3}, {2, 128, 2}, {3, 3, 1}, {4, 16, 2}, {5, 33, 1}, {8, 80, 3}} {
				t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) { // frees its guarded memory
					for variant := range 8 {
						keyDecay, gaps := variant&1 == 1, variant&2 == 2
						checkSteps(t, fmt.Sprintf("%+v variant %d", s, variant), newSteps(t, r, k, s, keyDecay, gaps, end), k, s.units)
					}
				})
			}
		})
	})
}

// TestStepsNonFinite puts NaN, Inf and numbers whose products are infinite everywhere: a state before which the kernel has to stop is left alone, and what
// depends on the numbers in other arrays is not finite.
func TestStepsNonFinite(t *testing.T) {
	eachSteps(t, func(t *testing.T, k tile.StepKernel) {
		r := rand.New(rand.NewPCG(3, 4))
		const units, dk = 6, 21
		for round := range 120 {
			p := newSteps(t, r, k, stepShape{units, dk, 2}, round%2 == 1, false, true)
			bad := []float32{quietNaN, infinity, -infinity}[round%3]
			want := units
			switch what := r.IntN(5); what {
			case 0:
				p.K[dk+3] = bad // that of the third state and the fourth
				want = 2
			case 1:
				p.Q[2*dk+dk-1] = bad
				want = 4
			case 2:
				p.Q[5], p.K[5] = 1e30, 1e30
				want = 0
			default:
				a := [][]float32{p.V, p.S, p.Decay}[r.IntN(3)]
				a[r.IntN(len(a))] = bad
			}
			checkSteps(t, fmt.Sprintf("round %d", round), p, k, want)
		}
	})
}

// BenchmarkSteps takes a token in states that lie one after another, in the second level or past it.
func BenchmarkSteps(b *testing.B) {
	for _, isa := range ISAs() {
		prim, _ := Primitives(isa)
		for _, k := range prim.Steps {
			for _, s := range [][2]int{{16, 64}, {8, 128}, {2, 256}, {32, 128}} {
				units, d := s[0], s[1]
				if d%k.NR > 0 {
					continue
				}
				p := newSteps(b, rand.New(rand.NewPCG(1, 2)), k, stepShape{units, d, d / k.NR}, false, false, false)
				clear(p.V) // states must not grow
				slices.SortFunc(p.Units, func(x, y tile.StepUnit) int { return x.S - y.S })
				b.Run(fmt.Sprintf("%s/nr=%d/%dx%dx%d", isa, k.NR, units, d, d), func(b *testing.B) {
					b.SetBytes(int64(8 * units * d * d))
					for b.Loop() {
						k.Run(&p)
					}
				})
			}
		}
	}
}
