package kernels

import (
	"fmt"
	"math"
)

// MemoryBlock is MemoryFormer's memory block, which stands for a feed-forward layer: a hash layer with tables of K*(Tau+ExtraBits) columns, a
// LayerNorm over them, and a hash layer whose codes have Tau+ExtraBits bits, of K tables again. There is no activation function.
type MemoryBlock struct {
	Tau       int     // bits of the first layer's codes
	ExtraBits int     // of the second layer's; the paper's is 2
	Epsilon   float32 // added to the variance, 0 for 1e-5
	Weighting string  // as in HashLayer
	Threads   int     // as in HashLayer
}

// MemoryBlockInputs are the arrays of a memory block, u being K*(Tau+ExtraBits). Biases are optional.
type MemoryBlockInputs struct {
	Input  Tensor     // (N, d), d = K*Tau or less by less than Tau
	First  HashInputs // tables (K, 2^Tau, u) and bias (u); its Input must be absent
	Scale  Tensor     // (u), of the LayerNorm
	Shift  Tensor     // (u)
	Second HashInputs // tables (K, 2^(Tau+ExtraBits), h) and bias (h); its Input must be absent
}

// MemoryBlockGradients are what a memory block's backward pass writes. Absent tensors are not computed.
type MemoryBlockGradients struct {
	Input, Scale, Shift Tensor
	First, Second       HashGradients // of tables and biases; their Input must be absent
}

func (b *MemoryBlock) layers() (first, second HashLayer) {
	first = HashLayer{Tau: b.Tau, Weighting: b.Weighting, Threads: b.Threads}
	second = first
	second.Tau += b.ExtraBits
	return first, second
}

// width checks the block's own arguments and gives N and u.
func (b *MemoryBlock) width(in *MemoryBlockInputs) (n, u int, err error) {
	switch {
	case in == nil:
		return 0, 0, refuse("in", "non-nil", "nil")
	case b.ExtraBits < 0:
		return 0, 0, refuse("ExtraBits", "not negative", "%d", b.ExtraBits)
	case b.Tau < 1 || b.Tau+b.ExtraBits > maxTau:
		return 0, 0, refuse("Tau", "at least 1, and at most 16 with ExtraBits", "%d and %d", b.Tau, b.ExtraBits)
	case b.Epsilon < 0 || b.Epsilon != b.Epsilon:
		return 0, 0, refuse("Epsilon", "not negative", "%g", b.Epsilon)
	case in.First.Input.present() || in.Second.Input.present():
		return 0, 0, refuse("First and Second", "without an input of their own", "an input")
	case len(in.Input.Shape) != 2 || in.Input.Shape[1] < 1:
		return 0, 0, refuse("input", "rank 2, (N,d)", "shape %v", in.Input.Shape)
	}
	n, d := in.Input.Shape[0], in.Input.Shape[1]
	if err := checkTensor("input", "(N,d)", in.Input, n, d); err != nil {
		return 0, 0, err
	}
	k := (d-1)/b.Tau + 1
	if k > maxElements/maxTau/max(n, 1) {
		return 0, 0, refuse("input", "small enough to address", "shape %v", in.Input.Shape)
	}
	u = k * (b.Tau + b.ExtraBits)
	if err := checkTensor("Scale", "(u)", in.Scale, u); err != nil {
		return 0, 0, err
	}
	return n, u, checkTensor("Shift", "(u)", in.Shift, u)
}

