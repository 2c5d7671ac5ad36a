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
	switch p.Op {
	case tile.HashLayer:
		return hashParams(p, prim), nil
	case tile.CausalConv:
		return convParams(p.Shape), nil
	}
	switch {
	case p.Dir == tile.Backward && p.Op == tile.DeltaRule:
		return deltaBackwardParams(p, prim), nil
	case p.Dir == tile.Backward && p.Full:
		return fullBackwardParams(p, prim), nil
	case p.Dir == tile.Backward:
		return backwardParams(p, prim), nil
	case p.Full:
		return slices.DeleteFunc(chunkParams(p, prim), func(q tile.Param) bool { return q.Name == "nt_mr" || q.Name == "nt_nr" }), nil
	case p.Precision == tile.BFloat16:
		if prim.Pair == nil {
			return nil, lacksPairs(isa)
		}
		return pairParams(p, prim), nil
	}
	return formParams(p, prim), nil
}

// hasForms says whether a problem has the tunable form.
func hasForms(p tile.Problem) bool {
	return (p.Op == tile.LinearAttention || p.Op == tile.DeltaRule) && p.Dir != tile.Backward && !p.Full && p.Precision == ""
}

// needsRecurrence says whether the chunk form lacks what a problem asks for.
func needsRecurrence(p tile.Problem) bool {
	return hasForms(p) && (p.Decay == tile.DecayKey || p.Normalize || p.FeatureMap != tile.MapNone || p.Front != tile.FrontNone || p.Gates != "")
}

// Values of the tunable form: how an attention op is computed.
const (
	formChunk      = 0
	formRecurrence = 1
	formFused      = 1 // of a backward pass of the delta rules
)

// formParams are those of either form.
func formParams(p tile.Problem, prim *tile.Primitives) []tile.Param {
	s := p.Shape
	forms := []int{formChunk, formRecurrence}
	if needsRecurrence(p) {
		forms = forms[1:]
	}
	params := []tile.Param{{Name: "form", Values: forms, Doc: "0: chunks of masked products, 1: recurrence in blocks of tokens"}}
	for _, q := range chunkParams(p, prim) {
		if q.Name != "chunk" && q.Name != "order" {
			q.When, q.WhenValue = "form", formChunk
		}
		params = append(params, q)
	}
	flag, copies := []int{0, 1}, []int{0, 1, 2}
	if besideEachOther(s) {
		copies = []int{0}
	}
	recurrence := []tile.Param{
		{Name: "block", Values: blockSizes(p, prim, 0), Doc: "tokens that sweep a panel of the state together"},
		{Name: "cols", Values: blockSizes(p, prim, 1), Doc: "state columns of a panel"},
		{Name: "copy", Values: copies, Doc: "1: a chunk's keys are copied side by side first, 2: its queries too"},
		{Name: "stream", Values: flag, Doc: "1: outputs are stored past the caches"},
		{Name: "ahead", Values: aheads(p), Doc: "1: what the next head or chunk reads is prefetched, 2: the whole rows of the next chunk"},
	}
	if s.T <= 1 {
		for i := range recurrence[2:] {
			recurrence[2+i].Values = []int{0}
		}
	}
	for _, q := range recurrence {
		q.When, q.WhenValue = "form", formRecurrence
		params = append(params, q)
	}
	return params
}

// aheads lists the ways to prefetch: whole rows are of use where several heads lie in them.
func aheads(p tile.Problem) []int {
	if p.Shape.Hkv == 1 || p.Decay == tile.DecayKey {
		return []int{0, aheadNext}
	}
	return []int{0, aheadNext, aheadRows}
}

// besideEachOther says whether a head's rows lie side by side as they are.
func besideEachOther(s tile.Shape) bool { return s.Hkv == 1 }

// blocks lists the tokens and columns of the kernels of a problem's recurrence, the default first.
func blocks(p tile.Problem, prim *tile.Primitives) (b [][2]int) {
	if p.Op == tile.DeltaRule {
		for _, k := range prim.Delta {
			b = append(b, [2]int{k.Tokens, k.NR})
		}
		return b
	}
	for _, k := range prim.Recur {
		b = append(b, [2]int{k.Tokens, k.NR})
	}
	return b
}

// blockSizes lists the tokens (0) or columns (1) of these in order.
func blockSizes(p tile.Problem, prim *tile.Primitives, which int) []int {
	var v []int
	for _, b := range blocks(p, prim) {
		v = append(v, b[which])
	}
	slices.Sort(v)
	return slices.Compact(v)
}

