package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

// eachISA runs a test for each instruction set of this package. Those that
// the CPU lacks are skipped, or fail if ROOFTUNE_TEST_REQUIRE_ISA names them.
func eachISA(t *testing.T, run func(t *testing.T, p *tile.Primitives)) {
	for _, isa := range []tile.ISA{tile.AVX2, tile.AVX512, tile.NEON} {
		t.Run(string(isa), func(t *testing.T) {
			p, ok := Primitives(isa)
			if !ok {
				required := strings.Split(os.Getenv("ROOFTUNE_TEST_REQUIRE_ISA"), ",")
				if slices.Contains(required, string(isa)) {
					t.Fatalf("%s is required, but this CPU or build does not have it", isa)
				}
				t.Skipf("this CPU or build does not have %s", isa)
			}
			run(t, p)
		})
	}
}

// A productForm is one of the three products with its scalar loop in float64.
type productForm struct {
	name    string
	kernels func(*tile.Primitives) []tile.ProductKernel
	// a and b are the shapes of A and B as they lie in memory.
	a, b func(m, n, k int) (rows, cols int)
	// want returns element (i, j) of the result and the sum of the absolute values of its terms.
	want func(p *tile.Product, old []float32, i, j int) (value, scale float64)
}

var productForms = []productForm{
	{
		"NN", func(p *tile.Primitives) []tile.ProductKernel { return p.NN },
		func(m, n, k int) (int, int) { return m, k },
		func(m, n, k int) (int, int) { return k, n },
		func(p *tile.Product, old []float32, i, j int) (value, scale float64) {
			k := p.K
			if p.Lower {
				k = min(k, i+1)
			}
			for k := range k {
				x := float64(p.A[i*p.LDA+k]) * float64(p.B[k*p.LDB+j])
				value, scale = value+x, scale+math.Abs(x)
			}
			if p.Row != nil {
				value, scale = value*float64(p.Row[i]), scale*math.Abs(float64(p.Row[i]))
			}
			return addOld(p, old, i, j, value, scale)
		},
	},
	{
		"TN", func(p *tile.Primitives) []tile.ProductKernel { return p.TN },
		func(m, n, k int) (int, int) { return k, m },
		func(m, n, k int) (int, int) { return k, n },
		func(p *tile.Product, old []float32, i, j int) (value, scale float64) {
			for k := range p.K {
				x := float64(p.A[k*p.LDA+i]) * float64(p.B[k*p.LDB+j])
				value, scale = value+x, scale+math.Abs(x)
			}
			if p.Row != nil {
				value, scale = value*float64(p.Row[i]), scale*math.Abs(float64(p.Row[i]))
			}
			return addOld(p, old, i, j, value, scale)
		},
	},
	{
		"NT", func(p *tile.Primitives) []tile.ProductKernel { return p.NT },
		func(m, n, k int) (int, int) { return m, k },
		func(m, n, k int) (int, int) { return n, k },
		func(p *tile.Product, old []float32, i, j int) (value, scale float64) {
			if p.Lower && j > i-p.Strict {
				if p.Beta != 0 {
					return float64(old[i*p.LDC+j]), 0
				}
				return 0, 0
			}
			for k := range p.K {
				x := float64(p.A[i*p.LDA+k]) * float64(p.B[j*p.LDB+k])
				value, scale = value+x, scale+math.Abs(x)
			}
			factor := 1.0
			if p.Mask != nil {
				factor *= float64(p.Mask[i*p.LDM+j])
			}
			if p.Row != nil {
				factor *= float64(p.Row[i])
			}
			return addOld(p, old, i, j, value*factor, scale*math.Abs(factor))
		},
	},
}

func addOld(p *tile.Product, old []float32, i, j int, value, scale float64) (float64, float64) {
	if p.Beta == 0 {
		return value, scale
	}
	x := float64(p.Beta) * float64(old[i*p.LDC+j])
	return value + x, scale + math.Abs(x)
}

