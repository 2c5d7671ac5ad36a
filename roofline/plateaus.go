package roofline

import (
	"math"
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
)

// plateaus finds the levels of a latency curve: the partition of its points into runs of nearly
// constant latency that fits best on a log scale, each new run costing a fixed
// penalty, and runs that are not clearly apart joined. A cache's size is the
// largest buffer whose latency is nearer, on that scale, to the cache's than to the next level's. The last
// run is memory; its size is that of the largest buffer. The others get the names of the reported caches that they are
// nearest to.
func plateaus(curve []machine.LatencyPoint, reported []machine.Cache) []machine.Plateau {
	n := len(curve)
	if n == 0 {
		return nil
	}
	curve = slices.Clone(curve)
	logs := rising(curve)
	for i := range curve {
		curve[i].NsPerLoad = math.Exp(logs[i])
	}
	// best[j] is the least cost of the first j points, from[j] where its last run starts.
	const penalty = 0.15
	best := make([]float64, n+1)
	from := make([]int, n+1)
	for j := 1; j <= n; j++ {
		best[j] = math.Inf(1)
		for i := range j {
			if c := best[i] + penalty + scatter(logs[i:j]); c < best[j] {
				best[j], from[j] = c, i
			}
		}
	}
	var runs [][2]int
	for j := n; j > 0; j = from[j] {
		runs = append([][2]int{{from[j], j}}, runs...)
	}
	// A single point between two levels is a transition, not a level; and two runs within a factor of 1.6 are one.
	var kept [][2]int
	for i, r := range runs {
		if r[1]-r[0] == 1 && i > 0 && i < len(runs)-1 {
			continue
		}
		if len(kept) > 0 {
			k := &kept[len(kept)-1]
			if mean(logs[r[0]:r[1]])-mean(logs[k[0]:k[1]]) < math.Log(1.6) {
				k[1] = r[1]
				continue
			}
		}
		kept = append(kept, r)
	}
	for len(kept) > len(levels) { // more than there are names: join the two nearest
		at, least := 0, math.Inf(1)
		for i := range len(kept) - 1 {
			step := mean(logs[kept[i+1][0]:kept[i+1][1]]) - mean(logs[kept[i][0]:kept[i][1]])
			if step < least {
				at, least = i, step
			}
		}
		kept[at][1] = kept[at+1][1]
		kept = slices.Delete(kept, at+1, at+2)
	}
	var out []machine.Plateau
	for _, r := range kept {
		out = append(out, machine.Plateau{Level: levelDRAM, NsPerLoad: math.Exp(median(logs[r[0]:r[1]]))})
	}
	for i := range out {
		p := &out[i]
		p.Bytes = curve[n-1].Bytes
		if i == len(out)-1 {
			break
		}
		border := math.Sqrt(p.NsPerLoad * out[i+1].NsPerLoad)
		for j := kept[i][0]; j < n && curve[j].NsPerLoad <= border; j++ {
			p.Bytes = curve[j].Bytes
		}
	}
	name(out[:len(out)-1], reported)
	return out
}

// rising are the logarithms of a curve's latencies, as near to them as numbers that never fall can be: a larger buffer is never faster, and where it was measured
// so, something slowed the smaller one down or left the larger one more of a cache that guests share. Neighbours that fall are put at their mean until none does.
func rising(curve []machine.LatencyPoint) []float64 {
	type run struct {
		sum   float64
		count int
	}
	var runs []run
	for _, p := range curve {
		runs = append(runs, run{math.Log(p.NsPerLoad), 1})
		for k := len(runs) - 1; k > 0 && runs[k].sum*float64(runs[k-1].count) < runs[k-1].sum*float64(runs[k].count); k-- {
			runs[k-1].sum += runs[k].sum
			runs[k-1].count += runs[k].count
			runs = runs[:k]
		}
	}
	var logs []float64
	for _, r := range runs {
		logs = append(logs, slices.Repeat([]float64{r.sum / float64(r.count)}, r.count)...)
	}
	return logs
}

// name gives caches the names that fit the reported sizes best, in ascending order. A level that is
// not reported is as likely as one whose size is wrong by a factor of four.
func name(caches []machine.Plateau, reported []machine.Cache) {
	cost := func(p machine.Plateau, level int) float64 {
		for _, c := range reported {
			if c.Level == level {
				return math.Abs(math.Log(float64(p.Bytes) / float64(c.Bytes)))
			}
		}
		return math.Log(4)
	}
	least := math.Inf(1)
	for set := range 1 << (len(levels) - 1) { // which of L1 to L3 the curve shows
		var shown []int
		for level := 1; level < len(levels); level++ {
			if set>>(level-1)&1 == 1 {
				shown = append(shown, level)
			}
		}
		if len(shown) != len(caches) {
			continue
		}
		sum := 0.0
		for i, level := range shown {
			sum += cost(caches[i], level)
		}
		if sum < least {
			least = sum
			for i, level := range shown {
				caches[i].Level = levels[level-1]
			}
		}
	}
}

// scatter is the sum of squared distances from the mean.
func scatter(v []float64) float64 {
	m, sum := mean(v), 0.0
	for _, x := range v {
		sum += (x - m) * (x - m)
	}
	return sum
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}
