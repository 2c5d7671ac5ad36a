package kernels

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Inputs are the arrays of an attention op, named and laid out as in ONNX
// LinearAttention: heads are packed head-major in the last axis.
type Inputs struct {
	Query     Tensor // (B, T, Hq*dk)
	Key       Tensor // (B, T, Hkv*dk)
	Value     Tensor // (B, T, Hkv*dv)
	PastState Tensor // (B, Hkv, dk, dv), optional: zeros if absent
	// PastNormalizer is the sum of the past's (decayed) key features, (B, Hkv, dk); optional, with LinearAttention.Normalize.
	PastNormalizer Tensor
	// DecayLog (Hkv) and DecayBias (Hkv, or Hkv*dk where the decay is per key) are float32 and optional, zeros if absent; with a DeltaRule.Front that has gates.
	DecayLog, DecayBias Tensor
	Decay               Tensor // (B, T, Hkv) or (B, T, Hkv*dk), natural logarithm, rules gated and gated_delta
	Beta                Tensor // (B, T, Hkv) or (B, T, 1); rules delta and gated_delta
	// Write is a gate of values apart from Beta, which then gates only what is erased: (B, T, Hkv), or one for each channel, (B, T, Hkv*dv). Beta may
	// then be one for each key channel too, (B, T, Hkv*dk). See DeltaRule. Both are float32.
	Write Tensor
	// Offsets packs sequences of different lengths in one batch item (B = 1): sequence i has rows Offsets[i] to Offsets[i+1] of
	// every array of tokens, and its own state: past and present state are (len(Offsets)-1, Hkv, dk, dv). Nil for none.
	Offsets []int
	// Keep lists the numbers of tokens after which KeptStates takes a copy of the state, ascending from 1 to T; with Offsets, numbers of
	// rows, each of which belongs to the sequence that it ends in. For caching prefixes and taking back speculative tokens.
	Keep []int
}

// Outputs are what an attention op writes.
type Outputs struct {
	Output       Tensor // (B, T, Hq*dv)
	PresentState Tensor // (B, Hkv, dk, dv), optional; may be the very memory of PastState (in place)
	// PresentNormalizer is the sum of key features after the last token, (B, Hkv, dk); optional, with LinearAttention.Normalize.
	PresentNormalizer Tensor
	KeptStates        Tensor // (len(Keep), B, Hkv, dk, dv), B = 1 with Offsets
}

// attentionArgs are checked arguments.
type attentionArgs struct {
	sequences
	problem tile.Problem // B sequences of at most T tokens
	scale   float32
	// Layouts as in Inputs and Outputs; nil where absent.
	query, key, value, past, decay, beta []float32
	output, state, keptStates            []float32
	keyHeads                             int
	bits                                 attentionBits
	featureMap                           string // of queries and keys
	mapEps                               float32
	normalize                            bool
	normEps                              float32
	pastNorm, norm                       []float32 // (B, Hkv, dk)
	headDecay                            []float32
	betaHeads                            int
	write                                []float32 // nil where beta gates both
	writeWidth, eraseWidth               int       // numbers of a state head's write gate and beta: 1, or dv and dk
	erase                                []float32 // keys that erase (B, T, Hkv*dk), where a backward pass behind gates apart makes them
	decayLog, decayBias                  []float32 // of a front with gates, nil for zeros
	betaScale                            float32
	statistics                           *Statistics // nil for none
	gradientArgs
}

func (a *attentionArgs) args() attentionArgs { return *a }

// attentionOp is what the two attention ops give to the shared checks.
type attentionOp struct {
	op, rule       string
	qHeads         int
	kvHeads        int
	scale          float32
	headDecay      []float32
	threads        int
	candidate      *tile.Candidate // nil for the selected one
	gated, hasBeta bool
	backward       bool
	inverse        bool // fewer query than state heads are allowed
	full           bool
	featureMap     string
	mapEps         float32
	normalize      bool
	normEps        float32
	precision      string
	front          string
	betaScale      float32
	statistics     *Statistics
}