// eachProduct runs a test for each product kernel of each instruction set.
func eachProduct(t *testing.T, run func(t *testing.T, f productForm, kernel tile.ProductKernel)) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		for _, f := range productForms {
			for _, kernel := range f.kernels(p) {
				t.Run(fmt.Sprintf("%s%dx%d", f.name, kernel.MR, kernel.NR), func(t *testing.T) {
					run(t, f, kernel)
				})
			}
		}
	})
}

// Options of a product under test, as bits.
const (
	withRow = 1 << iota
	withMask
	withBeta
	withLower
	withStrict
	withGaps // leading dimensions larger than the widths
	atEnd    // buffers end at the end of their memory instead of beginning at its start
	withFrom // C is read elsewhere
)

// untouched fills C where it is not read: a NaN, so that reading it would be seen.
var untouched = math.Float32frombits(0x7fc0dead)

// A workspace holds the memory that the buffers of a test lie in, one piece for
// each, with inaccessible pages at both of its ends.
type workspace struct {
	rng    *rand.Rand
	next   int
	pieces [][]float32
}

func newWorkspace(t testing.TB, seed uint64) *workspace {
	w := &workspace{rng: rand.New(rand.NewPCG(seed, 1))}
	for range 6 {
		w.pieces = append(w.pieces, guard.Float32s(t, 8*os.Getpagesize(), true))
	}
	return w
}

// floats returns a buffer of n random values in (-1, 1).
func (w *workspace) floats(n, options int) []float32 {
	b := w.pieces[w.next][:n:n]
	if options&atEnd != 0 {
		b = w.pieces[w.next][len(w.pieces[w.next])-n:]
	}
	w.next++
	for i := range b {
		b[i] = w.rng.Float32()*2 - 1
	}
	return b
}

// matrix returns rows x cols random values with a leading dimension; the buffer
// ends with the last row, and has NaN between the rows.
func (w *workspace) matrix(rows, cols, options int) ([]float32, int) {
	ld := cols
	if options&withGaps != 0 {
		ld += 1 + w.rng.IntN(20)
	}
	if rows == 0 || cols == 0 {
		return w.floats(0, options), ld
	}
	b := w.floats((rows-1)*ld+cols, options)
	for i := range b {
		if i%ld >= cols {
			b[i] = untouched
		}
	}
	return b, ld
}

// product returns the arguments of a product.
func (w *workspace) product(f productForm, m, n, k, options int) *tile.Product {
	w.next = 0
	p := &tile.Product{M: m, N: n, K: k}
	rows, cols := f.a(m, n, k)
	p.A, p.LDA = w.matrix(rows, cols, options)
	rows, cols = f.b(m, n, k)
	p.B, p.LDB = w.matrix(rows, cols, options)
	p.C, p.LDC = w.matrix(m, n, options)
	if options&withRow != 0 {
		p.Row = w.floats(m, options)
	}
	if f.name == "NT" && options&withMask != 0 {
		p.Mask, p.LDM = w.matrix(m, n, options)
	}
	if options&withBeta != 0 {
		p.Beta = []float32{1, 0.5, -2}[w.rng.IntN(3)]
	}
	if f.name != "TN" && options&withLower != 0 {
		p.Lower = true
		if f.name == "NT" && options&withStrict != 0 {
			p.Strict = 1
		}
		if f.name == "NN" {
			for i := range m {
				for j := i + 1; j < k; j++ {
					p.A[i*p.LDA+j] = 0
				}
			}
		}
	}
	if p.Beta == 0 {
		for i := range p.C {
			p.C[i] = untouched
		}
	}
	if f.name != "NT" && options&withFrom != 0 && p.Beta != 0 {
		p.From = w.floats(len(p.C), options)
		copy(p.From, p.C)
		for i := range p.C {
			p.C[i] = untouched
		}
	}
	return p
}

