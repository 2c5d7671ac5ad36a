package kernels

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/rooftune/rooftune/kernels/tile"
)

// HashLayer computes MemoryFormer's memory layer (Ding et al. 2024, section 3): each input row is cut
// in K = ceil(d/Tau) sub-vectors z_k (the last padded with zeros), whose signs give a code (bit = z >= 0, the first
// element the most significant), and
//
//	output = bias + sum_k w_k tables[k, code_k, :]
//
// with w_k = prod_i 1/(1+exp(-2|z_ki|)) in the paper's weighting and |z_k|_1
// times that in the released code's. Values may be used by many goroutines at once.
type HashLayer struct {
	Tau       int    // bits of a code, 1 to 16
	Weighting string // tile.WeightingPaper (also "") or tile.WeightingReleased
	Threads   int    // workers, 0 for all that this process may use
	// Precision is that of weights where tables are int8: "" for at least 16 bits, or tile.Int8 for 8 bits.
	Precision string
	// Candidate runs this ISA and config in place of the selected ones; nil leaves the choice to the library.
	Candidate *tile.Candidate
}

// HashInputs are the arrays of a hash layer.
type HashInputs struct {
	Input  Tensor // (N, d)
	Tables Tensor // (K, 2^Tau, h), float32 or bfloat16, or absent where Prepared is given
	// Prepared are tables that were made ready once, as PrepareHashTables does. Tables that are not run in the form of whole rows.
	Prepared *HashTables
	Bias     Tensor // (h), optional
}

// HashOutputs are what a hash layer writes. Codes and Weights are (N, K), or nil where they are not wanted.
type HashOutputs struct {
	Output  Tensor // (N, h)
	Codes   []int32
	Weights []float32
}

// maxTau keeps a table's rows few enough for an int32 index with any practical K.
const maxTau = 16

type hashArgs struct {
	problem             tile.Problem
	input, tables, bias []float32   // tables only of float32
	prepared            *HashTables // never nil in a forward call
	given               *hashed     // codes and weights of all tokens, where another layer's have been computed already
	output, weights     []float32
	codes               []int32

	// Of a backward pass; a nil gradient is not wanted.
	gradOutput                      []float32
	gradInput, gradTables, gradBias []float32
}

// Forward computes the layer. It returns an *ArgumentError that names the argument if one is wrong, before
// anything is written.
func (o *HashLayer) Forward(out *HashOutputs, in *HashInputs) error {
	args, err := o.check(out, in)
	if err != nil {
		return err
	}
	return o.runHash(args)
}

// runHash runs checked arguments with the given candidate or the selected one.
func (o *HashLayer) runHash(args hashArgs) error {
	r, err := resolveGiven(args.problem, o.Candidate)
	if err != nil {
		return err
	}
	if r, err = args.possible(r); err != nil {
		return err
	}
	c := r.take()
	defer r.give(c)
	args.problem = r.choice.Problem // with its thread count
	c.hash.set(args)
	c.run()
	return nil
}

func (o *HashLayer) check(out *HashOutputs, in *HashInputs) (a hashArgs, err error) {
	if out == nil {
		return a, refuse("out", "non-nil", "nil")
	}
	if a, err = o.checkInputs(in); err != nil {
		return a, err
	}
	s := a.problem.Shape
	k := (s.D-1)/s.Tau + 1
	if err := checkTensor("output", "(N,h)", out.Output, s.N, s.H); err != nil {
		return a, err
	}
	if out.Codes != nil && len(out.Codes) != s.N*k {
		return a, refuse("codes", "(N,K) or nil", "%d elements for N %d, K %d", len(out.Codes), s.N, k)
	}
	if out.Weights != nil && len(out.Weights) != s.N*k {
		return a, refuse("weights", "(N,K) or nil", "%d elements for N %d, K %d", len(out.Weights), s.N, k)
	}
	a.output, a.weights, a.codes = out.Output.Data, out.Weights, out.Codes
	return a, a.checkAliases()
}

