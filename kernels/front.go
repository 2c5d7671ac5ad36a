package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// A front is what layers of Gated DeltaNet, Kimi Delta Attention and Qwen3.5 compute of a delta rule's arrays before the rule, chunk by chunk:
//
//	q, k, v = SiLU(q), SiLU(k), SiLU(v)                       (silu)
//	q, k    = q/|q|, k/|k|                                    (feature map l2norm)
//	beta    = BetaScale * sigmoid(beta)                       (gates)
//	decay   = -exp(decay_log) * softplus(decay + decay_bias)  (gates)

// checkFront checks the arguments of a front, and takes them.
func (o attentionOp) checkFront(a *attentionArgs, p *tile.Problem, in *Inputs) error {
	gates := tile.FrontHas(o.front, tile.FrontGates)
	if gates && o.headDecay != nil {
		return refuse("HeadDecay", "absent with a Front that has gates", "given")
	}
	if math.IsNaN(float64(o.betaScale)) || math.IsInf(float64(o.betaScale), 0) || !gates && o.betaScale != 0 {
		return refuse("BetaScale", "finite, and 0 without a Front that has gates", "%v", o.betaScale)
	}
	if err := checkDecayParameters("", in.DecayLog, in.DecayBias, *p); err != nil {
		return err
	}
	a.decayLog, a.decayBias = in.DecayLog.Data, in.DecayBias.Data
	if a.betaScale = o.betaScale; a.betaScale == 0 {
		a.betaScale = 1
	}
	return nil
}

// checkDecayParameters checks what a decay is computed from, or the gradients of that, whose names begin with prefix.
func checkDecayParameters(prefix string, decayLog, decayBias Tensor, p tile.Problem) error {
	for _, x := range []struct {
		name, layout string
		t            Tensor
		width        int
	}{{"decay_log", "(Hkv)", decayLog, p.Shape.Hkv}, {"decay_bias", "(Hkv), or (Hkv*dk) where decay is per key", decayBias, decayWidth(p)}} {
		if !x.t.present() {
			continue
		}
		if !tile.FrontHas(p.Front, tile.FrontGates) || p.Decay == tile.DecayNone {
			return refuse(prefix+x.name, "absent without a Front that has gates, and a decay", "given")
		}
		if err := checkTensor(prefix+x.name, x.layout, x.t, x.width); err != nil {
			return err
		}
	}
	return nil
}

// decayWidth is how many decays a token has.
func decayWidth(p tile.Problem) int {
	if p.Decay == tile.DecayKey {
		return p.Shape.Hkv * p.Shape.Dk
	}
	return p.Shape.Hkv
}

// hasGates says whether beta and decay are to be computed.
func (a *attentionArgs) hasGates() bool { return tile.FrontHas(a.problem.Front, tile.FrontGates) }

// hasSiLU says whether queries, keys and values are to be activated.
func (a *attentionArgs) hasSiLU() bool { return tile.FrontHas(a.problem.Front, tile.FrontSiLU) }

// sigmoid sets beta to factor * sigmoid(beta).
func sigmoid(prim *tile.Primitives, exp *tile.Exp, beta []float32, factor float32) {
	*exp = tile.Exp{Src: beta, Dst: beta, Stride: 1, N: len(beta), Scale: -1}
	prim.Exp(exp)
	for i, x := range beta {
		beta[i] = factor / (1 + x)
	}
}

// softplusDecay sets g to rate * softplus(g + bias), with one bias or one for each number.
func softplusDecay(prim *tile.Primitives, exp *tile.Exp, room, g, bias []float32, rate float32) {
	room = room[:len(g)]
	switch {
	case len(bias) == 1:
		for i := range g {
			g[i] += bias[0]
		}
	case bias != nil:
		for i, b := range bias[:len(g)] {
			g[i] += b
		}
	}
	*exp = tile.Exp{Src: g, Dst: room, Stride: 1, N: len(g), Scale: -1, Abs: true}
	prim.Exp(exp)
	for i, x := range g {
		g[i] = rate * (max(x, 0) + log1p(room[i]))
	}
}

// log1p is log(1+x) for x from 0 to 1, within 2 ulp: the series of 2 artanh(z) with z = x/(2+x) up to 1/3, whose first
// term left out is below 2^-26 of the sum.
func log1p(x float32) float32 {
	z := x / (2 + x)
	y := z * z
	return 2 * z * (1 + y*(1./3+y*(1./5+y*(1./7+y*(1./9+y*(1./11+y*(1./13)))))))
}

// headGates sets g, raw decays of state head h, to its log decays.
func (a *attentionArgs) headGates(prim *tile.Primitives, exp *tile.Exp, room, g []float32, h int) {
	softplusDecay(prim, exp, room, g, oneOf(a.decayBias, h, 1), a.decayRate(h))
}

// keyGates is headGates for the decays of one token's keys.
func (a *attentionArgs) keyGates(prim *tile.Primitives, exp *tile.Exp, room, g []float32, h int) {
	softplusDecay(prim, exp, room, g, oneOf(a.decayBias, h, a.problem.Shape.Dk), a.decayRate(h))
}

// oneOf is a head's part of an optional array.
func oneOf(v []float32, h, width int) []float32 {
	if v == nil {
		return nil
	}
	return v[h*width:][:width]
}

// decayRate is -exp(decay_log) of a head.
func (a *attentionArgs) decayRate(h int) float32 {
	if a.decayLog == nil {
		return -1
	}
	return -float32(math.Exp(float64(a.decayLog[h])))
}

// activation is what SiLU of a chunk's rows needs.
type activation struct {
	value []float32 // a chunk's activated values
	ones  []float32 // a tap for each row
	conv  tile.Conv
}

// run writes SiLU of n rows: a causal convolution with a single tap of 1.
func (x *activation) run(prim *tile.Primitives, dst []float32, ldd int, src []float32, lds, n, width int) {
	const flops = 32 // of a number, or their time
	rows := max(1, maxCallFlops/flops/width)
	for i := 0; i < n; i += rows {
		x.conv = tile.Conv{Src: src[i*lds:], Dst: dst[i*ldd:], Weight: x.ones, LDS: lds, LDD: ldd, M: min(rows, n-i), N: width, K: 1, SiLU: true}
		prim.Conv(&x.conv)
	}
}