// check runs a kernel and compares with the float64 loop, bit for bit where nothing may change.
func check(t *testing.T, f productForm, run func(*tile.Product), p *tile.Product) {
	t.Helper()
	old := slices.Clone(p.C)
	before := *p
	a, b, row, mask, from := slices.Clone(p.A), slices.Clone(p.B), slices.Clone(p.Row), slices.Clone(p.Mask), slices.Clone(p.From)
	read := old
	if p.From != nil {
		read = from
	}
	run(p)
	name := func() string {
		return fmt.Sprintf("M=%d N=%d K=%d lda=%d ldb=%d ldc=%d beta=%g from=%t row=%t mask=%t lower=%t strict=%d",
			p.M, p.N, p.K, p.LDA, p.LDB, p.LDC, p.Beta, p.From != nil, p.Row != nil, p.Mask != nil, p.Lower, p.Strict)
	}
	if !reflect.DeepEqual(shape(p), shape(&before)) {
		t.Fatalf("%s: the arguments were changed", name())
	}
	if !same(a, p.A) || !same(b, p.B) || !same(row, p.Row) || !same(mask, p.Mask) || !same(from, p.From) {
		t.Fatalf("%s: an operand was changed", name())
	}
	for at, got := range p.C {
		i, j := at/max(1, p.LDC), at%max(1, p.LDC)
		if j >= p.N {
			if math.Float32bits(got) != math.Float32bits(old[at]) {
				t.Fatalf("%s: C[%d,%d], outside of the block, was written", name(), i, j)
			}
			continue
		}
		want, scale := f.want(p, read, i, j)
		bound := float64(p.K+8) * 0x1p-24 * scale
		if !(math.Abs(float64(got)-want) <= bound) {
			t.Fatalf("%s: C[%d,%d] = %g, want %g within %g", name(), i, j, got, want, bound)
		}
	}
}

// same reports whether two slices have the same bits.
func same(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// shape returns the arguments without their buffers' contents.
func shape(p *tile.Product) []any {
	return []any{len(p.A), len(p.B), len(p.C), len(p.Row), len(p.Mask), p.LDA, p.LDB, p.LDC, p.LDM, p.M, p.N, p.K, p.Beta, p.Lower, p.Strict}
}

// TestProductSizes runs every M and N up to two tiles and a bit with a few K,
// then every K up to 40 with a few M and N, each with other options.
func TestProductSizes(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		w := newWorkspace(t, 1)
		for m := range 2*kernel.MR + 4 {
			for n := range 2*kernel.NR + 4 {
				options := w.rng.IntN(1 << 8)
				k := []int{0, 1, 2, 5, 17}[w.rng.IntN(5)]
				check(t, f, kernel.Run, w.product(f, m, n, k, options))
				check(t, f, kernel.Run, w.product(f, m, n, 3, options^atEnd))
			}
		}
		for k := range 41 {
			for _, m := range []int{1, kernel.MR, kernel.MR + 3} {
				for _, n := range []int{1, kernel.NR, kernel.NR + 7} {
					options := w.rng.IntN(1 << 8)
					check(t, f, kernel.Run, w.product(f, m, n, k, options))
					check(t, f, kernel.Run, w.product(f, m, n, k, options^atEnd))
				}
			}
		}
	})
}

// TestProductOptions runs every combination of options on a few sizes.
func TestProductOptions(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		w := newWorkspace(t, 2)
		for options := range 1 << 8 {
			check(t, f, kernel.Run, w.product(f, kernel.MR+1, kernel.NR, 33, options))
			check(t, f, kernel.Run, w.product(f, 2*kernel.MR, kernel.NR+5, 19, options))
			check(t, f, kernel.Run, w.product(f, 17, 17, 17, options))
			check(t, f, kernel.Run, w.product(f, 3, 70, 8, options))
		}
	})
}

// TestProductTypical runs the sizes that the drivers use.
func TestProductTypical(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		w := newWorkspace(t, 3)
		for _, options := range []int{atEnd, withGaps | withBeta, withRow | withMask | withLower | withStrict} {
			check(t, f, kernel.Run, w.product(f, 64, 64, 128, options))
		}
	})
}

