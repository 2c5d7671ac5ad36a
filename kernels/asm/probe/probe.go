// Package probe holds the loops that ceilings are measured with: pure
// multiply-adds, loads, copies and row reads of each instruction set, with no work beside them. A loop cannot be
// preempted, so callers choose sizes that keep one call under about 100 µs.
package probe

import "github.com/rooftune/rooftune/kernels/tile"

// Loops are the loops of one instruction set.
type Loops struct {
	ISA tile.ISA
	// FMA does iters iterations of FMAFlops flops each, as independent multiply-adds in registers.
	FMA      func(iters int)
	FMAFlops int
	// DotBF16 is FMA for products of bfloat16 pairs summed in float32, DotFlops each iteration; nil where the CPU lacks them.
	DotBF16  func(iters int)
	DotFlops int
	// Read loads p once, Copy loads src and stores it to dst, CopyNT does so past the caches (dst
	// must start at a cache line). All take whole steps of Step floats and leave a rest alone; dst must be as long as src.
	Read         func(p []float32)
	Copy, CopyNT func(dst, src []float32)
	Step         int
	// ReadRows reads n floats of each row table[rows[i]*ld:], Rows of them side by side, with
	// the starts of the next ones prefetched in assembly: whole groups of rows
	// and whole vectors of Lanes floats, a rest is left alone.
	ReadRows    func(table []float32, rows []int32, ld, n int)
	Rows, Lanes int
	// ReadPlaces reads one line, or two, from each byte of table that places names, multiples of 64: whole groups of Rows places, a rest is left alone.
	ReadPlaces func(table []float32, places []uint32, lines int)
}

// Chase follows next from index at for a number of dependent loads and
// returns where it ended.
func Chase(next []uint32, at uint32, steps int) uint32 {
	for range steps {
		at = next[at]
	}
	return at
}

// portable are the loops in Go. They measure what portable Go reaches, not what the core could.
var portable = Loops{
	ISA: tile.Generic, FMA: multiplyAdd, FMAFlops: 2 * chains, Read: sum, Copy: move, CopyNT: move, Step: 8,
	ReadRows: sumRows, Rows: 1, Lanes: 8, ReadPlaces: sumPlaces,
}

// chains is the number of independent multiply-adds of multiplyAdd.
const chains = 8

//go:noinline
func multiplyAdd(iters int) {
	var a, b, c, d, e, f, g, h float32 = 1, 2, 3, 4, 5, 6, 7, 8
	for range iters {
		a = a*.9 + .1
		b = b*.9 + .1
		c = c*.9 + .1
		d = d*.9 + .1
		e = e*.9 + .1
		f = f*.9 + .1
		g = g*.9 + .1
		h = h*.9 + .1
	}
	result(a + b + c + d + e + f + g + h)
}

//go:noinline
func sum(p []float32) {
	var a, b, c, d, e, f, g, h float32
	for ; len(p) >= 8; p = p[8:] {
		a += p[0]
		b += p[1]
		c += p[2]
		d += p[3]
		e += p[4]
		f += p[5]
		g += p[6]
		h += p[7]
	}
	result(a + b + c + d + e + f + g + h)
}

// result keeps a sum from being optimised away.
//
//go:noinline
func result(float32) {}

func move(dst, src []float32) { copy(dst, src) }

func sumRows(table []float32, rows []int32, ld, n int) {
	for _, r := range rows {
		sum(table[int(r)*ld:][:n])
	}
}

func sumPlaces(table []float32, places []uint32, lines int) {
	for _, p := range places {
		sum(table[p/4:][:16*lines])
	}
}