// check turns arguments into views, or says which one is wrong.
func (o attentionOp) check(out *Outputs, in *Inputs) (a attentionArgs, err error) {
	if in == nil {
		return a, refuse("in", "non-nil", "nil")
	}
	if out == nil {
		return a, refuse("out", "non-nil", "nil")
	}
	if o.qHeads <= 0 {
		return a, refuse("QHeads", "positive", "%d", o.qHeads)
	}
	if o.kvHeads <= 0 {
		return a, refuse("KVHeads", "positive", "%d", o.kvHeads)
	}
	if o.qHeads%o.kvHeads != 0 && !(o.inverse && o.kvHeads%o.qHeads == 0) {
		return a, refuse("QHeads", "a multiple of KVHeads", "%d with KVHeads %d", o.qHeads, o.kvHeads)
	}
	if o.threads < 0 {
		return a, refuse("Threads", "0 (all) or positive", "%d", o.threads)
	}
	if math.IsNaN(float64(o.scale)) || math.IsInf(float64(o.scale), 0) {
		return a, refuse("Scale", "finite", "%v", o.scale)
	}
	s := tile.Shape{Hq: o.qHeads, Hkv: o.kvHeads}
	if len(in.Query.Shape) != 3 {
		return a, refuse("query", "rank 3, (B,T,Hq*dk)", "rank %d, shape %v", len(in.Query.Shape), in.Query.Shape)
	}
	s.B, s.T = in.Query.Shape[0], in.Query.Shape[1]
	if s.Dk, err = headWidth("query", "(B,T,Hq*dk)", in.Query, o.qHeads); err != nil {
		return a, err
	}
	if len(in.Value.Shape) != 3 {
		return a, refuse("value", "rank 3, (B,T,Hkv*dv)", "rank %d, shape %v", len(in.Value.Shape), in.Value.Shape)
	}
	if s.Dv, err = headWidth("value", "(B,T,Hkv*dv)", in.Value, o.kvHeads); err != nil {
		return a, err
	}
	if _, ok := volume([]int{s.B, s.Hkv, s.Dk, s.Dv}); !ok {
		return a, refuse("query", "small enough to address with its state", "shape %v with value shape %v", in.Query.Shape, in.Value.Shape)
	}
	if err := checkStored("query", "(B,T,Hq*dk)", in.Query, s.B, s.T, s.Hq*s.Dk); err != nil {
		return a, err
	}
	a.keyHeads = s.Hkv
	if k := in.Key.Shape; o.inverse && len(k) == 3 && k[2] > 0 && k[2]%s.Dk == 0 && s.Hkv%(k[2]/s.Dk) == 0 {
		a.keyHeads = k[2] / s.Dk
	}
	if err := checkStored("key", "(B,T,Hkv*dk)", in.Key, s.B, s.T, a.keyHeads*s.Dk); err != nil {
		return a, err
	}
	if err := checkStored("value", "(B,T,Hkv*dv)", in.Value, s.B, s.T, s.Hkv*s.Dv); err != nil {
		return a, err
	}
	if err := checkStored("output", "(B,T,Hq*dv)", out.Output, s.B, s.T, max(s.Hq, s.Hkv)*s.Dv); err != nil {
		return a, err
	}
	p := tile.Problem{Op: o.op, Rule: o.rule, Shape: s, DType: in.Query.dtype(), StateDType: stateDType(in, out), Dir: "fwd", Threads: o.threads, Decay: tile.DecayNone,
		Full: o.full, FeatureMap: o.featureMap, Normalize: o.normalize, Front: o.front}
	if err := o.checkOptions(in); err != nil {
		return a, err
	}
	if err := o.checkTypes(p, in, out); err != nil {
		return a, err
	}
	if err := o.checkGates(&a, &p, in); err != nil {
		return a, err
	}
	if a.sequences, err = in.checkSequences(&s, out.KeptStates, s.Hkv, s.Dk, s.Dv); err != nil {
		return a, err
	}
	p.Shape = s
	if in.PastState.present() {
		if err := checkStored("past_state", "(B,Hkv,dk,dv)", in.PastState, s.B, s.Hkv, s.Dk, s.Dv); err != nil {
			return a, err
		}
	}
	if out.PresentState.present() {
		if err := checkStored("present_state", "(B,Hkv,dk,dv)", out.PresentState, s.B, s.Hkv, s.Dk, s.Dv); err != nil {
			return a, err
		}
	}
	for _, n := range []struct {
		name string
		t    Tensor
	}{{"past_normalizer", in.PastNormalizer}, {"present_normalizer", out.PresentNormalizer}} {
		if !n.t.present() {
			continue
		}
		if !o.normalize {
			return a, refuse(n.name, "absent without Normalize", "given")
		}
		if err := checkTensor(n.name, "(B,Hkv,dk)", n.t, s.B, s.Hkv, s.Dk); err != nil {
			return a, err
		}
	}
	a.pastNorm, a.norm = in.PastNormalizer.Data, out.PresentNormalizer.Data
	a.featureMap, a.mapEps, a.normalize, a.normEps = o.featureMap, o.mapEps, o.normalize, o.normEps
	p.Precision = o.precision
	if o.precision != "" {
		if err := checkPrecision(p); err != nil {
			return a, refuse("Precision", "empty (float32), or bfloat16 where the op has it", "%q: %v", o.precision, err)
		}
	}
	a.problem, a.statistics = p, o.statistics
	a.scale = o.scale
	if a.scale == 0 {
		a.scale = float32(1 / math.Sqrt(float64(s.Dk)))
	}
	a.query, a.key, a.value, a.past = in.Query.float32s(), in.Key.float32s(), in.Value.float32s(), in.PastState.float32s()
	a.output, a.state, a.keptStates = out.Output.float32s(), out.PresentState.float32s(), out.KeptStates.float32s()
	a.bits = attentionBits{
		query: in.Query.halves(), key: in.Key.halves(), value: in.Value.halves(), decay: in.Decay.halves(), beta: in.Beta.halves(),
		output: out.Output.halves(), past: in.PastState.halves(), state: out.PresentState.halves(), kept: out.KeptStates.halves(),
	}
	if o.backward { // what is output to Forward is input, and may be anything but written to
		a.problem.Dir = tile.Backward
		return a, nil
	}
	return a, a.checkAliases()
}

