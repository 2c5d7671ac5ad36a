package search

import (
	"cmp"
	"math"
	"slices"

	"github.com/rooftune/rooftune/tuner/space"
)

// maxPool is how many configs a surrogate predicts. Of a larger space these are drawn at random, and the
// neighbours of every new best join them.
const maxPool = 12288

const (
	initial = 10  // random configs before a surrogate is asked
	refits  = 1.5 // times as many observations before length scales are fitted again
	rounds  = 3   // of a fit; of one to many observations, which changes little, a single one
	many    = 64
	maxSeen = 320 // observations that a surrogate takes in; later ones change nothing

	// patience is after how many observations without a better one length scales are looked for from the beginning again: a fit goes up from the last one, and a
	// search that trusts too long scales has no cause to look elsewhere. Of 700 searches on the recorded space of an A100 six ended at 67 to 68 % of the optimum
	// without this; the worst ends at 79 %.
	patience = 40
)

// surrogate searches by a Gaussian process: the next config is that of the highest expected improvement. As the default
// strategy it also begins with what a simulator ranks first, has the simulator's ranking as a further dimension, and
// ends with descent: all Hamming neighbours of the best, and of a better one among them.
type surrogate struct {
	memory
	g       *gaussian
	scale   scale
	first   []int // configs to begin with
	nextFit int
	since   int   // observations up to the best, or to the last new beginning
	budget  int   // 0 if open
	pending []int // asked for and not told
	descent bool
}

// newGaussianSearch is the surrogate alone.
func newGaussianSearch(s *space.Space, o Options) Strategy { return newSurrogate(s, o) }

// newCombined is the default: simulator, surrogate, descent.
func newCombined(s *space.Space, o Options) Strategy {
	c := newSurrogate(s, o)
	c.descent, c.budget = true, o.Budget
	if o.Predicted != nil {
		ranked := byPrediction(s.Len(), o.Predicted)
		c.g.addDimension(ranked)
		// First the configs that the simulator likes best, then half of the random ones.
		c.first = slices.Concat(ranked[:min(s.Len(), initial)], c.first[:len(c.first)/2])
	}
	c.first = slices.Concat(o.First, c.first)
	return c
}

func newSurrogate(s *space.Space, o Options) *surrogate {
	c := &surrogate{memory: newMemory(s, o), nextFit: min(initial, s.Len())}
	c.first = slices.Clone(c.order[:c.nextFit])
	c.g = newGaussian(s, c.order[:min(s.Len(), maxPool)])
	return c
}

func (c *surrogate) Tell(config int, cost float64) {
	improved := cost < c.bestCost
	c.pending = slices.DeleteFunc(c.pending, func(i int) bool { return i == config })
	if !c.note(config, cost) {
		return
	}
	if improved {
		c.since = len(c.told)
	}
	if c.scale.width > 0 && len(c.g.seen) < maxSeen {
		c.g.observe(config, c.scale.of(cost))
	}
	if improved && len(c.g.pool) < c.space.Len() {
		c.g.add(slices.Collect(c.space.Neighbours(config, space.Hamming)))
	}
}

func (c *surrogate) Ask() (int, bool) {
	for len(c.first) > 0 {
		i := c.first[0]
		if c.first = c.first[1:]; !c.asked[i] {
			return c.take(i)
		}
	}
	if len(c.told) < c.nextFit && c.scale.width == 0 || c.best < 0 {
		return c.anything() // asked ahead of the answers, or nothing has worked yet
	}
	if len(c.told)-c.since >= patience {
		c.g.forget()
		c.since, c.nextFit = len(c.told), len(c.told)
	}
	if len(c.told) >= c.nextFit && len(c.told) <= maxSeen {
		c.fit()
		c.nextFit = int(refits*float64(len(c.told))) + 1
	}
	i, ok := c.last()
	if !ok {
		i, ok = c.promising()
	}
	if !ok {
		return c.anything()
	}
	c.pending = append(c.pending, i)
	return c.take(i)
}

// fit takes a scale from all answers so far, fits the process to them and conditions it on them.
func (c *surrogate) fit() {
	costs, y := make([]float64, len(c.told)), make([]float64, len(c.told))
	for k, i := range c.told {
		costs[k] = c.cost[i]
	}
	c.scale = newScale(costs)
	for k, x := range costs {
		y[k] = c.scale.of(x)
	}
	for k, i := range c.told[len(c.g.seen):] { // of the beginning, when there was no scale
		c.g.observe(i, y[k])
	}
	if len(y) > many {
		c.g.fit(y, 1)
	} else {
		c.g.fit(y, rounds)
	}
	c.g.restart(y)
}

// promising is the config with the highest expected improvement over the best. What is like a config whose answer is not there yet
// counts for less: that answer will say most of it.
func (c *surrogate) promising() (int, bool) {
	best := c.scale.of(c.bestCost)
	sd := c.g.signal()
	open := c.open()
	at, top := -1, math.Inf(-1)
	for i, m := range c.g.mean {
		if c.asked[c.g.pool[i]] {
			continue
		}
		s := sd * math.Sqrt(max(float64(c.g.variance[i]), 1e-12))
		u := (best - float64(m)) / s
		if s*improvementBound(u) < top {
			continue
		}
		e := s * improvement(u)
		if open != nil {
			e *= float64(open[i])
		}
		if e > top {
			at, top = c.g.pool[i], e
		}
	}
	return at, at >= 0
}

// open is the share of every config's variance that the pending answers will leave, each taken alone; nil without any.
func (c *surrogate) open() []float32 {
	if len(c.pending) == 0 {
		return nil
	}
	left := make([]float32, len(c.g.pool))
	for i := range left {
		left[i] = 1
	}
	for _, p := range c.pending {
		place, ok := c.g.slot[p]
		if !ok {
			continue
		}
		for i, k := range c.g.covariance(place, 0) {
			left[i] *= 1 - k*k
		}
	}
	return left
}

// last is the next step of the descent, once no more evaluations are left than it may need.
func (c *surrogate) last() (int, bool) {
	left := c.budget - len(c.told)
	if !c.descent || c.budget == 0 || left > max(2, c.budget/10) {
		return 0, false
	}
	var around []int
	for i := range c.space.Neighbours(c.best, space.Hamming) {
		if !c.asked[i] {
			around = append(around, i)
		}
	}
	if len(around) == 0 {
		return 0, false
	}
	return slices.MinFunc(around, func(a, b int) int { return cmp.Compare(c.g.predict(a), c.g.predict(b)) }), true
}

// improvement is the expected improvement of a standard normal below u: phi(u) + u Phi(u).
func improvement(u float64) float64 {
	phi := math.Exp(-u*u/2) / math.Sqrt(2*math.Pi)
	if u < -5 {
		return phi / (u * u)
	}
	return phi + u*0.5*math.Erfc(-u/math.Sqrt2)
}

// improvementBound is never below improvement and costs little.
func improvementBound(u float64) float64 {
	switch {
	case u >= 0:
		return u + 0.4
	case u > -1:
		return 0.4 + u*0.31
	case u > -2:
		return 0.084
	case u > -3:
		return 0.0086
	case u > -4:
		return 0.0004
	}
	return 8e-6
}
