package sim

import (
	"math"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// PrimitiveRatio is how much longer than modelled a primitive of a CPU was measured to take with its data at hand.
type PrimitiveRatio struct {
	Op    string  `json:"op"`
	MR    int     `json:"mr,omitempty"`
	NR    int     `json:"nr,omitempty"`
	Group int     `json:"group,omitempty"` // heads that share a state
	Ratio float64 `json:"ratio"`
}

// ratios puts measured primitives beside the core's model. A ratio that no core can have is a disturbed measurement and is left out.
func ratios(d *Device, measured []machine.Primitive, isa tile.ISA) []PrimitiveRatio {
	c := d.core()
	clock := 1e9 / c.ClockHz
	for _, p := range measured {
		if p.ISA == isa && p.Op == machine.PrimitiveFMA && p.Ns > 0 && p.Elements > 0 {
			clock = 2 * float64(c.lanes) * c.FMAs * p.Ns / float64(p.Elements)
		}
	}
	var out []PrimitiveRatio
	for _, p := range measured {
		if p.ISA != isa || !(p.Ns > 0) || p.Op == machine.PrimitiveFMA {
			continue
		}
		op := Op{Name: p.Op, MR: p.MR, NR: p.NR, M: p.M, N: p.N, K: p.K, Group: p.Group, Decays: p.Decays, Elements: p.Elements}
		if p.MR == 1 {
			op.Singles = p.M
		}
		ns := c.clocks(&op)*clock + callNs
		r := PrimitiveRatio{p.Op, p.MR, p.NR, p.Group, (p.Ns - callNs) / (ns - callNs)}
		if r.Ratio > 0.2 && r.Ratio < 20 && !math.IsInf(r.Ratio, 0) {
			out = append(out, r)
		}
	}
	return out
}

// ratio is that of an operation, 1 where it was not measured. Of numbers of heads that share a state the nearest that was measured counts, the smaller of two.
func (d *Device) ratio(op *Op) float64 {
	best, nearest := 1.0, math.MaxInt
	for i := range d.Primitives {
		r := &d.Primitives[i]
		if r.Op != op.Name || r.MR != 0 && (r.MR != op.MR || r.NR != op.NR) {
			continue
		}
		away := max(r.Group-op.Group, op.Group-r.Group)
		if r.MR == 0 {
			away = 0
		}
		if away < nearest {
			best, nearest = r.Ratio, away
		}
	}
	return best
}
