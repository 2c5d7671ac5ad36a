package probe

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

func each(t *testing.T, f func(t *testing.T, l *Loops)) {
	for _, isa := range []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512, tile.NEON} {
		t.Run(string(isa), func(t *testing.T) {
			l, ok := For(isa)
			if !ok {
				if slices.Contains(strings.Split(os.Getenv("ROOFTUNE_TEST_REQUIRE_ISA"), ","), string(isa)) {
					t.Fatalf("%s is required here and cannot run", isa)
				}
				t.Skipf("this CPU or build cannot run %s", isa)
			}
			f(t, l)
		})
	}
}

// Every loop stays inside its buffers and does the steps it claims: copies show how far each went.
func TestLoopsStayInside(t *testing.T) {
	each(t, func(t *testing.T, l *Loops) {
		for _, n := range []int{0, 1, l.Step - 1, l.Step, l.Step + 1, 5*l.Step + 3} {
			for _, end := range []bool{false, true} {
				l.Read(guard.Float32s(t, n, end))
			}
			src := make([]float32, n)
			for i := range src {
				src[i] = float32(i + 1)
			}
			dst := guard.Float32s(t, n, true)
			l.Copy(dst, src)
			checkCopied(t, l, "Copy", dst, src)
			dst = guard.Float32s(t, n, false) // starts at a page, so at a cache line
			l.CopyNT(dst, src)
			checkCopied(t, l, "CopyNT", dst, src)
		}
		const rows, ld = 20, 64
		table := guard.Float32s(t, rows*ld, true)
		for n := range ld + 1 {
			index := guard.Int32s(t, 17, true)
			for i := range index {
				index[i] = int32(rows - 1 - i)
			}
			l.ReadRows(table, index, ld, n)
		}
		for lines := 1; lines <= 2; lines++ {
			for n := range 18 {
				places := make([]uint32, n)
				for i := range places {
					places[i] = uint32(rows*ld*4 - 64*(lines+i))
				}
				l.ReadPlaces(table, places, lines)
			}
			l.ReadPlaces(nil, nil, lines)
		}
		for iters := range 3 {
			l.FMA(iters)
		}
	})
}

// checkCopied wants the whole steps copied and, but for portable loops, the rest left alone.
func checkCopied(t *testing.T, l *Loops, name string, dst, src []float32) {
	t.Helper()
	n := len(src) / l.Step * l.Step
	if !slices.Equal(dst[:n], src[:n]) {
		t.Errorf("%s of %d: the first %d differ", name, len(src), n)
	}
	if l.ISA == tile.Generic {
		return
	}
	for i, v := range dst[n:] {
		if v != 0 {
			t.Fatalf("%s of %d: element %d was written", name, len(src), n+i)
		}
	}
}

func TestForUnknown(t *testing.T) {
	if _, ok := For("neon9000"); ok {
		t.Error("loops for an unknown instruction set")
	}
}

func TestChase(t *testing.T) {
	if at := Chase([]uint32{2, 0, 3, 1}, 0, 5); at != 2 {
		t.Errorf("ended at %d, want 2", at)
	}
}

func BenchmarkFMA(b *testing.B) {
	for _, isa := range []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512, tile.NEON} {
		l, ok := For(isa)
		if !ok {
			continue
		}
		b.Run(string(isa), func(b *testing.B) {
			const iters = 10000
			for b.Loop() {
				l.FMA(iters)
			}
			b.ReportMetric(float64(iters*l.FMAFlops)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, isa := range []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512, tile.NEON} {
		l, ok := For(isa)
		if !ok {
			continue
		}
		b.Run(string(isa), func(b *testing.B) {
			p := make([]float32, 4096)
			b.SetBytes(int64(4 * len(p)))
			for b.Loop() {
				l.Read(p)
			}
		})
	}
}

// BenchmarkReadRows reads rows at random from a table that no cache holds.
func BenchmarkReadRows(b *testing.B) {
	table := make([]float32, 64<<20/4)
	for i := range table {
		table[i] = 1
	}
	for _, isa := range []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512, tile.NEON} {
		l, ok := For(isa)
		if !ok {
			continue
		}
		for _, width := range []int{64, 256, 1024, 4096} {
			b.Run(fmt.Sprintf("%s/row=%dB", isa, 4*width), func(b *testing.B) {
				order := rand.New(rand.NewPCG(1, 2)).Perm(len(table) / width)
				rows := make([]int32, len(order))
				for i, row := range order {
					rows[i] = int32(row)
				}
				batch, at := max(8, 16<<10/width), 0
				b.SetBytes(int64(4 * width * batch))
				for b.Loop() {
					l.ReadRows(table, rows[at:at+batch], width, width)
					if at += batch; at+batch > len(rows) {
						at = 0
					}
				}
			})
		}
	}
}
