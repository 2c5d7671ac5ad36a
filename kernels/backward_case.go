package kernels

import (
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// withGradients makes a case's arguments those of a backward pass: gradients of the outputs, normal, and room for those of the inputs.
func (a *attentionArgs) withGradients(g generator) {
	a.gradOutput, a.gradState = g.normal(len(a.output), 1), g.normal(len(a.state), 1)
	if a.problem.Normalize {
		a.gradNorm = g.normal(len(a.norm), 1)
	}
	a.output, a.state, a.norm = nil, nil, nil
	a.newGradients()
}

// newGradients gives fresh memory to all that a backward pass writes.
func (a *attentionArgs) newGradients() {
	s := a.problem.Shape
	a.gradQuery, a.gradKey, a.gradValue = aligned(len(a.query)), aligned(len(a.key)), aligned(len(a.value))
	a.gradPast = aligned(s.B * s.Hkv * s.Dk * s.Dv)
	if a.problem.Normalize {
		a.gradPastNorm = aligned(s.B * s.Hkv * s.Dk)
	}
	if a.decay != nil {
		a.gradDecay = aligned(len(a.decay))
	}
	if a.beta != nil {
		a.gradBeta = aligned(len(a.beta))
	}
	if a.write != nil {
		a.gradWrite = aligned(len(a.write))
	}
	if a.hasGates() && a.decay != nil {
		a.gradDecayLog, a.gradDecayBias = aligned(s.Hkv), aligned(decayWidth(a.problem))
	}
}

// oracleBackward evaluates the gradients of some arguments.
func (a *attentionArgs) oracleBackward() generic.AttentionGradients {
	o := oracleCase(a.problem, *a)
	o.GradNorm = a.gradNorm
	if a.problem.Op == tile.DeltaRule {
		return o.OracleDeltaBackward(a.query, a.key, a.value, a.past, a.decay, a.beta, a.gradOutput, a.gradState)
	}
	return o.OracleBackward(a.query, a.key, a.value, a.past, a.decay, a.gradOutput, a.gradState)
}

// compared is an array with what it should be.
type compared struct {
	name      string
	got       []float32
	want, abs []float64
}

// gradients pairs what a backward pass wrote with the oracle's answer.
func (a *attentionArgs) gradients(r generic.AttentionGradients) []compared {
	c := []compared{
		{"grad_query", a.gradQuery, r.Query, r.QueryAbs}, {"grad_key", a.gradKey, r.Key, r.KeyAbs},
		{"grad_value", a.gradValue, r.Value, r.ValueAbs},
	}
	if a.gradPast != nil {
		c = append(c, compared{"grad_past_state", a.gradPast, r.Past, r.PastAbs})
	}
	if a.gradDecay != nil {
		c = append(c, compared{"grad_decay", a.gradDecay, r.Decay, r.DecayAbs})
	}
	if a.gradPastNorm != nil {
		c = append(c, compared{"grad_past_normalizer", a.gradPastNorm, r.PastNorm, r.PastNormAbs})
	}
	if a.gradBeta != nil {
		c = append(c, compared{"grad_beta", a.gradBeta, r.Beta, r.BetaAbs})
	}
	if a.gradWrite != nil {
		c = append(c, compared{"grad_write", a.gradWrite, r.Write, r.WriteAbs})
	}
	if a.gradDecayLog != nil {
		c = append(c, compared{"grad_decay_log", a.gradDecayLog, r.DecayLog, r.DecayLogAbs})
	}
	if a.gradDecayBias != nil {
		c = append(c, compared{"grad_decay_bias", a.gradDecayBias, r.DecayBias, r.DecayBiasAbs})
	}
	return c
}

// backwardError is the largest relative error of what a backward pass wrote.
func (a *attentionArgs) backwardError(r generic.AttentionGradients) float64 {
	worst := 0.0
	for _, c := range a.gradients(r) {
		worst = max(worst, relativeError(c.got, c.want, c.abs))
	}
	return worst
}

// backwardBound is ErrorBound of a backward pass: eps (4T + dk + dv + G + 16) for G query heads a state head. A term passes through
// at most T state updates as in a forward pass and a dot product of length dv (dq, dk) or dk (dv); dk, dv and the past state's gradient are
// sums over G heads. The decay's gradient is a sum of products with those, taken over the keys in float32 and over the tokens in
// float64. The delta rules' gradients are as close to the largest of their kind in their batch item and head, where the keys are of about unit length and beta within 0 and 1: the
// triangles are then well conditioned.
//
// Feature maps add 2 (dk + 16): a sum of squares of length dk or an exponential in both operands, and another dot product of that length in the
// map's derivative. The normaliser adds 2 dk + 16 for a dot product in a divisor and one in its gradient. A front adds a few places of every number, of every token's decay, and
// of its derivative.
func backwardBound(p tile.Problem) float64 {
	s := p.Shape
	n := 4*s.T + s.Dk + s.Dv + max(s.Hq/s.Hkv, s.Hkv/s.Hq) + 16
	if p.FeatureMap != tile.MapNone {
		n += 2 * (s.Dk + 16)
	}
	if p.Normalize {
		n += 2*s.Dk + 16
	}
	if p.Front != tile.FrontNone {
		n += 4*s.T + 32
	}
	return eps * float64(n)
}
