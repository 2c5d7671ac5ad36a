package kernels

import (
	"errors"

	"github.com/rooftune/rooftune/kernels/tile"
)

// OutputGradients are the gradients of a loss with respect to what an attention op wrote, laid out as Outputs.
type OutputGradients struct {
	Output       Tensor // (B, T, Hq*dv)
	PresentState Tensor // (B, Hkv, dk, dv), optional: zeros if absent
	// PresentNormalizer is (B, Hkv, dk), optional, with LinearAttention.Normalize.
	PresentNormalizer Tensor
}

// Gradients receive the gradients of the inputs, laid out as Inputs. None may share memory with another or with an input.
type Gradients struct {
	Query     Tensor // (B, T, Hq*dk)
	Key       Tensor // (B, T, Hkv*dk)
	Value     Tensor // (B, T, Hkv*dv)
	PastState Tensor // (B, Hkv, dk, dv), optional
	Decay     Tensor // as the decay, optional; of the decay's own unit, the natural logarithm
	Beta      Tensor // as beta, optional
	// PastNormalizer is (B, Hkv, dk), optional, with LinearAttention.Normalize.
	PastNormalizer Tensor
	// Write is as Inputs.Write, DecayLog and DecayBias as those of a front (also where those inputs are absent, being zeros); optional.
	Write, DecayLog, DecayBias Tensor
}

// gradientArgs are the checked arguments that only a backward pass has; nil where absent.
type gradientArgs struct {
	gradOutput, gradState                              []float32
	gradQuery, gradKey, gradValue, gradPast, gradDecay []float32
	gradBeta                                           []float32
	gradWrite, gradErase                               []float32 // as write and erase
	gradDecayLog, gradDecayBias                        []float32
	gradNorm, gradPastNorm                             []float32 // (B, Hkv, dk)
}

// Backward computes the gradients of the inputs of Forward from those of its outputs. The decay may be one a head (B,T,Hkv) or one a
// key (B,T,Hkv*dk); HeadDecay, being fixed, has no gradient. With InverseGQA, the gradients of queries and keys that state heads share
// are sums over those. Kept states and Precision are refused. It returns an *ArgumentError that names the argument if one is wrong, before
// anything is written.
//
// Errors: those of gradients of query, key, value and past state are within ErrorBound of the same sums over absolute values. The
// gradient of the decay is a sum over all later tokens, dg_t = dg_(t+1) + q_t dq_t - k_t dk_t, in float64: its error is within
// ErrorBound of the sum of those terms' absolute values, which may be many times its own.
//
// A NaN or Inf reaches the gradients that depend on it and no others: that of a token's output never those of a later
// token's key or value.
func (o *LinearAttention) Backward(grads *Gradients, gout *OutputGradients, in *Inputs) error {
	rule, err := o.rule()
	if err != nil {
		return err
	}
	args, err := attentionOp{
		op: tile.LinearAttention, precision: o.Precision, rule: rule, qHeads: o.QHeads, kvHeads: o.KVHeads, scale: o.Scale,
		headDecay: o.HeadDecay, threads: o.Threads, candidate: o.Candidate, gated: rule == tile.RuleGated, backward: true, inverse: o.InverseGQA,
		full: o.Full, featureMap: o.FeatureMap, mapEps: o.FeatureMapEps, normalize: o.Normalize, normEps: o.NormalizeEps,
	}.checkBackward(grads, gout, in)
	if err != nil {
		return err
	}
	return runAttention(args, o.Candidate)
}

// Backward computes the gradients of the inputs of Forward from those of its outputs, in chunks (delta_backward.go says how). With InverseGQA, the
// gradients of queries and keys that state heads share are sums over those. Behind a front, a feature map or gates apart they are the gradients of the
// caller's own arrays (front_backward.go says how). Kept states have no backward pass; HeadDecay, being fixed, has no gradient. It returns an *ArgumentError that names the argument if one is wrong, before anything is written.
//
// Errors are within ErrorBound of the largest number of the same gradient in its batch item and state head (that of the decay, which is a sum over all later tokens, of that sum
// over absolute values besides), for keys of about unit length and beta within 0 and 1. A NaN
// or Inf may spoil all gradients of its own chunk and of those before, and the states' after it.
func (o *DeltaRule) Backward(grads *Gradients, gout *OutputGradients, in *Inputs) error {
	rule, err := o.rule()
	if err != nil {
		return err
	}
	args, err := attentionOp{
		op: tile.DeltaRule, precision: o.Precision, rule: rule, qHeads: o.QHeads, kvHeads: o.KVHeads, scale: o.Scale, headDecay: o.HeadDecay,
		threads: o.Threads, candidate: o.Candidate, gated: rule == tile.RuleGatedDelta, hasBeta: true, backward: true, inverse: o.InverseGQA,
		front: o.Front, betaScale: o.BetaScale, featureMap: o.FeatureMap, mapEps: o.FeatureMapEps, statistics: o.Statistics,
	}.checkBackward(grads, gout, in)
	if err != nil {
		return err
	}
	return runAttention(args, o.Candidate)
}

