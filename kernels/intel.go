package kernels

import (
	"slices"
	"sync"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// intel says whether this CPU is one of Intel's, whose defaults are others than those of AMD's (measured on Ice Lake, on Zen 4 and on
// Zen 5): a core takes about one 512-bit load, store or broadcast a clock beside its two multiply-adds, so wide panels pay, which need fewer
// of these; and it has few buffers for lines that are on their way, so reads in the order of memory pay, which its second cache foresees.
var intel = sync.OnceValue(func() bool {
	m, err := machine.Detect()
	return err == nil && m.Vendor == "GenuineIntel"
})

// intelBlock is the block of a recurrence that does the most multiply-adds for each access.
func intelBlock(p tile.Problem, prim *tile.Primitives) [2]int {
	all, s := blocks(p, prim), p.Shape
	const wide, narrow = 64, 32
	if p.Op == tile.LinearAttention && s.Hq == s.Hkv && workerColumns(p, narrow) < workerColumns(p, wide) {
		return narrowBlock(all, narrow)
	}
	if s.Hq <= 2*s.Hkv && s.Dv%wide <= s.Dv/2 { // several heads take the registers of a wide panel's tokens
		if i := slices.IndexFunc(all, func(b [2]int) bool { return b[1] == wide }); i >= 0 {
			return all[i]
		}
	}
	return all[0]
}

// narrowBlock is the block of most tokens in panels of some columns, the first if there is none.
func narrowBlock(all [][2]int, cols int) [2]int {
	best := all[0]
	for _, b := range all {
		if b[1] == cols && b[0] > best[0] {
			best = b
		}
	}
	return best
}

// workerColumns is how many columns of states the busiest worker has where panels have cols: of few heads, narrow panels are shared by more.
func workerColumns(p tile.Problem, cols int) int {
	panels := max(1, (p.Shape.Dv+cols-1)/cols)
	split, units, workers := planUnits(p, tokenFlops(p.Shape), panels)
	return (units + workers - 1) / workers * ((panels + split - 1) / split) * cols
}

// intelChunk is a chunk and what it prefetches: whole rows of the next chunk while these and its own rows fit the second cache.
func intelChunk(p tile.Problem) (chunk, ahead int) {
	const room = 1 << 20
	s := p.Shape
	if !slices.Contains(aheads(p), aheadRows) {
		return 128, aheadNext
	}
	row := 4 * (s.Hq*s.Dk + s.Hkv*(s.Dk+s.Dv))
	for chunk = 32; chunk >= 16; chunk /= 2 {
		if 2*chunk*row <= room {
			return chunk, aheadRows
		}
	}
	return 128, aheadNext
}
