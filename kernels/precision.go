package kernels

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// checkPrecision says why a problem cannot have the precision that it asks for, or nil if it can.
func checkPrecision(p tile.Problem) error {
	switch {
	case p.Precision == "":
		return nil
	case p.Op == tile.HashLayer:
		if p.Precision != tile.Int8 || p.DType != tile.Int8 {
			return fmt.Errorf("precision %q of %s must be empty, or int8 with dtype int8", p.Precision, p.Op)
		}
		return nil
	case p.Precision != tile.BFloat16:
		return fmt.Errorf("precision %q must be empty (float32) or bfloat16", p.Precision)
	case p.Op != tile.LinearAttention && p.Op != tile.DeltaRule:
		return fmt.Errorf("precision bfloat16 goes with %s and %s, not %s", tile.LinearAttention, tile.DeltaRule, p.Op)
	case p.Dir != tile.Forward:
		return fmt.Errorf("precision bfloat16 has no direction %q", p.Dir)
	case p.Decay == tile.DecayKey:
		return fmt.Errorf("precision bfloat16 has no decay per key")
	case p.Full || p.Normalize || p.FeatureMap != tile.MapNone:
		return fmt.Errorf("precision bfloat16 has no full, normalize or feature_map")
	case p.Front != tile.FrontNone || p.Gates != "":
		return fmt.Errorf("precision bfloat16 has no front and no separate gates")
	}
	return nil
}

// ErrNoPairs is wrapped where an ISA lacks the products that a problem's precision asks for.
var ErrNoPairs = errors.New("no bfloat16 products on this CPU")

func lacksPairs(isa tile.ISA) error { return fmt.Errorf("kernels: %s has %w", isa, ErrNoPairs) }

// pairParams are the tunables of bfloat16 products.
func pairParams(p tile.Problem, prim *tile.Primitives) []tile.Param {
	s := p.Shape
	order, flag := []int{0, 1}, []int{0, 1}
	if s.B*s.Hkv == 1 || s.T <= 1 {
		order = []int{0}
	}
	if s.T <= 1 {
		flag = []int{0}
	}
	return []tile.Param{
		{Name: "chunk", Values: chunks(s), Doc: "tokens of a chunk"},
		{Name: "panel", Values: panels(s), Doc: "value columns that lie together"},
		{Name: "mr", Values: pairSizes(prim.Pair.NN, func(k tile.PairKernel) int { return k.MR }), Doc: "rows of the register tile"},
		{Name: "nr", Values: pairSizes(prim.Pair.NN, func(k tile.PairKernel) int { return k.NR }), Doc: "columns of that tile"},
		{Name: "order", Values: order, Doc: "0: chunks outermost, 1: heads outermost"},
		{Name: "stream", Values: flag, Doc: "1: outputs are stored past the caches"},
		{Name: "ahead", Values: flag, Doc: "1: what the next chunk or head reads is prefetched"},
	}
}

func pairSizes(ks []tile.PairKernel, of func(tile.PairKernel) int) []int {
	var v []int
	for _, k := range ks {
		v = append(v, of(k))
	}
	slices.Sort(v)
	return slices.Compact(v)
}

// defaultPairs is the default of bfloat16 products. Where the ISA has none, CheckConfig refuses it.
func defaultPairs(p tile.Problem, prim *tile.Primitives) tile.Config {
	if prim.Pair == nil {
		prim = genericPrimitives()
	}
	flag := 1
	if p.Shape.T <= 1 {
		flag = 0
	}
	return tile.Config{
		"chunk": min(64, slices.Max(chunks(p.Shape))), "panel": slices.Min(panels(p.Shape)), "mr": prim.Pair.NN[0].MR, "nr": prim.Pair.NN[0].NR,
		"order": 0, "stream": flag, "ahead": flag,
	}
}

