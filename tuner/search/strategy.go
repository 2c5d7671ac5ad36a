// Package search holds search strategies: they name configs of a space, are told what these cost, and look for the cheapest.
//
// A strategy sees the space, its options and what it is told, and nothing else: the same seed and the same answers give the same
// trace. Costs matter by their order and their ratios only, so no strategy depends on a unit.
package search

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/tuner/space"
)

// Strategy names configs, by their numbers in the space.
type Strategy interface {
	// Ask names the next config to measure; false ends the search. It may be asked several times before the first answer is told.
	// It names a config once only.
	Ask() (config int, ok bool)
	// Tell answers with the config's cost: positive, +Inf if it cannot be used. A cost may be told for a config
	// that was not asked for.
	Tell(config int, cost float64)
}

// Options of a search.
type Options struct {
	Seed uint64
	// Budget is how many evaluations there will be, 0 if that is open. Strategies plan with it; they do not stop there.
	Budget int
	// Predicted are costs by a simulator, by config, in any unit; nil without one, NaN or +Inf where it has none.
	Predicted []float64
	// First are configs to begin with, before those that a strategy would begin with itself. Only Default heeds them.
	First []int
}

// Default is the strategy of the tuner.
const Default = "combined"

// Names lists the strategies, the default first.
func Names() []string {
	names := []string{Default}
	for _, s := range strategies {
		if s.name != Default {
			names = append(names, s.name)
		}
	}
	return names
}

var strategies = []struct {
	name string
	make func(*space.Space, Options) Strategy
}{
	{Default, newCombined},
	{"gaussian", newGaussianSearch},
	{"forest", newForest},
	{"genetic", newGenetic},
	{"evolution", newEvolution},
	{"local", newLocal},
	{"random", newRandom},
	{"exhaustive", newExhaustive},
}

// New makes a strategy over the configs of a space.
func New(name string, s *space.Space, o Options) (Strategy, error) {
	if o.Predicted != nil && len(o.Predicted) != s.Len() {
		return nil, fmt.Errorf("%d predictions for %d configs", len(o.Predicted), s.Len())
	}
	for _, x := range strategies {
		if x.name == name {
			return x.make(s, o), nil
		}
	}
	return nil, fmt.Errorf("strategy %q is unknown, must be one of %s", name, strings.Join(Names(), ", "))
}

// source is a search's random numbers.
func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x726f6f6674756e65)) }

// fixedOrder visits every config once, in an order that answers do not change.
type fixedOrder struct{ order []int }

func (f *fixedOrder) Ask() (int, bool) {
	if len(f.order) == 0 {
		return 0, false
	}
	c := f.order[0]
	f.order = f.order[1:]
	return c, true
}

func (f *fixedOrder) Tell(int, float64) {}

// newExhaustive visits all configs: by prediction, else as they are numbered.
func newExhaustive(s *space.Space, o Options) Strategy {
	return &fixedOrder{byPrediction(s.Len(), o.Predicted)}
}

// byPrediction orders configs by predicted cost; those without one come last.
func byPrediction(n int, predicted []float64) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if predicted != nil {
		slices.SortStableFunc(order, func(a, b int) int {
			x, y := predicted[a], predicted[b]
			switch {
			case x < y || y != y && x == x:
				return -1
			case x > y || x != x && y == y:
				return 1
			}
			return 0
		})
	}
	return order
}

// newRandom visits all configs in a random order.
func newRandom(s *space.Space, o Options) Strategy {
	return &fixedOrder{source(o.Seed).Perm(s.Len())}
}
