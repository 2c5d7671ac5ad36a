package kernels

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// backwardParams are the tunables of a backward pass.
func backwardParams(p tile.Problem, prim *tile.Primitives) []tile.Param {
	s := p.Shape
	order, flag, copies, ahead := []int{0, 1}, []int{0, 1}, []int{0, 1, 2}, []int{0, aheadNext, aheadRows}
	if s.B*s.Hkv == 1 || s.T <= 1 {
		order = []int{0}
	}
	if s.T <= 1 {
		flag, ahead = []int{0}, []int{0}
	}
	if s.T <= 1 || besideEachOther(s) {
		copies = []int{0}
	}
	return []tile.Param{
		{Name: "chunk", Values: chunks(s), Doc: "tokens of a chunk"},
		{Name: "order", Values: order, Doc: "0: chunks outermost, 1: heads outermost"},
		{Name: "block", Values: blockSizes(p, prim, 0), Doc: "tokens that sweep a panel of the state together"},
		{Name: "cols", Values: blockSizes(p, prim, 1), Doc: "state columns of a panel"},
		{Name: "copy", Values: copies, Doc: "1: what updates a state is copied side by side first, 2: what reads it too"},
		{Name: "stream", Values: flag, Doc: "1: gradients are stored past the caches"},
		{Name: "ahead", Values: ahead, Doc: "1: what the next head or chunk reads is prefetched, 2: the whole rows of the next chunk"},
	}
}

// defaultBackward is the config that tuning of a backward pass begins with.
func defaultBackward(p tile.Problem, prim *tile.Primitives) tile.Config {
	block, chunk, copies, ahead, flag := blocks(p, prim)[0], 128, 1, aheadNext, 1
	if intel() {
		block, chunk, copies, ahead = intelBlock(p, prim), 32, 0, aheadRows
	}
	if p.Shape.T <= 1 {
		ahead, flag = 0, 0
	}
	if p.Shape.T <= 1 || besideEachOther(p.Shape) {
		copies = 0
	}
	return tile.Config{
		"chunk": min(chunk, slices.Max(chunks(p.Shape))), "order": 0,
		"block": block[0], "cols": block[1], "copy": copies, "stream": flag, "ahead": ahead,
	}
}

// checkBackwardConfig is CheckConfig for a backward pass.
func checkBackwardConfig(p tile.Problem, c tile.Candidate, prim *tile.Primitives) error {
	limits := map[string]int{"chunk": maxChunk, "order": 1, "block": maxChunk, "cols": maxPanel, "copy": 2, "stream": 1, "ahead": aheadRows}
	for _, name := range slices.Sorted(maps.Keys(c.Config)) {
		if _, ok := limits[name]; !ok {
			return fmt.Errorf("kernels: the backward pass of %s has no tunable %q", p.Op, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		low := 0
		if name == "chunk" {
			low = 1
		}
		v, given := c.Config[name]
		if !given {
			return fmt.Errorf("kernels: config of the backward pass of %s lacks %q", p.Op, name)
		}
		if v < low || v > limits[name] {
			return fmt.Errorf("kernels: %s=%d must be from %d to %d", name, v, low, limits[name])
		}
	}
	if _, ok := tile.FindBlock(prim.Recur, c.Config["block"], c.Config["cols"]); !ok {
		return fmt.Errorf("kernels: %s has no recurrence with block=%d,cols=%d", c.ISA, c.Config["block"], c.Config["cols"])
	}
	return nil
}

// deltaBackwardParams are the tunables of a backward pass of the delta rules: those of either form.
func deltaBackwardParams(p tile.Problem, prim *tile.Primitives) []tile.Param {
	products := slices.DeleteFunc(chunkParams(p, prim), func(q tile.Param) bool { return q.Name == "panel" || q.Name == "order" })
	if !hasFused(p, prim) {
		return products
	}
	params := []tile.Param{{Name: "form", Values: []int{formChunk, formFused}, Doc: "0: chunks of products, 1: chunks of 16 tokens, a call for each step"}}
	for _, q := range products {
		q.When, q.WhenValue = "form", formChunk
		params = append(params, q)
	}
	flag := []int{0, 1}
	return append(params,
		tile.Param{Name: "stream", Values: flag, Doc: "1: gradients are stored past the caches", When: "form", WhenValue: formFused},
		tile.Param{Name: "ahead", Values: flag, Doc: "1: what the next chunk reads is prefetched", When: "form", WhenValue: formFused},
	)
}

// defaultDeltaBackward is the config that its tuning begins with.
func defaultDeltaBackward(p tile.Problem, prim *tile.Primitives) tile.Config {
	form := formFused
	if prim.ISA == tile.Generic { // whose loops would go across the turned arrays
		form = formChunk
	}
	return defaultDeltaForm(p, prim, form)
}

// defaultDeltaForm is the default of a form.
func defaultDeltaForm(p tile.Problem, prim *tile.Primitives, form int) tile.Config {
	s, fused := p.Shape, hasFused(p, prim)
	if fused && form == formFused {
		return tile.Config{"form": formFused, "stream": 1, "ahead": 1}
	}
	chunk := min(32, slices.Max(chunks(s)))
	for chunk > 16 && chunk*chunk*max(s.Dk, s.Dv) > maxCallFlops {
		chunk /= 2
	}
	product := prim.NN[0]
	if wide, ok := tile.Find(prim.NN, 6, 64); ok && s.Dv >= wide.NR { // fewer loads for each multiplication: 72.8 ms in place of 82.7 at T2048 H8 d128 on Ice Lake
		product = wide
	}
	cfg := tile.Config{"chunk": chunk, "mr": product.MR, "nr": product.NR, "nt_mr": prim.NT[0].MR, "nt_nr": prim.NT[0].NR}
	if fused {
		cfg["form"] = formChunk
	}
	return cfg
}

// fullBackwardParams are the tunables of a backward pass that is not causal: those of the forward pass but the order.
func fullBackwardParams(p tile.Problem, prim *tile.Primitives) []tile.Param {
	return slices.DeleteFunc(chunkParams(p, prim), func(q tile.Param) bool { return q.Name == "nt_mr" || q.Name == "nt_nr" || q.Name == "order" })
}

// defaultFullBackward is the config that its tuning begins with.
func defaultFullBackward(p tile.Problem, prim *tile.Primitives) tile.Config {
	cfg := defaultChunks(p, prim)
	delete(cfg, "order")
	return cfg
}
