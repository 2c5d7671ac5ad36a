package search

import (
	"math"
	"math/rand/v2"

	"github.com/rooftune/rooftune/tuner/space"
)

// memory is what every strategy keeps: what was asked, what was told, and a random order of all configs for want of a better one.
type memory struct {
	space *space.Space
	rnd   *rand.Rand
	asked []bool
	cost  map[int]float64 // what was told
	told  []int           // in the order of Tell
	order []int           // a random order of what may not have been asked yet

	best     int // -1 while nothing usable was told
	bestCost float64
}

func newMemory(s *space.Space, o Options) memory {
	rnd := source(o.Seed)
	return memory{
		space: s, rnd: rnd, asked: make([]bool, s.Len()), cost: map[int]float64{}, order: rnd.Perm(s.Len()),
		best: -1, bestCost: math.Inf(1),
	}
}

// take asks for a config.
func (m *memory) take(config int) (int, bool) {
	m.asked[config] = true
	return config, true
}

// fresh is a random config that was not asked for; false if there is none.
func (m *memory) fresh() (int, bool) {
	for len(m.order) > 0 {
		c := m.order[0]
		if !m.asked[c] {
			return c, true
		}
		m.order = m.order[1:]
	}
	return 0, false
}

// anything asks for a random config.
func (m *memory) anything() (int, bool) {
	c, ok := m.fresh()
	if !ok {
		return 0, false
	}
	return m.take(c)
}

// note remembers an answer; false if it was there already.
func (m *memory) note(config int, cost float64) bool {
	if _, ok := m.cost[config]; ok {
		return false
	}
	m.asked[config] = true
	m.cost[config] = cost
	m.told = append(m.told, config)
	if cost < m.bestCost {
		m.best, m.bestCost = config, cost
	}
	return true
}

// shuffled lists the Hamming neighbours of a config in a random order.
func (m *memory) shuffled(config int) []int {
	var list []int
	for c := range m.space.Neighbours(config, space.Hamming) {
		list = append(list, c)
	}
	m.rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}
