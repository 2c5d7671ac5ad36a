package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

// applyFlags are the flags of tune apply.
type applyFlags struct {
	op, rule, isa, weighting, config, dir string
	qHeads, kvHeads, threads              int
	placement                             placementFlag
	scale                                 float32
	headDecay                             []float32
	dtype, stateDType                     string
	inverseGQA, full, normalize           bool
	featureMap, activation, precision     string
	featureMapEps, normalizeEps           float32
	front                                 string
	betaScale                             float32
	tables, tensor                        string // of a hash layer, in a file of their own
}

func newApply(out *output) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply --op O IN.npz OUT.npz",
		Short: "Run the selected kernel on NumPy arrays",
		Long: `apply runs an op on arrays in C order, by name: float32, or in the forward attention ops float16 or uint16 with the bits of
bfloat16, the states being of one type and all other arrays of one.

linear-attention and delta-rule: query (B,T,Hq*dk), key (B,T,Hkv*dk), value (B,T,Hkv*dv), optional past_state (B,Hkv,dk,dv),
decay (B,T,Hkv) in natural-log units for the gated rules, or (B,T,Hkv*dk), beta (B,T,Hkv) or (B,T,1) for the delta rules. They give output
(B,T,Hq*dv) and present_state (B,Hkv,dk,dv). With --dir bwd also grad_output (B,T,Hq*dv), optional
grad_present_state and grad_present_normalizer; it gives grad_query, grad_key, grad_value, and grad_past_state, grad_decay, grad_beta and so on
where past_state, decay, beta, past_normalizer, write, decay_log and decay_bias are given.
delta-rule with --front gates takes beta and decay before sigmoid and -exp(decay_log)*softplus(decay+decay_bias), optional decay_log (Hkv) and
decay_bias (Hkv) or (Hkv*dk). With write (B,T,Hkv) or (B,T,Hkv*dv), beta, which may then be (B,T,Hkv*dk) too, gates only what is erased, and both are float32.
hash-layer: input (N,d), tables (K,2^tau,h), float32 or uint16 with the bits of bfloat16, in IN.npz or in the file of --tables, optional bias (h);
--dtype rounds tables to bfloat16 or int8. It gives output (N,h), codes (N,K) and weights (N,K). With
--dir bwd also grad_output (N,h); it gives grad_input, grad_tables and grad_bias.
causal-conv: input (B,C,L), weight (C,1,K), optional bias (C) and past_state (B,C,K-1). It gives output (B,C,L) and present_state.`,
		Example: `  tune apply --op delta-rule --rule gated_delta --q-heads 16 --kv-heads 16 in.npz out.npz
  tune apply --op linear-attention --rule gated --q-heads 2 --kv-heads 2 --head-decay=-0.06,-0.004 in.npz out.npz
  tune apply --op linear-attention --dir bwd --q-heads 2 --kv-heads 2 in.npz out.npz
  tune apply --op hash-layer --weighting released in.npz out.npz
  tune apply --op hash-layer --dir bwd in.npz out.npz`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			report, err := f.apply(args[0], args[1])
			if err != nil {
				return err
			}
			if out.json {
				return out.document(report)
			}
			out.printf("%s ran on %s (%s: %s)\n", report.Problem, report.ISA, report.Source, report.Config)
			for _, name := range slices.Sorted(maps.Keys(report.Outputs)) {
				out.printf("%s %v\n", name, report.Outputs[name])
			}
			return nil
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.op, "op", "", "linear-attention, delta-rule, hash-layer or causal-conv")
	fs.StringVar(&f.rule, "rule", "", "linear or gated; delta or gated_delta (default linear and gated_delta)")
	fs.IntVar(&f.qHeads, "q-heads", 0, "query heads, attention ops")
	fs.IntVar(&f.kvHeads, "kv-heads", 0, "key, value and state heads, attention ops")
	fs.Float32Var(&f.scale, "scale", 0, "factor of the output, 0 for 1/sqrt(dk)")
	fs.Float32SliceVar(&f.headDecay, "head-decay", nil, "a fixed log decay for each state head, rule gated without a decay array")
	fs.StringVar(&f.dir, "dir", tile.Forward, "fwd, or bwd for the gradients")
	fs.StringVar(&f.dtype, "dtype", "", "round float32 arrays but the states to bfloat16 or float16 first, attention ops; round a hash layer's tables to bfloat16 or int8")
	fs.StringVar(&f.precision, "precision", "", "of products: float32 (default), bf16 with sums in float32 (linear-attention and delta-rule forward), or int8 for weights of 8 bits (hash-layer with int8 tables)")
	fs.StringVar(&f.stateDType, "state-dtype", "", "float32, bfloat16 or float16: the type of the states (default that of past_state, else of the other arrays)")
	fs.BoolVar(&f.inverseGQA, "inverse-gqa", false, "allow fewer query than state heads, attention ops")
	fs.BoolVar(&f.full, "full", false, "not causal: every token reads the last state, linear-attention with rule linear")
	fs.StringVar(&f.featureMap, "feature-map", "", "relu, elu1, exp or l2norm of queries and keys, linear-attention; l2norm, delta-rule")
	fs.Float32Var(&f.featureMapEps, "feature-map-eps", 0, "added to the sum of squares of l2norm")
	fs.StringVar(&f.front, "front", "", "silu (of queries, keys and values), gates (sigmoid of beta, softplus decay) or silu_gates, delta-rule")
	fs.Float32Var(&f.betaScale, "beta-scale", 0, "factor of beta with --front gates, 0 for 1")
	fs.BoolVar(&f.normalize, "normalize", false, "divide outputs by q . (sum of keys), linear-attention")
	fs.Float32Var(&f.normalizeEps, "normalize-eps", 0, "added to that divisor")
	fs.StringVar(&f.activation, "activation", kernels.ActivationNone, "none, silu or swish, causal-conv only")
	fs.StringVar(&f.weighting, "weighting", "", "paper or released (default paper), hash-layer only")
	fs.StringVar(&f.tables, "tables", "", "read a hash layer's tables from this .npy or safetensors file, mapped into memory, not from IN.npz")
	fs.StringVar(&f.tensor, "tensor", "", "the tables' name in a safetensors file (default the only one, or tables)")
	fs.StringVar(&f.isa, "isa", "", "run this instruction set")
	fs.IntVar(&f.threads, "threads", 0, "workers, 0 for all that this process may use")
	f.placement.add(fs)
	fs.StringVar(&f.config, "config", "", "values that replace those of the selected config, k=v,...")
	return c
}

