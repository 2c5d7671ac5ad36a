package kernels

import (
	"fmt"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// CheckProblem says what is wrong with a problem, or nil if the library can run it.
func CheckProblem(p tile.Problem) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("kernels: problem %s: "+format, append([]any{p.Op}, a...)...)
	}
	s := p.Shape
	attention := p.Op == tile.LinearAttention || p.Op == tile.DeltaRule
	if p.Op != tile.CausalConv && (s.C != 0 || s.L != 0 || s.K != 0) {
		return bad("shape must not give c, l or k")
	}
	switch p.DType {
	case tile.Float32:
	case tile.BFloat16, tile.Float16:
		if p.Op == tile.HashLayer && p.DType == tile.BFloat16 && p.Dir == tile.Forward {
			break
		}
		if !attention || p.Dir != tile.Forward {
			return bad("dtype %q must be float32", p.DType)
		}
	case tile.Int8:
		if p.Op != tile.HashLayer || p.Dir != tile.Forward {
			return bad("dtype %q is for the tables of %s, %s", p.DType, tile.HashLayer, tile.Forward)
		}
	default:
		return bad("dtype %q must be float32, bfloat16 or float16", p.DType)
	}
	if p.StateDType != "" && (!attention || p.Dir != tile.Forward || p.StateDType != tile.BFloat16 && p.StateDType != tile.Float16) {
		return bad("state_dtype %q must be empty (float32), or bfloat16 or float16 in a forward attention op", p.StateDType)
	}
	if err := checkPrecision(p); err != nil {
		return bad("%v", err)
	}
	if p.Dir != tile.Forward && p.Dir != tile.Backward {
		return bad("direction %q must be %s or %s", p.Dir, tile.Forward, tile.Backward)
	}
	if p.Threads < 1 || p.Threads > 1<<12 {
		return bad("threads %d must be from 1 to 4096", p.Threads)
	}
	switch p.Op {
	case tile.LinearAttention, tile.DeltaRule:
		if p.Op == tile.DeltaRule && (p.Full || p.Normalize || p.FeatureMap != tile.MapNone && p.FeatureMap != tile.MapL2) {
			return bad("it has no full, normalize or feature_map but l2norm")
		}
		if p.Front != tile.FrontNone && (p.Op != tile.DeltaRule || !slices.Contains(tile.Fronts(), p.Front)) {
			return bad("front %q must be empty, or one of %q in a delta-rule", p.Front, tile.Fronts()[1:])
		}
		if p.Gates != "" && (p.Gates != tile.GatesApart || p.Op != tile.DeltaRule || p.Front != tile.FrontNone) {
			return bad("gates %q must be empty, or %q in a delta-rule without a front", p.Gates, tile.GatesApart)
		}
		if p.Decay == tile.DecayFixed && tile.FrontHas(p.Front, tile.FrontGates) {
			return bad("front %q makes decays of an array, not fixed ones", p.Front)
		}
		if p.Full && p.Rule != tile.RuleLinear {
			return bad("full goes with rule linear, not %q", p.Rule)
		}
		if !slices.Contains(tile.FeatureMaps(), p.FeatureMap) {
			return bad("feature_map %q must be one of %q", p.FeatureMap, tile.FeatureMaps())
		}
		rules := map[string]string{tile.RuleLinear: tile.LinearAttention, tile.RuleGated: tile.LinearAttention,
			tile.RuleDelta: tile.DeltaRule, tile.RuleGatedDelta: tile.DeltaRule}
		if rules[p.Rule] != p.Op {
			return bad("rule %q is not one of its rules", p.Rule)
		}
		gated := p.Rule == tile.RuleGated || p.Rule == tile.RuleGatedDelta
		switch {
		case !gated && p.Decay != tile.DecayNone:
			return bad("decay %q must be none with rule %q", p.Decay, p.Rule)
		case gated && !slices.Contains([]string{tile.DecayHead, tile.DecayFixed, tile.DecayKey}, p.Decay):
			return bad("decay %q does not go with rule %q", p.Decay, p.Rule)
		}
		if s.B < 0 || s.T < 0 || s.Hq < 1 || s.Hkv < 1 || s.Hq%s.Hkv != 0 && s.Hkv%s.Hq != 0 || s.Dk < 1 || s.Dv < 1 {
			return bad("shape %s: b and t must not be negative, the others positive, hq a multiple of hkv or hkv of hq", s)
		}
		if s.N != 0 || s.D != 0 || s.H != 0 || s.Tau != 0 || s.C != 0 || s.L != 0 || s.K != 0 {
			return bad("shape must not give n, d, h, tau, c, l or k")
		}
		for _, v := range [][]int{{s.B, s.T, max(s.Hq, s.Hkv), s.Dk}, {s.B, s.T, max(s.Hq, s.Hkv), s.Dv}, {s.B, s.Hkv, s.Dk, s.Dv}} {
			if _, ok := volume(v); !ok {
				return bad("shape %s is too large to address", s)
			}
		}
	case tile.HashLayer:
		if p.Weighting != tile.WeightingPaper && p.Weighting != tile.WeightingReleased {
			return bad("weighting %q must be paper or released", p.Weighting)
		}
		if s.N < 0 || s.D < 1 || s.H < 1 || s.Tau < 1 || s.Tau > maxTau {
			return bad("shape %s: n must not be negative, d and h positive, tau 1 to %d", s, maxTau)
		}
		if s.B != 0 || s.T != 0 || s.Hq != 0 || s.Hkv != 0 || s.Dk != 0 || s.Dv != 0 || s.C != 0 || s.L != 0 || s.K != 0 {
			return bad("shape must not give b, t, hq, hkv, dk, dv, c, l or k")
		}
		for _, v := range [][]int{{s.N, s.D}, {s.N, s.H}, {(s.D-1)/s.Tau + 1, 1 << s.Tau, s.H}} {
			if _, ok := volume(v); !ok {
				return bad("shape %s is too large to address", s)
			}
		}
	case tile.CausalConv:
		if err := checkConvShape(p); err != nil {
			return bad("%v", err)
		}
		if p.Decay != "" || p.Weighting != "" || p.Full || p.Normalize || p.FeatureMap != tile.MapNone {
			return bad("it has no decay, weighting, full, normalize or feature_map")
		}
	default:
		return fmt.Errorf("kernels: op %q must be %s, %s, %s or %s", p.Op, tile.LinearAttention, tile.DeltaRule, tile.HashLayer, tile.CausalConv)
	}
	return nil
}