// hidden computes the first layer and its LayerNorm: the normalised rows, what the second layer hashes, and each row's 1/deviation.
func (b *MemoryBlock) hidden(in *MemoryBlockInputs, n, u int) (normal, hidden Tensor, inverse []float64, err error) {
	layer, _ := b.layers()
	first := in.First
	first.Input = in.Input
	normal, hidden, inverse = NewTensor(n, u), NewTensor(n, u), make([]float64, n)
	if err := layer.Forward(&HashOutputs{Output: normal}, &first); err != nil {
		return normal, hidden, nil, fmt.Errorf("first layer: %w", err)
	}
	epsilon := float64(b.Epsilon)
	if epsilon == 0 {
		epsilon = 1e-5
	}
	for i := range n {
		row, to := normal.Data[i*u:][:u], hidden.Data[i*u:][:u]
		mean, square := 0.0, 0.0
		for _, x := range row {
			mean += float64(x)
		}
		mean /= float64(u)
		for _, x := range row {
			square += (float64(x) - mean) * (float64(x) - mean)
		}
		inverse[i] = 1 / math.Sqrt(square/float64(u)+epsilon)
		for j, x := range row {
			row[j] = float32((float64(x) - mean) * inverse[i])
			to[j] = float32((float64(x)-mean)*inverse[i]*float64(in.Scale.Data[j]) + float64(in.Shift.Data[j]))
		}
	}
	return normal, hidden, inverse, nil
}

// Forward computes the block to output (N, h).
func (b *MemoryBlock) Forward(output Tensor, in *MemoryBlockInputs) error {
	n, u, err := b.width(in)
	if err != nil {
		return err
	}
	_, layer := b.layers()
	second := in.Second
	second.Input = Tensor{Shape: []int{n, u}, Data: make([]float32, n*u)} // checked before anything is written
	if _, err := layer.check(&HashOutputs{Output: output}, &second); err != nil {
		return fmt.Errorf("second layer: %w", err)
	}
	_, hidden, _, err := b.hidden(in, n, u)
	if err != nil {
		return err
	}
	second.Input = hidden
	return layer.Forward(&HashOutputs{Output: output}, &second)
}

// Backward computes the gradients of sum(gradOutput . output). Sums over tokens are in their order whatever the number of workers.
func (b *MemoryBlock) Backward(grads *MemoryBlockGradients, gradOutput Tensor, in *MemoryBlockInputs) error {
	if grads == nil {
		return refuse("grads", "non-nil", "nil")
	}
	if grads.First.Input.present() || grads.Second.Input.present() {
		return refuse("First and Second", "without an input's gradient of their own", "a gradient")
	}
	n, u, err := b.width(in)
	if err != nil {
		return err
	}
	for _, g := range []struct {
		name string
		t    Tensor
	}{{"grad_scale", grads.Scale}, {"grad_shift", grads.Shift}} {
		if g.t.present() {
			if err := checkTensor(g.name, "(u)", g.t, u); err != nil {
				return err
			}
		}
	}
	layer1, layer2 := b.layers()
	normal, hidden, inverse, err := b.hidden(in, n, u)
	if err != nil {
		return err
	}
	first, second, gradHidden := in.First, in.Second, NewTensor(n, u)
	first.Input, second.Input = in.Input, hidden
	toSecond := grads.Second
	toSecond.Input = gradHidden
	if err := layer2.Backward(&toSecond, gradOutput, &second); err != nil {
		return fmt.Errorf("second layer: %w", err)
	}
	scale, shift := make([]float64, u), make([]float64, u)
	for i := range n {
		row, x := gradHidden.Data[i*u:][:u], normal.Data[i*u:][:u]
		mean, along := 0.0, 0.0
		for j, g := range row {
			scale[j] += float64(g) * float64(x[j])
			shift[j] += float64(g)
			scaled := float64(g) * float64(in.Scale.Data[j])
			mean += scaled
			along += scaled * float64(x[j])
		}
		mean, along = mean/float64(u), along/float64(u)
		for j, g := range row {
			row[j] = float32((float64(g)*float64(in.Scale.Data[j]) - mean - along*float64(x[j])) * inverse[i])
		}
	}
	toFirst := grads.First
	toFirst.Input = grads.Input
	if err := layer1.Backward(&toFirst, gradHidden, &first); err != nil {
		return fmt.Errorf("first layer: %w", err)
	}
	for _, g := range []struct {
		to   Tensor
		from []float64
	}{{grads.Scale, scale}, {grads.Shift, shift}} {
		for j := range g.to.Data {
			g.to.Data[j] = float32(g.from[j])
		}
	}
	return nil
}