// TestProductLowerNaN has NaN and Inf in the rows of later tokens: with Lower they must not
// reach the rows of earlier ones.
func TestProductLowerNaN(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		if f.name != "NT" {
			t.Skip("only NT writes above the diagonal")
		}
		w := newWorkspace(t, 4)
		for _, n := range []int{1, 2, 3, 5, 8, 13, 24, 40} {
			for strict := range 2 {
				for bad := range n {
					p := w.product(f, n, n, 20, withLower|withRow|withMask)
					p.Strict = strict
					for k := range p.K {
						p.B[bad*p.LDB+k] = []float32{untouched, float32(math.Inf(1))}[k%2]
					}
					p.Mask[bad] = untouched // above the diagonal, unless bad is 0
					if bad == 0 {
						p.Mask[0] = 1
					}
					kernel.Run(p)
					for i := range n {
						for j := range n {
							got := p.C[i*p.LDC+j]
							switch {
							case j > i-strict && math.Float32bits(got) != 0:
								t.Fatalf("N=%d strict=%d NaN in row %d: C[%d,%d] = %g, want 0", n, strict, bad, i, j, got)
							case j <= i-strict && (j == bad) != (got != got):
								t.Fatalf("N=%d strict=%d NaN in row %d: C[%d,%d] = %g", n, strict, bad, i, j, got)
							}
						}
					}
				}
			}
		}
	})
}

// TestProductLowerBeta checks that accumulation into the lower triangle neither reads nor writes
// above it, by NaN there, whatever is in the rows of later tokens.
func TestProductLowerBeta(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		if f.name != "NT" {
			t.Skip("only NT leaves out what is above the diagonal")
		}
		w := newWorkspace(t, 10)
		for m := range 2*kernel.MR + 4 {
			for n := range 2*kernel.NR + 4 {
				for _, options := range []int{0, withStrict, withRow | withMask | withGaps, withRow | withMask | withStrict | atEnd} {
					p := w.product(f, m, n, 9, options|withLower|withBeta)
					above := func(i, j int) bool { return j > i-p.Strict }
					for i := range m {
						for j := range n {
							if above(i, j) {
								p.C[i*p.LDC+j] = untouched
								if p.Mask != nil {
									p.Mask[i*p.LDM+j] = untouched
								}
							}
						}
					}
					old := slices.Clone(p.C)
					kernel.Run(p)
					for i := range m {
						for j := range n {
							got := p.C[i*p.LDC+j]
							if above(i, j) {
								if math.Float32bits(got) != math.Float32bits(untouched) {
									t.Fatalf("M=%d N=%d strict=%d: C[%d,%d] = %g was written", m, n, p.Strict, i, j, got)
								}
								continue
							}
							want, scale := f.want(p, old, i, j)
							if !(math.Abs(float64(got)-want) <= float64(p.K+8)*0x1p-24*scale) {
								t.Fatalf("M=%d N=%d strict=%d: C[%d,%d] = %g, want %g", m, n, p.Strict, i, j, got, want)
							}
						}
					}
				}
			}
		}
	})
}

// TestProductNaN checks that NaN and Inf go where the scalar loop takes them, and only there.
func TestProductNaN(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		w := newWorkspace(t, 5)
		for _, m := range []int{1, 7, 2*kernel.MR + 1} {
			for _, n := range []int{3, kernel.NR + 9} {
				p := w.product(f, m, n, 11, withGaps|withBeta)
				i0, j0 := w.rng.IntN(m), w.rng.IntN(n)
				switch f.name {
				case "NN":
					p.A[i0*p.LDA+4], p.B[7*p.LDB+j0] = untouched, float32(math.Inf(-1))
				case "TN":
					p.A[4*p.LDA+i0], p.B[7*p.LDB+j0] = untouched, float32(math.Inf(-1))
				case "NT":
					p.A[i0*p.LDA+4], p.B[j0*p.LDB+7] = untouched, float32(math.Inf(-1))
				}
				kernel.Run(p)
				for i := range m {
					for j := range n {
						got := float64(p.C[i*p.LDC+j])
						if (i == i0) != math.IsNaN(got) || (i != i0 && j == j0) != math.IsInf(got, 0) {
							t.Fatalf("M=%d N=%d: C[%d,%d] = %g with NaN in row %d and Inf in column %d", m, n, i, j, got, i0, j0)
						}
					}
				}
			}
		}
	})
}

