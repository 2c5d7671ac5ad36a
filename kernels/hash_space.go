package kernels

import (
	"fmt"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// hashParams are the tunables of hash layers.
func hashParams(p tile.Problem) []tile.Param {
	s := p.Shape
	group := tile.Param{Name: "group", Values: []int{1, 2, 4, 8}, Doc: "table rows read side by side"}
	if p.Dir == tile.Backward {
		group.Doc = "gradient rows added side by side"
		return []tile.Param{group, {Name: "tables", Values: backwardTables(s), Doc: "tables hashed together"}}
	}
	return []tile.Param{
		group,
		{Name: "cols", Values: cols(s), Doc: "columns of one pass over the rows"},
		{Name: "tables", Values: tables(s), Doc: "tables of one pass over a block of tokens; all of them is token-major"},
	}
}

// backwardTables keeps the codes and weights of all tokens in the nearer caches.
func backwardTables(s tile.Shape) []int { return upTo((s.D-1)/s.Tau+1, 4, 16) }

func defaultHash(p tile.Problem) tile.Config {
	s := p.Shape
	if p.Dir == tile.Backward {
		return tile.Config{"group": 4, "tables": backwardTables(s)[0]}
	}
	return tile.Config{"group": 4, "cols": slices.Max(cols(s)), "tables": slices.Max(tables(s))}
}

// checkHashConfig checks the values of a config whose names are right.
func checkHashConfig(p tile.Problem, c tile.Config) error {
	if g := c["group"]; !slices.Contains([]int{1, 2, 4, 8}, g) {
		return fmt.Errorf("kernels: group=%d must be 1, 2, 4 or 8", g)
	}
	limits := map[string][2]int{"cols": {16, maxPanel}, "tables": {1, maxPanel}}
	if p.Dir == tile.Backward {
		limits = map[string][2]int{"tables": {1, 1 << 10}}
	}
	for _, name := range []string{"cols", "tables"} {
		if l, has := limits[name]; has && (c[name] < l[0] || c[name] > l[1]) {
			return fmt.Errorf("kernels: %s=%d must be from %d to %d", name, c[name], l[0], l[1])
		}
	}
	return nil
}
