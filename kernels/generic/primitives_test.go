package generic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/internal/digest"
	"github.com/rooftune/rooftune/kernels/tile"
)

var nan = float32(math.NaN())

// fill returns n values in (-1, 1).
func fill(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 2*r.Float32() - 1
	}
	return v
}

// sentinel marks elements that a primitive must leave alone.
const sentinel = float32(12345)

// matrix returns rows x cols values at a leading dimension with sentinels
// between the rows and none after the last.
func matrix(r *rand.Rand, rows, cols, ld int) []float32 {
	if rows == 0 || cols == 0 {
		return nil
	}
	v := make([]float32, (rows-1)*ld+cols)
	for i := range v {
		v[i] = sentinel
		if i%ld < cols {
			v[i] = 2*r.Float32() - 1
		}
	}
	return v
}

// wantGaps checks the sentinels between rows.
func wantGaps(t *testing.T, what string, m []float32, cols, ld int) {
	t.Helper()
	for i, v := range m {
		if i%ld >= cols && v != sentinel {
			t.Fatalf("%s: element %d between rows was written", what, i)
		}
	}
}

// naiveProduct is the scalar loop of tile.Product in float64, with the same sum over
// absolute values for the bound.
func naiveProduct(kind string, p *tile.Product, before []float32) (want, scale []float64) {
	want, scale = make([]float64, p.M*p.N), make([]float64, p.M*p.N)
	for i := range p.M {
		for j := range p.N {
			sum, abs := 0.0, 0.0
			depth := p.K
			if kind == "NN" && p.Lower {
				depth = min(depth, i+1)
			}
			for k := range depth {
				var a, b float64
				switch kind {
				case "NN":
					a, b = float64(p.A[i*p.LDA+k]), float64(p.B[k*p.LDB+j])
				case "NT":
					a, b = float64(p.A[i*p.LDA+k]), float64(p.B[j*p.LDB+k])
				case "TN":
					a, b = float64(p.A[k*p.LDA+i]), float64(p.B[k*p.LDB+j])
				}
				sum += a * b
				abs += math.Abs(a * b)
			}
			if p.Row != nil {
				sum *= float64(p.Row[i])
				abs *= math.Abs(float64(p.Row[i]))
			}
			if p.Mask != nil {
				sum *= float64(p.Mask[i*p.LDM+j])
			}
			switch above := kind == "NT" && p.Lower && j > i-p.Strict; {
			case above && p.Beta == 0:
				sum, abs = 0, 0
			case above: // as it was, to the bit
				sum, abs = float64(before[i*p.LDC+j]), 0
			case p.Beta != 0:
				c := float64(p.Beta) * float64(before[i*p.LDC+j])
				sum += c
				abs += math.Abs(c)
			}
			want[i*p.N+j], scale[i*p.N+j] = sum, abs
		}
	}
	return want, scale
}

func TestProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 13}
	prims := Primitives()
	for kind, kernels := range map[string][]tile.ProductKernel{"NN": prims.NN, "NT": prims.NT, "TN": prims.TN} {
		for _, kernel := range kernels {
			t.Run(fmt.Sprintf("%s/%dx%d", kind, kernel.MR, kernel.NR), func(t *testing.T) {
				for _, m := range sizes {
					for _, n := range sizes {
						for _, k := range sizes {
							variant := r.IntN(64)
							p := product(r, kind, m, n, k, variant)
							before := slices.Clone(p.C)
							kernel.Run(p)
							want, scale := naiveProduct(kind, p, before)
							for i := range m {
								for j := range n {
									got := float64(p.C[i*p.LDC+j])
									tol := float64(k+4) * 0x1p-23 * scale[i*n+j]
									if !(math.Abs(got-want[i*n+j]) <= tol) {
										t.Fatalf("m=%d n=%d k=%d variant=%d C[%d,%d]: got %g, want %g within %g", m, n, k, variant, i, j, got, want[i*n+j], tol)
									}
								}
							}
							wantGaps(t, "C", p.C, n, max(p.LDC, 1))
						}
					}
				}
			})
		}
	}
}