// stateDType is the type of the states that are given, "" for float32 or where there is none.
func stateDType(in *Inputs, out *Outputs) string {
	for _, t := range []Tensor{in.PastState, out.PresentState, out.KeptStates} {
		if t.present() && t.dtype() != tile.Float32 {
			return t.dtype()
		}
	}
	return ""
}

// checkTypes refuses arrays of different types: the states have one, all other arrays have the query's.
func (o attentionOp) checkTypes(p tile.Problem, in *Inputs, out *Outputs) error {
	state := p.StateDType
	if state == "" {
		state = tile.Float32
	}
	for _, x := range []struct {
		name  string
		t     Tensor
		dtype string
	}{
		{"key", in.Key, p.DType}, {"value", in.Value, p.DType}, {"decay", in.Decay, o.gateType(p, in.Decay)}, {"beta", in.Beta, o.gateType(p, in.Beta)}, {"output", out.Output, p.DType},
		{"past_state", in.PastState, state}, {"present_state", out.PresentState, state}, {"kept_states", out.KeptStates, state},
		{"past_normalizer", in.PastNormalizer, tile.Float32}, {"present_normalizer", out.PresentNormalizer, tile.Float32},
	} {
		if x.t.present() && x.t.dtype() != x.dtype {
			return refuse(x.name, x.dtype, "%s", x.t.dtype())
		}
	}
	if o.backward && (p.DType != tile.Float32 || p.StateDType != "") {
		return refuse("query", "float32, with float32 states, in a backward pass", "%s, states %s", p.DType, state)
	}
	return nil
}

