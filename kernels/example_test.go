package kernels_test

import (
	"fmt"
	"log"

	"github.com/rooftune/rooftune/kernels"
)

// A prompt of 100 tokens, then one more token with the state updated in place: gated delta rule, 4 query heads over 2 state
// heads of 64x64.
func ExampleDeltaRule() {
	const b, hq, hkv, d = 1, 4, 2, 64
	op := &kernels.DeltaRule{QHeads: hq, KVHeads: hkv} // rule gated_delta, scale 1/sqrt(d), all threads
	state := kernels.NewTensor(b, hkv, d, d)
	for _, tokens := range []int{100, 1} {
		in := &kernels.Inputs{
			Query: kernels.NewTensor(b, tokens, hq*d), Key: kernels.NewTensor(b, tokens, hkv*d), Value: kernels.NewTensor(b, tokens, hkv*d),
			PastState: state, Decay: kernels.NewTensor(b, tokens, hkv), Beta: kernels.NewTensor(b, tokens, hkv),
		}
		for i := range in.Value.Data {
			in.Query.Data[i], in.Key.Data[i], in.Value.Data[i] = 1, 0.125, 1
		}
		for i := range in.Beta.Data {
			in.Beta.Data[i] = 1
		}
		out := &kernels.Outputs{Output: kernels.NewTensor(b, tokens, hq*d), PresentState: state}
		if err := op.Forward(out, in); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d tokens: first output %.3f\n", tokens, out.Output.Data[0])
	}
	// Output:
	// 100 tokens: first output 1.000
	// 1 tokens: first output 1.000
}

// A wrong argument is refused by name.
func ExampleArgumentError() {
	op := &kernels.LinearAttention{QHeads: 3, KVHeads: 2}
	fmt.Println(op.Forward(&kernels.Outputs{}, &kernels.Inputs{}))
	// Output: QHeads: 3 with KVHeads 2, must be a multiple of KVHeads
}
