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

// deltaCase is a recurrence of the delta rules in guarded memory.
type deltaCase struct {
	p    tile.Delta
	what string
}

// newDelta makes a random case of a kernel. Bits of variant are newRecur's, but for those of walking backwards and accumulating, which
// choose erase keys of their own and the walk without records.
func newDelta(t testing.TB, r *rand.Rand, prim *tile.Primitives, k tile.DeltaKernel, s recurShape, variant int, end bool) deltaCase {
	c := newRecur(t, r, s, variant&^(3<<3), end)
	p := tile.Delta{Recur: c.p, Block: k.Block(s.heads)}
	scale := float32(1 / math.Sqrt(float64(max(1, s.dk))))
	each := func(v []float32, f func(x float32) float32) {
		for i, x := range v {
			if x != canary {
				v[i] = f(x)
			}
		}
	}
	shrink := func(x float32) float32 { return x * scale }
	each(p.K, shrink)
	p.Beta = guarded(t, between(r, s.tokens, -1, 2), end)
	if variant>>3&1 == 1 {
		p.E = spread(t, r, s.tokens, s.dk, p.LDK, end)
		each(p.E, shrink)
	} else if variant>>2&1 == 1 {
		p.Beta = nil
	}
	if variant>>4&1 == 0 && p.Block > 1 {
		p.C = guarded(t, make([]float32, s.tokens/p.Block*tile.Record(p.Block, s.heads)), end)
		prim.Couple(&p)
		if p.NonFinite {
			p.C = nil
		}
	}
	return deltaCase{p, fmt.Sprintf("%+v variant %08b", s, variant)}
}

// deltaReference is the scalar loop of tile.Delta in float64, with scales of its rounding errors: sums over absolute values, with the
// state's own values in what is erased.
func deltaReference(p *tile.Delta) (o, s, oAbs, sAbs []float64) {
	wide := func(v []float32) (x, abs []float64) {
		x, abs = make([]float64, len(v)), make([]float64, len(v))
		for i, f := range v {
			x[i], abs[i] = float64(f), math.Abs(float64(f))
		}
		return x, abs
	}
	o, oAbs = wide(p.O)
	s, sAbs = wide(p.S)
	row := func(rows []float32, i int) float64 {
		if rows == nil {
			return 1
		}
		return float64(rows[i])
	}
	erase := p.E
	if erase == nil {
		erase = p.K
	}
	u, uAbs := make([]float64, p.N), make([]float64, p.N)
	for t := range p.T {
		for j := range p.N {
			u[j], uAbs[j] = 0, 0
		}
		for k := range p.Dk {
			d := row(p.Decay, t)
			if d != 1 && p.D != nil {
				d = float64(p.D[t*p.LDD+k])
			}
			e := float64(erase[t*p.LDK+k])
			for j := range p.N {
				at := k*p.LDS + j
				if d != 1 {
					s[at] *= d
					sAbs[at] *= math.Abs(d)
				}
				u[j] += e * s[at]
				uAbs[j] += math.Abs(e * s[at])
			}
		}
		for j := range p.N {
			v := row(p.RowV, t) * float64(p.V[t*p.LDV+j])
			u[j] = v - row(p.Beta, t)*u[j]
			uAbs[j] = math.Abs(v) + math.Abs(row(p.Beta, t))*uAbs[j]
		}
		for k := range p.Dk {
			x := float64(p.K[t*p.LDK+k])
			for j := range p.N {
				s[k*p.LDS+j] += x * u[j]
				sAbs[k*p.LDS+j] += math.Abs(x) * uAbs[j]
			}
		}
		for h := range p.Heads {
			out := row(p.RowO, t*p.Heads+h)
			for j := range p.N {
				sum, sumAbs := 0.0, 0.0
				for k := range p.Dk {
					q := float64(p.Q[t*p.LDQ+h*p.HeadQ+k])
					sum += q * s[k*p.LDS+j]
					sumAbs += math.Abs(q) * sAbs[k*p.LDS+j]
				}
				at := t*p.LDO + h*p.HeadO + j
				o[at], oAbs[at] = out*sum, math.Abs(out)*sumAbs
			}
		}
	}
	return o, s, oAbs, sAbs
}

