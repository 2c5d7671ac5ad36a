package probe

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

func each(t *testing.T, f func(t *testing.T, l *Loops)) {
	for _, isa := range []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512} {
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
			checkCopied(t, "Copy", dst, src, n/l.Step*l.Step)
			dst = guard.Float32s(t, n, false) // starts at a page, so at a cache line
			l.CopyNT(dst, src)
			checkCopied(t, "CopyNT", dst, src, n/l.Step*l.Step)
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
		for iters := range 3 {
			l.FMA(iters)
		}
	})
}

// checkCopied wants the whole steps copied. Portable copies may go on to the end.
func checkCopied(t *testing.T, name string, dst, src []float32, n int) {
	t.Helper()
	if !slices.Equal(dst[:n], src[:n]) {
		t.Errorf("%s of %d: the first %d differ", name, len(src), n)
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
	for _, isa := range []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512} {
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
	for _, isa := range []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512} {
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