func chunkParams(p tile.Problem, prim *tile.Primitives) []tile.Param {
	s := p.Shape
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
	}
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
func chunks(s tile.Shape) []int {
	return slices.DeleteFunc(upTo(s.T, 16, 32, 64, 128), func(n int) bool { return n > maxChunk })
}
func panels(s tile.Shape) []int { return upTo(s.Dv, 32, 64, 128) }
func cols(s tile.Shape) []int   { return upTo(s.H, 256, 512, 1024, 2048, 4096) }

// tables of a pass over rows: few, or all of them.
func tables(s tile.Shape) []int {
	k := (s.D + s.Tau - 1) / s.Tau
	v := upTo(k, 8, 32)
	if last := v[len(v)-1]; last < k {
		v = append(v, k)
	}
	return v
}

// Default is the config that is used where nothing was tuned and nothing could be simulated, and that tuning begins with.
func Default(p tile.Problem, isa tile.ISA) tile.Config {
	prim, ok := primitives(isa)
	if !ok {
		prim = genericPrimitives()
	}
	switch p.Op {
	case tile.HashLayer:
		return defaultHash(p, prim)
	case tile.CausalConv:
		return defaultConv(p)
	}
	if p.Dir == tile.Backward && p.Op == tile.DeltaRule {
		return defaultDeltaBackward(p, prim)
	}
	if p.Dir == tile.Backward && p.Full {
		return defaultFullBackward(p, prim)
	}
	if p.Dir == tile.Backward {
		return defaultBackward(p, prim)
	}
	if p.Precision == tile.BFloat16 {
		return defaultPairs(p, prim)
	}
	if hasForms(p) && (blocks(p, prim)[0][0] > 1 || p.Shape.T <= 1 || needsRecurrence(p)) { // more tokens one by one: chunks are faster
		return defaultRecurrence(p, prim)
	}
	return defaultChunks(p, prim)
}

// defaultRecurrence is the default of the recurrence.
func defaultRecurrence(p tile.Problem, prim *tile.Primitives) tile.Config {
	block, chunk, ahead, flag := blocks(p, prim)[0], 128, aheadNext, 1 // keys alone are copied: then all rows of a block fit the ways of a set
	if intel() {
		block = intelBlock(p, prim)
		chunk, ahead = intelChunk(p)
	}
	if p.Shape.T <= 1 {
		ahead, flag = 0, 0
	}
	copies := flag
	if besideEachOther(p.Shape) {
		copies = 0
	}
	return tile.Config{
		"form": formRecurrence, "chunk": min(chunk, slices.Max(chunks(p.Shape))), "order": 0,
		"block": block[0], "cols": block[1], "copy": copies, "stream": flag, "ahead": ahead,
	}
}

// defaultChunks is the default of the chunk form.
func defaultChunks(p tile.Problem, prim *tile.Primitives) tile.Config {
	s := p.Shape
	chunk := min(32, slices.Max(chunks(s)))
	for chunk > 16 && chunk*chunk*s.Dk > maxCallFlops {
		chunk /= 2
	}
	cfg := tile.Config{
		"chunk": chunk, "panel": slices.Max(panels(s)), "mr": prim.NN[0].MR, "nr": prim.NN[0].NR,
		"nt_mr": prim.NT[0].MR, "nt_nr": prim.NT[0].NR, "order": 0,
	}
	switch {
	case p.Full:
		delete(cfg, "nt_mr")
		delete(cfg, "nt_nr")
	case hasForms(p):
		cfg["form"] = formChunk
	}
	return cfg
}

// recurrenceNames are the tunables of the recurrence.
var recurrenceNames = []string{"form", "chunk", "order", "block", "cols", "copy", "stream", "ahead"}