// check runs a kernel on the case and compares. Where the scale is close to overflow, an intermediate may overflow on the way to a finite answer.
func (c deltaCase) check(t *testing.T, kernel tile.DeltaKernel) {
	t.Helper()
	want, wantS, oAbs, sAbs := deltaReference(&c.p)
	bound := float64(4*c.p.T+c.p.Dk+16) / (1 << 24)
	inputs := [][]float32{c.p.Q, c.p.K, c.p.V, c.p.D, c.p.Decay, c.p.RowV, c.p.RowO, c.p.E, c.p.Beta, c.p.C}
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
			switch {
			case w == float64(canary) && g == w:
			case math.IsNaN(w) || math.IsInf(w, 0):
				if !math.IsNaN(g) && !math.IsInf(g, 0) {
					t.Fatalf("%s: %s[%d] is %g, want %g", c.what, name, i, g, w)
				}
			case abs[i] > math.MaxFloat32/64:
			case !(math.Abs(g-w) <= bound*abs[i]+0x1p-100):
				t.Fatalf("%s: %s[%d] is %g, want %g, scale %g", c.what, name, i, g, w, abs[i])
			}
		}
	}
	compare("S", c.p.S, wantS, sAbs)
	compare("O", c.p.O, want, oAbs)
}

func eachDelta(t *testing.T, run func(t *testing.T, p *tile.Primitives, k tile.DeltaKernel)) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for _, k := range p.Delta {
			t.Run(fmt.Sprintf("%dx%d", k.Tokens, k.NR), func(t *testing.T) { run(t, p, k) })
		}
	})
}

var deltaShapes = []recurShape{
	{0, 1, 4, 4}, {3, 1, 4, 0}, {1, 1, 1, 1}, {1, 1, 64, 64}, {1, 1, 128, 128}, {1, 1, 17, 203}, {1, 3, 16, 130}, {2, 1, 3, 5}, {4, 1, 8, 32}, {5, 2, 7, 33},
	{12, 1, 64, 64}, {13, 1, 5, 47}, {23, 1, 33, 17}, {64, 1, 16, 96}, {7, 4, 9, 31}, {6, 5, 8, 40}, {3, 9, 4, 16}, {5, 3, 7, 35}, {9, 2, 40, 33}, {60, 1, 1, 15}, {61, 1, 2, 16},
	{1, 1, 128, 128}, {2, 1, 17, 239}, {3, 1, 6, 75}, // decode steps
}

func TestDelta(t *testing.T) {
	eachDelta(t, func(t *testing.T, p *tile.Primitives, k tile.DeltaKernel) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, s := range deltaShapes {
				t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) { // frees its guarded memory
					for range 60 {
						newDelta(t, r, p, k, s, r.IntN(256), end).check(t, k)
					}
				})
			}
		})
	})
}

// Keys that are nearly the same, with factors near 2: the triangles of the blocks are as badly conditioned as they get.
func TestDeltaParallelKeys(t *testing.T) {
	eachDelta(t, func(t *testing.T, p *tile.Primitives, k tile.DeltaKernel) {
		r := rand.New(rand.NewPCG(7, 8))
		for range 50 {
			c := newDelta(t, r, p, k, recurShape{64, 1, 32, 35}, 0, true)
			for i := range c.p.K {
				c.p.K[i] = float32(1/math.Sqrt(32)) * (1 + 1e-3*float32(r.NormFloat64()))
			}
			for i := range c.p.Beta {
				c.p.Beta[i] = 2 - 1e-3*r.Float32()
			}
			if c.p.C != nil {
				p.Couple(&c.p)
			}
			c.check(t, k)
		}
	})
}

// TestDeltaNonFinite puts NaN and Inf everywhere: what depends on them must not be finite, and no earlier token's output may change.
func TestDeltaNonFinite(t *testing.T) {
	eachDelta(t, func(t *testing.T, p *tile.Primitives, k tile.DeltaKernel) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, s := range []recurShape{{13, 1, 5, 35}, {6, 2, 3, 17}, {1, 1, 4, 150}} {
			for _, bad := range []float32{quietNaN, infinity, -infinity} {
				for round := range 160 {
					c := newDelta(t, r, p, k, s, r.IntN(256)&^(1<<4), true) // with records
					c.what += fmt.Sprintf(" %g round %d", bad, round)
					arrays := [][]float32{c.p.Q, c.p.K, c.p.V, c.p.S, c.p.Decay, c.p.D, c.p.RowV, c.p.RowO, c.p.E, c.p.Beta}
					a := arrays[round%len(arrays)]
					if len(a) == 0 {
						continue
					}
					a[r.IntN(len(a))] = bad
					if c.p.C != nil {
						if p.Couple(&c.p); c.p.NonFinite {
							c.p.C = nil
						}
					}
					c.check(t, k)
				}
			}
		}
	})
}

