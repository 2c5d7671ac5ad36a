// Package stats is the statistics of a race: robust means of ratios, tests with the error over many comparisons controlled, ties, and the
// rule that picks among them. tune run and tune replay decide by it.
//
// A block is one measurement of every contender of a field, one after the other: only values of the same block are
// compared, as ratios, so that what slows a whole block does not matter.
package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Median is the middle value, or the mean of the middle two. (Of gonum's
// quantiles neither kind gives this for an even count.)
func Median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Estimate is a robust mean of differences with its standard error: the
// mean without the outer fifth at each end, and Yuen's error for it (the variance of the
// winsorized sample). A shared machine delays one batch in many by a lot, and a
// plain mean would let that batch decide.
type Estimate struct {
	N       int
	Mean    float64
	Err     float64 // standard error of Mean
	Freedom float64 // degrees of it
	values  []float64
}

// Trimmed estimates the mean of x.
func Trimmed(x []float64) Estimate {
	n := len(x)
	g := n / 5
	s := slices.Sorted(slices.Values(x))
	e := Estimate{N: n, Mean: stat.Mean(s[g:n-g], nil), Freedom: float64(n - 2*g - 1), values: x}
	for i := range g {
		s[i], s[n-1-i] = s[g], s[n-1-g]
	}
	h := float64(n - 2*g)
	e.Err = stat.StdDev(s, nil) * math.Sqrt(float64(n-1)/(h*(h-1)))
	return e
}

// Greater is the one-sided p-value of the differences being above limit: the larger one of two tests, since each has its own way of being
// misled on a shared machine. Student's t on the trimmed mean believes in a spread that so few values happen to show; the signed-rank test
// does not see how far apart the values are.
func (e Estimate) Greater(limit float64) float64 {
	return max(e.student(limit), signedRank(e.values, limit))
}

// student is the p-value of Yuen's t.
func (e Estimate) student(limit float64) float64 {
	if !(e.Freedom > 0) {
		return 1
	}
	if e.Err == 0 {
		if e.Mean > limit {
			return 0
		}
		return 1
	}
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: e.Freedom}.Survival((e.Mean - limit) / e.Err)
}

// Detectable is the smallest relative difference that a two-sided test at level 0.05 would
// have found in four of five runs like this one; the differences are of logarithms.
func (e Estimate) Detectable() float64 {
	if !(e.Freedom > 0) {
		return math.Inf(1)
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: e.Freedom}
	return math.Expm1((t.Quantile(0.975) + t.Quantile(0.8)) * e.Err)
}

// Holm says which of the hypotheses with these p-values are rejected so that the
// chance of a single wrong rejection is at most level, however many there are.
func Holm(p []float64, level float64) []bool {
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

// exactRanks is how many values have their ranks' distribution computed exactly; more have the normal one.
const exactRanks = 32

// signedRank is the one-sided p-value of Wilcoxon's signed-rank test that values lie above limit: the share of all choices of signs
// for which the ranks of the positive differences sum to as much as they do.
func signedRank(values []float64, limit float64) float64 {
	var d []float64
	for _, x := range values {
		if x != limit {
			d = append(d, x-limit)
		}
	}
	slices.SortFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	sum := 0
	for i, x := range d {
		if x > 0 {
			sum += i + 1
		}
	}
	if len(d) > exactRanks {
		return rankSumNormal(len(d), sum)
	}
	return rankSum(len(d), sum)
}

// rankSum is the chance that the ranks 1 to n, each in with chance one half, sum to at least sum.
func rankSum(n, sum int) float64 {
	most := n * (n + 1) / 2
	// ways[s] is the chance that the ranks so far sum to s.
	ways := make([]float64, most+1)
	ways[0] = 1
	for rank := 1; rank <= n; rank++ {
		for s := rank * (rank + 1) / 2; s >= 0; s-- {
			ways[s] /= 2
			if s >= rank {
				ways[s] += ways[s-rank] / 2
			}
		}
	}
	p := 0.0
	for _, w := range ways[sum:] {
		p += w
	}
	return min(p, 1)
}

// rankSumNormal is rankSum by its normal limit.
func rankSumNormal(n, sum int) float64 {
	m := float64(n)
	return distuv.Normal{Mu: m * (m + 1) / 4, Sigma: math.Sqrt(m * (m + 1) * (2*m + 1) / 24)}.Survival(float64(sum) - 0.5)
}