// check refuses flags that do not go with the op.
func (f *applyFlags) check(cmd *cobra.Command) error {
	other := []string{"weighting", "activation", "tables", "tensor"}
	if f.dir != tile.Forward && f.dir != tile.Backward {
		return fmt.Errorf("--dir %s: must be %s or %s", f.dir, tile.Forward, tile.Backward)
	}
	switch f.op {
	case tile.LinearAttention, tile.DeltaRule:
		if f.dir == tile.Backward && cmd.Flags().Changed("precision") {
			return fmt.Errorf("--precision does not apply to --dir %s", f.dir)
		}
		if f.op == tile.DeltaRule {
			other = append(other, "full", "normalize", "normalize-eps", "precision")
		} else {
			other = append(other, "front", "beta-scale")
		}
		for _, need := range []string{"q-heads", "kv-heads"} {
			if !cmd.Flags().Changed(need) {
				return fmt.Errorf("--%s is missing: %s needs it", need, f.op)
			}
		}
	case tile.CausalConv:
		other = []string{"tables", "tensor", "dir", "rule", "q-heads", "kv-heads", "scale", "head-decay", "state-dtype", "inverse-gqa", "full", "feature-map",
			"feature-map-eps", "normalize", "normalize-eps", "precision", "weighting", "config", "front", "beta-scale"}
	case tile.HashLayer:
		other = []string{"activation", "rule", "q-heads", "kv-heads", "scale", "head-decay", "state-dtype", "inverse-gqa", "full", "feature-map",
			"feature-map-eps", "normalize", "normalize-eps", "front", "beta-scale"}
	case "":
		return errors.New("--op is missing: linear-attention, delta-rule, hash-layer or causal-conv")
	default:
		return fmt.Errorf("--op %s: must be linear-attention, delta-rule, hash-layer or causal-conv", f.op)
	}
	for _, name := range other {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s does not apply to %s", name, f.op)
		}
	}
	return nil
}