// TestProductBetaSign checks that -0 counts as 0 and that NaN does not.
func TestProductBetaSign(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		w := newWorkspace(t, 6)
		p := w.product(f, 9, 37, 4, 0)
		p.Beta = float32(math.Copysign(0, -1))
		check(t, f, kernel.Run, p)
		p = w.product(f, 9, 37, 4, withBeta)
		p.Beta = untouched
		kernel.Run(p)
		for i, c := range p.C {
			if c == c {
				t.Fatalf("C[%d] = %g with Beta NaN", i, c)
			}
		}
	})
}

// TestProductSharedOperands passes one matrix as both A and B: the result must be that of two copies.
func TestProductSharedOperands(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		w := newWorkspace(t, 7)
		for _, n := range []int{1, 5, 18, 45} {
			p := w.product(f, n, n, n, withGaps)
			p.A, p.LDA = p.B, p.LDB
			check(t, f, kernel.Run, p)
			got := slices.Clone(p.C)
			p.A = slices.Clone(p.B)
			kernel.Run(p)
			if !same(got, p.C) {
				t.Fatalf("N=%d: another result with a copy of the operand", n)
			}
		}
	})
}

func TestProductAllocations(t *testing.T) {
	eachProduct(t, func(t *testing.T, f productForm, kernel tile.ProductKernel) {
		w := newWorkspace(t, 8)
		p := w.product(f, 16, 33, 17, 0)
		if n := testing.AllocsPerRun(10, func() { kernel.Run(p) }); n != 0 {
			t.Fatalf("%g allocations a call", n)
		}
	})
}

func FuzzProduct(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(9), uint8(33), uint8(17), uint8(0))
	f.Add(uint64(2), uint8(5), uint8(0), uint8(1), uint8(0), uint8(127))
	f.Fuzz(func(t *testing.T, seed uint64, which, m, n, k, options uint8) {
		w := newWorkspace(t, seed)
		for _, isa := range ISAs() {
			p, _ := Primitives(isa)
			form := productForms[int(which)%len(productForms)]
			kernels := form.kernels(p)
			kernel := kernels[int(which)/len(productForms)%len(kernels)]
			check(t, form, kernel.Run, w.product(form, int(m)%90, int(n)%140, int(k)%70, int(options)%(1<<7)))
		}
	})
}

// BenchmarkProduct reports the useful rate of each kernel on the sizes that the
// drivers use: with packed operands, with rows 4 KiB apart, and for NT the lower triangle alone.
func BenchmarkProduct(b *testing.B) {
	sizes := map[string][][3]int{
		"NN": {{64, 32, 128}, {64, 128, 128}, {64, 48, 128}},
		"TN": {{128, 32, 64}, {128, 128, 64}},
		"NT": {{64, 64, 128}},
	}
	for _, isa := range ISAs() {
		p, _ := Primitives(isa)
		for _, f := range productForms {
			for _, kernel := range f.kernels(p) {
				for _, size := range sizes[f.name] {
					m, n, k := size[0], size[1], size[2]
					bench := func(variant string, flops int, set func(*tile.Product)) {
						b.Run(fmt.Sprintf("isa=%s/form=%s/tile=%dx%d/m=%d/n=%d/k=%d/%s", isa, f.name, kernel.MR, kernel.NR, m, n, k, variant), func(b *testing.B) {
							args := newWorkspace(b, 9).product(f, m, n, k, withRow|withMask)
							if f.name == "TN" {
								args.Row, args.Beta = nil, 0.5
								clear(args.C)
							}
							set(args)
							for b.Loop() {
								kernel.Run(args)
							}
							b.ReportMetric(float64(flops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
						})
					}
					bench("packed", 2*m*n*k, func(*tile.Product) {})
					bench("apart", 2*m*n*k, func(p *tile.Product) {
						p.A, p.LDA = slices.Repeat([]float32{1}, 1024*128), 1024
						if f.name == "NT" {
							p.B, p.LDB = slices.Repeat([]float32{1}, 1024*128), 1024
						}
					})
					if f.name == "NT" {
						bench("lower", m*(m+1)*k, func(p *tile.Product) { p.Lower = true })
						bench("accumulate", 2*m*n*k, func(p *tile.Product) {
							p.Beta = 0.5
							clear(p.C)
						})
					}
				}
			}
		}
	}
}