// product returns a random product; the bits of variant choose Row, Mask,
// Lower, Strict, Beta and padding. C is NaN where it must not be read.
func product(r *rand.Rand, kind string, m, n, k, variant int) *tile.Product {
	pad := variant & 1 * 3
	am, an, bm, bn := m, k, k, n
	switch kind {
	case "NT":
		bm, bn = n, k
	case "TN":
		am, an = k, m
	}
	p := &tile.Product{M: m, N: n, K: k, LDA: an + pad, LDB: bn + pad, LDC: n + pad, LDM: n + pad}
	p.A, p.B, p.C = matrix(r, am, an, p.LDA), matrix(r, bm, bn, p.LDB), matrix(r, m, n, p.LDC)
	if variant&2 != 0 {
		p.Row = fill(r, m)
	}
	p.Lower = variant&4 != 0 && kind != "TN"
	if kind == "NT" {
		if variant&8 != 0 {
			p.Mask = matrix(r, m, n, p.LDM)
		}
		if p.Lower {
			p.Strict = variant >> 4 & 1
		}
	}
	if variant&32 != 0 {
		p.Beta = 0.75
	}
	if p.Lower && kind == "NN" {
		for i := range m {
			for c := i + 1; c < k; c++ {
				p.A[i*p.LDA+c] = 0
			}
		}
	}
	if p.Beta == 0 && n > 0 {
		for i := range p.C {
			if i%p.LDC < n {
				p.C[i] = nan
			}
		}
	}
	return p
}

func TestProductByHand(t *testing.T) {
	prims := Primitives()
	for _, kernel := range prims.NN {
		p := &tile.Product{A: []float32{1, 2, 3, 4}, B: []float32{5, 6, 7, 8}, C: []float32{1, 1, 1, 1}, Row: []float32{1, 10}, LDA: 2, LDB: 2, LDC: 2, M: 2, N: 2, K: 2, Beta: 2}
		kernel.Run(p)
		if want := []float32{21, 24, 432, 502}; !slices.Equal(p.C, want) {
			t.Errorf("NN %dx%d: got %v, want %v", kernel.MR, kernel.NR, p.C, want)
		}
	}
	for _, kernel := range prims.TN {
		p := &tile.Product{A: []float32{1, 2, 3, 4}, B: []float32{5, 6, 7, 8}, C: []float32{1, 1, 1, 1}, Row: []float32{1, 10}, LDA: 2, LDB: 2, LDC: 2, M: 2, N: 2, K: 2, Beta: -1}
		kernel.Run(p)
		if want := []float32{25, 29, 379, 439}; !slices.Equal(p.C, want) {
			t.Errorf("TN %dx%d: got %v, want %v", kernel.MR, kernel.NR, p.C, want)
		}
	}
	for _, kernel := range prims.NT {
		p := &tile.Product{A: []float32{1, 2, 3, 4}, B: []float32{5, 6, 7, 8}, C: []float32{nan, nan, nan, nan}, Mask: []float32{2, nan, 3, 4}, LDA: 2, LDB: 2, LDC: 2, LDM: 2, M: 2, N: 2, K: 2, Lower: true}
		kernel.Run(p)
		if want := []float32{34, 0, 117, 212}; !slices.Equal(p.C, want) {
			t.Errorf("NT %dx%d: got %v, want %v", kernel.MR, kernel.NR, p.C, want)
		}
		p.C, p.Beta, p.Row = []float32{1, 5, 2, 3}, 2, []float32{1, 10}
		kernel.Run(p)
		if want := []float32{36, 5, 1174, 2126}; !slices.Equal(p.C, want) {
			t.Errorf("NT %dx%d with Beta: got %v, want %v", kernel.MR, kernel.NR, p.C, want)
		}
	}
}

// A NaN in a later token's row must not reach an earlier token: not through
// the lower triangle of NT, and not through NN with Lower.
func TestProductLowerKeepsNaN(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n, k, bad = 11, 6, 5
	prims := Primitives()
	for strict := range 2 {
		for _, kernel := range prims.NT {
			p := product(r, "NT", n, n, k, 4|strict<<4)
			p.B[bad*p.LDB+2] = nan
			kernel.Run(p)
			for i := range n {
				for j := range n {
					got := p.C[i*p.LDC+j]
					if above := j > i-strict; above && (got != 0 || math.Signbit(float64(got))) {
						t.Errorf("NT %dx%d strict %d: C[%d,%d] = %g above the diagonal", kernel.MR, kernel.NR, strict, i, j, got)
					} else if isNaN := got != got; !above && isNaN != (j == bad) {
						t.Errorf("NT %dx%d strict %d: C[%d,%d] = %g", kernel.MR, kernel.NR, strict, i, j, got)
					}
				}
			}
		}
	}
	for _, kernel := range prims.NN {
		p := product(r, "NN", n, k, n, 4)
		p.B[bad*p.LDB+2] = nan
		kernel.Run(p)
		for i := range n {
			for j := range k {
				if got := p.C[i*p.LDC+j]; (got != got) != (i >= bad && j == 2) {
					t.Errorf("NN %dx%d: C[%d,%d] = %g", kernel.MR, kernel.NR, i, j, got)
				}
			}
		}
	}
}