// gateType is the type that an array of gates must have: the activations', or float32 in the delta rules, whose layers compute their gates in it.
func (o attentionOp) gateType(p tile.Problem, gate Tensor) string {
	if o.hasBeta && gate.dtype() == tile.Float32 {
		return tile.Float32
	}
	return p.DType
}

// checkOptions refuses options that do not go together.
func (o attentionOp) checkOptions(in *Inputs) error {
	if !slices.Contains(tile.FeatureMaps(), o.featureMap) {
		return refuse("FeatureMap", fmt.Sprintf("one of %q", tile.FeatureMaps()), "%q", o.featureMap)
	}
	if o.hasBeta && o.featureMap != tile.MapNone && o.featureMap != tile.MapL2 {
		return refuse("FeatureMap", "empty or l2norm", "%q", o.featureMap)
	}
	if !slices.Contains(tile.Fronts(), o.front) {
		return refuse("Front", fmt.Sprintf("one of %q", tile.Fronts()), "%q", o.front)
	}
	if o.full && o.rule != tile.RuleLinear {
		return refuse("Full", "false with a decay", "true with rule %q", o.rule)
	}
	if o.full && len(in.Keep) > 0 {
		return refuse("Keep", "absent with Full", "%d places", len(in.Keep))
	}
	for _, e := range []struct {
		name string
		eps  float32
	}{{"NormalizeEps", o.normEps}, {"FeatureMapEps", o.mapEps}} {
		if !(e.eps >= 0) || math.IsInf(float64(e.eps), 1) {
			return refuse(e.name, "finite and not negative", "%v", e.eps)
		}
	}
	return nil
}

// queryHeads gives the query heads of state head h: how many, and the first. With fewer query than state heads, some state heads
// share one.
func (a *attentionArgs) queryHeads(h int) (first, group int) {
	s := a.problem.Shape
	if s.Hq < s.Hkv {
		return h * s.Hq / s.Hkv, 1
	}
	return h * (s.Hq / s.Hkv), s.Hq / s.Hkv
}

// outputHeads is how many heads the output has.
func (a *attentionArgs) outputHeads() int { return max(a.problem.Shape.Hq, a.problem.Shape.Hkv) }

// keyHead is the key head of state head h.
func (a *attentionArgs) keyHead(h int) int { return h * a.keyHeads / a.problem.Shape.Hkv }

func (o attentionOp) checkGates(a *attentionArgs, p *tile.Problem, in *Inputs) error {
	s := p.Shape
	switch {
	case !o.gated && in.Decay.present():
		return refuse("decay", "absent", "given to rule %q", o.rule)
	case !o.gated && o.headDecay != nil:
		return refuse("HeadDecay", "absent", "given to rule %q", o.rule)
	case o.gated && o.headDecay != nil && in.Decay.present():
		return refuse("decay", "absent where HeadDecay is set", "given")
	case o.gated && o.headDecay != nil:
		if len(o.headDecay) != s.Hkv {
			return refuse("HeadDecay", "one log decay for each of the KVHeads", "%d values for %d heads", len(o.headDecay), s.Hkv)
		}
		p.Decay, a.headDecay = tile.DecayFixed, o.headDecay
	case o.gated && !in.Decay.present():
		return refuse("decay", "given", "absent with rule %q", o.rule)
	case o.gated:
		width := s.Hkv
		p.Decay = tile.DecayHead
		if len(in.Decay.Shape) == 3 && s.Dk > 1 && in.Decay.Shape[2] == s.Hkv*s.Dk {
			width *= s.Dk
			p.Decay = tile.DecayKey
		}
		if err := checkStored("decay", "(B,T,Hkv) or (B,T,Hkv*dk)", in.Decay, s.B, s.T, width); err != nil {
			return err
		}
		a.decay = in.Decay.float32s()
	}
	switch {
	case !o.hasBeta && in.Write.present():
		return refuse("write", "absent", "given to rule %q", o.rule)
	case !o.hasBeta && in.Beta.present():
		return refuse("beta", "absent", "given to rule %q", o.rule)
	case o.hasBeta && !in.Beta.present():
		return refuse("beta", "given", "absent with rule %q", o.rule)
	case o.hasBeta:
		a.betaHeads = s.Hkv
		if len(in.Beta.Shape) == 3 && in.Beta.Shape[2] == 1 {
			a.betaHeads = 1
		}
		if in.Write.present() {
			if err := o.checkGatesApart(a, p, in); err != nil {
				return err
			}
			a.beta = in.Beta.float32s()
			break
		}
		if err := checkStored("beta", "(B,T,Hkv) or (B,T,1)", in.Beta, s.B, s.T, a.betaHeads); err != nil {
			return err
		}
		a.beta = in.Beta.float32s()
	}
	return o.checkFront(a, p, in)
}

