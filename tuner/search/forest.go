package search

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rooftune/rooftune/tuner/space"
)

const (
	trees     = 24
	leafSize  = 2 // least observations in a leaf
	forestLag = 4 // answers between two forests
)

// forest is a random forest as a surrogate: regression trees over the dimensions of the space and the sums of two of them, each grown on a
// resample of the observations. The next config is that of the highest expected improvement, with the spread
// of the trees as the error of their mean.
type forest struct {
	memory
	scale    scale
	pool     []int
	features [][]float32 // by feature, then place in the pool
	place    map[int]int
	mean     []float64
	spread   []float64
	grownAt  int
}

func newForest(s *space.Space, o Options) Strategy {
	f := &forest{memory: newMemory(s, o), place: map[int]int{}}
	f.pool = slices.Clone(f.order[:min(s.Len(), maxPool)])
	for i, c := range f.pool {
		f.place[c] = i
	}
	var sizes [][]float32
	for _, d := range dimensions(s) {
		x := make([]float32, len(f.pool))
		for i, c := range f.pool {
			x[i] = float32(d.at[s.Row(c)[d.param]])
		}
		f.features = append(f.features, x)
		if !d.nominal {
			sizes = append(sizes, x)
		}
	}
	for i, a := range sizes {
		for _, b := range sizes[:i] {
			sum := make([]float32, len(a))
			for k := range a {
				sum[k] = a[k] + b[k]
			}
			f.features = append(f.features, sum)
		}
	}
	return f
}

func (f *forest) Tell(config int, cost float64) { f.note(config, cost) }

func (f *forest) Ask() (int, bool) {
	if len(f.told) < initial || f.best < 0 || len(f.features) == 0 {
		return f.anything()
	}
	if len(f.told) >= f.grownAt+forestLag || f.mean == nil {
		f.grow()
	}
	best := f.scale.of(f.bestCost)
	at, top := -1, math.Inf(-1)
	for i, c := range f.pool {
		if f.asked[c] {
			continue
		}
		s := f.spread[i]
		if e := s * improvement((best-f.mean[i])/s); e > top {
			at, top = c, e
		}
	}
	if at < 0 {
		return f.anything()
	}
	return f.take(at)
}

// grow makes a new forest of all answers in the pool.
func (f *forest) grow() {
	f.grownAt = len(f.told)
	var costs []float64
	var seen []int
	for _, c := range f.told {
		if i, ok := f.place[c]; ok {
			costs, seen = append(costs, f.cost[c]), append(seen, i)
		}
	}
	f.scale = newScale(costs)
	y := make([]float64, len(costs))
	for k, x := range costs {
		y[k] = f.scale.of(x)
	}
	sum, squares := make([]float64, len(f.pool)), make([]float64, len(f.pool))
	all := make([]int32, len(f.pool))
	for range trees {
		for i := range all {
			all[i] = int32(i)
		}
		drawn := make([]int, len(seen))
		for i := range drawn {
			drawn[i] = f.rnd.IntN(len(seen))
		}
		f.split(f.rnd, seen, y, drawn, all, sum, squares)
	}
	f.mean, f.spread = sum, squares
	for i := range sum {
		m := sum[i] / trees
		f.spread[i] = math.Sqrt(max(squares[i]/trees-m*m, 0) + 1e-4)
		f.mean[i] = m
	}
}

// split grows a node from the drawn observations, and adds its leaves' predictions for the places that reach it.
func (f *forest) split(rnd *rand.Rand, seen []int, y []float64, drawn []int, reach []int32, sum, squares []float64) {
	if len(reach) == 0 {
		return
	}
	total := 0.0
	for _, i := range drawn {
		total += y[i]
	}
	mean := total / float64(len(drawn))
	feature, limit := -1, float32(0)
	if len(drawn) >= 2*leafSize {
		gain := 1e-9
		for _, k := range rnd.Perm(len(f.features))[:(2*len(f.features)+2)/3] {
			x := f.features[k]
			slices.SortStableFunc(drawn, func(a, b int) int {
				switch p, q := x[seen[a]], x[seen[b]]; {
				case p < q:
					return -1
				case p > q:
					return 1
				}
				return 0
			})
			left := 0.0
			for i := range len(drawn) - leafSize {
				left += y[drawn[i]]
				a, b := x[seen[drawn[i]]], x[seen[drawn[i+1]]]
				if i+1 < leafSize || a == b {
					continue
				}
				n, m := float64(i+1), float64(len(drawn)-i-1)
				right := total - left
				if g := left*left/n + right*right/m - total*mean; g > gain {
					gain, feature, limit = g, k, a+(b-a)*rnd.Float32()
				}
			}
		}
	}
	if feature < 0 {
		for _, i := range reach {
			sum[i] += mean
			squares[i] += mean * mean
		}
		return
	}
	x := f.features[feature]
	k := partition(drawn, func(i int) bool { return x[seen[i]] <= limit })
	r := partition(reach, func(i int32) bool { return x[i] <= limit })
	f.split(rnd, seen, y, drawn[:k], reach[:r], sum, squares)
	f.split(rnd, seen, y, drawn[k:], reach[r:], sum, squares)
}

// partition moves what is to go left to the front and counts it.
func partition[T any](list []T, left func(T) bool) int {
	n := 0
	for i, x := range list {
		if left(x) {
			list[i], list[n] = list[n], x
			n++
		}
	}
	return n
}
