package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// convCase is a convolution with values rounded to its type, and the float64 answer.
type convCase struct {
	op   CausalConv
	in   ConvInputs
	want generic.ConvResult
}

func newConvCase(r *rand.Rand, b, c, l, k int, dtype string, bias, past, silu bool) convCase {
	g := generator{r}
	make1 := func(want bool, shape ...int) (Tensor, []float32) {
		if !want {
			return Tensor{}, nil
		}
		n, _ := volume(shape)
		t := Tensor{Data: g.normal(n, 1), Shape: shape}.As(dtype)
		return t, t.As(tile.Float32).Data
	}
	var x convCase
	var input, weight, biases, pasts []float32
	x.in.Input, input = make1(true, b, c, l)
	x.in.Weight, weight = make1(true, c, 1, k)
	x.in.Bias, biases = make1(bias, c)
	x.in.PastState, pasts = make1(past, b, c, k-1)
	if silu {
		x.op.Activation = ActivationSiLU
	}
	x.want = generic.Conv{B: b, C: c, L: l, K: k, SiLU: silu}.Oracle(input, weight, biases, pasts)
	return x
}

func (x convCase) check(t *testing.T) {
	t.Helper()
	dtype, s := x.in.Input.dtype(), x.in.Input.Shape
	k := x.in.Weight.Shape[2]
	out := ConvOutputs{Output: Tensor{Data: aligned(len(x.want.Output)), Shape: s}.As(dtype), PresentState: Tensor{Data: aligned(len(x.want.State)), Shape: []int{s[0], s[1], k - 1}}.As(dtype)}
	if x.in.PastState.present() && s[2]%2 == 0 { // in place
		out.PresentState = x.in.PastState
	}
	if err := x.op.Forward(&out, &x.in); err != nil {
		t.Fatal(err)
	}
	bound := ConvErrorBound(k, dtype)
	if e := storedError(dtype, bound, out.Output.As(tile.Float32).Data, x.want.Output, x.want.OutputAbs); !(e <= bound) {
		t.Fatalf("%v k=%d %s %s: error %.3g above %.3g", s, k, dtype, x.op.Activation, e, bound)
	}
	if !slices.Equal(out.PresentState.As(tile.Float32).Data, x.want.State) {
		t.Fatalf("%v k=%d %s: the state differs", s, k, dtype)
	}
}

func TestCausalConvMatchesOracle(t *testing.T) {
	dtypes := []string{tile.Float32, tile.BFloat16, tile.Float16}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(51, 52))
		for i := range rounds(300) {
			l := r.IntN(90)
			if i%20 == 0 {
				l = 4000 + r.IntN(300)
			}
			x := newConvCase(r, 1+r.IntN(2), 1+r.IntN(40), l, 1+r.IntN(9), dtypes[i%3], r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0)
			x.op.ISA, x.op.Threads = isa, 1+r.IntN(3)
			x.check(t)
		}
	})
}

// A NaN reaches the outputs whose window holds it and no other, and an infinite sum what the formula makes of it.
func TestCausalConvNonFinite(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(53, 54))
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 3e38, -3e38} {
			for range 30 {
				k, l, silu := 1+r.IntN(6), 1+r.IntN(60), r.IntN(2) == 0
				x := newConvCase(r, 1, 5, l, k, tile.Float32, true, true, silu)
				x.op.ISA = isa
				x.in.Input.Data[r.IntN(5*l)] = bad
				x.want = generic.Conv{B: 1, C: 5, L: l, K: k, SiLU: silu}.Oracle(x.in.Input.Data, x.in.Weight.Data, x.in.Bias.Data, x.in.PastState.Data)
				out := ConvOutputs{Output: NewTensor(1, 5, l)}
				if err := x.op.Forward(&out, &x.in); err != nil {
					t.Fatal(err)
				}
				for i, w := range x.want.Output {
					if g := float64(out.Output.Data[i]); math.IsNaN(w) != math.IsNaN(g) && !(math.Abs(x.want.OutputAbs[i]) > math.MaxFloat32) {
						t.Fatalf("k=%d l=%d: output %d is %v, want %v", k, l, i, g, w)
					}
				}
			}
		}
	})
}

