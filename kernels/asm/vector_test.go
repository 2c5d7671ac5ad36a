package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// canary marks elements that a primitive must leave alone.
const canary = float32(-7777.25)

var (
	portable = generic.Primitives()
	quietNaN = float32(math.NaN())
	infinity = float32(math.Inf(1))
)

// special holds the inputs at which float32 arithmetic turns.
var special = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, quietNaN, infinity, -infinity, math.MaxFloat32, -math.MaxFloat32,
	math.SmallestNonzeroFloat32, 1e-40, 0x1p-126, 88.722839, 88.72284, 89, 90, 128, -87.33, -87.34, -88, -103.9, -104, -105, 1e30, -1e30,
}

// between returns n random values in (lo, hi).
func between(r *rand.Rand, n int, lo, hi float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = lo + (hi-lo)*r.Float32()
	}
	return v
}

// spread lays rows x cols values out at a leading dimension in guarded memory,
// canaries between the rows.
func spread(t testing.TB, r *rand.Rand, rows, cols, ld int, end bool) []float32 {
	if rows == 0 || cols == 0 {
		return nil
	}
	v := guard.Float32s(t, (rows-1)*ld+cols, end)
	for i := range v {
		v[i] = canary
		if i%ld < cols {
			v[i] = 2*r.Float32() - 1
		}
	}
	return v
}

// guarded copies v to guarded memory.
func guarded(t testing.TB, v []float32, end bool) []float32 {
	if v == nil {
		return nil
	}
	g := guard.Float32s(t, len(v), end)
	copy(g, v)
	return g
}

// alike says whether two results are alike, any NaN being like any other.
func alike(a, b float32) bool { return a == b || a != a && b != b }

// wantSame fails at the first difference, canaries between rows included.
func wantSame(t testing.TB, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if !alike(got[i], want[i]) {
			t.Fatalf("%s: element %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// edges calls run as one subtest for each end that buffers can be guarded at.
func edges(t *testing.T, run func(t *testing.T, end bool)) {
	for _, end := range []bool{true, false} {
		name := "guard before"
		if end {
			name = "guard after"
		}
		t.Run(name, func(t *testing.T) { run(t, end) })
	}
}

func TestPack(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, m := range []int{0, 1, 2, 3} {
				for n := range 84 {
					for variant := range 6 {
						ls, ld := n+variant%2*3, n+variant%2*5
						if variant >= 4 { // rows that may be streamed, where memory begins at a vector
							ld = (n + 15) / 16 * 16
						}
						want := &tile.Pack{Src: spread(t, r, m, n, ls, end), Dst: spread(t, r, m, n, ld, end), LDS: ls, LDD: ld, M: m, N: n, Stream: variant >= 4}
						if variant >= 2 {
							want.Row = spread(t, r, 1, m, m, end)
						}
						got := *want
						got.Dst, got.NonFinite = guarded(t, want.Dst, end), true
						src := slices.Clone(want.Src)
						portable.Pack(want)
						p.Pack(&got)
						what := fmt.Sprintf("m=%d n=%d variant=%d", m, n, variant)
						wantSame(t, what, got.Dst, want.Dst)
						wantSame(t, what+" source", got.Src, src)
						if got.NonFinite {
							t.Fatalf("%s: NonFinite", what)
						}
					}
				}
			}
		})
	})
}

func TestPackNonFinite(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for _, n := range []int{1, 7, 8, 15, 16, 17, 65, 130} {
			const rows = 3
			for at := range rows * n {
				for _, bad := range special {
					for _, scale := range []float32{1, 0, -2, infinity} {
						src := make([]float32, rows*n)
						for i := range src {
							src[i] = 1
						}
						src[at] = bad
						want := &tile.Pack{Src: src, Dst: make([]float32, len(src)), Row: []float32{1, 1, 1}, LDS: n, LDD: n, M: rows, N: n}
						want.Row[at/n] = scale
						got := *want
						got.Dst = make([]float32, len(src))
						portable.Pack(want)
						p.Pack(&got)
						if got.NonFinite != want.NonFinite {
							t.Fatalf("n=%d, %g at %d, scaled by %g: NonFinite = %v, want %v", n, bad, at, scale, got.NonFinite, want.NonFinite)
						}
						wantSame(t, "packed", got.Dst, want.Dst)
					}
				}
			}
		}
	})
}

