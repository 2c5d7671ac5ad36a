package tuner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/search"
	spaces "github.com/rooftune/rooftune/tuner/space"
)

const exhaustive = "exhaustive"

// Strategies lists the names that Options.Strategy may have, the default first. See package search. All but search.Default go on until every
// candidate was measured or the time is used.
func Strategies() []string { return search.Names() }

// search.Default measures a tenth of a space. Of a small space, where that would be a handful, it measures all: decode steps and hash layers of few tokens
// have 19 to 57 configs, which together take no longer than the tenth of a large one.
const (
	searchShare = 0.1
	plainPart   = 0.1 // of that, for what lies between the best and the incumbent: see plainer
	smallSpace  = 60
)

func knownStrategy(name string) error {
	if name != "" && !slices.Contains(Strategies(), name) {
		return fmt.Errorf("strategy %q is unknown, must be one of %s", name, strings.Join(Strategies(), ", "))
	}
	return nil
}

// newStrategy makes a strategy over configs, of which predicted has the simulated times. Costs are times over those of the incumbent, one
// of the configs.
func newStrategy(name string, params []tile.Param, configs []tile.Config, predicted []float64, incumbent int, seed uint64) (search.Strategy, error) {
	if name == "" {
		name = search.Default
	}
	if name == search.Default && len(configs) <= smallSpace {
		name, predicted = exhaustive, outward(configs, predicted, incumbent)
	}
	s, err := searchSpace(params, configs)
	if err != nil {
		return nil, err
	}
	o := search.Options{Seed: seed, Predicted: predicted}
	if name != search.Default {
		return search.New(name, s, o)
	}
	o.Budget = int((1 - plainPart) * searchShare * float64(len(configs)))
	// What each tunable does by itself: any two runs have that in common, however their searches go on.
	o.First = slices.Collect(s.Neighbours(incumbent, spaces.Hamming))
	o.First = o.First[:min(len(o.First), o.Budget/2)]
	strategy, err := search.New(name, s, o)
	return &limited{Strategy: strategy, left: o.Budget}, err
}

// outward ranks configs by how many tunables they have otherwise than the incumbent, and those with as many by their predictions: where
// time ends before a small space does, what was measured lies around the incumbent.
func outward(configs []tile.Config, predicted []float64, incumbent int) []float64 {
	order, differing := make([]int, len(configs)), make([]int, len(configs))
	for i, c := range configs {
		order[i], differing[i] = i, len(departures(c, configs[incumbent]))
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(differing[a], differing[b]), cmp.Compare(predicted[a], predicted[b]))
	})
	ranks := make([]float64, len(configs))
	for rank, i := range order {
		ranks[i] = float64(rank)
	}
	return ranks
}

// departures names the tunables that a config has otherwise than a standard.
func departures(c, standard tile.Config) []string {
	var names []string
	for name, v := range c {
		if x, ok := standard[name]; !ok || x != v {
			names = append(names, name)
		}
	}
	return names
}

// limited ends a search after so many answers.
type limited struct {
	search.Strategy
	left int
}

func (l *limited) Ask() (int, bool) {
	if l.left <= 0 {
		return 0, false
	}
	return l.Strategy.Ask()
}

func (l *limited) Tell(config int, cost float64) {
	l.left--
	l.Strategy.Tell(config, cost)
}

// searchSpace takes configs as a space. A tunable that a config lacks has its first value there: the tunable that it goes with tells them
// apart.
func searchSpace(params []tile.Param, configs []tile.Config) (*spaces.Space, error) {
	var list []spaces.Param
	positions := make([]map[int]uint16, len(params))
	for k, q := range params {
		values := slices.Clone(q.Values)
		for _, c := range configs { // an answer from elsewhere may have others
			if v, ok := c[q.Name]; ok && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		p := spaces.Param{Name: q.Name}
		positions[k] = map[int]uint16{}
		for i, v := range values {
			p.Values = append(p.Values, spaces.IntValue(v))
			positions[k][v] = uint16(i)
		}
		list = append(list, p)
	}
	rows := make([][]uint16, len(configs))
	for i, c := range configs {
		rows[i] = make([]uint16, len(params))
		for k, q := range params {
			if v, ok := c[q.Name]; ok {
				rows[i][k] = positions[k][v]
			}
		}
	}
	return spaces.Of(list, rows)
}
