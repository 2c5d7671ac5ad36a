package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// LinearAttention computes linear attention with the update rules
// "linear" and "gated" of ONNX LinearAttention, per batch item and state head:
//
//	S *= exp(decay)   (gated; row by row where the decay is per key)
//	S += k vᵀ
//	o  = scale * Sᵀq  for each query head of the group
//
// as a recurrence in blocks of tokens whose panels of the state stay in the first cache, or in the tiled form of Lightning
// Attention-2 (Qin et al. 2024, section 3): within a chunk by masked products, between chunks through the state. The tuned choice
// says which. Values may be used by many goroutines at once.
type LinearAttention struct {
	QHeads  int     // query heads Hq, a multiple of KVHeads
	KVHeads int     // key, value and state heads Hkv
	Rule    string  // tile.RuleLinear (also "") or tile.RuleGated
	Scale   float32 // 0 means 1/sqrt(dk)
	// HeadDecay is a fixed log decay for each state head, for rule gated without a decay input: Lightning
	// Attention-2's -slope, retention's log(1-2^(-5-h)).
	HeadDecay []float32
	// Full lets every token read the state after the last one (not causal), as LiT and SLAB do; rule linear.
	Full bool
	// FeatureMap is applied to queries and keys as they are loaded: tile.MapNone (""), MapReLU, MapELU, MapExp or MapL2.
	FeatureMap string
	// FeatureMapEps is added to the sum of squares inside the root of MapL2, whose rows must have norms below 1.8e19.
	FeatureMapEps float32
	// Normalize divides a token's output by scale q . z + NormalizeEps, z being the sum of the key features that the state holds, decayed as it
	// is (Katharopoulos et al. 2020, eq. 5; flash-linear-attention adds 1e-10, SLAB 1e-6).
	Normalize    bool
	NormalizeEps float32
	// InverseGQA allows QHeads < KVHeads, QHeads dividing it, as ONNX Runtime's contrib operator does: state head h reads query head
	// floor(h QHeads/KVHeads), output is (B, T, KVHeads*dv), and key may have any number of heads that divides KVHeads.
	InverseGQA bool
	// Precision is that of the products: "" for float32, or tile.BFloat16 for operands rounded to bfloat16 and sums in float32, with
	// the error that ErrorBound gives for it. Forward alone has it, without decay per key, Full, FeatureMap and Normalize.
	Precision string
	Threads   int // workers, 0 for all that this process may use
	// Candidate runs this ISA and config in place of the selected ones; nil leaves the choice to the library.
	Candidate *tile.Candidate
}

// Forward computes the output and the state after the last token. It returns an *ArgumentError that names
// the argument if one is wrong, before anything is written. T = 0 hands the state on unchanged.
func (o *LinearAttention) Forward(out *Outputs, in *Inputs) error {
	rule, err := o.rule()
	if err != nil {
		return err
	}
	return forwardAttention(attentionOp{
		op: tile.LinearAttention, rule: rule, qHeads: o.QHeads, kvHeads: o.KVHeads, scale: o.Scale,
		headDecay: o.HeadDecay, threads: o.Threads, candidate: o.Candidate, gated: rule == tile.RuleGated, inverse: o.InverseGQA,
		full: o.Full, featureMap: o.FeatureMap, mapEps: o.FeatureMapEps, normalize: o.Normalize, normEps: o.NormalizeEps,
		precision: o.Precision,
	}, out, in)
}

// rule is the rule with its default, or an error if it is not one of this op's.
func (o *LinearAttention) rule() (string, error) {
	switch o.Rule {
	case "":
		return tile.RuleLinear, nil
	case tile.RuleLinear, tile.RuleGated:
		return o.Rule, nil
	}
	return "", refuse("Rule", `"linear" or "gated"`, "%q", o.Rule)
}