// Keys too large for their products must not spoil a token whose update is 0.
func TestDeltaHugeKeys(t *testing.T) {
	eachDelta(t, func(t *testing.T, p *tile.Primitives, k tile.DeltaKernel) {
		for _, s := range []recurShape{{2 * k.Tokens, 1, 20, 35}, {1, 1, 20, 150}, {3, 1, 5, 70}} {
			hugeKeys(t, p, k, s)
		}
	})
}

func hugeKeys(t *testing.T, p *tile.Primitives, k tile.DeltaKernel, s recurShape) {
	c := newDelta(t, rand.New(rand.NewPCG(11, 12)), p, k, s, 0, true)
	for _, a := range [][]float32{c.p.K, c.p.Q} {
		for i := range a {
			a[i] = 1e30
		}
	}
	clear(c.p.V)
	clear(c.p.S)
	if len(c.p.C) > 0 { // a block of one token has no products to prepare
		if p.Couple(&c.p); !c.p.NonFinite {
			t.Fatal("products of 1e30 and 1e30 are finite")
		}
	}
	c.p.C = nil
	c.check(t, k)
}

func TestDeltaExtremes(t *testing.T) {
	eachDelta(t, func(t *testing.T, p *tile.Primitives, k tile.DeltaKernel) {
		r := rand.New(rand.NewPCG(5, 6))
		for range 200 {
			c := newDelta(t, r, p, k, recurShape{9, 1, 6, 40}, r.IntN(256), true)
			for _, a := range [][]float32{c.p.V, c.p.S, c.p.RowV} {
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

// TestCouple compares the records with those of the portable table.
func TestCouple(t *testing.T) {
	portable := generic.Primitives()
	eachDelta(t, func(t *testing.T, p *tile.Primitives, k tile.DeltaKernel) {
		r := rand.New(rand.NewPCG(9, 10))
		for heads := 1; heads <= 1+len(k.Shared); heads++ {
			tokens := k.Block(heads)
			for _, dk := range []int{1, 3, 7, 8, 15, 16, 17, 33, 64, 100, 128} {
				for _, n := range []int{0, tokens - 1, tokens, 3*tokens + 1} {
					for variant := range 4 {
						d := tile.Delta{Block: tokens}
						d.T, d.Heads, d.Dk, d.LDK, d.HeadQ = n, heads, dk, dk+3*(variant&1), dk+5*(variant&1)
						d.LDQ = heads*d.HeadQ + variant&1
						d.Q, d.K = spreadHeads(t, r, n, heads, dk, d.LDQ, d.HeadQ, true), spread(t, r, n, dk, d.LDK, true)
						if variant>>1 == 1 {
							d.E = spread(t, r, n, dk, d.LDK, true)
						}
						d.C = guarded(t, make([]float32, n/tokens*tile.Record(tokens, heads)), true)
						want := d
						want.C = make([]float32, len(d.C))
						scale := want // of rounding errors: products of absolute values
						scale.C = make([]float32, len(d.C))
						for _, v := range []*[]float32{&scale.Q, &scale.K, &scale.E} {
							if *v != nil {
								*v = slices.Clone(*v)
							}
							for i, x := range *v {
								(*v)[i] = float32(math.Abs(float64(x)))
							}
						}
						p.Couple(&d)
						portable.Couple(&want)
						portable.Couple(&scale)
						products := tile.Products(tokens, heads)
						for i, w := range want.C {
							if i%tile.Record(tokens, heads) < products && !(math.Abs(float64(d.C[i]-w)) <= 2*float64(dk+4)/(1<<24)*float64(scale.C[i])) {
								t.Fatalf("%d heads, dk %d, %d tokens, variant %d: product %d is %g, want %g", heads, dk, n, variant, i, d.C[i], w)
							}
						}
						if d.NonFinite {
							t.Fatalf("%d heads, dk %d, %d tokens: not finite", heads, dk, n)
						}
						if used := n / tokens * tokens; used > 0 {
							for _, a := range [][]float32{d.K[:(used-1)*d.LDK+dk], d.Q[:(used-1)*d.LDQ+dk]} {
								for _, bad := range []float32{quietNaN, infinity} {
									at := r.IntN(used) * len(a) / used
									for a[at] == canary {
										at--
									}
									old := a[at]
									a[at] = bad
									if p.Couple(&d); !d.NonFinite {
										t.Fatalf("%d heads, dk %d, %d tokens: %g at %d not found", heads, dk, n, bad, at)
									}
									a[at] = old
								}
							}
						}
					}
				}
			}
		}
	})
}