// applyReport says what ran.
type applyReport struct {
	Op      string           `json:"op"`
	Rule    string           `json:"rule,omitempty"`
	Shape   tile.Shape       `json:"shape"`
	Threads int              `json:"threads"`
	ISA     tile.ISA         `json:"isa"`
	Config  tile.Config      `json:"config"`
	Source  string           `json:"source"`
	Reason  string           `json:"reason,omitempty"`
	Outputs map[string][]int `json:"outputs"` // shape by name
	Problem tile.Problem     `json:"-"`
}

// apply reads the arrays, runs the op and writes what it gives.
func (f *applyFlags) apply(in, to string) (*applyReport, error) {
	if _, err := allowedISAs(f.isa); err != nil {
		return nil, err
	}
	if err := f.placement.place(); err != nil {
		return nil, err
	}
	m, err := machine.Detect()
	if err != nil {
		return nil, err
	}
	if f.threads, err = threads(m, f.threads); err != nil {
		return nil, err
	}
	op := applyOp(&applyAttention{flags: f})
	switch {
	case f.op == tile.HashLayer && f.dir == tile.Backward:
		op = &applyHashBackward{applyHash: applyHash{flags: f}}
	case f.op == tile.HashLayer:
		op = &applyHash{flags: f}
	case f.op == tile.CausalConv:
		op = &applyConv{flags: f}
	case f.dir == tile.Backward:
		op = &applyBackward{applyAttention: applyAttention{flags: f}}
	}
	if err := readArrays(in, op); err != nil {
		return nil, err
	}
	if a, ok := op.(interface{ convert() error }); ok {
		if err := a.convert(); err != nil {
			return nil, err
		}
	}
	for name, shape := range op.outputs() {
		if err := room(name, shape...); err != nil {
			return nil, err
		}
	}
	var choice kernels.Choice
	var given *tile.Candidate
	p := op.problem()
	// Arrays that make no problem are the library's to refuse: it says which one and why.
	if kernels.CheckProblem(p) == nil {
		if choice, err = choose(p, f.isa, f.config); err != nil {
			return nil, err
		}
		given = &choice.Candidate
	}
	outputs, err := op.forward(given)
	if err != nil {
		return nil, inFlagNames(err)
	}
	if err := npz.Write(to, outputs); err != nil {
		return nil, err
	}
	r := &applyReport{Op: p.Op, Rule: p.Rule, Shape: p.Shape, Threads: p.Threads, ISA: choice.Candidate.ISA,
		Config: choice.Candidate.Config, Source: choice.Source, Reason: choice.Reason, Outputs: map[string][]int{}, Problem: p}
	if given == nil && p.Op == tile.CausalConv { // 16-bit arrays, which run as float32 ones do
		if r.ISA, r.Source = tile.ISA(f.isa), tuner.SourceFlag; f.isa == "" {
			isas := kernels.ISAs()
			r.ISA, r.Source = isas[len(isas)-1], "default"
		}
	}
	for _, a := range outputs {
		r.Outputs[a.Name] = a.Shape
	}
	return r, nil
}