func TestPackInPlace(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		r := rand.New(rand.NewPCG(3, 4))
		for n := 1; n < 70; n++ {
			src := between(r, 3*n, -1, 1)
			want := &tile.Pack{Src: src, Dst: make([]float32, len(src)), Row: between(r, 3, -1, 1), LDS: n, LDD: n, M: 3, N: n}
			got := *want
			got.Src = slices.Clone(src)
			got.Dst = got.Src
			portable.Pack(want)
			p.Pack(&got)
			wantSame(t, fmt.Sprint("n=", n), got.Dst, want.Dst)
		}
	})
}

func TestDecay(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(5, 6))
			for n := range 72 {
				for variant := range 4 {
					ld := n + variant%2*3
					g := guarded(t, between(r, n, 0, 1.2), end)
					if variant >= 2 && n > 0 {
						// Zeros above the diagonal stay zeros whatever the factors.
						g[r.IntN(n)] = special[r.IntN(len(special))]
					}
					want := &tile.Decay{G: g, C: spread(t, r, 1, n, n, end), D: spread(t, r, n, n, ld, end), LDD: ld, N: n}
					got := *want
					got.C, got.D = guarded(t, want.C, end), guarded(t, want.D, end)
					portable.Decay(want)
					p.Decay(&got)
					what := fmt.Sprintf("n=%d variant=%d", n, variant)
					wantSame(t, what+" C", got.C, want.C)
					wantSame(t, what+" D", got.D, want.D)
					for i := range n {
						for j := i + 1; j < n; j++ {
							if math.Float32bits(got.D[i*ld+j]) != 0 {
								t.Fatalf("%s: D[%d,%d] is not zero", what, i, j)
							}
						}
					}
				}
			}
		})
	})
}

// expUlps is how far a result is from the exact exponential, in units of the
// last place of a float32 of that size; tiny results may be 0.
func expUlps(x, got float32) float64 {
	want := math.Exp(float64(x))
	switch {
	case want != want:
		if got != got {
			return 0
		}
		return math.Inf(1)
	case want < 0x1p-126 && (got == 0 || float64(got) <= 0x1p-126):
		return 0
	case float64(float32(want)) > math.MaxFloat32:
		if got == infinity {
			return 0
		}
		return math.Inf(1)
	case got == infinity: // overflow a little early: one place above the largest number
		return math.Abs(0x1p128-want) / 0x1p104
	}
	_, exponent := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(exponent, -125)-24)
}

// maxExpUlps is what the assembly keeps to; tile.Exp allows 2.
const maxExpUlps = 0.9

func TestExpAccuracy(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		const block = 4096
		src, dst := make([]float32, block), make([]float32, block)
		worst, at := 0.0, float32(0)
		check := func() {
			p.Exp(&tile.Exp{Src: src, Dst: dst, Stride: 1, N: block, Scale: 1})
			for i, x := range src {
				if u := expUlps(x, dst[i]); u > worst {
					worst, at = u, x
				}
			}
		}
		// Every 997th float32 of all there are, NaN and Inf included.
		for bits := uint64(0); bits < 1<<32; {
			for i := range src {
				src[i] = math.Float32frombits(uint32(bits))
				bits += 997
			}
			check()
		}
		// And evenly over what neither overflows nor vanishes.
		for from := float32(-104); from < 90; from += 0.25 {
			for i := range src {
				src[i] = from + 0.25*float32(i)/block
			}
			check()
		}
		if t.Logf("at most %.3f ulp, at %g", worst, at); worst > maxExpUlps {
			t.Errorf("exp(%g) is %g ulp off, want %g or less", at, worst, maxExpUlps)
		}
		for _, c := range [][2]float32{{0, 1}, {-infinity, 0}, {infinity, infinity}, {89, infinity}, {-200, 0}, {quietNaN, quietNaN}} {
			src[0] = c[0]
			if p.Exp(&tile.Exp{Src: src, Dst: dst, Stride: 1, N: 1, Scale: 1}); !alike(dst[0], c[1]) {
				t.Errorf("exp(%g) = %g", c[0], dst[0])
			}
		}
	})
}

