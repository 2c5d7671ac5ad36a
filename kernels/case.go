package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Case is a problem with generated inputs and buffers for its outputs: what
// the tuner times. Queries and keys are normal with L2 norm about 1, values normal, log decays from -0.1 to 0, beta from 0
// to 1, table entries uniform. A problem of one token is a decode step: its state is updated in place.
type Case struct {
	Problem   tile.Problem
	attention attentionArgs
	hash      hashArgs
	conv      convArgs
}

// NewCase generates a problem's arrays. The same seed gives the same numbers.
func NewCase(p tile.Problem, seed uint64) (c *Case, err error) {
	if err := CheckProblem(p); err != nil {
		return nil, err
	}
	g := generator{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
	s := p.Shape
	switch p.Op {
	case tile.HashLayer:
		return &Case{Problem: p, hash: newHashCase(p, g)}, nil
	case tile.CausalConv:
		return &Case{Problem: p, conv: generatedConv(p, g)}, nil
	}
	width := 1 / math.Sqrt(float64(s.Dk))
	a := attentionArgs{
		sequences: sequences{tokens: s.T}, keyHeads: s.Hkv, featureMap: p.FeatureMap, mapEps: caseMapEps, normalize: p.Normalize, normEps: caseNormEps,
		problem: p, scale: float32(width),
		query: g.normal(s.B*s.T*s.Hq*s.Dk, 1), key: g.normal(s.B*s.T*s.Hkv*s.Dk, width), value: g.normal(s.B*s.T*s.Hkv*s.Dv, 1),
		past:   g.normal(s.B*s.Hkv*s.Dk*s.Dv, width),
		output: aligned(s.B * s.T * max(s.Hq, s.Hkv) * s.Dv), state: aligned(s.B * s.Hkv * s.Dk * s.Dv),
	}
	if s.T == 1 && p.Dir != tile.Backward {
		a.state = a.past
	}
	if p.Normalize {
		// Sums of features of one sign, as maps like elu+1 make them: others may be next to nothing and their quotient anything.
		for _, v := range [][]float32{a.query, a.key} {
			for i := range v {
				v[i] = float32(math.Abs(float64(v[i])))
			}
		}
		a.pastNorm = g.uniform(s.B*s.Hkv*s.Dk, 0, 1)
		a.norm = aligned(s.B * s.Hkv * s.Dk)
	}
	defer func() {
		if err == nil {
			c.attention.toBits()
		}
	}()
	switch p.Decay {
	case tile.DecayHead:
		a.decay = g.uniform(s.B*s.T*s.Hkv, -0.1, 0)
	case tile.DecayKey:
		a.decay = g.uniform(s.B*s.T*s.Hkv*s.Dk, -0.1, 0)
	case tile.DecayFixed:
		a.headDecay = g.uniform(s.Hkv, -0.1, 0)
	}
	if p.Op == tile.DeltaRule {
		a.betaHeads = s.Hkv
		a.beta = g.uniform(s.B*s.T*s.Hkv, 0, 1)
	}
	if p.Gates == tile.GatesApart {
		a.eraseWidth, a.writeWidth = s.Dk, s.Dv
		a.beta, a.write = g.uniform(s.B*s.T*s.Hkv*s.Dk, 0, 1), g.uniform(s.B*s.T*s.Hkv*s.Dv, 0, 1)
	}
	if tile.FrontHas(p.Front, tile.FrontGates) {
		a.rawGates(g)
	}
	if p.Dir == tile.Backward {
		a.withGradients(g)
	}
	return &Case{Problem: p, attention: a}, nil
}

// rawGates makes a case's gates those before a front.
func (a *attentionArgs) rawGates(g generator) {
	a.betaScale = 1
	a.beta = g.normal(len(a.beta), 1)
	if a.decay == nil {
		return
	}
	a.decay = g.normal(len(a.decay), 1)
	a.decayLog = g.uniform(a.problem.Shape.Hkv, -4, 0)
	a.decayBias = g.normal(decayWidth(a.problem), 1)
}

// toBits rounds a case's arrays to the types that they are stored in: the float32 arrays keep the rounded values, for the oracle, and
// the bits hold the same.
func (a *attentionArgs) toBits() {
	p := a.problem
	round := converter{prim: genericPrimitives()}
	half := func(dtype string, v []float32) []uint16 {
		if v == nil {
			return nil
		}
		bits := make([]uint16, len(v))
		round.wholeBack(dtype, bits, v)
		round.whole(dtype, v, bits)
		return bits
	}
	if a.halves() {
		b := &a.bits
		b.query, b.key, b.value, b.decay, b.beta = half(p.DType, a.query), half(p.DType, a.key), half(p.DType, a.value), half(p.DType, a.decay), half(p.DType, a.beta)
		b.output = half(p.DType, a.output)
		if p.Gates != "" { // float32
			b.beta = nil
		}
	}
	if a.halfState() {
		a.bits.past, a.bits.state = half(p.StateDType, a.past), half(p.StateDType, a.state)
	}
}

// stored is what a call is given of a case: of an array that is stored in 16 bits, the bits alone.
func (a attentionArgs) stored() attentionArgs {
	if a.halves() {
		beta := a.beta
		a.query, a.key, a.value, a.decay, a.beta, a.output = nil, nil, nil, nil, nil, nil
		if a.problem.Gates != "" {
			a.beta = beta
		}
	}
	if a.halfState() {
		a.past, a.state = nil, nil
	}
	return a
}

// written brings the float32 arrays of a case up to date with what a call has stored in bits.
func (a *attentionArgs) written() {
	c := converter{prim: genericPrimitives()}
	if a.halves() {
		c.whole(a.problem.DType, a.output, a.bits.output)
	}
	if a.halfState() {
		c.whole(a.problem.StateDType, a.state, a.bits.state)
	}
}

// Epsilons of cases.
const (
	caseMapEps  = 1e-6
	caseNormEps = 1e-6
)

type generator struct{ *rand.Rand }

func (g generator) normal(n int, sigma float64) []float32 {
	v := aligned(n)
	for i := range v {
		v[i] = float32(sigma * g.NormFloat64())
	}
	return v
}

func (g generator) uniform(n int, lo, hi float32) []float32 {
	v := aligned(n)
	for i := range v {
		v[i] = lo + (hi-lo)*g.Float32()
	}
	return v
}

// Prepare readies a candidate to run on the case's arrays.
func (c *Case) Prepare(cand tile.Candidate) (*Call, error) {
	x, err := newCall(c.Problem, cand, nil)
	if err != nil {
		return nil, err
	}
	if x.hash != nil && cand.Config["form"] == formSlab {
		c.hash.prepared.AddPanels()
	}
	c.set(x)
	return x, nil
}

func (c *Case) set(x *Call) {
	if x.hash != nil {
		x.hash.set(c.hash)
		return
	}
	if x.conv != nil {
		x.conv.set(c.conv)
		return
	}
	x.attention.set(c.attention.stored())
}

// On makes the call run on the arrays of another case of its problem.
func (x *Call) On(c *Case) { c.set(x) }

// Run computes the case once. It allocates nothing after the first run.
func (x *Call) Run() { x.run() }

// ExecutedFlops counts the flops of one run by primitive call: those of the op's definition and those that
// its chunks add.
func (x *Call) ExecutedFlops() (int64, error) {
	prim, ok := primitives(x.Candidate.ISA)
	if !ok {
		return 0, fmt.Errorf("kernels: ISA %q cannot run here", x.Candidate.ISA)
	}
	var flops int64
	p := x.Problem
	p.Threads = 1 // one worker counts all
	counted, err := newCall(p, x.Candidate, counting(prim, &flops))
	if err != nil {
		return 0, err
	}
	switch {
	case x.conv != nil:
		args := x.conv.convArgs
		args.threads = 1
		counted.conv.set(args)
	case x.hash != nil:
		args := x.hash.args()
		args.problem = p
		counted.hash.set(args)
	default:
		args := x.attention.args()
		args.problem = p
		counted.attention.set(args)
	}
	counted.run()
	return flops, nil
}

// verifyTokens is how many chunks a verification walks: enough for a first, a steady and a ragged chunk.
func verifyTokens(chunk int) int { return 2*chunk + chunk/2 + 3 }

// verifyProblem cuts a problem down to what one check needs: the same widths, rule, grouping and threads with
// fewer tokens, heads and batch items.
func verifyProblem(p tile.Problem, c tile.Config) tile.Problem {
	s := &p.Shape
	if p.Op == tile.HashLayer {
		n := hashBlock + 3
		if c["form"] == formSlab { // more than one pass of few tokens
			n = max(n, min(c["tokens"], 256)+3)
		}
		s.N = min(s.N, n)
		// A few tables show every path of the gather; a whole set would take gigabytes.
		const tables = 48
		s.D = min(s.D, tables*s.Tau)
		return p
	}
	if p.Op == tile.CausalConv {
		s.B, s.C, s.L = min(s.B, 2), min(s.C, 2*c["rows"]+3), min(s.L, convColumns+67)
		return p
	}
	s.B = min(s.B, 2)
	if group := s.Hq / s.Hkv; group > 0 {
		s.Hkv = min(s.Hkv, 2)
		s.Hq = s.Hkv * group
	} else {
		shared := s.Hkv / s.Hq
		s.Hq = min(s.Hq, 2)
		s.Hkv = s.Hq * shared
	}
	s.T = min(s.T, verifyTokens(c["chunk"]))
	return p
}

// oracles keeps the oracle's answers, which many candidates of a problem share.
var oracles struct {
	sync.Mutex
	answers map[oracleKey]*oracleAnswer
}

type oracleKey struct {
	problem tile.Problem
	seed    uint64
}

type oracleAnswer struct {
	c         *Case
	attention generic.AttentionResult
	gradients generic.AttentionGradients // of a backward pass
	hash      hashAnswer
	conv      generic.ConvResult
}

const maxOracles = 32

func oracle(p tile.Problem, seed uint64) (*oracleAnswer, error) {
	p.Threads = 1
	key := oracleKey{p, seed}
	oracles.Lock()
	defer oracles.Unlock()
	if a, ok := oracles.answers[key]; ok {
		return a, nil
	}
	c, err := NewCase(p, seed)
	if err != nil {
		return nil, err
	}
	a := &oracleAnswer{c: c}
	if p.Op == tile.HashLayer {
		a.hash = c.hash.oracle()
	} else if p.Op == tile.CausalConv {
		a.conv = c.conv.oracle()
	} else if p.Dir == tile.Backward {
		a.gradients = c.attention.oracleBackward()
	} else {
		in := c.attention
		a.attention = oracleCase(p, in).Oracle(in.query, in.key, in.value, in.past, in.decay, in.beta)
	}
	if len(oracles.answers) >= maxOracles || oracles.answers == nil {
		oracles.answers = map[oracleKey]*oracleAnswer{}
	}
	oracles.answers[key] = a
	return a, nil
}

// oracleCase is the oracle of a case.
func oracleCase(p tile.Problem, in attentionArgs) generic.Attention {
	s := p.Shape
	return generic.Attention{
		B: s.B, T: s.T, Hq: s.Hq, Hkv: s.Hkv, Dk: s.Dk, Dv: s.Dv, Delta: p.Op == tile.DeltaRule,
		Full: p.Full, FeatureMap: p.FeatureMap, MapEps: float64(in.mapEps), Normalize: p.Normalize, NormEps: float64(in.normEps), PastNorm: in.pastNorm,
		Scale: float64(in.scale), HeadDecay: in.headDecay, KeyDecay: p.Decay == tile.DecayKey, BetaHeads: in.betaHeads,
		Write: in.write, EraseKeys: in.eraseWidth > 1,
		Front: p.Front, BetaScale: float64(in.betaScale), DecayLog: in.decayLog, DecayBias: in.decayBias,
	}
}

// Verify runs a candidate on generated inputs of the problem's widths (with fewer tokens and heads, a past state and a ragged last
// chunk) and compares everything it writes with the float64 oracle. It passes if maxError <= bound; see
// ErrorBound for both. An error means that the candidate could not run.
func Verify(p tile.Problem, c tile.Candidate, seed uint64) (maxError, bound float64, err error) {
	return verifyWith(p, c, seed, nil)
}

func verifyWith(p tile.Problem, c tile.Candidate, seed uint64, prim *tile.Primitives) (maxError, bound float64, err error) {
	small := verifyProblem(p, c.Config)
	want, err := oracle(small, seed)
	if err != nil {
		return 0, 0, err
	}
	x, err := newCall(small, c, prim)
	if err != nil {
		return 0, 0, err
	}
	args := *want.c // the inputs are shared, the outputs are this call's own
	args.Problem = small
	if small.Op == tile.CausalConv {
		args.conv.threads = small.Threads
		args.conv.newOutputs()
	} else if small.Op == tile.HashLayer {
		args.hash.problem = small
		args.hash.newOutputs()
	} else if small.Dir == tile.Backward {
		args.attention.problem = small
		args.attention.newGradients()
	} else {
		a := &args.attention
		a.problem, a.output, a.state = small, aligned(len(a.output)), aligned(len(a.state))
		if a.halves() { // an empty array would count as wanted
			a.bits.output = make([]uint16, len(a.bits.output))
		}
		if a.halfState() {
			a.bits.state = make([]uint16, len(a.bits.state))
		}
		if a.norm != nil {
			a.norm = aligned(len(a.norm))
		}
	}
	if small.Op == tile.HashLayer && c.Config["form"] == formSlab {
		args.hash.prepared.AddPanels()
	}
	args.set(x)
	x.run()
	bound = ErrorBound(small)
	if small.Op == tile.CausalConv {
		return args.conv.oracleError(want.conv), bound, nil
	}
	if small.Op != tile.HashLayer && small.Dir == tile.Forward {
		args.attention.written()
	}
	if small.Op == tile.HashLayer {
		return args.hash.hashError(want.hash), bound, nil
	}
	if small.Dir == tile.Backward {
		return args.attention.backwardError(want.gradients), bound, nil
	}
	return max(storedError(small.DType, bound, args.attention.output, want.attention.Output, want.attention.OutputAbs),
		storedError(small.StateDType, bound, args.attention.state, want.attention.State, want.attention.StateAbs),
		relativeError(args.attention.norm, want.attention.Norm, want.attention.Norm)), bound, nil
}

// eps is the largest relative error of one rounding to float32.
const eps = 1.0 / (1 << 24)

// ErrorBound is the largest relative error of a problem's outputs that rounding to float32 explains, relative to the
// same sums over absolute values (generic.AttentionResult and HashResult say how these are formed).
//
// Attention ops: eps (4T + dk + 16). A token's term passes through at most T state updates or masked products, each an
// addition and a multiplication by a decay factor that is itself within 2 ulp, and one
// dot product of length dk; a feature map of both operands adds dk + 16, for a sum of squares of length dk or exponentials. A quotient's
// bound is that of both its parts (the oracle adds their scales). An output or a state that is stored in 16 bits adds one rounding to it. Backward: see
// backwardBound. Hash layers: see hashBound.
func ErrorBound(p tile.Problem) float64 {
	s := p.Shape
	switch p.Op {
	case tile.HashLayer:
		return hashBound(p)
	case tile.CausalConv:
		return ConvErrorBound(s.K, p.DType)
	}
	if p.Dir == tile.Backward {
		return backwardBound(p)
	}
	if p.Precision == tile.BFloat16 {
		return pairBound(p)
	}
	n := 4*s.T + s.Dk + 16
	if p.FeatureMap != tile.MapNone {
		n += s.Dk + 16
	}
	if p.Front != tile.FrontNone { // a few places of every number and every token's decay
		n += 4*s.T + 16
	}
	unit, _, _ := roundoff(p.DType)
	state, _, _ := roundoff(p.StateDType)
	return eps*float64(n) + max(unit, state)
}

// storedError is relativeError of numbers stored in a dtype, with this bound: below the smallest normal number of the dtype the places are as
// far apart as there, and above the largest lies Inf.
func storedError(dtype string, bound float64, got []float32, want, scale []float64) float64 {
	_, smallest, largest := roundoff(dtype)
	if dtype != tile.Float16 {
		return relativeError(got, want, scale)
	}
	w, s := slices.Clone(want), slices.Clone(scale)
	for i := range w {
		s[i] += smallest
		switch over := math.Abs(w[i]) - largest; {
		case over > bound*s[i]:
			w[i] = math.Copysign(math.Inf(1), w[i])
		case over > -bound*s[i] && math.IsInf(float64(got[i]), 0): // either will do
			w[i] = math.Copysign(math.Inf(1), w[i])
		}
	}
	return relativeError(got, w, s)
}

// relativeError is the largest |got-want| over the scale of its rounding errors. Non-finite values must be the same;
// values so small that a product underflowed on the way are not compared by ratio.
func relativeError(got []float32, want, scale []float64) float64 {
	const underflow = 0x1p-126 / eps
	worst := 0.0
	for i, w := range want {
		g := float64(got[i])
		switch {
		case math.IsNaN(w):
			if !math.IsNaN(g) {
				return math.Inf(1)
			}
		case math.Abs(w) > math.MaxFloat32:
			if !math.IsInf(g, 0) && !math.IsNaN(g) || math.IsInf(w, 0) && math.IsNaN(g) || g*w < 0 {
				return math.Inf(1)
			}
		case math.IsNaN(g):
			return math.Inf(1)
		default:
			worst = max(worst, math.Abs(g-w)/(scale[i]+underflow))
		}
	}
	return worst
}
