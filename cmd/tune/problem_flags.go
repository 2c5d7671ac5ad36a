package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
	"github.com/spf13/pflag"
)

// problemFlags are the flags that say what is computed.
type problemFlags struct {
	dtype, stateDType, featureMap, front, gates string
	full, normalize                             bool
	op, rule, shape, decay, weighting, dir      string
	threads                                     int
	precision                                   string
}

func (f *problemFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.op, "op", "", "linear-attention, delta-rule, hash-layer or causal-conv")
	fs.StringVar(&f.rule, "rule", "", "linear or gated; delta or gated_delta; the activation of causal-conv, none or silu (default linear, gated_delta and none)")
	fs.StringVar(&f.shape, "shape", "", "b,t,hq,hkv,dk,dv or n,d,h,tau or b,c,l,k, as in b=1,t=4096,hq=8,hkv=8,dk=128,dv=128")
	fs.StringVar(&f.decay, "decay", "", "none, fixed (one a head), head (one a token and head) or key (one a token, head and key) (default head for the gated rules)")
	fs.StringVar(&f.dir, "dir", tile.Forward, "fwd, or bwd for the gradients")
	fs.StringVar(&f.precision, "precision", "", "of products: float32 (default), bf16 with sums in float32 (linear-attention and delta-rule forward), or int8 for weights of 8 bits (hash-layer with int8 tables)")
	fs.StringVar(&f.dtype, "dtype", tile.Float32, "float32; attention ops: bfloat16 or float16 for all arrays but the states; hash-layer: bfloat16 or int8 tables")
	fs.StringVar(&f.stateDType, "state-dtype", tile.Float32, "float32, bfloat16 or float16, attention ops")
	fs.BoolVar(&f.full, "full", false, "not causal, linear-attention with rule linear")
	fs.BoolVar(&f.normalize, "normalize", false, "outputs divided by q . (sum of keys), linear-attention")
	fs.StringVar(&f.featureMap, "feature-map", "", "relu, elu1, exp or l2norm, linear-attention; l2norm, delta-rule")
	fs.StringVar(&f.front, "front", "", "silu, gates or silu_gates: what delta-rule does to its arrays first")
	fs.StringVar(&f.gates, "gates", "", "apart: beta erases channels of keys and another gate writes channels of values, delta-rule")
	fs.StringVar(&f.weighting, "weighting", "", "paper or released (default paper), hash-layer only")
	fs.IntVar(&f.threads, "threads", 0, "workers, 0 for all that this process may use")
}

// rule is the op's default where none is given.
func defaultRule(op, rule string) string {
	if rule != "" {
		return rule
	}
	switch op {
	case tile.LinearAttention:
		return tile.RuleLinear
	case tile.DeltaRule:
		return tile.RuleGatedDelta
	case tile.CausalConv:
		return kernels.ActivationNone
	}
	return ""
}

// problem is the problem that the flags describe, checked.
func (f *problemFlags) problem(m *machine.Machine) (tile.Problem, error) {
	p := tile.Problem{Op: f.op, DType: f.dtype, Dir: cmp.Or(f.dir, tile.Forward), Threads: f.threads}
	if p.DType == "" { // a command without that flag
		p.DType = tile.Float32
	}
	if f.stateDType != tile.Float32 {
		p.StateDType = f.stateDType
	}
	p.Full, p.Normalize, p.FeatureMap, p.Front, p.Gates = f.full, f.normalize, f.featureMap, f.front, f.gates
	if f.op == "" {
		return p, fmt.Errorf("--op is missing: linear-attention, delta-rule, hash-layer or causal-conv")
	}
	if err := checkOp(f.op); err != nil {
		return p, err
	}
	if f.shape == "" {
		return p, fmt.Errorf("--shape is missing: such as %s", shapeExample(f.op))
	}
	var err error
	if p.Precision, err = parsePrecision(f.precision); err != nil {
		return p, err
	}
	if p.Threads, err = threads(m, f.threads); err != nil {
		return p, err
	}
	if p.Shape, err = parseShape(f.op, f.shape); err != nil {
		return p, err
	}
	if f.op == tile.HashLayer {
		if f.rule != "" || f.decay != "" {
			return p, fmt.Errorf("--rule and --decay do not apply to hash-layer")
		}
		p.Weighting = f.weighting
		if p.Weighting == "" {
			p.Weighting = tile.WeightingPaper
		}
		return p, checkProblem(p)
	}
	if f.weighting != "" {
		return p, fmt.Errorf("--weighting applies to hash-layer only")
	}
	p.Rule, p.Decay = defaultRule(f.op, f.rule), f.decay
	if f.op == tile.CausalConv {
		return p, checkProblem(p)
	}
	if p.Decay == "" {
		p.Decay = tile.DecayNone
		if p.Rule == tile.RuleGated || p.Rule == tile.RuleGatedDelta {
			p.Decay = tile.DecayHead
		}
	}
	return p, checkProblem(p)
}