func TestExp(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(7, 8))
			for n := range 68 {
				for _, stride := range []int{1, 2, 3, 17} {
					for _, scale := range []float32{1, -0.5} {
						for _, abs := range []bool{false, true} {
							src := spread(t, r, n, 1, stride, end)
							for i := 0; i < len(src); i += stride {
								src[i] *= 50
								if r.IntN(8) == 0 {
									src[i] = special[r.IntN(len(special))]
								}
							}
							before := slices.Clone(src)
							dst := guard.Float32s(t, n, end)
							p.Exp(&tile.Exp{Src: src, Dst: dst, Stride: stride, N: n, Scale: scale, Abs: abs})
							what := fmt.Sprintf("n=%d stride=%d scale=%g abs=%v", n, stride, scale, abs)
							for i, got := range dst {
								x := src[i*stride]
								if abs {
									x = float32(math.Abs(float64(x)))
								}
								if u := expUlps(scale*x, got); u > maxExpUlps {
									t.Fatalf("%s: exp(%g) = %g, %g ulp off", what, scale*x, got, u)
								}
							}
							wantSame(t, what+" source", src, before)
							if stride == 1 {
								p.Exp(&tile.Exp{Src: src, Dst: src, Stride: 1, N: n, Scale: scale, Abs: abs})
								wantSame(t, what+" in place", src, dst)
							}
						}
					}
				}
			}
		})
	})
}

func TestGather(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(9, 10))
			const tableRows = 12
			for _, group := range []int{-1, 0, 1, 2, 3, 4, 8, 9} {
				for count := range 20 {
					for _, n := range []int{0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100} {
						ld := n + count%3
						g := &tile.Gather{Table: spread(t, r, tableRows, n, ld, end), Rows: guard.Int32s(t, count, end), Weight: guarded(t, between(r, count, -1, 1), end), LD: ld, N: n, Group: group}
						g.Out = guarded(t, between(r, n, -1, 1), end)
						want := make([]float64, n)
						scale := make([]float64, n)
						for i, v := range g.Out {
							want[i], scale[i] = float64(v), math.Abs(float64(v))
						}
						for k := range g.Rows {
							g.Rows[k] = int32(r.IntN(tableRows))
							for i := range n {
								term := float64(g.Weight[k]) * float64(g.Table[int(g.Rows[k])*ld+i])
								want[i], scale[i] = want[i]+term, scale[i]+math.Abs(term)
							}
						}
						table := slices.Clone(g.Table)
						p.Gather(g)
						what := fmt.Sprintf("group=%d rows=%d n=%d", group, count, n)
						for i, v := range g.Out {
							if !(math.Abs(float64(v)-want[i]) <= float64(count+1)*0x1p-24*scale[i]) {
								t.Fatalf("%s: Out[%d] = %g, want %g", what, i, v, want[i])
							}
						}
						wantSame(t, what+" table", g.Table, table)
					}
				}
			}
		})
	})
}

// The first and the last row of a table touch its ends, and Out is written
// nowhere but in its N elements.
func TestGatherStaysInside(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for n := 1; n < 70; n++ {
			out := slices.Repeat([]float32{canary}, n+32)
			g := &tile.Gather{Table: guard.Float32s(t, 3*n, true), Rows: []int32{0, 2, 1, 2, 0}, Weight: []float32{1, 1, 1, 1, 1}, Out: out[16 : 16+n], LD: n, N: n, Group: 2}
			p.Gather(g)
			for i, v := range out {
				if v != canary {
					t.Fatalf("n=%d: element %d is %g", n, i-16, v)
				}
			}
		}
	})
}

