package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Arrays and states stored in 16 bits, in any combination, with every form.
func TestHalfStorage(t *testing.T) {
	dtypes := []string{tile.Float32, tile.BFloat16, tile.Float16}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(41, 42))
		for i := range rounds(200) {
			group := 1 + r.IntN(3)
			hkv := 1 + r.IntN(3)
			s := tile.Shape{B: 1 + r.IntN(2), T: r.IntN(90), Hq: hkv * group, Hkv: hkv, Dk: 1 + r.IntN(70), Dv: 1 + r.IntN(70)}
			p := attentionProblem(i, 1+r.IntN(4), s)
			p.DType, p.StateDType = dtypes[r.IntN(3)], []string{"", tile.BFloat16, tile.Float16}[r.IntN(3)]
			if p.Op == tile.LinearAttention {
				p.FeatureMap = tile.FeatureMaps()[r.IntN(5)]
				p.Full = p.Rule == tile.RuleLinear && r.IntN(3) == 0
			}
			c, err := NewCase(p, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, c, anyConfig(t, r, p, isa))
		}
	})
}

// The public arguments: 16-bit tensors of one type, states of another, packed and kept.
func TestHalfTensors(t *testing.T) {
	p := attentionProblem(2, 2, tile.Shape{B: 1, T: 40, Hq: 2, Hkv: 2, Dk: 9, Dv: 11})
	p.DType, p.StateDType = tile.BFloat16, tile.Float16
	c, err := NewCase(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	tensors := func() (*Inputs, *Outputs) {
		a, s := c.attention, p.Shape
		half := func(dtype string, bits []uint16, shape ...int) Tensor {
			return Tensor{Bits: bits, DType: dtype, Shape: shape}
		}
		return &Inputs{
				Query: half(p.DType, a.bits.query, s.B, s.T, s.Hq*s.Dk), Key: half(p.DType, a.bits.key, s.B, s.T, s.Hkv*s.Dk),
				Value: half(p.DType, a.bits.value, s.B, s.T, s.Hkv*s.Dv), Decay: half(p.DType, a.bits.decay, s.B, s.T, s.Hkv),
				PastState: half(p.StateDType, a.bits.past, s.B, s.Hkv, s.Dk, s.Dv), Keep: []int{17, 40},
			}, &Outputs{
				Output: half(p.DType, a.bits.output, s.B, s.T, s.Hq*s.Dv), PresentState: half(p.StateDType, a.bits.state, s.B, s.Hkv, s.Dk, s.Dv),
				KeptStates: NewHalfTensor(p.StateDType, 2, s.B, s.Hkv, s.Dk, s.Dv),
			}
	}
	op := &LinearAttention{QHeads: 2, KVHeads: 2, Rule: tile.RuleGated}
	in, out := tensors()
	if err := op.Forward(out, in); err != nil {
		t.Fatal(err)
	}
	size := len(out.PresentState.Bits)
	if !slices.Equal(out.KeptStates.Bits[size:], out.PresentState.Bits) {
		t.Error("the state kept after the last token is not the present state")
	}
	wantOracle(t, c, c.attention.past, "")

	for name, x := range map[string]struct {
		argument string
		spoil    func(in *Inputs, out *Outputs)
	}{
		"a float32 key":       {"key", func(in *Inputs, out *Outputs) { in.Key = NewTensor(1, 40, 18) }},
		"another 16-bit type": {"value", func(in *Inputs, out *Outputs) { in.Value.DType = tile.Float16 }},
		"a float32 output":    {"output", func(in *Inputs, out *Outputs) { out.Output = NewTensor(1, 40, 22) }},
		"an unknown type":     {"query", func(in *Inputs, out *Outputs) { in.Query.DType = "float8" }},
		"states of two types": {"present_state", func(in *Inputs, out *Outputs) { out.PresentState.DType = tile.BFloat16 }},
		"too few elements":    {"query", func(in *Inputs, out *Outputs) { in.Query.Bits = in.Query.Bits[1:] }},
		"both types at once":  {"value", func(in *Inputs, out *Outputs) { in.Value.Data = make([]float32, 880) }},
		"output over a key": {"output", func(in *Inputs, out *Outputs) {
			out.Output.Bits = append(in.Key.Bits[:720:720], out.Output.Bits[720:]...)[:880]
			in.Key.Bits = out.Output.Bits[:720]
		}},
	} {
		in, out := tensors()
		x.spoil(in, out)
		t.Run(name, func(t *testing.T) { wantRefusal(t, op.Forward(out, in), x.argument) })
	}
}

// Verify's own copies of what is written must be those that the problem has: an array of another type, even an empty one, would be written to.
func TestVerifyEveryType(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(43, 44))
		for i := range 60 {
			p := attentionProblem(i, 1, tile.Shape{B: 1, T: 20, Hq: 2, Hkv: 2, Dk: 64, Dv: 64})
			p.DType, p.StateDType = []string{tile.Float32, tile.BFloat16, tile.Float16}[i/6%3], []string{"", tile.BFloat16, tile.Float16}[i/18%3]
			p.Normalize = p.Op == tile.LinearAttention && i%4 == 0
			e, bound, err := Verify(p, anyConfig(t, r, p, isa), 1)
			if err != nil || !(e <= bound) {
				t.Errorf("%s: error %g, bound %g: %v", p, e, bound, err)
			}
		}
	})
}

// An empty array of the other type beside the elements is no array.
func TestEmptyOtherType(t *testing.T) {
	in := &Inputs{Query: NewTensor(1, 3, 4), Key: NewTensor(1, 3, 4), Value: NewTensor(1, 3, 4), PastState: NewTensor(1, 1, 4, 4)}
	out := &Outputs{Output: NewTensor(1, 3, 4), PresentState: NewTensor(1, 1, 4, 4)}
	for _, x := range []*Tensor{&in.Query, &in.Key, &in.Value, &in.PastState, &out.Output, &out.PresentState} {
		x.Bits = []uint16{}
	}
	for i := range in.Value.Data {
		in.Query.Data[i], in.Key.Data[i], in.Value.Data[i] = 1, 1, 1
	}
	if err := (&LinearAttention{QHeads: 1, KVHeads: 1, Scale: 1}).Forward(out, in); err != nil {
		t.Fatal(err)
	}
	if out.PresentState.Data[0] != 3 || out.Output.Data[11] != 12 {
		t.Errorf("state %v, output %v", out.PresentState.Data, out.Output.Data)
	}
}
