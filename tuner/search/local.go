package search

import (
	"math"

	"github.com/rooftune/rooftune/tuner/space"
)

// local is descent with restarts: from a random config to the first better Hamming neighbour, and so on; at a local optimum it starts
// again elsewhere.
type local struct {
	memory
	at      int // where it stands, -1 before a start
	here    float64
	left    []int // neighbours not yet compared
	waiting int   // asked and not told, -1 without
}

func newLocal(s *space.Space, o Options) Strategy {
	return &local{memory: newMemory(s, o), at: -1, waiting: -1}
}

func (l *local) Ask() (int, bool) {
	if l.waiting >= 0 {
		return l.anything() // its answer may be of use later
	}
	if l.at >= 0 {
		for len(l.left) > 0 {
			c := l.left[0]
			l.left = l.left[1:]
			if !l.asked[c] {
				l.waiting = c
				return l.take(c)
			}
			if cost, ok := l.cost[c]; ok && cost < l.here {
				l.move(c, cost)
			}
		}
		l.at = -1
	}
	c, ok := l.fresh()
	if !ok {
		return 0, false
	}
	l.waiting = c
	return l.take(c)
}

func (l *local) move(to int, cost float64) {
	l.at, l.here, l.left = to, cost, l.shuffled(to)
}

func (l *local) Tell(config int, cost float64) {
	l.note(config, cost)
	if config != l.waiting {
		return
	}
	l.waiting = -1
	switch {
	case l.at < 0 && !math.IsInf(cost, 1), l.at >= 0 && cost < l.here:
		l.move(config, cost)
	}
}