func TestGatherNaNComesThrough(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for _, group := range []int{1, 2, 4, 8} {
			g := &tile.Gather{Table: make([]float32, 9*21), Rows: []int32{0, 1, 2, 3, 4, 5, 6, 7, 8}, Weight: make([]float32, 9), Out: make([]float32, 21), LD: 21, N: 21, Group: group}
			g.Table[4*21+20], g.Table[8*21+3] = infinity, quietNaN
			p.Gather(g)
			for i, v := range g.Out {
				if nan := i == 20 || i == 3; (v != v) != nan { // 0 times Inf is NaN too
					t.Errorf("group %d: Out[%d] = %g", group, i, v)
				}
			}
		}
	})
}

func TestVectorAllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		v := make([]float32, 64*64)
		w := make([]float32, 64*64)
		pack := &tile.Pack{Src: v, Dst: w, Row: v, LDS: 64, LDD: 64, M: 64, N: 63}
		decay := &tile.Decay{G: v, C: v[64:], D: w, LDD: 64, N: 63}
		exp := &tile.Exp{Src: v, Dst: w, Stride: 3, N: 63, Scale: 1}
		gather := &tile.Gather{Table: v, Rows: make([]int32, 9), Weight: v, Out: w, LD: 64, N: 63, Group: 8}
		if n := testing.AllocsPerRun(10, func() { p.Pack(pack); p.Decay(decay); p.Exp(exp); p.Gather(gather) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// availableTables returns the ISAs' tables for fuzz functions, which have no subtests.
func availableTables() []*tile.Primitives {
	var all []*tile.Primitives
	for _, isa := range ISAs() {
		p, _ := Primitives(isa)
		all = append(all, p)
	}
	return all
}

// numbers makes n floats of fuzzed bytes, any bit pattern among them.
func numbers(data []byte, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		var bits uint32
		for k := range 4 {
			if len(data) > 0 {
				bits = bits<<8 | uint32(data[(4*i+k)%len(data)])
			}
		}
		v[i] = math.Float32frombits(bits)
	}
	return v
}

func FuzzPack(f *testing.F) {
	f.Add([]byte{0x7f, 0x80, 0, 0, 1}, uint8(3), uint8(17), true)
	f.Add([]byte{0x3f, 0x80, 0, 0}, uint8(1), uint8(64), false)
	f.Fuzz(func(t *testing.T, data []byte, m, n uint8, scaled bool) {
		rows, cols := int(m%8), int(n)
		for _, p := range availableTables() {
			want := &tile.Pack{Src: numbers(data, rows*cols), Dst: make([]float32, rows*cols), LDS: cols, LDD: cols, M: rows, N: cols}
			if scaled {
				want.Row = numbers(data[len(data)/2:], rows)
			}
			got := *want
			got.Src, got.Dst = guarded(t, want.Src, true), guard.Float32s(t, rows*cols, true)
			portable.Pack(want)
			p.Pack(&got)
			wantSame(t, string(p.ISA), got.Dst, want.Dst)
			if got.NonFinite != want.NonFinite {
				t.Errorf("%s: NonFinite = %v, want %v", p.ISA, got.NonFinite, want.NonFinite)
			}
		}
	})
}

func FuzzDecay(f *testing.F) {
	f.Add([]byte{0x3f, 0x70, 0, 0, 9}, uint8(20), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, size, pad uint8) {
		n := int(size % 70)
		ld := n + int(pad%9)
		for _, p := range availableTables() {
			want := &tile.Decay{G: numbers(data, n), C: make([]float32, n), D: make([]float32, n*ld), LDD: ld, N: n}
			got := *want
			got.C, got.D = make([]float32, n), make([]float32, n*ld)
			portable.Decay(want)
			p.Decay(&got)
			wantSame(t, string(p.ISA)+" C", got.C, want.C)
			wantSame(t, string(p.ISA)+" D", got.D, want.D)
		}
	})
}

func FuzzExp(f *testing.F) {
	f.Add([]byte{0xc0, 0x40, 1, 2, 3}, uint8(37), uint8(2), float32(1), false)
	f.Fuzz(func(t *testing.T, data []byte, n, step uint8, scale float32, abs bool) {
		stride := 1 + int(step%5)
		src := numbers(data, int(n)*stride)
		for _, p := range availableTables() {
			dst := guard.Float32s(t, int(n), true)
			p.Exp(&tile.Exp{Src: src, Dst: dst, Stride: stride, N: int(n), Scale: scale, Abs: abs})
			for i, got := range dst {
				x := src[i*stride]
				if abs {
					x = float32(math.Abs(float64(x)))
				}
				if u := expUlps(scale*x, got); u > maxExpUlps {
					t.Errorf("%s: exp(%g) = %g, %g ulp off", p.ISA, scale*x, got, u)
				}
			}
		}
	})
}

