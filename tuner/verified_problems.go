package tuner

import (
	"maps"
	"slices"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// verified is a problem to verify.
type verified struct {
	problem tile.Problem
	packed  bool // as packed sequences
	every   bool // by all candidates; else by the default and those that differ from it in one tunable
}

// candidates are those of an ISA that a problem is verified by.
func (v verified) candidates(isa tile.ISA) ([]tile.Config, error) {
	configs, err := Space(v.problem, isa)
	if err != nil || v.every {
		return configs, err
	}
	standing := kernels.Default(v.problem, isa)
	few := []tile.Config{standing}
	for _, c := range configs {
		base := standing
		if form, given := c["form"]; given && form != standing["form"] {
			base = kernels.Complete(v.problem, isa, tile.Config{"form": form})
		}
		if len(departures(c, base)) <= 1 && !maps.Equal(c, standing) {
			few = append(few, c)
		}
	}
	return few, nil
}

// verifiedProblems are one problem of every op, rule, direction, decay and weighting for all candidates, and one of every option, head grouping, type and precision and packed
// sequences for the candidates around the default. No size is a multiple of a register tile's.
func verifiedProblems() []verified {
	all := slices.Concat(verifiedAttention(), verifiedHashes(), verifiedConvolutions())
	for i := range all {
		all[i].problem = withDefaults(all[i].problem)
	}
	return all
}

func verifiedAttention() []verified {
	grouped := tile.Shape{B: 2, T: 403, Hq: 4, Hkv: 2, Dk: 70, Dv: 150}
	var all []verified
	options := func(p tile.Problem, changes ...func(*tile.Problem)) {
		for _, change := range changes {
			q := p
			change(&q)
			if kernels.CheckProblem(withDefaults(q)) == nil { // else the option is not this problem's
				all = append(all, verified{problem: q})
			}
		}
	}
	for _, dir := range []string{tile.Forward, tile.Backward} {
		for _, p := range []tile.Problem{
			{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone},
			{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayFixed},
			{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayHead},
			{Op: tile.LinearAttention, Rule: tile.RuleGated, Decay: tile.DecayKey},
			{Op: tile.DeltaRule, Rule: tile.RuleDelta, Decay: tile.DecayNone},
			{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayFixed},
			{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayHead},
			{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Decay: tile.DecayKey},
		} {
			p.Dir, p.Shape = dir, grouped
			all = append(all, verified{problem: p, every: true})
			small := p
			small.Shape = tile.Shape{B: 2, T: 203, Hq: 4, Hkv: 2, Dk: 37, Dv: 70}
			all = append(all, verified{problem: small, packed: true})
			options(small,
				func(q *tile.Problem) { q.Shape.Hq = q.Shape.Hkv },
				func(q *tile.Problem) { q.Shape.Hq, q.Shape.Hkv = q.Shape.Hkv, q.Shape.Hq },
				func(q *tile.Problem) { q.FeatureMap = tile.MapReLU },
				func(q *tile.Problem) { q.FeatureMap = tile.MapELU },
				func(q *tile.Problem) { q.FeatureMap = tile.MapExp },
				func(q *tile.Problem) { q.FeatureMap = tile.MapL2 },
				func(q *tile.Problem) { q.Normalize, q.FeatureMap = true, tile.MapELU },
				func(q *tile.Problem) { q.Full = true },
				func(q *tile.Problem) { q.Full, q.Normalize, q.FeatureMap = true, true, tile.MapReLU },
				func(q *tile.Problem) { q.Front = tile.FrontSiLU },
				func(q *tile.Problem) { q.Front = tile.FrontGates },
				func(q *tile.Problem) { q.Front, q.FeatureMap = tile.FrontSiLUGates, tile.MapL2 },
				func(q *tile.Problem) { q.Gates, q.FeatureMap = tile.GatesApart, tile.MapL2 },
				func(q *tile.Problem) { q.DType, q.StateDType = tile.BFloat16, tile.BFloat16 },
				func(q *tile.Problem) { q.DType, q.StateDType = tile.Float16, tile.Float16 },
				func(q *tile.Problem) { q.DType = tile.BFloat16 },
				func(q *tile.Problem) { q.Precision = tile.BFloat16 })
		}
	}
	return all
}

// withDefaults is a problem with what all verified ones have.
func withDefaults(p tile.Problem) tile.Problem {
	if p.Threads = 2; p.DType == "" {
		p.DType = tile.Float32
	}
	return p
}

func verifiedHashes() []verified {
	var all []verified
	for _, w := range []string{tile.WeightingPaper, tile.WeightingReleased} {
		p := tile.Problem{Op: tile.HashLayer, Dir: tile.Forward, Weighting: w, Shape: tile.Shape{N: 70, D: 300, H: 1100, Tau: 7}}
		back := p
		back.Dir, back.Shape.H = tile.Backward, 110
		all = append(all, verified{problem: p, every: true}, verified{problem: back, every: true})
		for _, x := range []struct{ dtype, precision string }{{tile.BFloat16, ""}, {tile.Int8, ""}, {tile.Int8, tile.Int8}} {
			p.DType, p.Precision = x.dtype, x.precision
			all = append(all, verified{problem: p, every: true})
		}
	}
	return all
}

func verifiedConvolutions() []verified {
	var all []verified
	for _, activation := range []string{kernels.ActivationNone, kernels.ActivationSiLU} {
		for _, l := range []int{1, 203} {
			p := tile.Problem{Op: tile.CausalConv, Rule: activation, Dir: tile.Forward, Shape: tile.Shape{B: 2, C: 151, L: l, K: 4}}
			all = append(all, verified{problem: p, every: true})
		}
	}
	return all
}