// names lists the tunables that a config of a problem must have.
func names(p tile.Problem, prim *tile.Primitives, form int) []string {
	if hasForms(p) && form == formRecurrence {
		return slices.Clone(recurrenceNames)
	}
	if p.Dir == tile.Backward && p.Full {
		return slices.Collect(maps.Keys(defaultFullBackward(p, prim)))
	}
	if p.Dir == tile.Backward {
		return slices.Collect(maps.Keys(defaultDeltaForm(p, prim, form)))
	}
	return slices.Collect(maps.Keys(defaultChunks(p, prim)))
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
	if p.Op == tile.CausalConv {
		return checkConvConfig(p, c.Config)
	}
	if p.Dir == tile.Backward && p.Op == tile.LinearAttention && !p.Full {
		return checkBackwardConfig(p, c, prim)
	}
	if p.Precision == tile.BFloat16 {
		return checkPairConfig(p, c, prim)
	}
	want := names(p, prim, c.Config["form"])
	if p.Op == tile.HashLayer {
		want = hashNames(p, prim, c.Config)
	}
	slices.Sort(want)
	for _, name := range slices.Sorted(maps.Keys(c.Config)) {
		if !slices.Contains(want, name) {
			return fmt.Errorf("kernels: %s has no tunable %q%s", p.Op, name, ofForm(p, c.Config))
		}
	}
	for _, name := range want {
		if _, given := c.Config[name]; !given {
			return fmt.Errorf("kernels: config of %s lacks %q%s", p.Op, name, ofForm(p, c.Config))
		}
	}
	within := func(name string, lo, hi int) error {
		if v := c.Config[name]; v < lo || v > hi {
			return fmt.Errorf("kernels: %s=%d must be from %d to %d", name, v, lo, hi)
		}
		return nil
	}
	if p.Op == tile.HashLayer {
		return checkHashConfig(p, c.Config, prim)
	}
	type limit struct {
		name   string
		lo, hi int
	}
	limits := []limit{{"chunk", 1, maxChunk}, {"panel", 1, maxPanel}, {"order", 0, 1}}
	switch {
	case p.Dir == tile.Backward && p.Full:
		limits = limits[:2]
	case p.Dir == tile.Backward:
		limits = limits[:1]
	}
	recurrence, forms := hasForms(p) && c.Config["form"] == formRecurrence, hasForms(p) || hasFused(p, prim)
	fused := hasFused(p, prim) && c.Config["form"] == formFused
	switch {
	case fused:
		limits = []limit{{"stream", 0, 1}, {"ahead", 0, 1}}
	case recurrence:
		limits = []limit{{"chunk", 1, maxChunk}, {"order", 0, 1}, {"copy", 0, 2}, {"stream", 0, 1}, {"ahead", 0, aheadRows}}
	case needsRecurrence(p):
		return fmt.Errorf("kernels: form=%d cannot decay per key, map features, normalize or have a front", c.Config["form"])
	case forms:
		limits = append(limits, limit{"form", 0, 1})
	}
	for _, l := range limits {
		if err := within(l.name, l.lo, l.hi); err != nil {
			return err
		}
	}
	if fused {
		return nil
	}
	if recurrence {
		if !slices.Contains(blocks(p, prim), [2]int{c.Config["block"], c.Config["cols"]}) {
			return fmt.Errorf("kernels: %s has no recurrence with block=%d,cols=%d", c.ISA, c.Config["block"], c.Config["cols"])
		}
		return nil
	}
	width := p.Shape.Dk
	if p.Dir == tile.Backward { // whose triangles are products of values too
		width = max(width, p.Shape.Dv)
	}
	if chunk := c.Config["chunk"]; chunk > 16 && chunk*chunk*width > 2*maxCallFlops {
		return fmt.Errorf("kernels: chunk=%d makes calls too long with rows %d wide", chunk, width)
	}
	for _, t := range []struct {
		mr, nr string
		ks     [][]tile.ProductKernel
	}{{"mr", "nr", [][]tile.ProductKernel{prim.NN, prim.TN}}, {"nt_mr", "nt_nr", [][]tile.ProductKernel{prim.NT}}} {
		if p.Full && t.mr == "nt_mr" {
			continue
		}
		for _, ks := range t.ks {
			if _, ok := tile.Find(ks, c.Config[t.mr], c.Config[t.nr]); !ok {
				return fmt.Errorf("kernels: %s has no register tile %s=%d,%s=%d", c.ISA, t.mr, c.Config[t.mr], t.nr, c.Config[t.nr])
			}
		}
	}
	return nil
}

// ofForm says which form a message is about, where an op has several.
func ofForm(p tile.Problem, c tile.Config) string {
	if _, given := c["form"]; !given && !hasForms(p) {
		return ""
	}
	return fmt.Sprintf(" (form=%d)", c["form"])
}

// Complete fills in the default for every tunable that cfg does not give and its form has.
func Complete(p tile.Problem, isa tile.ISA, cfg tile.Config) tile.Config {
	full := Default(p, isa)
	if form, given := cfg["form"]; given && p.Op == tile.HashLayer && p.Dir != tile.Backward && form != full["form"] {
		if prim, ok := primitives(isa); ok && (form == formRows || form == formSlab && hasSlab(p, prim)) {
			full = defaultHashForm(p, prim, form)
		}
	}
	if form, given := cfg["form"]; given && hasForms(p) && form != full["form"] {
		if prim, ok := primitives(isa); ok && form == formChunk {
			full = defaultChunks(p, prim)
		} else if ok && form == formRecurrence {
			full = defaultRecurrence(p, prim)
		}
	}
	if form, given := cfg["form"]; given && p.Dir == tile.Backward && form != full["form"] {
		if prim, ok := primitives(isa); ok && hasFused(p, prim) {
			full = defaultDeltaForm(p, prim, form)
		}
	}
	maps.Copy(full, cfg)
	return full
}
