package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/internal/npz"
	"github.com/rooftune/rooftune/kernels/tile"
)

// backwardRules gives the rule of each operator whose gradients apply computes.
var backwardRules = map[string]string{
	"linear_attn": tile.RuleLinear, "retention": tile.RuleGated, "simple_gla": tile.RuleGated, "gla": tile.RuleGated,
	"lightning_attn2": tile.RuleGated, "decay_linear_attn_state": tile.RuleGated,
	"delta_rule": tile.RuleDelta, "delta_rule_beta2": tile.RuleDelta, "gated_delta_rule": tile.RuleGatedDelta, "kda": tile.RuleGatedDelta,
}

func TestGoldenBackward(t *testing.T) {
	dir := filepath.Join(golden(t), "papers")
	var index struct{ Cases []paperCase }
	readIndex(t, filepath.Join(dir, "index.json"), &index)
	ran := map[string]int{}
	for _, c := range index.Cases {
		if _, ok := backwardRules[c.Op]; !ok {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			a := openArrays(t, filepath.Join(dir, c.File))
			if a.values(t, "grad_q") == nil {
				t.Skip("no gradients")
			}
			ran[c.Op]++
			eachISA(t, func(t *testing.T, isa tile.ISA) { c.backward(t, a, isa) })
		})
	}
	for op := range backwardRules {
		if ran[op] == 0 {
			t.Errorf("no case of %s", op)
		}
	}
}

// backward runs a case of layout [T,H,d] as batch 1 and compares every gradient that it has.
func (c paperCase) backward(t *testing.T, a arrays, isa tile.ISA) {
	params := c.params(t)
	var fixed struct {
		LogDecay []float64 `json:"log_decay"`
	}
	if err := json.Unmarshal(c.Params, &fixed); err != nil {
		t.Fatal(err)
	}
	q, _ := a.Header("in_q")
	v, _ := a.Header("in_v")
	tokens, heads, dk, dv := q.Shape[0], q.Shape[1], q.Shape[2], v.Shape[2]
	op := tile.LinearAttention
	if rule := backwardRules[c.Op]; rule == tile.RuleDelta || rule == tile.RuleGatedDelta {
		op = tile.DeltaRule
	}
	flags := []string{"--op", op, "--dir", tile.Backward, "--rule", backwardRules[c.Op], "--q-heads", fmt.Sprint(heads),
		"--kv-heads", fmt.Sprint(heads), "--isa", string(isa), "--scale", strconv.FormatFloat(params.Scale, 'g', -1, 64)}
	var decay []string
	for _, g := range params.Gamma {
		decay = append(decay, strconv.FormatFloat(math.Log(g), 'g', -1, 64))
	}
	for _, s := range params.Slopes {
		decay = append(decay, strconv.FormatFloat(-s, 'g', -1, 64))
	}
	for _, g := range fixed.LogDecay {
		decay = append(decay, strconv.FormatFloat(g, 'g', -1, 64))
	}
	if decay != nil {
		flags = append(flags, "--head-decay="+strings.Join(decay, ","))
	}
	decays := 1 // of a head
	if c.Op == "kda" {
		decays = dk
	}
	var inputs []npz.Array
	for _, w := range []struct {
		from, to string
		shape    []int
	}{
		{"in_q", "query", []int{1, tokens, heads * dk}}, {"in_k", "key", []int{1, tokens, heads * dk}}, {"in_v", "value", []int{1, tokens, heads * dv}},
		{"in_s0", "past_state", []int{1, heads, dk, dv}}, {"in_g", "decay", []int{1, tokens, heads * decays}}, {"in_gk", "decay", []int{1, tokens, heads * dk}},
		{"in_beta", "beta", []int{1, tokens, heads}},
		{"in_do", "grad_output", []int{1, tokens, heads * dv}}, {"in_dsT", "grad_present_state", []int{1, heads, dk, dv}},
	} {
		if x, ok := a.input(t, w.from, w.to, w.shape...); ok {
			inputs = append(inputs, x)
		}
	}
	got := apply(t, inputs, flags...)
	for from, to := range map[string]string{"grad_q": "grad_query", "grad_k": "grad_key", "grad_v": "grad_value", "grad_s0": "grad_past_state",
		"grad_g": "grad_decay", "grad_gk": "grad_decay", "grad_beta": "grad_beta"} {
		if want := a.values(t, from); want != nil {
			normalised(t, to, got.values(t, to), want, c.RTol)
		}
	}
}