// Cut over several calls, the state handed on in place, it is the same to the bit, but for calls of one token, whose sums are scalar: these
// are within the bound.
func TestCausalConvSplits(t *testing.T) {
	r := rand.New(rand.NewPCG(55, 56))
	for range 50 {
		const b, c = 2, 7
		l, k := r.IntN(80), 1+r.IntN(6)
		x := newConvCase(r, b, c, l, k, tile.Float32, true, false, true)
		whole := ConvOutputs{Output: NewTensor(b, c, l)}
		if err := x.op.Forward(&whole, &x.in); err != nil {
			t.Fatal(err)
		}
		state := NewTensor(b, c, k-1)
		for at := 0; at < l; {
			n := 1 + r.IntN(l-at)
			in := x.in
			in.Input, in.PastState = NewTensor(b, c, n), state
			for row := range b * c {
				copy(in.Input.Data[row*n:][:n], x.in.Input.Data[row*l+at:])
			}
			out := ConvOutputs{Output: NewTensor(b, c, n), PresentState: state}
			if err := x.op.Forward(&out, &in); err != nil {
				t.Fatal(err)
			}
			for row := range b * c {
				got, want := out.Output.Data[row*n:][:n], whole.Output.Data[row*l+at:][:n]
				if n == 1 {
					if e := relativeError(got, x.want.Output[row*l+at:][:1], x.want.OutputAbs[row*l+at:][:1]); !(e <= ConvErrorBound(k, tile.Float32)) {
						t.Fatalf("l=%d k=%d: row %d at %d has error %g", l, k, row, at, e)
					}
				} else if !slices.Equal(got, want) {
					t.Fatalf("l=%d k=%d: rows from %d on differ", l, k, at)
				}
			}
			at += n
		}
	}
}

func TestCausalConvRefuses(t *testing.T) {
	for name, x := range map[string]struct {
		argument string
		spoil    func(o *CausalConv, in *ConvInputs, out *ConvOutputs)
	}{
		"activation":    {"Activation", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { o.Activation = "relu" }},
		"threads":       {"Threads", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { o.Threads = -1 }},
		"isa":           {"ISA", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { o.ISA = "mmx" }},
		"input rank":    {"input", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Input = NewTensor(6, 5) }},
		"weight rank":   {"weight", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Weight = NewTensor(3, 4) }},
		"weight groups": {"weight", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Weight = NewTensor(3, 2, 4) }},
		"channels":      {"weight", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Weight = NewTensor(4, 1, 4) }},
		"no taps":       {"weight", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Weight = NewTensor(3, 1, 0) }},
		"bias":          {"bias", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Bias = NewTensor(4) }},
		"bias rank":     {"bias", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Bias = NewTensor(3, 1) }},
		"past":          {"past_state", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.PastState = NewTensor(2, 3, 4) }},
		"past rank":     {"past_state", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.PastState = NewTensor(6, 3) }},
		"mixed types":   {"weight", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { in.Weight = in.Weight.As(tile.Float16) }},
		"no output":     {"output", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { out.Output = Tensor{} }},
		"output over":   {"output", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { out.Output = in.Input }},
		"state over":    {"present_state", func(o *CausalConv, in *ConvInputs, out *ConvOutputs) { out.PresentState.Data = in.Input.Data[:18] }},
	} {
		o := &CausalConv{}
		in := &ConvInputs{Input: NewTensor(2, 3, 5), Weight: NewTensor(3, 1, 4), Bias: NewTensor(3), PastState: NewTensor(2, 3, 3)}
		out := &ConvOutputs{Output: NewTensor(2, 3, 5), PresentState: NewTensor(2, 3, 3)}
		if err := o.Forward(out, in); err != nil {
			t.Fatal("the valid call is refused:", err)
		}
		x.spoil(o, in, out)
		t.Run(name, func(t *testing.T) { wantRefusal(t, o.Forward(out, in), x.argument) })
	}
}

func TestCausalConvAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("sync.Pool drops prepared calls at random under the race detector")
	}
	r := rand.New(rand.NewPCG(57, 58))
	for _, dtype := range []string{tile.Float32, tile.BFloat16} {
		x := newConvCase(r, 1, 64, 300, 4, dtype, true, true, true)
		x.op.Threads = 2
		out := ConvOutputs{Output: x.in.Input.As(tile.Float32).As(dtype), PresentState: x.in.PastState}
		if dtype == tile.Float32 {
			out.Output = NewTensor(x.in.Input.Shape...)
		}
		once := func() {
			if err := x.op.Forward(&out, &x.in); err != nil {
				t.Fatal(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(20, once); n != 0 {
			t.Errorf("%s: %v allocations a call", dtype, n)
		}
	}
}

// BenchmarkCausalConv is the layer in front of a large hybrid model's attention, beside a copy of as many bytes.
func BenchmarkCausalConv(b *testing.B) {
	const c, l, k = 8192, 2048, 4
	in := ConvInputs{Input: NewTensor(1, c, l), Weight: NewTensor(c, 1, k), PastState: NewTensor(1, c, k-1)}
	for i := range in.Input.Data {
		in.Input.Data[i] = float32(i%7) - 3
	}
	out := ConvOutputs{Output: NewTensor(1, c, l), PresentState: NewTensor(1, c, k-1)}
	for _, isa := range ISAs() {
		for _, activation := range []string{ActivationNone, ActivationSiLU} {
			for _, threads := range []int{1, 2} {
				b.Run("isa="+string(isa)+"/activation="+activation+"/threads="+string(rune('0'+threads)), func(b *testing.B) {
					b.SetBytes(8 * c * l)
					op := CausalConv{Activation: activation, Threads: threads, ISA: isa}
					for b.Loop() {
						if err := op.Forward(&out, &in); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(8 * c * l)
		for b.Loop() {
			copy(out.Output.Data, in.Input.Data)
		}
	})
}
