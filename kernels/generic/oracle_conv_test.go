package generic

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestConvOracleByHand(t *testing.T) {
	nan := float32(math.NaN())
	r := Conv{B: 1, C: 2, L: 2, K: 3}.Oracle([]float32{1, 2, 3, nan}, []float32{1, 10, 100, 1, 1, 1}, []float32{0.5, -1}, []float32{4, 5, 6, 7})
	want := []float64{4 + 50 + 100 + 0.5, 5 + 10 + 200 + 0.5, 6 + 7 + 3 - 1}
	if !slices.Equal(r.Output[:3], want) || !math.IsNaN(r.Output[3]) || r.OutputAbs[2] != 17 {
		t.Errorf("output %v, scale %v", r.Output, r.OutputAbs)
	}
	if !slices.Equal(r.State[:3], []float32{1, 2, 3}) || r.State[3] == r.State[3] {
		t.Errorf("state %v", r.State)
	}
	silu := Conv{B: 1, C: 1, L: 1, K: 1, SiLU: true}.Oracle([]float32{2}, []float32{1}, nil, nil)
	if math.Abs(silu.Output[0]-2/(1+math.Exp(-2))) > 1e-15 || len(silu.State) != 0 {
		t.Errorf("silu(2) = %v, state %v", silu.Output, silu.State)
	}
}

// A sequence cut in two calls, the state handed on, gives what one call gives, whatever the parts' lengths.
func TestConvOracleSplits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	for range 300 {
		rows, k, l := 1+r.IntN(3), 1+r.IntN(6), r.IntN(9)
		cut := r.IntN(l + 1)
		a := Conv{B: 1, C: rows, L: l, K: k, SiLU: r.IntN(2) == 0}
		input, weight, bias, past := values(rows*l), values(rows*k), values(rows), values(rows*(k-1))
		if r.IntN(3) == 0 {
			past = nil
		}
		whole := a.Oracle(input, weight, bias, past)
		columns := func(from, to int) (part []float32) {
			for c := range rows {
				part = append(part, input[c*l+from:c*l+to]...)
			}
			return part
		}
		first, second := a, a
		first.L, second.L = cut, l-cut
		one := first.Oracle(columns(0, cut), weight, bias, past)
		two := second.Oracle(columns(cut, l), weight, bias, one.State)
		for c := range rows {
			if !slices.Equal(whole.Output[c*l:][:cut], one.Output[c*cut:][:cut]) || !slices.Equal(whole.Output[c*l+cut:][:l-cut], two.Output[c*(l-cut):][:l-cut]) {
				t.Fatalf("k=%d l=%d cut at %d: outputs differ", k, l, cut)
			}
		}
		if !slices.Equal(whole.State, two.State) {
			t.Fatalf("k=%d l=%d cut at %d: states differ", k, l, cut)
		}
	}
}