// headWidth is the last dimension divided by the heads that share it.
func headWidth(name, layout string, t Tensor, heads int) (int, error) {
	last := t.Shape[2]
	if last <= 0 || last%heads != 0 {
		return 0, refuse(name, "a positive multiple of its heads in the last dimension, "+layout, "shape %v with %d heads", t.Shape, heads)
	}
	return last / heads, nil
}

// checkAliases refuses outputs that overlap an input or each other; only the state, and the normalizer, may be updated in place.
func (a *attentionArgs) checkAliases() error {
	b := &a.bits
	outputs := [...]extent{
		extentOf("output", a.output, b.output), extentOf("present_state", a.state, b.state), extentOf("kept_states", a.keptStates, b.kept),
		extentOf("present_normalizer", a.norm, nil),
	}
	inputs := [...]extent{
		extentOf("query", a.query, b.query), extentOf("key", a.key, b.key), extentOf("value", a.value, b.value),
		extentOf("decay", a.decay, b.decay), extentOf("beta", a.beta, b.beta), extentOf("past_state", a.past, b.past),
		extentOf("past_normalizer", a.pastNorm, nil), extentOf("write", a.write, nil),
		extentOf("decay_log", a.decayLog, nil), extentOf("decay_bias", a.decayBias, nil),
	}
	return refuseOverlaps(outputs[:], inputs[:])
}

// inPlace names the input whose very memory an output may have.
var inPlace = map[string]string{"present_state": "past_state", "present_normalizer": "past_normalizer"}

// refuseOverlaps refuses outputs that overlap an earlier output or an input, but for updates in place.
func refuseOverlaps(outputs, inputs []extent) error {
	for i, out := range outputs {
		for _, other := range outputs[:i] {
			if out.overlaps(other) {
				return refuse(other.name, "apart from "+out.name, "overlapping memory")
			}
		}
		for _, in := range inputs {
			if out.overlaps(in) && !(inPlace[out.name] == in.name && out.start == in.start && out.end == in.end) {
				return refuse(out.name, "apart from "+in.name, "overlapping memory")
			}
		}
	}
	return nil
}

// extent is the memory of an argument, which has elements of either type.
type extent struct {
	name       string
	start, end uintptr
}

func extentOf(name string, data []float32, bits []uint16) extent {
	switch {
	case len(data) > 0:
		start := uintptr(unsafe.Pointer(&data[0]))
		return extent{name, start, start + uintptr(len(data))*4}
	case len(bits) > 0:
		start := uintptr(unsafe.Pointer(&bits[0]))
		return extent{name, start, start + uintptr(len(bits))*2}
	}
	return extent{name: name}
}

func (e extent) overlaps(o extent) bool { return e.start < o.end && o.start < e.end }
