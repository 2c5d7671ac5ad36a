package kernels

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// goldenDir is where the shared golden vectors are, beside the repository unless ROOFTUNE_GOLDEN says otherwise.
func goldenDir(t *testing.T) string {
	dir := os.Getenv("ROOFTUNE_GOLDEN")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "golden")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no golden vectors at %s (set ROOFTUNE_GOLDEN)", dir)
	}
	return dir
}

// The argument sets of ONNX LinearAttention must get the standard's verdict. Decay per key, which the standard allows, is
// refused by this version and named as such.
func TestONNXArgumentErrors(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(goldenDir(t), "onnx", "errors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Op, Name, Expect string
		Attributes       struct {
			QHeads  int     `json:"q_num_heads"`
			KVHeads int     `json:"kv_num_heads"`
			Rule    *string `json:"update_rule"`

			Activation string
		}
		Shapes map[string][]int `json:"input_shapes"`
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	n := 0
	convs := 0
	for _, c := range cases {
		if c.Op == "CausalConvWithState" {
			convs++
			tensor := func(name string) Tensor {
				if shape, ok := c.Shapes[name]; ok {
					return NewTensor(shape...)
				}
				return Tensor{}
			}
			in := &ConvInputs{Input: tensor("input"), Weight: tensor("weight"), Bias: tensor("bias"), PastState: tensor("past_state")}
			out := &ConvOutputs{Output: NewTensor(c.Shapes["input"]...)}
			err := (&CausalConv{Activation: c.Attributes.Activation}).Forward(out, in)
			if (err == nil) != (c.Expect == "ok") {
				t.Errorf("%s: expected %s, got %v", c.Name, c.Expect, err)
			}
			continue
		}
		if c.Op != "LinearAttention" {
			continue
		}
		n++
		tensor := func(name string) Tensor {
			shape, ok := c.Shapes[name]
			if !ok {
				return Tensor{}
			}
			return NewTensor(shape...)
		}
		in := &Inputs{Query: tensor("query"), Key: tensor("key"), Value: tensor("value"), PastState: tensor("past_state"),
			Decay: tensor("decay"), Beta: tensor("beta")}
		out := &Outputs{}
		if c.Expect == "ok" {
			q, v, h := c.Shapes["query"], c.Shapes["value"], c.Attributes
			out.Output = NewTensor(q[0], q[1], v[2]/h.KVHeads*h.QHeads)
			out.PresentState = NewTensor(q[0], h.KVHeads, q[2]/h.QHeads, v[2]/h.KVHeads)
		} else {
			out.Output = NewTensor(2, 3, 32) // what the valid baseline has
		}
		rule := tile.RuleGatedDelta
		if c.Attributes.Rule != nil {
			rule = *c.Attributes.Rule
		}
		op := tile.DeltaRule
		if rule == tile.RuleLinear || rule == tile.RuleGated {
			op = tile.LinearAttention
		}
		err := forward(op, rule, c.Attributes.QHeads, c.Attributes.KVHeads, in, out)
		switch {
		case c.Expect == "ok" && err != nil:
			t.Errorf("%s: refused: %v", c.Name, err)
		case c.Expect != "ok" && err == nil:
			t.Errorf("%s: accepted", c.Name)
		}
	}
	if n < 50 || convs < 15 {
		t.Errorf("only %d and %d cases read", n, convs)
	}
}
