package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// DeltaRule computes the update rules "delta" and "gated_delta" of ONNX
// LinearAttention (DeltaNet, Gated DeltaNet), per batch item and state head:
//
//	S *= exp(decay)            (gated_delta)
//	u  = beta * (v - Sᵀk)      with the decayed S
//	S += k uᵀ
//	o  = scale * Sᵀq           for each query head of the group
//
// With Inputs.Write, beta gates only what is erased and another gate what is written, each of whole heads or of channels of its own (the products
// with k and v are then element by element), as in Gated DeltaNet-2:
//
//	u  = write * v - Sᵀ(beta * k)
//
// This has the form in blocks alone. An update that writes with another key than it erases with, as RWKV-7's, is not of this kind.
//
// In all of these decay is one value a head or, as in Kimi Delta Attention, one for each key of a head, row i of S taking its own. They run in one
// of two forms, as tuned: blocks of a few tokens that sweep a panel of the state together, or, where the decay is not per key, chunks
// (Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", section 3). The triangular
// system of a block or chunk is solved directly against V - K S, with no inverse. Values may be used by many goroutines at once.
type DeltaRule struct {
	QHeads  int     // query heads Hq, a multiple of KVHeads
	KVHeads int     // key, value and state heads Hkv
	Rule    string  // tile.RuleGatedDelta (also "", as in ONNX) or tile.RuleDelta
	Scale   float32 // 0 means 1/sqrt(dk)
	// HeadDecay gives each state head one log decay for all tokens, in place of Inputs.Decay; rule gated_delta. Nil for none.
	HeadDecay []float32
	// InverseGQA allows QHeads < KVHeads, as in LinearAttention: a layer of Qwen3.5 has 16 query and key heads over 32 state heads.
	InverseGQA bool
	// Front is what is done to the arrays before the rule (front.go): tile.FrontNone (""), FrontSiLU, FrontGates or FrontSiLUGates. Of 16-bit activations
	// beta and decay may be float32, with or without it.
	Front     string
	BetaScale float32 // factor of beta with FrontGates, 0 for 1; 2 allows negative eigenvalues
	// FeatureMap tile.MapL2 divides queries and keys by their L2 norm, after SiLU; "" does not. FeatureMapEps is added to the sum of squares.
	FeatureMap    string
	FeatureMapEps float32
	// Precision is that of the products, as in LinearAttention: tile.BFloat16 has no decay per key, Front, FeatureMap and Inputs.Write.
	Precision string
	// Statistics, if not nil, counts how tokens were walked.
	Statistics *Statistics
	Threads    int // workers, 0 for all that this process may use
	// Candidate runs this ISA and config in place of the selected ones; nil leaves the choice to the library.
	Candidate *tile.Candidate
}

// Forward computes the output and the state after the last token. It returns an *ArgumentError that names
// the argument if one is wrong, before anything is written. T = 0 hands the state on unchanged.
func (o *DeltaRule) Forward(out *Outputs, in *Inputs) error {
	rule, err := o.rule()
	if err != nil {
		return err
	}
	return forwardAttention(attentionOp{
		op: tile.DeltaRule, rule: rule, qHeads: o.QHeads, kvHeads: o.KVHeads, scale: o.Scale, headDecay: o.HeadDecay,
		threads: o.Threads, candidate: o.Candidate, gated: rule == tile.RuleGatedDelta, hasBeta: true, inverse: o.InverseGQA,
		front: o.Front, betaScale: o.BetaScale, featureMap: o.FeatureMap, mapEps: o.FeatureMapEps, statistics: o.Statistics,
		precision: o.Precision,
	}, out, in)
}

// rule is the rule by name, gated_delta by default.
func (o *DeltaRule) rule() (string, error) {
	switch o.Rule {
	case "", tile.RuleGatedDelta:
		return tile.RuleGatedDelta, nil
	case tile.RuleDelta:
		return tile.RuleDelta, nil
	}
	return "", refuse("Rule", `"delta" or "gated_delta"`, "%q", o.Rule)
}