// parsePrecision reads --precision.
func parsePrecision(text string) (string, error) {
	switch text {
	case "", tile.Float32:
		return "", nil
	case "bf16", tile.BFloat16:
		return tile.BFloat16, nil
	case tile.Int8:
		return tile.Int8, nil
	}
	return "", fmt.Errorf("--precision %q: must be float32, bf16 or int8", text)
}

// maxProblemBytes keeps a mistyped shape from taking the machine's memory.
const maxProblemBytes = 16 << 30

// checkProblem refuses what the library cannot run and what no one wants to.
func checkProblem(p tile.Problem) error {
	if err := kernels.CheckProblem(p); err != nil {
		return err
	}
	read, written := sim.CompulsoryBytes(p)
	bytes := float64(read) + float64(written)
	if s := p.Shape; p.Op == tile.HashLayer { // of whose tables only the rows that are read are compulsory
		bytes += math.Ldexp(4*float64(s.H)*float64((s.D-1)/s.Tau+1), s.Tau)
	}
	if bytes > maxProblemBytes {
		return fmt.Errorf("--shape %s: arrays of %.3g GB, more than the limit of %.3g GB", p.Shape, bytes/1e9, maxProblemBytes/1e9)
	}
	return nil
}

func threads(m *machine.Machine, n int) (int, error) {
	if n < 0 {
		return 0, fmt.Errorf("--threads %d: must be 0 (all) or positive", n)
	}
	if n == 0 {
		return max(1, m.Usable), nil
	}
	return n, nil
}

func shapeExample(op string) string {
	if op == tile.HashLayer {
		return "n=32,d=1024,h=1024,tau=8"
	}
	if op == tile.CausalConv {
		return "b=1,c=8192,l=2048,k=4"
	}
	return "b=1,t=4096,hq=8,hkv=8,dk=128,dv=128"
}

// parseShape reads "b=1,t=4096,..."; every dimension of the op must be given once. What values make sense is for
// kernels.CheckProblem to say.
func parseShape(op, text string) (tile.Shape, error) {
	var s tile.Shape
	fields := map[string]*int{"b": &s.B, "t": &s.T, "hq": &s.Hq, "hkv": &s.Hkv, "dk": &s.Dk, "dv": &s.Dv}
	names := []string{"b", "t", "hq", "hkv", "dk", "dv"}
	if op == tile.HashLayer {
		fields = map[string]*int{"n": &s.N, "d": &s.D, "h": &s.H, "tau": &s.Tau}
		names = []string{"n", "d", "h", "tau"}
	}
	if op == tile.CausalConv {
		fields = map[string]*int{"b": &s.B, "c": &s.C, "l": &s.L, "k": &s.K}
		names = []string{"b", "c", "l", "k"}
	}
	values, err := parsePairs("--shape", text)
	if err != nil {
		return s, err
	}
	for name, v := range values {
		field, ok := fields[name]
		if !ok {
			return s, fmt.Errorf("--shape %s: %s has no dimension %q, it has %s", text, op, name, strings.Join(names, ", "))
		}
		*field = v
	}
	for _, name := range names {
		if _, ok := values[name]; !ok {
			return s, fmt.Errorf("--shape %s: %s is missing, %s needs %s", text, name, op, strings.Join(names, ", "))
		}
	}
	return s, nil
}

// parsePairs reads "k=1,l=2".
func parsePairs(flag, text string) (map[string]int, error) {
	values := map[string]int{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s %s: %q is not name=number", flag, text, pair)
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %s=%s is not a number that fits", flag, text, name, value)
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("%s %s: %s is given twice", flag, text, name)
		}
		values[name] = n
	}
	return values, nil
}

// allowedISAs narrows the ISAs that may run here to the named one.
func allowedISAs(name string) ([]tile.ISA, error) {
	isas := kernels.ISAs()
	if name == "" {
		return isas, nil
	}
	isa := tile.ISA(strings.ToLower(name))
	if !slices.Contains(isas, isa) {
		return nil, fmt.Errorf("--isa %s: cannot run here, these can: %s", name, joinISAs(isas))
	}
	return []tile.ISA{isa}, nil
}

func joinISAs(isas []tile.ISA) string {
	names := make([]string, len(isas))
	for i, isa := range isas {
		names[i] = string(isa)
	}
	return strings.Join(names, ", ")
}

// checkOp refuses a name that is no op; "" stands for all.
func checkOp(op string) error {
	if ops := []string{"", tile.LinearAttention, tile.DeltaRule, tile.HashLayer, tile.CausalConv}; !slices.Contains(ops, op) {
		return fmt.Errorf("--op %s: must be %s", op, strings.Join(ops[1:], ", "))
	}
	return nil
}
