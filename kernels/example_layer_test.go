package kernels_test

import (
	"fmt"
	"log"

	"github.com/rooftune/rooftune/kernels"
)

// The attention of a layer shaped like Qwen3.5's: 16 query and key heads over 32 value heads, d = 128. A prompt is walked at once;
// then tokens come one by one, and the state is updated where it lies. The causal convolution in front of the layer works the
// same way: its last K-1 inputs are handed on.
func Example_layer() {
	const qHeads, vHeads, d, prompt, steps, taps = 16, 32, 128, 64, 4, 4
	const channels = 2*qHeads*d + vHeads*d
	op := &kernels.DeltaRule{QHeads: qHeads, KVHeads: vHeads, InverseGQA: true}
	conv := &kernels.CausalConv{Activation: kernels.ActivationSiLU}
	state, past := kernels.NewTensor(1, vHeads, d, d), kernels.NewTensor(1, channels, taps-1)
	weight := kernels.NewTensor(channels, 1, taps)
	for i := range weight.Data {
		weight.Data[i] = 0.25
	}

	for at, tokens := 0, prompt; at < prompt+steps; at, tokens = at+tokens, 1 {
		// What the projections of a real layer give: here, numbers that depend on channel and token.
		mixed := kernels.NewTensor(1, channels, tokens)
		for c := range channels {
			for t := range tokens {
				mixed.Data[c*tokens+t] = float32((c*7+(at+t)*13)%31-15) / 64
			}
		}
		filtered := kernels.NewTensor(1, channels, tokens)
		if err := conv.Forward(&kernels.ConvOutputs{Output: filtered, PresentState: past},
			&kernels.ConvInputs{Input: mixed, Weight: weight, PastState: past}); err != nil {
			log.Fatal(err)
		}
		in := &kernels.Inputs{
			Query: tokenMajor(filtered, 0, qHeads*d), Key: tokenMajor(filtered, qHeads*d, qHeads*d), Value: tokenMajor(filtered, 2*qHeads*d, vHeads*d),
			Decay: kernels.NewTensor(1, tokens, vHeads), Beta: kernels.NewTensor(1, tokens, vHeads), PastState: state,
		}
		for i := range in.Decay.Data {
			in.Decay.Data[i], in.Beta.Data[i] = -0.05, 0.5
		}
		out := &kernels.Outputs{Output: kernels.NewTensor(1, tokens, vHeads*d), PresentState: state}
		if err := op.Forward(out, in); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("tokens %d to %d: output %v\n", at, at+tokens-1, out.Output.Shape)
	}
	// Output:
	// tokens 0 to 63: output [1 64 4096]
	// tokens 64 to 64: output [1 1 4096]
	// tokens 65 to 65: output [1 1 4096]
	// tokens 66 to 66: output [1 1 4096]
	// tokens 67 to 67: output [1 1 4096]
}

// tokenMajor turns width channels from the first on into rows, one a token.
func tokenMajor(x kernels.Tensor, first, width int) kernels.Tensor {
	tokens := x.Shape[2]
	rows := kernels.NewTensor(1, tokens, width)
	for c := range width {
		for t := range tokens {
			rows.Data[t*width+c] = x.Data[(first+c)*tokens+t]
		}
	}
	return rows
}
