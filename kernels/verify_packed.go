package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// VerifyPacked is Verify of an attention op on packed sequences, one long, one empty and one short: with the states that are kept on the way in a causal forward
// pass, or with their gradients. Arrays are float32.
func VerifyPacked(p tile.Problem, c tile.Candidate, seed uint64) (maxError, bound float64, err error) {
	small := verifyProblem(p, c.Config)
	long := small.Shape.T
	offsets := []int{0, long, long, long + long/3 + 1}
	n, total := len(offsets)-1, offsets[len(offsets)-1]
	joint := small
	joint.Shape.B, joint.Shape.T, joint.DType, joint.StateDType = 1, total, tile.Float32, ""
	generated, err := NewCase(joint, seed)
	if err != nil {
		return 0, 0, err
	}
	a := &generated.attention
	a.offsets, a.tokens = offsets, total
	a.statesOf(n)
	packed := joint
	packed.Shape.B, packed.Shape.T = n, long
	x, err := newCall(alikePacked(packed), c, nil)
	if err != nil {
		return 0, 0, err
	}
	if p.Dir == tile.Forward && !p.Full {
		s := joint.Shape
		a.keep = []int{max(1, long/2), total}
		a.keptStates = aligned(len(a.keep) * s.Hkv * s.Dk * s.Dv)
	}
	a.problem = packed
	args := *a
	args.problem.Threads = small.Threads
	x.attention.set(args)
	x.run()
	for b := range n {
		one := a.sequence(b)
		maxError = max(maxError, one.sequenceError())
	}
	if a.keep != nil { // the last is the last sequence's present state too
		first := a.sequence(0)
		first.problem.Shape.T = a.keep[0]
		first.tokens, first.output, first.norm = a.keep[0], nil, nil
		first.state = a.keptStates[:len(first.state)]
		maxError = max(maxError, first.sequenceError())
		last := a.sequence(n - 1)
		last.output, last.norm, last.state = nil, nil, a.keptStates[len(first.state):]
		maxError = max(maxError, last.sequenceError())
	}
	return maxError, ErrorBound(packed), nil
}

// statesOf gives a case the states of n sequences: copies of the first's, with factors of their own.
func (a *attentionArgs) statesOf(n int) {
	repeat := func(v []float32) []float32 {
		if v == nil {
			return nil
		}
		all := aligned(n * len(v))
		for i := range all {
			all[i] = v[i%len(v)] / float32(1+i/len(v))
		}
		return all
	}
	for _, v := range []*[]float32{&a.past, &a.state, &a.pastNorm, &a.norm, &a.gradState, &a.gradPast, &a.gradNorm, &a.gradPastNorm} {
		*v = repeat(*v)
	}
}

// sequence gives the arguments of one of packed sequences alone.
func (a *attentionArgs) sequence(b int) *attentionArgs {
	n, total := len(a.offsets)-1, a.rowsOf(0)
	row, tokens := a.span(b)
	one := *a
	one.sequences = sequences{tokens: tokens}
	one.problem.Shape.B, one.problem.Shape.T = 1, tokens
	for _, v := range []*[]float32{
		&one.query, &one.key, &one.value, &one.decay, &one.beta, &one.write, &one.output,
		&one.gradOutput, &one.gradQuery, &one.gradKey, &one.gradValue, &one.gradDecay, &one.gradBeta, &one.gradWrite,
	} {
		if len(*v) > 0 {
			width := len(*v) / total
			*v = (*v)[row*width : (row+tokens)*width]
		}
	}
	for _, v := range []*[]float32{&one.past, &one.state, &one.pastNorm, &one.norm, &one.gradState, &one.gradPast, &one.gradNorm, &one.gradPastNorm} {
		if len(*v) > 0 {
			*v = (*v)[b*len(*v)/n : (b+1)*len(*v)/n]
		}
	}
	// The gradients of a front's parameters are of all sequences together.
	one.gradDecayLog, one.gradDecayBias = nil, nil
	return &one
}

// sequenceError is the largest relative error of what a call has written for a sequence; an output or a norm that is nil is not compared.
func (a *attentionArgs) sequenceError() float64 {
	if a.problem.Dir == tile.Backward {
		return a.backwardError(a.oracleBackward())
	}
	want := oracleCase(a.problem, *a).Oracle(a.query, a.key, a.value, a.past, a.decay, a.beta)
	return max(relativeError(a.output, want.Output[:len(a.output)], want.OutputAbs), relativeError(a.state, want.State, want.StateAbs),
		relativeError(a.norm, want.Norm[:len(a.norm)], want.Norm))
}
