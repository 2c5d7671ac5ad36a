package tuner

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// median is the middle value, or the mean of the middle two. (Of gonum's
// quantiles neither kind gives this for an even count.)
func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// estimate is a robust mean of differences with its standard error: the
// mean without the outer fifth at each end, and Yuen's error for it (the variance of the
// winsorized sample). A shared machine delays one batch in many by a lot, and a
// plain mean would let that batch decide.
type estimate struct {
	n           int
	mean, err   float64
	freedom     float64
	everyValues bool // nothing was trimmed: fewer than five values
}

func trimmed(x []float64) estimate {
	n := len(x)
	g := n / 5
	s := slices.Sorted(slices.Values(x))
	e := estimate{n: n, mean: stat.Mean(s[g:n-g], nil), freedom: float64(n - 2*g - 1), everyValues: g == 0}
	for i := range g {
		s[i], s[n-1-i] = s[g], s[n-1-g]
	}
	h := float64(n - 2*g)
	e.err = stat.StdDev(s, nil) * math.Sqrt(float64(n-1)/(h*(h-1)))
	return e
}

// greater is the one-sided p-value of the mean being above limit.
func (e estimate) greater(limit float64) float64 {
	if !(e.freedom > 0) {
		return 1
	}
	if e.err == 0 {
		if e.mean > limit {
			return 0
		}
		return 1
	}
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: e.freedom}.Survival((e.mean - limit) / e.err)
}

// detectable is the smallest relative difference that a two-sided test at level 0.05 would
// have found in four of five runs like this one; the differences are of logarithms.
func (e estimate) detectable() float64 {
	if !(e.freedom > 0) {
		return math.Inf(1)
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: e.freedom}
	return math.Expm1((t.Quantile(0.975) + t.Quantile(0.8)) * e.err)
}

// holm says which of the hypotheses with these p-values are rejected so that the
// chance of a single wrong rejection is at most level, however many there are.
func holm(p []float64, level float64) []bool {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	rejected := make([]bool, len(p))
	for rank, i := range order {
		if p[i] > level/float64(len(p)-rank) {
			break
		}
		rejected[i] = true
	}
	return rejected
}
