package kernels

import (
	"fmt"
	"maps"
	"slices"

	"github.com/klauspost/cpuid/v2"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Values of the tunable form of a hash layer.
const (
	formRows = 0
	formSlab = 1
)

// hashParams are the tunables of hash layers.
func hashParams(p tile.Problem, prim *tile.Primitives) []tile.Param {
	s := p.Shape
	if p.Dir == tile.Backward {
		return []tile.Param{
			{Name: "group", Values: []int{1, 2, 4, 8}, Doc: "gradient rows added side by side"},
			{Name: "tables", Values: backwardTables(s), Doc: "tables hashed together"},
		}
	}
	forms := []int{formRows, formSlab}
	if !hasSlab(p, prim) {
		forms = forms[:1]
	}
	params := []tile.Param{{Name: "form", Values: forms, Doc: "0: whole rows of the tables, 1: slabs of panels of columns"}}
	groups := []int{1, 2, 4, 8}
	if p.DType != tile.Float32 {
		groups = groups[2:]
	}
	for _, q := range []tile.Param{
		{Name: "group", Values: groups, Doc: "table rows read side by side"},
		{Name: "cols", Values: cols(s), Doc: "columns of one pass over the rows"},
		{Name: "tables", Values: tables(s), Doc: "tables of one pass over a block of tokens; all of them is token-major"},
	} {
		q.When, q.WhenValue = "form", formRows
		params = append(params, q)
	}
	if p.DType != tile.Float32 {
		params = append(params, tile.Param{Name: "ahead", Values: []int{0, 1, 2}, Doc: "groups of rows ahead that are prefetched", When: "form", WhenValue: formRows})
	}
	if len(forms) == 1 {
		return params
	}
	slab := []tile.Param{
		{Name: "slab", Values: slabTables(p), Doc: "tables of a slab"},
		{Name: "tokens", Values: slabTokens(s), Doc: "tokens of a pass over the slabs"},
		{Name: "fetch", Values: []int{0, 1, 2}, Doc: "the next slab is prefetched in four paced streams, 1: to the first-level cache, 2: to the second"},
	}
	if p.DType == tile.Int8 {
		slab = append(slab, tile.Param{Name: "bits", Values: weightBits(p, prim), Doc: "of integer weights; 0: float32"})
	}
	for _, q := range slab {
		q.When, q.WhenValue = "form", formSlab
		params = append(params, q)
	}
	return params
}

// hasSlab says whether the form of slabs can run: its integer weights are the point where they are asked for.
func hasSlab(p tile.Problem, prim *tile.Primitives) bool {
	return p.DType != tile.Int8 || len(weightBits(p, prim)) > 0
}

// weightBits are those of the kernels for int8 that are precise enough.
func weightBits(p tile.Problem, prim *tile.Primitives) (bits []int) {
	for _, k := range prim.SlabBytes {
		if k.Bits == 0 || k.Bits == 16 || p.Precision == tile.Int8 {
			bits = append(bits, k.Bits)
		}
	}
	slices.Sort(bits)
	return bits
}

// slabTables are numbers of tables whose slab takes 64 KiB to 1 MiB, multiples of 4 where weights may be integers.
func slabTables(p tile.Problem) (v []int) {
	s := p.Shape
	table := tile.SlabColumns(p.DType) * elementSize(p.DType) << s.Tau
	for _, n := range []int{1, 2, 4, 8, 12, 16, 24, 32, 64} {
		if bytes := n * table; (bytes >= 64<<10 || n == 64) && bytes <= 1<<20 && (p.DType != tile.Int8 || n%4 == 0) {
			v = append(v, n)
		}
	}
	if v == nil {
		v = []int{4}
	}
	k := (s.D-1)/s.Tau + 1
	for len(v) > 1 && v[len(v)-2] >= k {
		v = v[:len(v)-1]
	}
	return v
}

// slabTokens are numbers of tokens whose sums of a panel fit the second-level cache beside slabs.
func slabTokens(s tile.Shape) []int { return upTo(s.N, 256, 512, 1024, 2048, 4096) }

// backwardTables keeps the codes and weights of all tokens in the nearer caches.
func backwardTables(s tile.Shape) []int { return upTo((s.D-1)/s.Tau+1, 4, 16) }

func defaultHash(p tile.Problem, prim *tile.Primitives) tile.Config {
	if p.Dir == tile.Backward {
		return tile.Config{"group": 4, "tables": backwardTables(p.Shape)[0]}
	}
	form := formRows
	if p.Shape.N >= slabFrom && hasSlab(p, prim) {
		form = formSlab
	}
	return defaultHashForm(p, prim, form)
}

// defaultFetch is the first-level cache, but for Intel's cores: 1.4 times faster in bfloat16 on Ice Lake past it, as much slower on Zen 5.
var defaultFetch = map[bool]int{false: 1, true: 2}[cpuid.CPU.IsVendor(cpuid.Intel)]

// secondLevel is the second-level cache in bytes, a usual one where it is unknown.
var secondLevel = func() int {
	if n := cpuid.CPU.Cache.L2; n > 0 {
		return n
	}
	return 1 << 20
}()

// slabFrom is about how many tokens slabs win from.
const slabFrom = 320

// Of fewer than fewTokens tokens, rows that are prefetched are read in pieces of so many bytes, four side by side: 8 KiB are on their way then.
const (
	fewTokens = 16
	fewPiece  = 2 << 10
)

// defaultHashForm is the default of a form.
func defaultHashForm(p tile.Problem, prim *tile.Primitives, form int) tile.Config {
	s := p.Shape
	if form == formRows {
		c := tile.Config{"form": form, "group": 8, "cols": slices.Max(cols(s)), "tables": slices.Max(tables(s))}
		if p.DType != tile.Float32 {
			c["ahead"] = 1
			if piece := fewPiece / elementSize(p.DType); s.N < fewTokens && s.H > piece {
				c["group"], c["cols"] = 4, piece
			}
		}
		return c
	}
	c := tile.Config{"form": form, "slab": slabTables(p)[0], "tokens": slabTokens(s)[0], "fetch": defaultFetch}
	// Smaller slabs have more sums to fetch and put back, larger ones and the next leave these less of the second-level cache and
	// come in fits and starts; of many tokens the sums count, until two slabs are three quarters of the cache.
	most := 128 << 10
	if p.DType == tile.Float32 {
		most *= 2
	}
	if s.N >= 2048 {
		most += 128 << 10
	}
	if s.N >= 4096 {
		most = 384 << 10
	}
	for _, n := range slabTables(p) {
		if n*tile.SlabColumns(p.DType)*elementSize(p.DType)<<s.Tau <= min(most, secondLevel*3/8) {
			c["slab"] = n
		}
	}
	// Tables come once for all tokens of a pass, whose sums take room beside the slabs.
	for _, n := range slabTokens(s) {
		if n <= 4096 && n*tile.SlabColumns(p.DType)*4 <= secondLevel {
			c["tokens"] = n
		}
	}
	if p.DType == tile.Int8 {
		bits := weightBits(p, prim)
		c["bits"] = bits[0]
		switch {
		case p.Precision == tile.Int8 && slices.Contains(bits, 8) && prim.ISA != tile.Generic:
			c["bits"] = 8
		case slices.Contains(bits, 16) && prim.ISA != tile.Generic:
			c["bits"] = 16
		}
	}
	return c
}

// carrySlabs is the config of an answer with slabs as a problem takes it whose own answer is not known. How large slabs are follows from the tokens and
// the threads, so where these are others than the answer's, the default of the form stands in.
func carrySlabs(p tile.Problem, e *profile.Entry) tile.Config {
	q := e.Problem
	prim, ok := primitives(e.ISA)
	if !ok || p.Dir == tile.Backward || e.Config["form"] != formSlab || q.Shape.N == p.Shape.N && q.Threads == p.Threads {
		return e.Config
	}
	c := defaultHashForm(p, prim, formSlab)
	c["fetch"] = e.Config["fetch"]
	return c
}

// hashNames lists the tunables that a config must have.
func hashNames(p tile.Problem, prim *tile.Primitives, c tile.Config) []string {
	if p.Dir == tile.Backward {
		return []string{"group", "tables"}
	}
	form := formRows
	if c["form"] == formSlab {
		form = formSlab
	}
	return slices.Collect(maps.Keys(defaultHashForm(p, prim, form)))
}

// checkHashConfig checks the values of a config whose names are right.
func checkHashConfig(p tile.Problem, c tile.Config, prim *tile.Primitives) error {
	limits := map[string][2]int{
		"form": {0, 1}, "cols": {16, maxPanel}, "tables": {1, maxPanel}, "ahead": {0, 8},
		"slab": {1, 1 << 10}, "tokens": {1, 1 << 14}, "fetch": {0, 2},
	}
	if p.Dir == tile.Backward {
		limits["tables"] = [2]int{1, 1 << 10}
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if l, has := limits[name]; has && (c[name] < l[0] || c[name] > l[1]) {
			return fmt.Errorf("kernels: %s=%d must be from %d to %d", name, c[name], l[0], l[1])
		}
	}
	groups := []int{1, 2, 4, 8}
	if p.DType != tile.Float32 {
		groups = []int{4, 8}
	}
	if g, has := c["group"]; has && !slices.Contains(groups, g) {
		return fmt.Errorf("kernels: group=%d must be one of %v", g, groups)
	}
	bits, has := c["bits"]
	if has && !slices.Contains(weightBits(p, prim), bits) {
		return fmt.Errorf("kernels: %s has no weights of bits=%d for %s", prim.ISA, bits, p)
	}
	if bits > 0 && c["slab"] > 64 {
		return fmt.Errorf("kernels: slab=%d must be at most 64 with bits=%d", c["slab"], bits)
	}
	return nil
}