// applyOp is an op as tune apply sees it.
type applyOp interface {
	arrays() []applyArray
	// problem is the problem that the arrays make, unchecked.
	problem() tile.Problem
	// outputs are the shapes of what is computed, where the arrays say them.
	outputs() map[string][]int
	// forward runs a candidate, nil for the selected one.
	forward(*tile.Candidate) ([]npz.Array, error)
}

// applyArray is an input array and where it goes.
type applyArray struct {
	name     string
	required bool
	to       *kernels.Tensor
}

// readArrays fills an op's inputs from an archive that must hold them and nothing else.
func readArrays(path string, op applyOp) error {
	a, err := npz.Open(path, npz.DefaultLimit)
	if err != nil {
		return err
	}
	defer a.Close()
	wanted := op.arrays()
	var known []string
	for _, w := range wanted {
		known = append(known, w.name)
		if _, ok := a.Header(w.name); !ok && w.required {
			return fmt.Errorf("%s: array %q is missing, the archive has %s", path, w.name, list(a.Names()))
		}
	}
	for _, name := range a.Names() {
		h, _ := a.Header(name)
		switch {
		case !slices.Contains(known, name):
			return fmt.Errorf("%s: array %q is not an input, the inputs are %s", path, name, list(known))
		case h.Fortran && len(h.Shape) > 1:
			return fmt.Errorf("%s: array %q is in Fortran order, must be in C order (numpy.ascontiguousarray)", path, name)
		case h.DType != "f4" && h.DType != "f2" && h.DType != "u2":
			return fmt.Errorf("%s: array %q is %s, must be float32, float16 or uint16 (the bits of bfloat16)", path, name, h.Name())
		}
	}
	for _, w := range wanted {
		h, ok := a.Header(w.name)
		if !ok {
			continue
		}
		*w.to = kernels.Tensor{Shape: append([]int{}, h.Shape...)}
		var err error
		switch h.DType {
		case "f4":
			w.to.Data, err = npz.Read[float32](a, w.name)
		case "f2":
			w.to.DType = tile.Float16
			w.to.Bits, err = npz.Read[uint16](a, w.name)
		case "u2":
			w.to.DType = tile.BFloat16
			w.to.Bits, err = npz.Read[uint16](a, w.name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// written is a tensor as an array to write: bfloat16 as uint16.
func written(name string, t kernels.Tensor) npz.Array {
	if t.Bits != nil {
		return npz.Array{Name: name, Shape: t.Shape, Data: t.Bits, Float16: t.DType == tile.Float16}
	}
	return npz.Array{Name: name, Shape: t.Shape, Data: t.Data}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// inFlagNames names the flag in place of the field of the library's op.
func inFlagNames(err error) error {
	var arg *kernels.ArgumentError
	flags := map[string]string{"QHeads": "--q-heads", "KVHeads": "--kv-heads", "Rule": "--rule", "Scale": "--scale",
		"Threads": "--threads", "HeadDecay": "--head-decay", "Weighting": "--weighting", "Precision": "--precision",
		"Front": "--front", "BetaScale": "--beta-scale", "FeatureMap": "--feature-map", "FeatureMapEps": "--feature-map-eps",
		"Tau": "tables"}
	if errors.As(err, &arg) {
		if flag, ok := flags[arg.Argument]; ok {
			e := *arg
			e.Argument = flag
			e.Must = strings.ReplaceAll(e.Must, "KVHeads", "--kv-heads")
			e.Got = strings.ReplaceAll(e.Got, "KVHeads", "--kv-heads")
			return &e
		}
	}
	return err
}

// room refuses a result that would not fit the limit of an archive.
func room(name string, shape ...int) error {
	left := npz.DefaultLimit / 4
	for _, n := range shape {
		if n > 0 && left/n == 0 {
			return fmt.Errorf("%s of shape %v would need more than %d bytes", name, shape, npz.DefaultLimit)
		}
		left /= max(n, 1)
	}
	return nil
}
