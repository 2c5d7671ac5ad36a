package kernels

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Params lists the tunables of a problem on an ISA with the values worth
// trying there. Their product, less what CheckConfig refuses, is the search space.
func Params(p tile.Problem, isa tile.ISA) ([]tile.Param, error) {
	if err := CheckProblem(p); err != nil {
		return nil, err
	}
	prim, ok := primitives(isa)
	if !ok {
		return nil, fmt.Errorf("kernels: ISA %q cannot run here", isa)
	}
	s := p.Shape
	if p.Op == tile.HashLayer {
		return []tile.Param{
			{Name: "group", Values: []int{1, 2, 4, 8}, Doc: "table rows read side by side"},
			{Name: "cols", Values: cols(s), Doc: "columns of one pass over the rows"},
			{Name: "tables", Values: tables(s), Doc: "tables of one pass over a block of tokens; all of them is token-major"},
		}, nil
	}
	order := []int{0, 1}
	if s.B*s.Hkv == 1 || s.T <= 1 {
		order = []int{0}
	}
	return []tile.Param{
		{Name: "chunk", Values: chunks(s), Doc: "tokens of a chunk"},
		{Name: "panel", Values: panels(s), Doc: "value columns of one product call"},
		{Name: "mr", Values: sizes(prim.NN, func(k tile.ProductKernel) int { return k.MR }), Doc: "rows of the register tile of A·B and Aᵀ·B"},
		{Name: "nr", Values: sizes(prim.NN, func(k tile.ProductKernel) int { return k.NR }), Doc: "columns of that tile"},
		{Name: "nt_mr", Values: sizes(prim.NT, func(k tile.ProductKernel) int { return k.MR }), Doc: "rows of the register tile of A·Bᵀ"},
		{Name: "nt_nr", Values: sizes(prim.NT, func(k tile.ProductKernel) int { return k.NR }), Doc: "columns of that tile"},
		{Name: "order", Values: order, Doc: "0: chunks outermost, 1: heads outermost"},
	}, nil
}

// upTo keeps the values below n and adds the first that reaches it, as n
// itself where none does, so that a small problem has no two values that mean the same.
func upTo(n int, values ...int) []int {
	var kept []int
	for _, v := range values {
		if v >= n {
			return append(kept, max(1, v))
		}
		kept = append(kept, v)
	}
	if last := values[len(values)-1]; n > last && n < 4*last {
		kept = append(kept, n)
	}
	return kept
}

func sizes(ks []tile.ProductKernel, of func(tile.ProductKernel) int) []int {
	var v []int
	for _, k := range ks {
		v = append(v, of(k))
	}
	slices.Sort(v)
	return slices.Compact(v)
}

// Values of the tunables that depend on a problem's size.
func chunks(s tile.Shape) []int { return upTo(s.T, 16, 32, 64, 128) }
func panels(s tile.Shape) []int { return upTo(s.Dv, 32, 64, 128) }
func cols(s tile.Shape) []int   { return upTo(s.H, 256, 512, 1024, 2048, 4096) }
func tables(s tile.Shape) []int { return upTo((s.D+s.Tau-1)/s.Tau, 8, 32) }

// Default is the config that is used where nothing was tuned and nothing could be simulated, and that tuning begins with: the table's
// first register tiles, chunks of 32 tokens, whole rows.
func Default(p tile.Problem, isa tile.ISA) tile.Config {
	s := p.Shape
	if p.Op == tile.HashLayer {
		return tile.Config{"group": 4, "cols": slices.Max(cols(s)), "tables": slices.Max(tables(s))}
	}
	prim, ok := primitives(isa)
	if !ok {
		prim = genericPrimitives()
	}
	chunk := min(32, slices.Max(chunks(s)))
	for chunk > 16 && chunk*chunk*s.Dk > maxCallFlops {
		chunk /= 2
	}
	return tile.Config{
		"chunk": chunk, "panel": slices.Max(panels(s)), "mr": prim.NN[0].MR, "nr": prim.NN[0].NR,
		"nt_mr": prim.NT[0].MR, "nt_nr": prim.NT[0].NR, "order": 0,
	}
}

// Limits of the values that CheckConfig lets through.
const (
	maxChunk = 256
	maxPanel = 1 << 16
)

// CheckConfig says why a candidate cannot run a problem here, or nil if it can.
func CheckConfig(p tile.Problem, c tile.Candidate) error {
	if err := CheckProblem(p); err != nil {
		return err
	}
	prim, ok := primitives(c.ISA)
	if !ok {
		return fmt.Errorf("kernels: ISA %q cannot run here", c.ISA)
	}
	want := Default(p, c.ISA)
	for _, name := range slices.Sorted(maps.Keys(c.Config)) {
		if _, known := want[name]; !known {
			return fmt.Errorf("kernels: %s has no tunable %q", p.Op, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, given := c.Config[name]; !given {
			return fmt.Errorf("kernels: config of %s lacks %q", p.Op, name)
		}
	}
	within := func(name string, lo, hi int) error {
		if v := c.Config[name]; v < lo || v > hi {
			return fmt.Errorf("kernels: %s=%d must be from %d to %d", name, v, lo, hi)
		}
		return nil
	}
	if p.Op == tile.HashLayer {
		if g := c.Config["group"]; !slices.Contains([]int{1, 2, 4, 8}, g) {
			return fmt.Errorf("kernels: group=%d must be 1, 2, 4 or 8", g)
		}
		if err := within("cols", 16, maxPanel); err != nil {
			return err
		}
		return within("tables", 1, maxPanel)
	}
	for _, l := range []struct {
		name   string
		lo, hi int
	}{{"chunk", 1, maxChunk}, {"panel", 1, maxPanel}, {"order", 0, 1}} {
		if err := within(l.name, l.lo, l.hi); err != nil {
			return err
		}
	}
	if chunk := c.Config["chunk"]; chunk > 16 && chunk*chunk*p.Shape.Dk > 2*maxCallFlops {
		return fmt.Errorf("kernels: chunk=%d makes calls too long with keys %d wide", chunk, p.Shape.Dk)
	}
	for _, t := range []struct {
		mr, nr string
		ks     [][]tile.ProductKernel
	}{{"mr", "nr", [][]tile.ProductKernel{prim.NN, prim.TN}}, {"nt_mr", "nt_nr", [][]tile.ProductKernel{prim.NT}}} {
		for _, ks := range t.ks {
			if _, ok := tile.Find(ks, c.Config[t.mr], c.Config[t.nr]); !ok {
				return fmt.Errorf("kernels: %s has no register tile %s=%d,%s=%d", c.ISA, t.mr, c.Config[t.mr], t.nr, c.Config[t.nr])
			}
		}
	}
	return nil
}

// Complete fills in the default for every tunable that cfg does not give.
func Complete(p tile.Problem, isa tile.ISA, cfg tile.Config) tile.Config {
	full := Default(p, isa)
	maps.Copy(full, cfg)
	return full
}
