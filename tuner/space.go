package tuner

import (
	"fmt"
	"maps"

	"github.com/rooftune/rooftune/kernels/tile"
)

// maxSpace bounds an enumeration, before constraints.
const maxSpace = 1 << 20

// space lists the configs of a problem and ISA that satisfy the constraints, in
// enumeration order: the first parameter varies slowest, each in the order of its values.
func space(s Subject, p tile.Problem, isa tile.ISA) ([]tile.Config, error) {
	params, err := s.Params(p, isa)
	if err != nil {
		return nil, err
	}
	size := 1
	for _, q := range params {
		if len(q.Values) == 0 {
			return nil, fmt.Errorf("parameter %s has no values", q.Name)
		}
		if size *= len(q.Values); size > maxSpace {
			return nil, fmt.Errorf("more than %d configs", maxSpace)
		}
	}
	var configs []tile.Config
	c := tile.Config{}
	var walk func(k int)
	walk = func(k int) {
		switch {
		case k == len(params):
			if s.CheckConfig(p, tile.Candidate{ISA: isa, Config: c}) == nil {
				configs = append(configs, maps.Clone(c))
			}
		case params[k].Active(c):
			for _, v := range params[k].Values {
				c[params[k].Name] = v
				walk(k + 1)
			}
			delete(c, params[k].Name)
		default: // a tunable that the config lacks does not make it another
			walk(k + 1)
		}
	}
	walk(0)
	return configs, nil
}
