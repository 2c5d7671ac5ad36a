package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rooftune/rooftune/tuner/stats"
	"gonum.org/v1/gonum/stat"
)

// The rounds of a race over a whole recorded space: one measurement of every config; further ones of the best share of them; then a final in
// blocks. Who is clearly slower leaves the final, by the statistics that tune run decides with, so that the others have more blocks. Of those that stay
// the lowest mean wins: some recorded times have two modes, whose shares a trimmed mean sees less than the mean that the regret is counted by.
const (
	secondShare  = 0.05 // of the configs have a second round
	secondBlocks = 4    // measurements of each in it
	finalists    = 16
	stageBlocks  = 16    // of the final, between two looks at who is slower
	maxBlocks    = 128   // of the final
	wellKnown    = 0.002 // a detectable effect that ends the final early
	level        = 0.05  // of all comparisons of one look together

	// What a race may take: 4.8 % of the recorded measurements, or if that is too little 1.35 for each config.
	allowedShare = 0.048
	allowedEach  = 1.35
)

// Race is the result of many races on a space.
type Race struct {
	Space  string `json:"space"`
	Trials int    `json:"trials"`
	// Regret is by how much the chosen config's mean recorded time is above the lowest: 0.01 is one percent.
	RegretMean  float64 `json:"regret_mean"`
	RegretWorst float64 `json:"regret_worst"`
	// CostFraction is the measurements that a race took over all that were recorded.
	CostFraction float64 `json:"cost_fraction"`
	Repeats      int     `json:"repeats"`      // recorded of a config, the median
	TieSetMean   float64 `json:"tie_set_mean"` // configs in the tie set, the best included
	FoundOptimum float64 `json:"found_optimum"`
}

// Race runs races with seeds 1, 2, ... trials. A measurement is a random draw from a config's recorded repeats.
func (r *Recorded) Race(ctx context.Context, trials int) (*Race, error) {
	if trials < 1 {
		return nil, fmt.Errorf("%d trials: must be at least 1", trials)
	}
	var usable []int
	var counts []float64
	for i, x := range r.Repeats {
		if len(x) > 0 {
			usable = append(usable, i)
			counts = append(counts, float64(len(x)))
		}
	}
	if r.recorded == 0 {
		return nil, errors.New("no repeats were recorded")
	}
	type outcome struct{ regret, cost, ties float64 }
	outcomes := make([]outcome, trials)
	err := eachSeed(ctx, trials, func(i int) {
		chosen, ties, cost := r.race(usable, uint64(i+1))
		outcomes[i] = outcome{r.Cost[chosen]/r.Optimum - 1, float64(cost) / float64(r.recorded), float64(ties)}
	})
	if err != nil {
		return nil, err
	}
	out := &Race{Space: r.Name, Trials: trials, Repeats: int(stats.Median(counts))}
	n := float64(trials)
	for _, o := range outcomes {
		out.RegretMean += o.regret / n
		out.RegretWorst = max(out.RegretWorst, o.regret)
		out.CostFraction += o.cost / n
		out.TieSetMean += o.ties / n
		if o.regret == 0 {
			out.FoundOptimum += 1 / n
		}
	}
	return out, nil
}

// race is one race. It returns the chosen config, how many are in its tie set, and the number of measurements.
func (r *Recorded) race(usable []int, seed uint64) (chosen, ties, cost int) {
	rnd := rand.New(rand.NewPCG(seed, 0x72616365))
	draw := func(c int) float64 {
		cost++
		return r.Repeats[c][rnd.IntN(len(r.Repeats[c]))]
	}
	// measure gives every contender of a field some more draws, block by block.
	draws := make(map[int][]float64, len(usable))
	measure := func(field []int, blocks int) {
		for range blocks {
			for _, c := range field {
				draws[c] = append(draws[c], draw(c))
			}
		}
	}
	// best keeps the n configs of the lowest median.
	best := func(field []int, n int) []int {
		at := make(map[int]float64, len(field))
		for _, c := range field {
			at[c] = stats.Median(draws[c])
		}
		field = slices.SortedStableFunc(slices.Values(field), func(a, b int) int { return cmp.Compare(at[a], at[b]) })
		return field[:min(n, len(field))]
	}
	measure(usable, 1)
	field := best(usable, max(finalists, int(math.Ceil(secondShare*float64(len(usable))))))
	measure(field, secondBlocks)
	field = best(field, finalists)
	slices.Sort(field)
	// Blocks of the final alone: what chose the finalists would favour the lucky.
	clear(draws)
	allowed := max(allowedEach*float64(len(usable)), allowedShare*float64(r.recorded))
	blocks := func() stats.Field {
		f := make(stats.Field, len(field))
		for i, c := range field {
			f[i] = draws[c]
		}
		return f
	}
	for n := 0; n < maxBlocks && (n == 0 || len(field) > 1 && float64(cost+stageBlocks*len(field)) <= allowed); n += stageBlocks {
		measure(field, stageBlocks)
		f := blocks()
		if tied := f.Ties(level, 0); len(tied) < len(field) {
			kept := make([]int, len(tied))
			for k, i := range tied {
				kept[k] = field[i]
			}
			field = kept
		}
		if f := blocks(); f.Detectable() < wellKnown {
			break
		}
	}
	f := blocks()
	tied := f.Ties(level, 0)
	mean := func(i int) float64 { return stat.Mean(f[i], nil) }
	return field[slices.MinFunc(tied, func(a, b int) int { return cmp.Compare(mean(a), mean(b)) })], len(tied), cost
}

// MeanRace is the result over several spaces, each of the same weight.
type MeanRace struct {
	Race
	Spaces []*Race `json:"spaces"`
}

// OverRaces takes the mean over spaces; the worst regret is the worst of all.
func OverRaces(races []*Race) *MeanRace {
	m := &MeanRace{Race: Race{Space: fmt.Sprintf("mean of %d spaces", len(races)), Trials: races[0].Trials, Repeats: races[0].Repeats}, Spaces: races}
	n := float64(len(races))
	for _, r := range races {
		m.RegretMean += r.RegretMean / n
		m.RegretWorst = max(m.RegretWorst, r.RegretWorst)
		m.CostFraction += r.CostFraction / n
		m.TieSetMean += r.TieSetMean / n
		m.FoundOptimum += r.FoundOptimum / n
		m.Repeats = min(m.Repeats, r.Repeats)
	}
	return m
}
