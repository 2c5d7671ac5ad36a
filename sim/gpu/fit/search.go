package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/rooftune/rooftune/sim/gpu"
)

// start gives the values that a fit begins with: round figures from the literature, not from the rows.
func start() *gpu.Constants {
	return &gpu.Constants{
		Matrix: 1, Vector: 0.9, Memory: 1, Overlap: 4, Exposed: 0.5, Specialized: 0.1, Queue: 0.3, ChainClocks: 200, LaunchNs: 3000, HostNs: 30000, AutogradNs: 100000,
	}
}

// global is a constant and the range in which it makes sense.
type global struct {
	name      string
	at        func(*gpu.Constants) *float64
	low, high float64
}

var globals = []global{
	{"matrix", func(c *gpu.Constants) *float64 { return &c.Matrix }, 0.6, 1.15},
	{"vector", func(c *gpu.Constants) *float64 { return &c.Vector }, 0.6, 1.0},
	{"memory", func(c *gpu.Constants) *float64 { return &c.Memory }, 0.7, 1.1},
	{"overlap", func(c *gpu.Constants) *float64 { return &c.Overlap }, 1.2, 12},
	{"exposed", func(c *gpu.Constants) *float64 { return &c.Exposed }, 0.02, 1},
	{"specialized", func(c *gpu.Constants) *float64 { return &c.Specialized }, 0.01, 1},
	{"queue", func(c *gpu.Constants) *float64 { return &c.Queue }, 0.02, 1},
	{"chain clocks", func(c *gpu.Constants) *float64 { return &c.ChainClocks }, 20, 1500},
	{"launch ns", func(c *gpu.Constants) *float64 { return &c.LaunchNs }, 1000, 6000},
	{"host ns", func(c *gpu.Constants) *float64 { return &c.HostNs }, 5000, 200000},
	{"autograd ns", func(c *gpu.Constants) *float64 { return &c.AutogradNs }, 5000, 2000000},
}

// Weights and shape of the loss.
const (
	hostWeight = 0.25 // of rows under half a millisecond: they say more of the host
	weakWeight = 0.3  // of rows of tier C and of rates
	knee       = 0.05 // below it the loss is square, above it straight
	firstStep  = 0.25
	lastStep   = 0.01
)

func clone(c *gpu.Constants) *gpu.Constants {
	d := *c
	return &d
}

// loss is the weighted mean of a robust function of log(simulated/measured). A family's weight grows with the root of its rows, so
// that large ones do not drown the others.
func loss(rows []*gpu.Prepared, c *gpu.Constants) float64 {
	count := map[string]float64{}
	for _, p := range rows {
		count[p.Row.Family]++
	}
	machines := map[*gpu.Device]*gpu.Machine{}
	var e gpu.Estimate
	var sum, weights float64
	for _, p := range rows {
		m := machines[p.Device]
		if m == nil {
			m = gpu.NewMachine(p.Device, c)
			machines[p.Device] = m
		}
		s, err := p.Time(m, &e)
		if err != nil {
			continue
		}
		w := 1 / math.Sqrt(count[p.Row.Family])
		switch {
		case p.Row.MS == 0 || p.Row.Tier == "C":
			w *= weakWeight
		case !s.GPUBound:
			w *= hostWeight
		}
		x := math.Abs(math.Log(s.Ratio()))
		if x < knee {
			x = x * x / (2 * knee)
		} else {
			x -= knee / 2
		}
		sum += w * x
		weights += w
	}
	return sum / weights
}

// fit searches along one constant after the other, in logarithms, with steps that shrink.
func fit(rows []*gpu.Prepared, from *gpu.Constants) *gpu.Constants {
	best := clone(from)
	at := loss(rows, best)
	for step := firstStep; step >= lastStep; step /= 2 {
		for moved := true; moved; {
			moved = false
			for _, g := range globals {
				for _, sign := range []float64{1, -1} {
					for {
						next := clone(best)
						x := g.at(next)
						was := *x
						*x = min(g.high, max(g.low, *x*math.Exp(sign*step)))
						if *x == was {
							break
						}
						l := loss(rows, next)
						if !(l < at-1e-7) {
							break
						}
						best, at, moved = next, l, true
					}
				}
			}
		}
	}
	return best
}

// summary is the errors of GPU-bound rows.
type summary struct {
	gpu.Errors
	All gpu.Errors
}

func (s summary) String() string {
	return fmt.Sprintf("GPU-bound %d rows: MAPE %.1f %%, macro %.1f %%, median %.1f %%, Spearman %.3f; all %d rows: MAPE %.1f %%, Spearman %.3f",
		s.Rows, s.MAPE, s.MacroMAPE, s.Median, s.Spearman, s.All.Rows, s.All.MAPE, s.All.Spearman)
}

func scored(rows []*gpu.Prepared, c *gpu.Constants) []gpu.Scored {
	machines := map[*gpu.Device]*gpu.Machine{}
	var e gpu.Estimate
	var out []gpu.Scored
	for _, p := range rows {
		m := machines[p.Device]
		if m == nil {
			m = gpu.NewMachine(p.Device, c)
			machines[p.Device] = m
		}
		if s, err := p.Time(m, &e); err == nil {
			out = append(out, s)
		}
	}
	return out
}

func summarize(all []gpu.Scored) summary {
	var bound []gpu.Scored
	for _, s := range all {
		if s.GPUBound {
			bound = append(bound, s)
		}
	}
	return summary{gpu.ErrorsOf(bound), gpu.ErrorsOf(all)}
}

// foldRows is how many rows of a family a fit with a group left out looks at.
const foldRows = 50

// thinned keeps at most foldRows rows of each family, evenly spaced.
func thinned(rows []*gpu.Prepared) []*gpu.Prepared {
	count, seen := map[string]int{}, map[string]int{}
	for _, p := range rows {
		count[p.Row.Family]++
	}
	var out []*gpu.Prepared
	for _, p := range rows {
		n, i := count[p.Row.Family], seen[p.Row.Family]
		seen[p.Row.Family]++
		if n <= foldRows || i*foldRows/n != (i+1)*foldRows/n {
			out = append(out, p)
		}
	}
	return out
}

// leaveOut fits without each group in turn and scores that group with what was fitted on the others, of which large families are thinned.
func leaveOut(w io.Writer, what string, rows []*gpu.Prepared, group func(*gpu.Prepared) string) []gpu.Scored {
	groups := map[string][]*gpu.Prepared{}
	for _, p := range rows {
		groups[group(p)] = append(groups[group(p)], p)
	}
	names := slices.Sorted(maps.Keys(groups))
	left := make([][]gpu.Scored, len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		wait.Go(func() {
			var rest []*gpu.Prepared
			for _, p := range rows {
				if group(p) != name {
					rest = append(rest, p)
				}
			}
			left[i] = scored(groups[name], fit(thinned(rest), start()))
		})
	}
	wait.Wait()
	var all []gpu.Scored
	for i, name := range names {
		fmt.Fprintf(w, "without %s %s: %s\n", what, name, summarize(left[i]))
		all = append(all, left[i]...)
	}
	fmt.Fprintf(w, "each %s left out: %s\n", what, summarize(all))
	return all
}