func TestSolve(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	run := Primitives().Solve
	byHand := &tile.Solve{L: []float32{0, 0, 0, 2, 0, 0, 3, 4, 0}, X: []float32{1, 5, 10}, LDL: 3, LDX: 1, N: 3, W: 1}
	run(byHand)
	if want := []float32{1, 3, -5}; !slices.Equal(byHand.X, want) {
		t.Errorf("by hand: got %v, want %v", byHand.X, want)
	}
	for n := range 14 {
		for _, w := range []int{0, 1, 2, 5, 16} {
			ldl, ldx := n+2, w+3
			l, x := matrix(r, n, n, ldl), matrix(r, n, w, ldx)
			before := slices.Clone(x)
			run(&tile.Solve{L: l, X: x, LDL: ldl, LDX: ldx, N: n, W: w})
			// (I+L) X must be the right-hand side again.
			for i := range n {
				for j := range w {
					sum, abs := float64(x[i*ldx+j]), math.Abs(float64(x[i*ldx+j]))
					for k := range i {
						term := float64(l[i*ldl+k]) * float64(x[k*ldx+j])
						sum += term
						abs += math.Abs(term)
					}
					if want := float64(before[i*ldx+j]); !(math.Abs(sum-want) <= float64(n+1)*0x1p-23*abs) {
						t.Fatalf("n=%d w=%d row %d column %d: got back %g, want %g", n, w, i, j, sum, want)
					}
				}
			}
			wantGaps(t, "X", x, w, ldx)
		}
	}
}

func TestPack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	run := Primitives().Pack
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		src, row []float32
		bad      bool
	}{
		{[]float32{1, -2, 0, math.MaxFloat32}, nil, false},
		{[]float32{1, nan, 3, 4}, nil, true},
		{[]float32{1, 2, 3, -inf}, nil, true},
		{[]float32{1, 2, inf, 4}, []float32{1, 0}, true},
		{[]float32{1, 2, 3, 4}, []float32{1, inf}, true},
		{[]float32{1, 2, 3, math.MaxFloat32}, []float32{1, 2}, true},
	} {
		p := &tile.Pack{Src: c.src, Dst: make([]float32, 4), Row: c.row, LDS: 2, LDD: 2, M: 2, N: 2, NonFinite: !c.bad}
		run(p)
		if p.NonFinite != c.bad {
			t.Errorf("%v times %v: NonFinite = %v", c.src, c.row, p.NonFinite)
		}
	}
	for _, m := range []int{0, 1, 4} {
		for _, n := range []int{0, 1, 7} {
			for _, scaled := range []bool{false, true} {
				p := &tile.Pack{Src: matrix(r, m, n, n+1), Dst: matrix(r, m, n, n+2), LDS: n + 1, LDD: n + 2, M: m, N: n}
				if scaled {
					p.Row = fill(r, m)
				}
				run(p)
				for i := range m {
					for j := range n {
						want := p.Src[i*p.LDS+j]
						if scaled {
							want *= p.Row[i]
						}
						if got := p.Dst[i*p.LDD+j]; got != want {
							t.Fatalf("%dx%d [%d,%d]: got %g, want %g", m, n, i, j, got, want)
						}
					}
				}
				wantGaps(t, "Dst", p.Dst, n, p.LDD)
			}
		}
	}
	p := &tile.Pack{Src: []float32{1, 2, 3}, Row: []float32{2}, LDS: 3, LDD: 3, M: 1, N: 3}
	p.Dst = p.Src
	run(p)
	if want := []float32{2, 4, 6}; !slices.Equal(p.Src, want) {
		t.Errorf("in place: got %v, want %v", p.Src, want)
	}
}

