package tuner

import (
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
)

// minShare is the least time that is worth beginning a problem with.
const minShare = 5 * time.Millisecond

// costs are guesses of how long the next step takes, learnt from the steps
// before, so that nothing is begun that the budget cannot end.
type costs struct {
	verify map[opISA]time.Duration
	slower map[opISA]float64 // measured over simulated time
	open   float64           // ns an element
}

type opISA struct {
	op  string
	isa tile.ISA
}

func newCosts() costs {
	return costs{map[opISA]time.Duration{}, map[opISA]float64{}, 10}
}

const (
	firstVerify = 30 * time.Millisecond
	firstSlower = 2.5 // the simulator is an optimist where a kernel is not yet tuned
)

func keyOf(u unit) opISA { return opISA{u.problem.Op, u.isa} }

func (c *costs) verifying(u unit) time.Duration {
	if d, ok := c.verify[keyOf(u)]; ok {
		return d
	}
	return firstVerify
}

func (c *costs) verified(u unit, d time.Duration) {
	c.verify[keyOf(u)] = max(d, c.verifying(u)*3/4)
}

// running guesses a first run from its simulated time.
func (c *costs) running(u unit, simulated float64) time.Duration {
	factor, ok := c.slower[keyOf(u)]
	if !ok {
		factor = firstSlower
	}
	return time.Duration(factor * simulated)
}

func (c *costs) ran(u unit, simulated, ns float64) {
	if simulated > 0 {
		c.slower[keyOf(u)] = max(ns/simulated, 1)
	}
}

func (c *costs) opening(p tile.Problem) time.Duration {
	return time.Duration(c.open * elements(p))
}

func (c *costs) openedIn(p tile.Problem, d time.Duration) {
	if n := elements(p); n > 1<<16 {
		c.open = float64(d) / n
	}
}

// elements counts a problem's inputs and outputs.
func elements(p tile.Problem) float64 {
	s := p.Shape
	if p.Op == tile.HashLayer {
		tables := float64(s.H) * float64(s.D)
		if s.Tau > 0 && s.Tau < 32 {
			tables *= float64(int(1)<<s.Tau) / float64(s.Tau)
		}
		return tables + float64(s.N)*float64(s.D+s.H)
	}
	if p.Op == tile.CausalConv {
		return 2 * float64(s.B) * float64(s.C) * float64(s.L+s.K)
	}
	tokens := float64(s.B) * float64(s.T)
	return tokens*float64(s.Hq*(s.Dk+s.Dv)+s.Hkv*(s.Dk+s.Dv)) + 2*float64(s.B)*float64(s.Hkv)*float64(s.Dk)*float64(s.Dv)
}