// checkInputs checks the options and the inputs, and gives the arguments of a forward call without its outputs.
func (o *HashLayer) checkInputs(in *HashInputs) (a hashArgs, err error) {
	if in == nil {
		return a, refuse("in", "non-nil", "nil")
	}
	if o.Tau < 1 || o.Tau > maxTau {
		return a, refuse("Tau", "1 to 16", "%d", o.Tau)
	}
	if o.Threads < 0 {
		return a, refuse("Threads", "0 (all) or positive", "%d", o.Threads)
	}
	weighting := o.Weighting
	if weighting == "" {
		weighting = tile.WeightingPaper
	}
	if weighting != tile.WeightingPaper && weighting != tile.WeightingReleased {
		return a, refuse("Weighting", `"paper" or "released"`, "%q", o.Weighting)
	}
	if o.Precision != "" && o.Precision != tile.Int8 {
		return a, refuse("Precision", `"" or "int8"`, "%q", o.Precision)
	}
	if len(in.Input.Shape) != 2 {
		return a, refuse("input", "rank 2, (N,d)", "rank %d, shape %v", len(in.Input.Shape), in.Input.Shape)
	}
	n, d := in.Input.Shape[0], in.Input.Shape[1]
	if d <= 0 {
		return a, refuse("input", "at least 1 wide, (N,d)", "shape %v", in.Input.Shape)
	}
	tables := in.Tables.Shape
	if in.Prepared != nil {
		if in.Tables.present() {
			return a, refuse("tables", "absent where prepared tables are given", "shape %v", tables)
		}
		tables = in.Prepared.Shape()
	}
	if len(tables) != 3 {
		return a, refuse("tables", "rank 3, (K,2^tau,h)", "rank %d, shape %v", len(tables), tables)
	}
	k, h := (d-1)/o.Tau+1, tables[2]
	if h <= 0 {
		return a, refuse("tables", "at least 1 wide, (K,2^tau,h)", "shape %v", tables)
	}
	if k > math.MaxInt32>>o.Tau {
		return a, refuse("input", "narrow enough for 2^31 table rows", "width %d with tau %d", d, o.Tau)
	}
	if err := checkTensor("input", "(N,d)", in.Input, n, d); err != nil {
		return a, err
	}
	stored := in.Tables
	if in.Prepared != nil {
		stored = in.Prepared.tensor()
	} else if dtype := stored.dtype(); dtype != tile.Float32 && dtype != tile.BFloat16 {
		return a, refuse("tables", "float32 or bfloat16", "%s", dtype)
	}
	if want := []int{k, 1 << o.Tau, h}; !slices.Equal(stored.Shape, want) {
		return a, refuse("tables", fmt.Sprintf("%v, (K,2^tau,h) with K = ceil(d/tau)", want), "shape %v", stored.Shape)
	}
	prepared := in.Prepared
	if prepared == nil {
		if err := checkLength("tables", stored); err != nil {
			return a, err
		}
		prepared = &HashTables{dtype: stored.dtype(), k: k, tau: o.Tau, h: h, rows: tableElements{floats: stored.float32s(), halves: stored.halves()}}
	}
	if in.Bias.present() {
		if err := checkTensor("bias", "(h)", in.Bias, h); err != nil {
			return a, err
		}
	}
	return hashArgs{
		problem: tile.Problem{Op: tile.HashLayer, Shape: tile.Shape{N: n, D: d, H: h, Tau: o.Tau}, DType: prepared.dtype,
			Dir: tile.Forward, Threads: o.Threads, Weighting: weighting, Precision: o.precision(prepared.dtype)},
		input: in.Input.Data, tables: prepared.rows.floats, prepared: prepared, bias: in.Bias.Data,
	}, nil
}

func (a *hashArgs) checkAliases() error {
	for _, in := range []struct {
		name string
		data []float32
	}{{"input", a.input}, {"tables", a.tables}, {"bias", a.bias}} {
		if overlaps(a.output, a.prepared.rows.halves) || overlaps(a.output, a.prepared.rows.bytes) {
			return refuse("output", "apart from tables", "overlapping memory")
		}
		if overlaps(a.output, in.data) {
			return refuse("output", "apart from "+in.name, "overlapping memory")
		}
		if overlaps(a.weights, in.data) {
			return refuse("weights", "apart from "+in.name, "overlapping memory")
		}
		if overlaps(a.codes, in.data) {
			return refuse("codes", "apart from "+in.name, "overlapping memory")
		}
	}
	if overlaps(a.output, a.weights) || overlaps(a.output, a.codes) || overlaps(a.codes, a.weights) {
		return refuse("output", "apart from codes and weights, and these from each other", "overlapping memory")
	}
	return nil
}

// hashDriver is a direction or form of hash layers.
type hashDriver interface {
	driver
	set(hashArgs)
	args() hashArgs
}

func (a *hashArgs) set(args hashArgs) { *a = args }
func (a *hashArgs) release()          { *a = hashArgs{} }
func (a *hashArgs) args() hashArgs    { return *a }

// newHashDriver makes the driver that a problem and its config ask for.
func newHashDriver(p tile.Problem, prim *tile.Primitives, cfg tile.Config) hashDriver {
	if p.Dir == tile.Backward {
		return newHashBackward(p, prim, cfg)
	}
	if cfg["form"] == formSlab {
		return newHashSlab(p, prim, cfg)
	}
	return newHashRows(p, prim, cfg)
}

// precision is what the option means for tables of a type.
func (o *HashLayer) precision(dtype string) string {
	if dtype == tile.Int8 {
		return o.Precision
	}
	return ""
}

// possible is a choice whose layout the tables have: the same, or the default of the other form.
func (a *hashArgs) possible(r *resolved) (*resolved, error) {
	if a.problem.Dir == tile.Backward {
		return r, nil
	}
	form := r.choice.Candidate.Config["form"]
	if form == formRows && a.prepared.rows.present() || form == formSlab && a.prepared.panels.present() {
		return r, nil
	}
	other := formSlab
	if form == formSlab {
		other = formRows
	}
	p, isa := r.choice.Problem, r.choice.Candidate.ISA
	key := otherForm{p, isa}
	if known, ok := otherForms.Load(key); ok {
		return known.(*resolved), nil
	}
	prim, _ := primitives(isa)
	c := tile.Candidate{ISA: isa, Config: defaultHashForm(p, prim, other)}
	if err := CheckConfig(p, c); err != nil {
		return nil, err
	}
	made := &resolved{choice: Choice{Problem: p, Candidate: c, Source: SourceDefault, Reason: "the tables have no other layout"}}
	otherForms.Store(key, made)
	return made, nil
}

type otherForm struct {
	problem tile.Problem
	isa     tile.ISA
}

// otherForms keeps what ran in place of choices that the tables' layout forbade, by otherForm.
var otherForms sync.Map

// codesOf hashes n tokens from token t, or copies what is known already.
func (a *hashArgs) codesOf(h *hasher, to *hashed, t, n, k int) {
	if a.given != nil {
		to.code, to.weight = a.given.code[t*k:(t+n)*k], a.given.weight[t*k:(t+n)*k]
		return
	}
	h.rows(to, a.input[t*a.problem.Shape.D:], n, 0, k)
}