// checkBackward turns the arguments of a backward pass into views, or says which one is wrong.
func (o attentionOp) checkBackward(grads *Gradients, gout *OutputGradients, in *Inputs) (a attentionArgs, err error) {
	if o.precision != "" {
		return a, refuse("Precision", "empty (float32) in a backward pass", "%q", o.precision)
	}
	if grads == nil {
		return a, refuse("grads", "non-nil", "nil")
	}
	if gout == nil {
		return a, refuse("gout", "non-nil", "nil")
	}
	if in != nil && in.Keep != nil {
		return a, refuse("Keep", "absent in a backward pass", "given")
	}
	a, err = o.check(&Outputs{Output: gout.Output, PresentState: gout.PresentState, PresentNormalizer: gout.PresentNormalizer}, in)
	if err != nil {
		var e *ArgumentError
		if errors.As(err, &e) && (e.Argument == "output" || e.Argument == "present_state" || e.Argument == "present_normalizer") {
			e.Argument = "grad_" + e.Argument
		}
		return a, err
	}
	s := a.problem.Shape
	a.gradOutput, a.gradState, a.gradNorm = a.output, a.state, a.norm
	a.output, a.state, a.norm = nil, nil, nil
	batch, tokens := in.Query.Shape[0], in.Query.Shape[1] // packed sequences are one batch item to the arrays of tokens
	if err := checkTensor("grad_query", "(B,T,Hq*dk)", grads.Query, batch, tokens, s.Hq*s.Dk); err != nil {
		return a, err
	}
	if err := checkTensor("grad_key", "(B,T,Hkv*dk)", grads.Key, batch, tokens, a.keyHeads*s.Dk); err != nil {
		return a, err
	}
	if err := checkTensor("grad_value", "(B,T,Hkv*dv)", grads.Value, batch, tokens, s.Hkv*s.Dv); err != nil {
		return a, err
	}
	if grads.PastState.present() {
		if err := checkTensor("grad_past_state", "(B,Hkv,dk,dv)", grads.PastState, s.B, s.Hkv, s.Dk, s.Dv); err != nil {
			return a, err
		}
	}
	if grads.PastNormalizer.present() {
		if !o.normalize {
			return a, refuse("grad_past_normalizer", "absent without Normalize", "given")
		}
		if err := checkTensor("grad_past_normalizer", "(B,Hkv,dk)", grads.PastNormalizer, s.B, s.Hkv, s.Dk); err != nil {
			return a, err
		}
	}
	if grads.Decay.present() {
		if a.decay == nil {
			return a, refuse("grad_decay", "absent where no decay is given", "given")
		}
		if err := checkTensor("grad_decay", "the shape of decay", grads.Decay, in.Decay.Shape...); err != nil {
			return a, err
		}
	}
	if grads.Beta.present() {
		if a.beta == nil {
			return a, refuse("grad_beta", "absent with rule "+o.rule, "given")
		}
		if err := checkTensor("grad_beta", "the shape of beta", grads.Beta, in.Beta.Shape...); err != nil {
			return a, err
		}
	}
	if err := a.checkGateGradients(grads, in); err != nil {
		return a, err
	}
	a.gradBeta = grads.Beta.Data
	a.gradQuery, a.gradKey, a.gradValue = grads.Query.Data, grads.Key.Data, grads.Value.Data
	a.gradPast, a.gradDecay, a.gradPastNorm = grads.PastState.Data, grads.Decay.Data, grads.PastNormalizer.Data
	return a, a.checkGradientAliases()
}

// checkGateGradients checks and takes the gradients of gates apart and of a front's parameters.
func (a *attentionArgs) checkGateGradients(grads *Gradients, in *Inputs) error {
	if grads.Write.present() {
		if a.write == nil {
			return refuse("grad_write", "absent where no write gate is given", "given")
		}
		if err := checkTensor("grad_write", "the shape of write", grads.Write, in.Write.Shape...); err != nil {
			return err
		}
	}
	if err := checkDecayParameters("grad_", grads.DecayLog, grads.DecayBias, a.problem); err != nil {
		return err
	}
	a.gradWrite, a.gradDecayLog, a.gradDecayBias = grads.Write.Data, grads.DecayLog.Data, grads.DecayBias.Data
	return nil
}

// named is an argument with its name.
type named struct {
	name string
	data []float32
}

// checkGradientAliases refuses gradients that overlap an input or each other.
func (a *attentionArgs) checkGradientAliases() error {
	outputs := [...]named{
		{"grad_query", a.gradQuery}, {"grad_key", a.gradKey}, {"grad_value", a.gradValue},
		{"grad_past_state", a.gradPast}, {"grad_decay", a.gradDecay}, {"grad_beta", a.gradBeta}, {"grad_past_normalizer", a.gradPastNorm},
		{"grad_write", a.gradWrite}, {"grad_decay_log", a.gradDecayLog}, {"grad_decay_bias", a.gradDecayBias},
	}
	inputs := [...]named{
		{"query", a.query}, {"key", a.key}, {"value", a.value}, {"decay", a.decay}, {"beta", a.beta}, {"past_state", a.past},
		{"grad_output", a.gradOutput}, {"grad_present_state", a.gradState}, {"past_normalizer", a.pastNorm}, {"grad_present_normalizer", a.gradNorm},
		{"write", a.write}, {"decay_log", a.decayLog}, {"decay_bias", a.decayBias},
	}
	for i, out := range outputs {
		for _, in := range inputs {
			if overlaps(out.data, in.data) {
				return refuse(out.name, "apart from "+in.name, "overlapping memory")
			}
		}
		for _, other := range outputs[:i] {
			if overlaps(out.data, other.data) {
				return refuse(out.name, "apart from "+other.name, "overlapping memory")
			}
		}
	}
	return nil
}
