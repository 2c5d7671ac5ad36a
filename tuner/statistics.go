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
	values      []float64
}

func trimmed(x []float64) estimate {
	n := len(x)
	g := n / 5
	s := slices.Sorted(slices.Values(x))
	e := estimate{n: n, mean: stat.Mean(s[g:n-g], nil), freedom: float64(n - 2*g - 1), everyValues: g == 0, values: x}
	for i := range g {
		s[i], s[n-1-i] = s[g], s[n-1-g]
	}
	h := float64(n - 2*g)
	e.err = stat.StdDev(s, nil) * math.Sqrt(float64(n-1)/(h*(h-1)))
	return e
}

// greater is the one-sided p-value of the differences being above limit: the larger one of two tests, since each has its own way of being
// misled on a shared machine. Student's t on the trimmed mean believes in a spread that so few values happen to show; the signed-rank test
// does not see how far apart the values are.
func (e estimate) greater(limit float64) float64 {
	return max(e.student(limit), signedRank(e.values, limit))
}

// student is the p-value of Yuen's t.
func (e estimate) student(limit float64) float64 {
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

// signedRank is the exact one-sided p-value of Wilcoxon's signed-rank test that values lie above limit: the share of all choices of signs
// for which the ranks of the positive differences sum to as much as they do.
func signedRank(values []float64, limit float64) float64 {
	var d []float64
	for _, x := range values {
		if x != limit {
			d = append(d, x-limit)
		}
	}
	slices.SortFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	most := len(d) * (len(d) + 1) / 2
	// ways[s] is the chance that the ranks so far of those with a plus sum to s.
	ways := make([]float64, most+1)
	ways[0] = 1
	sum := 0
	for i, x := range d {
		rank := i + 1
		if x > 0 {
			sum += rank
		}
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
