package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// frontDerivatives turns the gradients of the arrays that a delta rule takes into those of the arrays that its feature map and its front make them of. With s the sigmoid:
//
//	SiLU:   dx = s(x) (1 + x s(-x)) dy
//	beta:   dx = BetaScale s(x) s(-x) dbeta
//	decay:  dx = -exp(DecayLog) s(x + DecayBias) dg, whose sums over the tokens are those of DecayBias; those of g dg are those of DecayLog
//
// and the map's own derivative (mapDerivative). The Abs arrays go the same way with absolute values.
func (a Attention) frontDerivatives(r *AttentionGradients, query, key, value, decay, beta []float32) {
	a.mapDerivative(a.activated(query), a.features(query), r.Query, r.QueryAbs)
	a.mapDerivative(a.activated(key), a.features(key), r.Key, r.KeyAbs)
	if tile.FrontHas(a.Front, tile.FrontSiLU) {
		activationDerivative(query, r.Query, r.QueryAbs)
		activationDerivative(key, r.Key, r.KeyAbs)
		activationDerivative(value, r.Value, r.ValueAbs)
	}
	if !tile.FrontHas(a.Front, tile.FrontGates) {
		return
	}
	for i, x := range beta {
		slope := a.BetaScale * sigmoid(float64(x)) * sigmoid(-float64(x))
		r.Beta[i] *= slope
		r.BetaAbs[i] *= math.Abs(slope)
	}
	if decay == nil {
		return
	}
	width := a.Hkv // of a token's decays, and of the biases
	if a.KeyDecay {
		width *= a.Dk
	}
	r.DecayLog, r.DecayLogAbs = make([]float64, a.Hkv), make([]float64, a.Hkv)
	r.DecayBias, r.DecayBiasAbs = make([]float64, width), make([]float64, width)
	for i, x := range decay {
		bias := i % width
		h := bias * a.Hkv / width
		g := a.gate(x, h, bias)
		r.DecayLog[h] += g * r.Decay[i]
		r.DecayLogAbs[h] += math.Abs(g) * r.DecayAbs[i]
		y, rate := float64(x), -1.0
		if a.DecayBias != nil {
			y += float64(a.DecayBias[bias])
		}
		if a.DecayLog != nil {
			rate *= math.Exp(float64(a.DecayLog[h]))
		}
		r.Decay[i] *= rate * sigmoid(y)
		r.DecayAbs[i] *= -rate * sigmoid(y)
		r.DecayBias[bias] += r.Decay[i]
		r.DecayBiasAbs[bias] += r.DecayAbs[i]
	}
}

// activationDerivative turns the gradient of SiLU of x into that of x.
func activationDerivative(x []float32, grad, gradAbs []float64) {
	for i, v := range x {
		s, rest := sigmoid(float64(v)), sigmoid(-float64(v))
		grad[i] *= s * (1 + float64(v)*rest)
		gradAbs[i] *= s * (1 + math.Abs(float64(v))*rest)
	}
}