// DefaultProblems lists what users tune for first: a Qwen3.5 layer (16 key
// heads repeated over 32 value heads), 8 heads of 128 and 16 of 64 for a decode step, a short and a long prompt, and hash layers of
// 1024 at three batch sizes.
func DefaultProblems(threads int) []tile.Problem {
	var ps []tile.Problem
	attention := func(op, rule string, heads, d int) {
		for _, t := range []int{4096, 512, 1} {
			ps = append(ps, tile.Problem{Op: op, Rule: rule, Decay: tile.DecayHead, DType: "float32", Dir: "fwd", Threads: threads,
				Shape: tile.Shape{B: 1, T: t, Hq: heads, Hkv: heads, Dk: d, Dv: d}})
		}
	}
	attention(tile.DeltaRule, tile.RuleGatedDelta, 32, 128)
	attention(tile.DeltaRule, tile.RuleGatedDelta, 8, 128)
	attention(tile.LinearAttention, tile.RuleGated, 8, 128)
	attention(tile.DeltaRule, tile.RuleGatedDelta, 16, 64)
	attention(tile.LinearAttention, tile.RuleGated, 16, 64)
	for _, n := range []int{1, 32, 1024} {
		ps = append(ps, tile.Problem{Op: tile.HashLayer, DType: "float32", Dir: "fwd", Threads: threads, Weighting: tile.WeightingPaper,
			Shape: tile.Shape{N: n, D: 1024, H: 1024, Tau: 8}})
	}
	return ps
}
