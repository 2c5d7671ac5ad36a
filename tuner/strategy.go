package tuner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Strategy decides which candidate is measured next. Candidates are
// numbers into the space. A strategy sees nothing but what it is told, so the same
// seed and the same answers give the same trace.
type Strategy interface {
	// Ask names the next candidate to measure; false ends the search. It may be
	// asked several times before the first answer is told.
	Ask() (candidate int, ok bool)
	// Tell answers: the candidate's time over the incumbent's, +Inf if it cannot be used.
	Tell(candidate int, cost float64)
}

// Strategies lists the names that Options.Strategy may have, the default first.
func Strategies() []string { return []string{"exhaustive", "random"} }

// newStrategy makes a strategy over n candidates; ranked lists them by
// simulated time, best first.
func newStrategy(name string, n int, ranked []int, seed uint64) (Strategy, error) {
	switch name {
	case "exhaustive", "":
		return &fixedOrder{order: slices.Clone(ranked)}, nil
	case "random":
		return &fixedOrder{order: rand.New(rand.NewPCG(seed, 0x726f6f66)).Perm(n)}, nil
	}
	return nil, fmt.Errorf("strategy %q is unknown, must be one of %s", name, strings.Join(Strategies(), ", "))
}

// fixedOrder visits every candidate once, in an order that the answers do not change:
// by simulated time (exhaustive) or shuffled (random).
type fixedOrder struct{ order []int }

func (s *fixedOrder) Ask() (int, bool) {
	if len(s.order) == 0 {
		return 0, false
	}
	c := s.order[0]
	s.order = s.order[1:]
	return c, true
}

func (s *fixedOrder) Tell(int, float64) {}