// checkPairConfig is CheckConfig for bfloat16 products.
func checkPairConfig(p tile.Problem, c tile.Candidate, prim *tile.Primitives) error {
	if prim.Pair == nil {
		return lacksPairs(c.ISA)
	}
	want := defaultPairs(p, prim)
	for _, name := range slices.Sorted(maps.Keys(c.Config)) {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("kernels: %s with precision bfloat16 has no tunable %q", p.Op, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, given := c.Config[name]; !given {
			return fmt.Errorf("kernels: config of %s with precision bfloat16 lacks %q", p.Op, name)
		}
	}
	for _, l := range []struct {
		name   string
		lo, hi int
	}{{"chunk", 1, maxChunk}, {"panel", 1, maxPanel}, {"order", 0, 1}, {"stream", 0, 1}, {"ahead", 0, 1}} {
		if v := c.Config[l.name]; v < l.lo || v > l.hi {
			return fmt.Errorf("kernels: %s=%d must be from %d to %d", l.name, v, l.lo, l.hi)
		}
	}
	for _, ks := range [][]tile.PairKernel{prim.Pair.NN, prim.Pair.TN} {
		if _, ok := tile.FindPair(ks, c.Config["mr"], c.Config["nr"]); !ok {
			return fmt.Errorf("kernels: %s has no register tile of pairs mr=%d,nr=%d", c.ISA, c.Config["mr"], c.Config["nr"])
		}
	}
	return nil
}

// pairEps is the largest relative error of one rounding to bfloat16.
const pairEps = 1.0 / (1 << 8)

// pairBound is ErrorBound for bfloat16 products. A token's term of an output is rounded to bfloat16 at most four times: its key (with a
// decay) and value on the way into the state, the state's copy and the query on the way out; within a chunk they are the query and key, then P,
// and the value. The copy's rounding is relative to the state, which the sum of absolute values bounds. (1+pairEps)^4 - 1 < 4.05 pairEps. A term
// of a state is rounded twice. The sums are float32's, whose bound is doubled for sums and factors of rounded
// operands.
//
// A delta rule's update is made of terms that are rounded four times too: the key with its gate and the state's copy, whose terms are rounded
// updates, or both keys, their product with its gate, and the update before. It is then a value as those above, so that a term of an output has eight roundings,
// (1+pairEps)^8 - 1 < 8.2 pairEps. An update that is off puts the state off, which I - beta k kᵀ carries on: it shrinks as long as
// beta |k|² is from 0 to 2, while the scale of errors keeps all of what updates brought.
//
// What bfloat16 cannot hold, below 2^-126, is taken as 0: an error of 2^-126 times the other operands, which
// is beside the sums of absolute values as long as these are far from the ends of float32.
func pairBound(p tile.Problem) float64 {
	s := p.Shape
	unit, _, _ := roundoff(p.DType)
	state, _, _ := roundoff(p.StateDType)
	roundings := 4.05
	if p.Op == tile.DeltaRule {
		roundings = 8.2
	}
	return roundings*pairEps + 2*eps*float64(4*s.T+s.Dk+16) + max(unit, state)
}

// countingPairs is counting for bfloat16 products.
func countingPairs(prim *tile.PairPrimitives, add func(int)) *tile.PairPrimitives {
	products := func(ks []tile.PairKernel) []tile.PairKernel {
		var c []tile.PairKernel
		for _, k := range ks {
			c = append(c, tile.PairKernel{MR: k.MR, NR: k.NR, Run: func(p *tile.PairProduct) {
				for i := range p.M {
					depth := p.K
					if p.Lower {
						depth = min(depth, p.Lead+i/2+1)
					}
					add(4 * p.N * depth)
				}
			}})
		}
		return c
	}
	return &tile.PairPrimitives{
		NN: products(prim.NN), TN: products(prim.TN),
		Pack: func(p *tile.PairPack) { p.NonFinite = false },
		Turn: func(*tile.PairTurn) {},
	}
}
