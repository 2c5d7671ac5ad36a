package stats

import (
	"math"
	"slices"
)

// Field is the measurements of a race by contender, then block.
type Field [][]float64

// Difference estimates by how much contender x is slower than y, as a logarithm, block by block.
func (f Field) Difference(x, y int) Estimate {
	d := make([]float64, len(f[x]))
	for i := range d {
		d[i] = math.Log(f[x][i] / f[y][i])
	}
	return Trimmed(d)
}

// Fastest is the contender with the lowest robust mean.
func (f Field) Fastest() int {
	best, least := 0, math.Inf(1)
	for x := range f {
		if m := Trimmed(logs(f[x], 1)).Mean; m < least {
			best, least = x, m
		}
	}
	return best
}

func logs(x []float64, scale float64) []float64 {
	l := make([]float64, len(x))
	for i, v := range x {
		l[i] = scale * math.Log(v)
	}
	return l
}

// Detectable is the smallest relative difference from the best that the blocks can show, for the noisiest pair; for a
// lone contender, from another one as steady as itself.
func (f Field) Detectable() float64 {
	if len(f) == 1 {
		return Trimmed(logs(f[0], math.Sqrt2)).Detectable()
	}
	best, worst := f.Fastest(), 0.0
	for x := range f {
		if x != best {
			worst = max(worst, f.Difference(x, best).Detectable())
		}
	}
	return worst
}

// Ties lists, in their order, the contenders that are not proven slower than the best by more than a relative margin, at a level for all
// comparisons together; the best is one of them.
func (f Field) Ties(level, margin float64) []int {
	best := f.Fastest()
	var others []int
	var p []float64
	for x := range f {
		if x != best {
			others = append(others, x)
			p = append(p, f.Difference(x, best).Greater(math.Log1p(margin)))
		}
	}
	tied := []int{best}
	for i, slower := range Holm(p, level) {
		if !slower {
			tied = append(tied, others[i])
		}
	}
	slices.Sort(tied)
	return tied
}

// Choose is the fixed rule that picks from the tie set, so that two races give one answer: a preferred contender (-1 for none) if it is one
// of them, for noise alone moves nothing; else the first, in the order of the field, of those within a relative distance of the best.
func (f Field) Choose(tied []int, within float64, preferred int) int {
	best := f.Fastest()
	near := func(x int) bool { return x == best || f.Difference(x, best).Mean <= math.Log1p(within) }
	if slices.Contains(tied, preferred) {
		return preferred
	}
	for _, x := range tied {
		if near(x) {
			return x
		}
	}
	return best
}
