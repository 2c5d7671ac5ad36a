package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// golden is the folder of golden vectors, or "" where there is none.
func golden(t *testing.T) string {
	dir := os.Getenv("ROOFTUNE_GOLDEN")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "golden")
	}
	if _, err := os.Stat(filepath.Join(dir, "papers", "index.json")); err != nil {
		t.Skipf("no golden vectors at %s; ROOFTUNE_GOLDEN names their folder", dir)
	}
	return dir
}

// readIndex reads an index.json.
func readIndex(t *testing.T, path string, v any) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// arrays are those of one golden file.
type arrays struct{ *npz.Archive }

func openArrays(t *testing.T, path string) arrays {
	a, err := npz.Open(path, npz.DefaultLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return arrays{a}
}

// values reads an array of float32 or float64 as float64, nil if there is none.
func (a arrays) values(t *testing.T, name string) []float64 {
	h, ok := a.Header(name)
	if !ok {
		return nil
	}
	if h.DType == "f8" {
		v, err := npz.Read[float64](a.Archive, name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if h.DType == "f2" || h.DType == "u2" {
		bits, err := npz.Read[uint16](a.Archive, name)
		if err != nil {
			t.Fatal(err)
		}
		half := kernels.Tensor{Bits: bits, DType: tile.Float16, Shape: []int{len(bits)}}
		if h.DType == "u2" {
			half.DType = tile.BFloat16
		}
		wide := make([]float64, len(bits))
		for i, x := range half.As(tile.Float32).Data {
			wide[i] = float64(x)
		}
		return wide
	}
	v, err := npz.Read[float32](a.Archive, name)
	if err != nil {
		t.Fatal(err)
	}
	wide := make([]float64, len(v))
	for i, x := range v {
		wide[i] = float64(x)
	}
	return wide
}

// input takes an array over as an input of tune apply, in another shape if one is given.
func (a arrays) input(t *testing.T, from, to string, shape ...int) (npz.Array, bool) {
	h, ok := a.Header(from)
	if !ok {
		return npz.Array{}, false
	}
	if shape == nil {
		shape = h.Shape
	}
	if h.DType == "f2" || h.DType == "u2" {
		bits, err := npz.Read[uint16](a.Archive, from)
		if err != nil {
			t.Fatal(err)
		}
		return npz.Array{Name: to, Shape: shape, Data: bits, Float16: h.DType == "f2"}, true
	}
	v, err := npz.Read[float32](a.Archive, from)
	if err != nil {
		t.Fatal(err)
	}
	return npz.Array{Name: to, Shape: shape, Data: v}, true
}

// apply runs tune apply and opens its result.
func apply(t *testing.T, inputs []npz.Array, flags ...string) arrays {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.npz"), filepath.Join(dir, "out.npz")
	if err := npz.Write(in, inputs); err != nil {
		t.Fatal(err)
	}
	command := append(emulator(t, "tune"), append(append([]string{"apply"}, flags...), in, out)...)
	c := exec.Command(command[0], command[1:]...)
	c.Env = append(os.Environ(), kernels.EnvProfile+"=off")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(c.Args, " "), err, text)
	}
	return openArrays(t, out)
}

// emulator is the command that runs a program: ROOFTUNE_TEST_EXEC, as go test's -exec, before its path.
func emulator(t *testing.T, program string) []string {
	command := strings.Fields(os.Getenv("ROOFTUNE_TEST_EXEC"))
	if len(command) == 0 {
		return []string{program}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return append(command, path)
}

// eachISA runs a test on every ISA of this machine.
func eachISA(t *testing.T, f func(t *testing.T, isa tile.ISA)) {
	for _, isa := range kernels.ISAs() {
		t.Run(string(isa), func(t *testing.T) { f(t, isa) })
	}
}

// paperCase is a case of golden/papers.
type paperCase struct {
	Name, File, Op string
	Params         json.RawMessage // paperParams, for the operators that apply runs
	RTol           float64         `json:"rtol_f32"`
}

type paperParams struct {
	Scale         float64
	Gamma, Slopes []float64
	LogDecay      []float64 `json:"log_decay"`
	Weighting     string
}

func (c paperCase) params(t *testing.T) (p paperParams) {
	if err := json.Unmarshal(c.Params, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// paperRules gives the op and rule of each operator that apply runs.
var paperRules = map[string][2]string{
	"linear_attn": {tile.LinearAttention, tile.RuleLinear},
	"retention":   {tile.LinearAttention, tile.RuleGated},
	"simple_gla":  {tile.LinearAttention, tile.RuleGated},
	"slab_sla":    {tile.LinearAttention, tile.RuleLinear},

	"linear_attn_normalized":  {tile.LinearAttention, tile.RuleLinear},
	"decay_linear_attn_state": {tile.LinearAttention, tile.RuleGated},

	"gla":              {tile.LinearAttention, tile.RuleGated},
	"lightning_attn2":  {tile.LinearAttention, tile.RuleGated},
	"delta_rule":       {tile.DeltaRule, tile.RuleDelta},
	"delta_rule_beta2": {tile.DeltaRule, tile.RuleDelta},
	"gated_delta_rule": {tile.DeltaRule, tile.RuleGatedDelta},
	"kda":              {tile.DeltaRule, tile.RuleGatedDelta},
	"memory_layer":     {tile.HashLayer, ""},
}

func TestGoldenPapers(t *testing.T) {
	dir := filepath.Join(golden(t), "papers")
	var index struct{ Cases []paperCase }
	readIndex(t, filepath.Join(dir, "index.json"), &index)
	ran := map[string]int{}
	for _, c := range index.Cases {
		if _, ok := paperRules[c.Op]; !ok {
			continue
		}
		ran[c.Op]++
		t.Run(c.Name, func(t *testing.T) {
			a := openArrays(t, filepath.Join(dir, c.File))
			eachISA(t, func(t *testing.T, isa tile.ISA) {
				if c.Op == "memory_layer" {
					c.hash(t, a, isa)
				} else {
					c.attention(t, a, isa)
				}
			})
		})
	}
	for op := range paperRules {
		if ran[op] == 0 {
			t.Errorf("no case of %s", op)
		}
	}
}

// attention runs a case of layout [T,H,d] as batch 1.
func (c paperCase) attention(t *testing.T, a arrays, isa tile.ISA) {
	rule, params := paperRules[c.Op], c.params(t)
	q, _ := a.Header("in_q")
	v, _ := a.Header("in_v")
	tokens, heads, dk, dv := q.Shape[0], q.Shape[1], q.Shape[2], v.Shape[2]
	flags := []string{"--op", rule[0], "--rule", rule[1], "--q-heads", fmt.Sprint(heads), "--kv-heads", fmt.Sprint(heads),
		"--isa", string(isa), "--scale", strconv.FormatFloat(params.Scale, 'g', -1, 64)}
	var decay []string
	for _, g := range params.Gamma {
		decay = append(decay, strconv.FormatFloat(math.Log(g), 'g', -1, 64))
	}
	for _, s := range params.Slopes {
		decay = append(decay, strconv.FormatFloat(-s, 'g', -1, 64))
	}
	for _, g := range params.LogDecay {
		decay = append(decay, strconv.FormatFloat(g, 'g', -1, 64))
	}
	output := "out_o"
	switch c.Op {
	case "linear_attn_normalized":
		flags = append(flags, "--normalize", "--normalize-eps", "1e-10")
	case "slab_sla": // without its convolution
		flags = append(flags, "--full", "--feature-map", "relu", "--normalize", "--normalize-eps", "1e-6", "--scale", "1")
		output = "out_o_attn"
	}
	if decay != nil {
		flags = append(flags, "--head-decay="+strings.Join(decay, ","))
	}
	var inputs []npz.Array
	gates := heads
	if g, ok := a.Header("in_g"); ok && len(g.Shape) == 3 { // a decay for each key
		gates *= dk
	}
	for _, w := range []struct {
		from, to string
		shape    []int
	}{
		{"in_q", "query", []int{1, tokens, heads * dk}}, {"in_k", "key", []int{1, tokens, heads * dk}}, {"in_v", "value", []int{1, tokens, heads * dv}},
		{"in_s0", "past_state", []int{1, heads, dk, dv}}, {"in_g", "decay", []int{1, tokens, gates}}, {"in_gk", "decay", []int{1, tokens, heads * dk}}, {"in_beta", "beta", []int{1, tokens, heads}},
	} {
		if x, ok := a.input(t, w.from, w.to, w.shape...); ok {
			inputs = append(inputs, x)
		}
	}
	got := apply(t, inputs, flags...)
	normalised(t, "output", got.values(t, "output"), a.values(t, output), c.RTol)
	if want := a.values(t, "out_sT"); want != nil {
		normalised(t, "present_state", got.values(t, "present_state"), want, c.RTol)
	}
}

func (c paperCase) hash(t *testing.T, a arrays, isa tile.ISA) {
	x, _ := a.input(t, "in_x", "input")
	tables, _ := a.input(t, "in_tables", "tables")
	got := apply(t, []npz.Array{x, tables}, "--op", tile.HashLayer, "--weighting", c.weighting(t), "--isa", string(isa))
	normalised(t, "output", got.values(t, "output"), a.values(t, "out_y"), c.RTol)
	normalised(t, "weights", got.values(t, "weights"), a.values(t, "out_weight"), c.RTol)
	codes, err := npz.Read[int32](got.Archive, "codes")
	if err != nil {
		t.Fatal(err)
	}
	want, err := npz.Read[int32](a.Archive, "out_code")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
}

// normalised compares by the largest difference over the largest value.
func normalised(t *testing.T, name string, got, want []float64, rtol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
	}
	var worst, scale float64
	for i := range want {
		d := math.Abs(got[i] - want[i])
		if math.IsNaN(d) {
			t.Fatalf("%s[%d] = %v, want %v", name, i, got[i], want[i])
		}
		worst, scale = max(worst, d), max(scale, math.Abs(want[i]))
	}
	if worst > rtol*scale {
		t.Errorf("%s: error %.3g, tolerance %.3g", name, worst/scale, rtol)
	}
}

// onnxCase is a case of golden/onnx.
type onnxCase struct {
	Name, File, Op, Check string
	Attributes            struct {
		QHeads  int     `json:"q_num_heads"`
		KVHeads int     `json:"kv_num_heads"`
		Rule    string  `json:"update_rule"`
		Scale   float64 `json:"scale"`

		Activation string
	}
	Inputs map[string]struct {
		Shape []int
		DType string
	}
	RTol, ATol float64
}

// ours says whether a case is of an op that we have.
func (c onnxCase) ours() bool { return c.Op == "CausalConvWithState" || c.Op == "LinearAttention" }

func TestGoldenONNX(t *testing.T) {
	dir := filepath.Join(golden(t), "onnx")
	var index []onnxCase
	readIndex(t, filepath.Join(dir, "index.json"), &index)
	ran := 0
	for _, c := range index {
		if !c.ours() {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			a := openArrays(t, filepath.Join(dir, c.File))
			eachISA(t, func(t *testing.T, isa tile.ISA) { c.run(t, a, isa) })
		})
	}
	if ran == 0 {
		t.Error("no case")
	}
}

func (c onnxCase) run(t *testing.T, a arrays, isa tile.ISA) {
	op, rule := tile.LinearAttention, c.Attributes.Rule
	if rule == "" {
		rule = tile.RuleGatedDelta
	}
	if rule == tile.RuleDelta || rule == tile.RuleGatedDelta {
		op = tile.DeltaRule
	}
	flags := []string{"--op", op, "--rule", rule, "--q-heads", fmt.Sprint(c.Attributes.QHeads), "--kv-heads", fmt.Sprint(c.Attributes.KVHeads),
		"--scale", strconv.FormatFloat(c.Attributes.Scale, 'g', -1, 64), "--isa", string(isa)}
	if c.Op == "CausalConvWithState" {
		flags = []string{"--op", tile.CausalConv, "--isa", string(isa)}
		if c.Attributes.Activation != "" {
			flags = append(flags, "--activation", c.Attributes.Activation)
		}
	}
	var inputs []npz.Array
	for name := range c.Inputs {
		x, _ := a.input(t, "in_"+name, name)
		inputs = append(inputs, x)
	}
	got := apply(t, inputs, flags...)
	for _, name := range []string{"output", "present_state"} {
		want, have := a.values(t, "out_"+name), got.values(t, name)
		if len(have) != len(want) {
			t.Fatalf("%s: %d values, want %d", name, len(have), len(want))
		}
		for i := range want {
			// Where a non-finite value is expected, any will do; where not, none may come.
			switch expectFinite := !math.IsNaN(want[i]) && !math.IsInf(want[i], 0); {
			case expectFinite && !(math.Abs(have[i]-want[i]) <= c.ATol+c.RTol*math.Abs(want[i])):
				t.Fatalf("%s[%d] = %v, want %v", name, i, have[i], want[i])
			case !expectFinite && !math.IsNaN(have[i]) && !math.IsInf(have[i], 0):
				t.Fatalf("%s[%d] = %v, want %v", name, i, have[i], want[i])
			}
		}
	}
}
