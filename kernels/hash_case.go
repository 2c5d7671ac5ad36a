package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// newHashCase generates a hash layer's arrays.
func newHashCase(p tile.Problem, g generator) hashArgs {
	s := p.Shape
	k := (s.D + s.Tau - 1) / s.Tau
	a := hashArgs{problem: p, input: g.normal(s.N*s.D, 1), prepared: &HashTables{dtype: p.DType, k: k, tau: s.Tau, h: s.H}}
	switch t, n := a.prepared, (k<<s.Tau)*s.H; p.DType {
	case tile.BFloat16:
		t.rows.halves = alignedElements[uint16](n)
		for i := range t.rows.halves {
			t.rows.halves[i] = uint16(math.Float32bits(0.1*g.Float32()-0.05) >> 16)
		}
	case tile.Int8:
		t.rows.bytes, t.scales = alignedElements[int8](n), g.uniform(k<<s.Tau, 0.0003, 0.0004)
		for i := range t.rows.bytes {
			t.rows.bytes[i] = int8(g.IntN(255) - 127)
		}
	default:
		t.rows.floats = g.uniform(n, -0.05, 0.05)
		a.tables = t.rows.floats
	}
	if p.Dir == tile.Backward {
		a.gradOutput = g.normal(s.N*s.H, 1)
		a.newOutputs()
	} else {
		a.bias = g.uniform(s.H, -0.01, 0.01)
		a.output = aligned(s.N * s.H) // and neither codes nor weights, which a layer's user does not ask for
	}
	return a
}

// newOutputs gives fresh memory to all that a call can write.
func (a *hashArgs) newOutputs() {
	s := a.problem.Shape
	k := (s.D + s.Tau - 1) / s.Tau
	if a.problem.Dir == tile.Backward {
		a.gradInput, a.gradTables, a.gradBias = aligned(s.N*s.D), aligned((k<<s.Tau)*s.H), aligned(s.H)
		return
	}
	a.output, a.codes, a.weights = aligned(s.N*s.H), make([]int32, s.N*k), aligned(s.N*k)
}

// hashAnswer is the oracle's: of the forward or of the backward pass.
type hashAnswer struct {
	forward  generic.HashResult
	backward generic.HashGradients
}

func (a *hashArgs) oracle() (r hashAnswer) {
	p, s := a.problem, a.problem.Shape
	o := generic.Hash{N: s.N, D: s.D, H: s.H, Tau: s.Tau, Released: p.Weighting == tile.WeightingReleased}
	if p.Dir == tile.Backward {
		r.backward = o.OracleBackward(a.input, a.tables, a.gradOutput)
	} else {
		o.Scales = a.prepared.scales
		r.forward = o.Oracle(a.input, a.prepared.rows.widened(), a.bias)
	}
	return r
}

// compared pairs what a call wrote with the oracle's answer. Weights and codes are compared by equals.
func (a *hashArgs) compared(r hashAnswer) []compared {
	if a.problem.Dir == tile.Backward {
		b := r.backward
		return []compared{{"grad_input", a.gradInput, b.Input, b.InputAbs}, {"grad_tables", a.gradTables, b.Tables, b.TablesAbs}, {"grad_bias", a.gradBias, b.Bias, b.BiasAbs}}
	}
	f := r.forward
	if f.OutputTop != nil {
		f.OutputAbs = f.OutputTop
	}
	return []compared{{"output", a.output, f.Output, f.OutputAbs}, {"weights", a.weights, f.Weights, f.Weights}}
}

// hashError is the largest relative error of what a call wrote; a wrong code is an infinite one.
func (a *hashArgs) hashError(r hashAnswer) float64 {
	if a.problem.Dir == tile.Forward {
		for i, code := range a.codes {
			if code != r.forward.Codes[i] {
				return math.Inf(1)
			}
		}
	}
	worst := 0.0
	for _, c := range a.compared(r) {
		worst = max(worst, relativeError(c.got, c.want, c.abs))
	}
	return worst
}

// widened are the elements as float32, without scales.
func (e tableElements) widened() []float32 {
	if e.floats != nil {
		return e.floats
	}
	v := make([]float32, len(e.halves)+len(e.bytes))
	for i, b := range e.halves {
		v[i] = math.Float32frombits(uint32(b) << 16)
	}
	for i, b := range e.bytes {
		v[i] = float32(b)
	}
	return v
}

// hashBound is ErrorBound of a hash layer: eps (K + 4 tau + 16), for K additions and a weight made of tau factors; bfloat16 tables are widened
// without error. With int8 tables a weight, its row's scale included, is rounded to a 16-bit or 8-bit share of the largest of its token's: that adds
// 2^-17 or 2^-9, and a sixteenth of it for the scaling, all relative to the same sums with that largest weight in every term (generic.HashResult.OutputTop).
// What quantizing a table loses is not in it: at most half a row's scale an element. Backward: eps (N + h +
// 4 tau + 32): a table's gradient is a sum over at most N tokens, an input's a dot product of length h times a derivative.
func hashBound(p tile.Problem) float64 {
	s := p.Shape
	if p.Dir == tile.Backward {
		return eps * float64(s.N+s.H+4*s.Tau+32)
	}
	bound := eps * float64((s.D-1)/s.Tau+1+4*s.Tau+16)
	switch {
	case p.DType == tile.Int8 && p.Precision == tile.Int8:
		bound += 0x1.1p-9
	case p.DType == tile.Int8:
		bound += 0x1.1p-17
	}
	return bound
}