func TestDecay(t *testing.T) {
	p := &tile.Decay{G: []float32{0.5, 0.25, 3}, C: make([]float32, 3), D: []float32{9, 9, 9, sentinel, 9, 9, 9, sentinel, 9, 9, 9}, LDD: 4, N: 3}
	Primitives().Decay(p)
	if want := []float32{0.5, 0.125, 0.375}; !slices.Equal(p.C, want) {
		t.Errorf("C = %v, want %v", p.C, want)
	}
	if want := []float32{1, 0, 0, sentinel, 0.25, 1, 0, sentinel, 0.75, 3, 1}; !slices.Equal(p.D, want) {
		t.Errorf("D = %v, want %v", p.D, want)
	}
	Primitives().Decay(&tile.Decay{})
}

func TestExp(t *testing.T) {
	inf := float32(math.Inf(1))
	src := []float32{0, 1, -1, inf, -inf, nan, 89, -104, -2}
	dst := make([]float32, len(src))
	Primitives().Exp(&tile.Exp{Src: src, Dst: dst, Stride: 1, N: len(src), Scale: 1})
	want := []float32{1, math.E, 1 / math.E, inf, 0, nan, inf, 0, 0.13533528}
	for i := range want {
		if dst[i] != want[i] && !(dst[i] != dst[i] && want[i] != want[i]) {
			t.Errorf("exp(%g) = %g, want %g", src[i], dst[i], want[i])
		}
	}
	Primitives().Exp(&tile.Exp{Src: src, Dst: dst, Stride: 4, N: 3, Scale: -2, Abs: true})
	if want := []float32{1, 0, 0.018315639}; !slices.Equal(dst[:3], want) {
		t.Errorf("strided: got %v, want %v", dst[:3], want)
	}
}

func TestGather(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	run := Primitives().Gather
	for _, group := range []int{0, 1, 2, 3, 4, 8} {
		for rows := range 20 {
			for _, n := range []int{0, 1, 5, 16} {
				const tables = 30
				ld := n + 2
				p := &tile.Gather{Table: matrix(r, tables, n, ld), Weight: fill(r, rows), Out: fill(r, n), LD: ld, N: n, Group: group}
				want := make([]float64, n)
				for i, v := range p.Out {
					want[i] = float64(v)
				}
				for k := range rows {
					index := r.IntN(tables)
					p.Rows = append(p.Rows, int32(index))
					for i := range n {
						want[i] += float64(p.Weight[k]) * float64(p.Table[index*ld+i])
					}
				}
				run(p)
				for i, v := range p.Out {
					if !(math.Abs(float64(v)-want[i]) <= 0x1p-22*float64(rows+1)) {
						t.Fatalf("group %d, %d rows, n=%d: Out[%d] = %g, want %g", group, rows, n, i, v, want[i])
					}
				}
			}
		}
	}
}

func TestNothingAllocated(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	prims := Primitives()
	nn, nt, tn := product(r, "NN", 9, 9, 9, 14), product(r, "NT", 9, 9, 9, 14), product(r, "TN", 9, 9, 9, 8)
	gather := &tile.Gather{Table: make([]float32, 16), Rows: make([]int32, 15), Weight: make([]float32, 15), Out: make([]float32, 16), N: 16, Group: 8}
	allocs := testing.AllocsPerRun(10, func() {
		for i := range prims.NN {
			prims.NN[i].Run(nn)
			prims.NT[i].Run(nt)
			prims.TN[i].Run(tn)
		}
		prims.Gather(gather)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// What is timed must be hashed: every source of the package but the oracles.
func TestSourceHashCoversThePackage(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Skipf("the sources are not here: %v", err)
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "oracle") || name == "source_hash.go" {
			continue
		}
		if _, err := sources.ReadFile(name); err != nil {
			t.Errorf("%s is not embedded", name)
		}
	}
	if got := SourceHash(); len(got) != len(digest.Sum()) || got == digest.Sum() {
		t.Errorf("SourceHash() = %q", got)
	}
}

func BenchmarkProduct(b *testing.B) {
	r := rand.New(rand.NewPCG(13, 14))
	prims := Primitives()
	for _, set := range []struct {
		kind    string
		kernels []tile.ProductKernel
	}{{"NN", prims.NN}, {"NT", prims.NT}, {"TN", prims.TN}} {
		for _, kernel := range set.kernels {
			b.Run(fmt.Sprintf("%s/tile=%dx%d", set.kind, kernel.MR, kernel.NR), func(b *testing.B) {
				const n = 48
				p := product(r, set.kind, n, n, n, 0)
				for b.Loop() {
					kernel.Run(p)
				}
				b.ReportMetric(2*n*n*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gflop/s")
			})
		}
	}
}
