package tuner

import (
	"fmt"

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
	digits := make([]int, len(params))
	for range size {
		c := make(tile.Config, len(params))
		once := true // a tunable that the config lacks does not make it another
		for i, q := range params {
			if q.Active(c) {
				c[q.Name] = q.Values[digits[i]]
			} else {
				once = once && digits[i] == 0
			}
		}
		if once && s.CheckConfig(p, tile.Candidate{ISA: isa, Config: c}) == nil {
			configs = append(configs, c)
		}
		for i := len(digits) - 1; i >= 0; i-- {
			if digits[i]++; digits[i] < len(params[i].Values) {
				break
			}
			digits[i] = 0
		}
	}
	return configs, nil
}
