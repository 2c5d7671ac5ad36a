package roofline

import "github.com/rooftune/rooftune/kernels/tile"

// loops are the loops that ceilings of one ISA are measured with. Every call ends within about 100 µs for the
// sizes that this package asks for.
type loops struct {
	FMA          func(iters int)
	FMAFlops     int // of one iteration
	Read         func(p []float32)
	Copy, CopyNT func(dst, src []float32)
	ReadRows     func(table []float32, rows []int32, ld, n int)
}

// loopsFor returns the loops of an ISA, and whether this CPU and build have them.
func loopsFor(isa tile.ISA) (*loops, bool) {
	if isa != tile.Generic {
		return nil, false
	}
	return &loops{FMA: multiplyAdd, FMAFlops: 8, Read: sum, Copy: move, CopyNT: move, ReadRows: sumRows}, true
}

var sink float32

func multiplyAdd(iters int) {
	var a, b, c, d float32 = 1, 2, 3, 4
	for range iters {
		a = a*.9 + .1
		b = b*.9 + .1
		c = c*.9 + .1
		d = d*.9 + .1
	}
	sink = a + b + c + d
}

func sum(p []float32) {
	var a, b, c, d float32
	for ; len(p) >= 4; p = p[4:] {
		a += p[0]
		b += p[1]
		c += p[2]
		d += p[3]
	}
	sink = a + b + c + d
}

func move(dst, src []float32) { copy(dst, src) }

func sumRows(table []float32, rows []int32, ld, n int) {
	for _, r := range rows {
		sum(table[int(r)*ld:][:n])
	}
}

// chase follows next from at for a number of dependent loads and returns where it ended.
func chase(next []uint64, at uint64, steps int) uint64 {
	for range steps {
		at = next[at]
	}
	return at
}
