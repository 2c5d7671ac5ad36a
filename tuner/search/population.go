package search

import (
	"cmp"
	"math"
	"slices"

	"github.com/rooftune/rooftune/tuner/space"
)

const population = 20 // members

// individual is a member of a population.
type individual struct {
	config int
	cost   float64
}

// generations is what genetic and differential evolution share: generations of configs, each asked for
// before the next is bred.
type generations struct {
	memory
	parents  []individual
	children []int // of the next generation
	next     int   // of them to be asked for
	breed    func(parents []individual) []int
	survive  func(parents, children []individual) []individual
}

func (g *generations) Ask() (int, bool) {
	for tries := 0; ; tries++ {
		for g.next < len(g.children) {
			c := g.children[g.next]
			g.next++
			if !g.asked[c] {
				return g.take(c)
			}
		}
		known := true
		for _, c := range g.children {
			if _, ok := g.cost[c]; !ok {
				known = false
			}
		}
		switch {
		case !known: // asked ahead of the answers
			return g.anything()
		case g.children == nil && g.parents == nil:
			for range population {
				if c, ok := g.fresh(); ok {
					g.children = append(g.children, c)
					g.order = g.order[1:]
				}
			}
			if len(g.children) == 0 {
				return 0, false
			}
			continue
		}
		var born []individual
		for _, c := range g.children {
			born = append(born, individual{c, g.cost[c]})
		}
		g.parents = g.survive(g.parents, born)
		g.children, g.next = g.breed(g.parents), 0
		if tries >= 10 { // the population has run dry: nothing new comes of it
			if c, ok := g.fresh(); ok {
				g.children = append(g.children, c)
			} else {
				return 0, false
			}
		}
	}
}

func (g *generations) Tell(config int, cost float64) { g.note(config, cost) }

// repair finds a config of the space near a row that may not be one: values are replaced by those of fallback, one after the
// other in a random order, until the space has it.
func (g *generations) repair(row, fallback []uint16) (int, bool) {
	if c, ok := g.space.Find(row); ok {
		return c, true
	}
	row = slices.Clone(row)
	for _, k := range g.rnd.Perm(len(row)) {
		row[k] = fallback[k]
		if c, ok := g.space.Find(row); ok {
			return c, true
		}
	}
	return 0, false
}

// newGenetic is a genetic algorithm: parents by tournament, uniform crossover, mutation of single values, the best of
// parents and children survive.
func newGenetic(s *space.Space, o Options) Strategy {
	g := &generations{memory: newMemory(s, o)}
	g.survive = func(parents, children []individual) []individual {
		all := slices.Concat(parents, children)
		slices.SortStableFunc(all, func(a, b individual) int { return cmp.Compare(a.cost, b.cost) })
		all = slices.CompactFunc(all, func(a, b individual) bool { return a.config == b.config })
		return all[:min(len(all), population)]
	}
	g.breed = func(parents []individual) []int {
		pick := func() []uint16 {
			return g.space.Row(parents[min(g.rnd.IntN(len(parents)), g.rnd.IntN(len(parents)))].config)
		}
		var born []int
		for range population {
			a, b := pick(), pick()
			row := slices.Clone(a)
			for k := range row {
				if g.rnd.IntN(2) == 0 {
					row[k] = b[k]
				}
				if g.rnd.IntN(2*len(row)) == 0 {
					row[k] = uint16(g.rnd.IntN(len(g.space.Params()[k].Values)))
				}
			}
			if c, ok := g.repair(row, a); ok {
				born = append(born, c)
			}
		}
		return born
	}
	return g
}

// newEvolution is differential evolution on the positions of values: each member is challenged by a mix of itself with
// the best plus a difference of two others, and replaced if that is no worse.
func newEvolution(s *space.Space, o Options) Strategy {
	g := &generations{memory: newMemory(s, o)}
	challenger := map[int]int{} // child to the place it challenges
	g.survive = func(parents, children []individual) []individual {
		if parents == nil {
			return children
		}
		parents = slices.Clone(parents)
		for _, c := range children {
			if k, ok := challenger[c.config]; ok && c.cost <= parents[k].cost {
				parents[k] = c
			}
		}
		return parents
	}
	g.breed = func(parents []individual) []int {
		clear(challenger)
		best := slices.MinFunc(parents, func(a, b individual) int { return cmp.Compare(a.cost, b.cost) })
		var born []int
		for k := range parents {
			own := g.space.Row(parents[k].config)
			x := g.space.Row(parents[g.rnd.IntN(len(parents))].config)
			y := g.space.Row(parents[g.rnd.IntN(len(parents))].config)
			top := g.space.Row(best.config)
			row := slices.Clone(own)
			sure := g.rnd.IntN(len(row))
			for i, p := range g.space.Params() {
				if i != sure && g.rnd.IntN(10) >= 7 {
					continue
				}
				v := float64(top[i]) + 0.7*(float64(x[i])-float64(y[i]))
				row[i] = uint16(min(max(math.Round(v), 0), float64(len(p.Values)-1)))
			}
			if c, ok := g.repair(row, own); ok && c != parents[k].config {
				if _, taken := challenger[c]; !taken {
					challenger[c] = k
					born = append(born, c)
				}
			}
		}
		return born
	}
	return g
}