func FuzzGather(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, uint8(33), uint8(8))
	f.Fuzz(func(t *testing.T, data []byte, width, group uint8) {
		const tableRows = 16
		n := int(width)
		r := rand.New(rand.NewPCG(uint64(len(data)), uint64(width)))
		table := between(r, tableRows*n, -1, 1)
		weight := between(r, len(data), -1, 1)
		rows := make([]int32, len(data))
		want := make([]float64, n)
		for k, b := range data {
			rows[k] = int32(b % tableRows)
			for i := range n {
				want[i] += float64(weight[k]) * float64(table[int(rows[k])*n+i])
			}
		}
		for _, p := range availableTables() {
			out := guard.Float32s(t, n, true)
			p.Gather(&tile.Gather{Table: table, Rows: rows, Weight: weight, Out: out, LD: n, N: n, Group: int(group)})
			for i, v := range out {
				count := float64(len(data) + 1)
				if !(math.Abs(float64(v)-want[i]) <= count*count*0x1p-24) {
					t.Errorf("%s: Out[%d] = %g, want %g", p.ISA, i, v, want[i])
				}
			}
		}
	})
}

func BenchmarkPack(b *testing.B) {
	benchmark(b, 4*2*64*128, "B/s", func(p *tile.Primitives) func() {
		a := &tile.Pack{Src: make([]float32, 64*128), Dst: make([]float32, 64*128), Row: make([]float32, 64), LDS: 128, LDD: 128, M: 64, N: 128}
		return func() { p.Pack(a) }
	})
}

func BenchmarkDecay(b *testing.B) {
	benchmark(b, 4*64*64, "B/s", func(p *tile.Primitives) func() {
		g := make([]float32, 64)
		for i := range g {
			g[i] = 0.99
		}
		a := &tile.Decay{G: g, C: make([]float32, 64), D: make([]float32, 64*64), LDD: 64, N: 64}
		return func() { p.Decay(a) }
	})
}

func BenchmarkExp(b *testing.B) {
	for _, stride := range []int{1, 8} {
		b.Run(fmt.Sprint("stride=", stride), func(b *testing.B) {
			benchmark(b, 1024, "exp/s", func(p *tile.Primitives) func() {
				a := &tile.Exp{Src: make([]float32, 1024*stride), Dst: make([]float32, 1024), Stride: stride, N: 1024, Scale: 1}
				return func() { p.Exp(a) }
			})
		})
	}
}

// BenchmarkGather walks at random over a table that no cache holds.
func BenchmarkGather(b *testing.B) {
	const n, rows = 1024, 32
	table := make([]float32, 64<<20/4)
	for i := range table {
		table[i] = 1
	}
	for _, group := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprint("group=", group), func(b *testing.B) {
			benchmark(b, 4*n*rows, "B/s", func(p *tile.Primitives) func() {
				r := rand.New(rand.NewPCG(1, 1))
				a := &tile.Gather{Table: table, Rows: make([]int32, rows), Weight: make([]float32, rows), Out: make([]float32, n), LD: n, N: n, Group: group}
				return func() {
					for i := range a.Rows {
						a.Rows[i] = int32(r.IntN(len(table) / n))
					}
					p.Gather(a)
				}
			})
		})
	}
}

// benchmark times a call on every table and reports count per call as a rate.
func benchmark(b *testing.B, count float64, unit string, prepare func(p *tile.Primitives) func()) {
	for _, p := range append([]*tile.Primitives{portable}, availableTables()...) {
		b.Run("isa="+string(p.ISA), func(b *testing.B) {
			call := prepare(p)
			for b.Loop() {
				call()
			}
			b.ReportMetric(count*float64(b.N)/b.Elapsed().Seconds()/1e9, "G"+unit)
		})
	}
}
