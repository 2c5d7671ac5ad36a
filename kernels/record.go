package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// recordedTrips is how many chunks or token blocks a recording walks: the last is the steady state that the
// simulator repeats. A trip reuses what the one before it left, so two are enough: three gave the same
// times on all default problems of the attention ops, for half as much work again.
const recordedTrips = 2

// Record runs a candidate's driver over the simulator's recorder for the first few trips of its outer loop and returns
// the tile program of the busiest worker's share. The schedule that is simulated is thereby the one that runs.
func Record(p tile.Problem, c tile.Candidate) (*sim.Program, error) { return record(p, c, false) }

// RecordAddresses is Record with every pass over an operand, for sim.Replay.
func RecordAddresses(p tile.Problem, c tile.Candidate) (*sim.Program, error) {
	return record(p, c, true)
}

func record(p tile.Problem, c tile.Candidate, everyPass bool) (*sim.Program, error) {
	if err := CheckConfig(p, c); err != nil {
		return nil, err
	}
	prim, _ := primitives(c.ISA)
	r := sim.NewRecorder(prim)
	r.EveryPass = everyPass
	if p.Op == tile.HashLayer && p.Dir == tile.Backward {
		return recordHashBackward(p, c, r)
	}
	if p.Op == tile.HashLayer && c.Config["form"] == formSlab {
		return recordHashSlab(p, c, r)
	}
	if p.Op == tile.HashLayer {
		return recordHash(p, c, r)
	}
	if p.Op == tile.CausalConv {
		return recordConv(p, c, r)
	}
	if p.Dir == tile.Backward && p.Op == tile.LinearAttention && !p.Full {
		return recordBackward(p, c, prim, everyPass)
	}
	return recordAttention(p, c, r)
}

// walker is a form of an attention op as a recording sees it: one worker's steps in their order.
type walker interface {
	attentionDriver
	// share gives the units of the busiest worker, the units of a batch item, the workers and the tokens of a step.
	share() (units, perBatch, workers, chunk int, headOuter bool)
	// walkSteps takes the first worker's steps for the tokens that were set, over some units of the first batch item, and calls trip after each trip
	// of the outer loop.
	walkSteps(units int, trip func())
	// scratchBuffers names the first worker's own arrays.
	scratchBuffers() map[string][]float32
}

func recordAttention(p tile.Problem, c tile.Candidate, r *sim.Recorder) (*sim.Program, error) {
	// The driver is the whole problem's, with its workers and shares, and walks a shorter problem's arrays.
	a := newHalfDriver(p, r.Primitives(), c.Config).(walker)
	full, more := p.Shape, 1.0
	if s, ok := a.(*segmented); ok { // its walk, with what comes before as so much more of it
		a, full, more = s.walker, s.inner, 1+s.moreWork()
	}
	units, perBatch, workers, chunk, headOuter := a.share()
	short := p
	short.Shape.B = min(full.B, 1)
	short.Shape.T = min(full.T, recordedTrips*chunk)
	if short.Shape.T > chunk {
		short.Shape.T -= short.Shape.T % chunk // the last recorded trip stands for all others, so it must be a whole one
	}
	cs, err := newShapedCase(short)
	if err != nil {
		return nil, err
	}
	in := cs.attention.stored()
	a.set(in)
	for _, b := range []struct {
		name string
		data []float32
		kind sim.BufferKind
	}{
		{"query", in.query, sim.Input}, {"key", in.key, sim.Input}, {"value", in.value, sim.Input}, {"decay", in.decay, sim.Input}, {"beta", in.beta, sim.Input}, {"write", in.write, sim.Input},
		{"output", in.output, sim.Output}, {"state", in.state, sim.State},
		{"grad output", in.gradOutput, sim.Input}, {"grad query", in.gradQuery, sim.Output}, {"grad key", in.gradKey, sim.Output},
		{"grad value", in.gradValue, sim.Output}, {"grad decay", in.gradDecay, sim.Output},
	} {
		r.Buffer(b.name, b.data, b.kind)
	}
	b := in.bits
	r.Halves("query", b.query, sim.Input)
	r.Halves("key", b.key, sim.Input)
	r.Halves("value", b.value, sim.Input)
	r.Halves("decay", b.decay, sim.Input)
	r.Halves("beta", b.beta, sim.Input)
	r.Halves("output", b.output, sim.Output)
	r.Halves("past", b.past, sim.State)
	r.Halves("state", b.state, sim.State)
	for name, data := range a.scratchBuffers() {
		r.Buffer(name, data, sim.Scratch)
	}
	here := min(units, perBatch)
	trips := more * float64(full.T) / float64(min(chunk, max(1, full.T)))
	if headOuter {
		trips *= float64(units) // one trip is one chunk of one head
		here = min(here, 1)
	} else {
		trips *= math.Ceil(float64(units) / float64(perBatch))
	}
	a.walkSteps(here, r.Trip)
	return r.Program(p.String(), c.Config, trips, workers)
}

func recordHash(p tile.Problem, c tile.Candidate, r *sim.Recorder) (*sim.Program, error) {
	full := p.Shape
	short := p
	short.Shape.N = min(full.N, recordedTrips*hashBlock*p.Threads) // the first worker's share is whole blocks
	cs, err := newShapedCase(short)
	if err != nil {
		return nil, err
	}
	a := newHashRows(short, r.Primitives(), c.Config)
	real := newHashRows(p, r.Primitives(), c.Config)
	a.byToken, a.workers = real.byToken, real.workers
	a.set(cs.hash)
	in := cs.hash
	r.Buffer("input", in.input, sim.Input)
	in.prepared.rows.buffers(r)
	r.Buffer("output", in.output, sim.Output)
	w := a.work[0]
	r.Buffer("weights", w.scaled, sim.Scratch)
	w.hasher.buffers(r.Buffer)
	r.Indices("rows", w.rows, sim.Scratch)
	t1, j1 := short.Shape.N, full.H
	tokens := float64(full.N)
	if a.byToken {
		t1, tokens = t1/a.workers, math.Ceil(tokens/float64(a.workers))
	} else {
		j1 = roundUp((full.H+a.workers-1)/a.workers, cacheLine/4)
	}
	if t1 == 0 {
		return nil, fmt.Errorf("kernels: nothing to record in %s", p)
	}
	for t := 0; t < t1; t += a.block {
		a.tokens(w, t, min(a.block, t1-t), 0, min(j1, full.H), false)
		r.Trip()
	}
	return r.Program(p.String(), c.Config, max(tokens/float64(min(a.block, t1)), 1), a.workers)
}

// maxRecordedWords bounds the address space that a recording takes, 8 GiB: Explain may be asked about a problem that no memory holds.
const maxRecordedWords = 2 << 30

// randomSigns are numbers of magnitude 1: a code is made of signs.
func randomSigns(n int) []float32 {
	v, source := aligned(n), rand.NewPCG(1, 2)
	var bits uint64
	for i := range v {
		if i%64 == 0 {
			bits = source.Uint64()
		}
		v[i] = 1 - 2*float32(int32(bits&1))
		bits >>= 1
	}
	return v
}

// newShapedCase makes a case whose large arrays are zero and so never touched; only a hash layer's input has values, since its
// codes decide which rows are read.
func newShapedCase(p tile.Problem) (*Case, error) {
	if err := CheckProblem(p); err != nil {
		return nil, err
	}
	s := p.Shape
	words := float64(s.B)*float64(s.T)*2*float64(max(s.Hq, s.Hkv))*(float64(s.Dk)+float64(s.Dv)) + float64(s.B)*float64(s.Hkv)*float64(s.Dk)*float64(s.Dv) +
		float64(s.N)*(float64(s.D)+float64(s.H))
	if p.Dir == tile.Backward {
		words *= 2
	}
	if p.Op == tile.HashLayer {
		words += float64((s.D+s.Tau-1)/s.Tau) * float64(int(1)<<s.Tau) * float64(s.H)
	}
	if words > maxRecordedWords {
		return nil, fmt.Errorf("kernels: %s is too large to record", p)
	}
	if p.Op == tile.HashLayer {
		k := (s.D + s.Tau - 1) / s.Tau
		a := hashArgs{problem: p, input: randomSigns(s.N * s.D), prepared: &HashTables{dtype: p.DType, k: k, tau: s.Tau, h: s.H}}
		width := tile.SlabColumns(p.DType)
		rows, panels := (k<<s.Tau)*s.H, roundUp(s.H, width)*k<<s.Tau
		var err error
		switch t := a.prepared; p.DType {
		case tile.BFloat16:
			t.rows.halves, t.panels.halves, err = reserve[uint16](rows, panels)
		case tile.Int8:
			t.scales = make([]float32, k<<s.Tau)
			t.rows.bytes, t.panels.bytes, err = reserve[int8](rows, panels)
		default:
			t.rows.floats, t.panels.floats, err = reserve[float32](rows, panels)
			a.tables = t.rows.floats
		}
		if err != nil {
			return nil, fmt.Errorf("kernels: no addresses for the tables of %s: %w", p, err)
		}
		if p.Dir == tile.Backward {
			a.gradOutput = blank(s.N * s.H)
			a.newOutputs()
		} else {
			a.output = blank(s.N * s.H)
		}
		return &Case{Problem: p, hash: a}, nil
	}
	a := attentionArgs{
		sequences: sequences{tokens: s.T}, keyHeads: s.Hkv, featureMap: p.FeatureMap, normalize: p.Normalize,
		problem: p, scale: 1, betaHeads: s.Hkv,
		query: blank(s.B * s.T * s.Hq * s.Dk), key: blank(s.B * s.T * s.Hkv * s.Dk), value: blank(s.B * s.T * s.Hkv * s.Dv),
		output: blank(s.B * s.T * max(s.Hq, s.Hkv) * s.Dv), state: blank(s.B * s.Hkv * s.Dk * s.Dv),
	}
	switch p.Decay {
	case tile.DecayHead:
		a.decay = blank(s.B * s.T * s.Hkv)
	case tile.DecayKey:
		a.decay = blank(s.B * s.T * s.Hkv * s.Dk)
	case tile.DecayFixed:
		a.headDecay = slices.Repeat([]float32{-1.0 / 64}, s.Hkv) // as the recorder's Exp gives
	}
	if p.Dir == tile.Backward {
		a.gradOutput, a.output = a.output, nil
		a.newGradients()
	}
	if p.Op == tile.DeltaRule {
		a.beta = blank(s.B * s.T * s.Hkv)
	}
	if p.Gates == tile.GatesApart {
		a.eraseWidth, a.writeWidth = s.Dk, s.Dv
		a.beta, a.write = blank(s.B*s.T*s.Hkv*s.Dk), blank(s.B*s.T*s.Hkv*s.Dv)
	}
	if a.halves() {
		b := &a.bits
		for _, x := range []struct {
			bits *[]uint16
			of   []float32
		}{{&b.query, a.query}, {&b.key, a.key}, {&b.value, a.value}, {&b.decay, a.decay}, {&b.beta, a.beta}, {&b.output, a.output}} {
			*x.bits = make([]uint16, len(x.of))
		}
	}
	if a.halfState() {
		a.bits.state = make([]uint16, len(a.state))
	}
	return &Case{Problem: p, attention: a}, nil
}

// simulatedBest ranks a few candidates of each ISA on the CPU as it reports itself, with typical rates in place of measured
// ceilings: register tiles at their defaults, the sizes that decide what stays in which cache varied. Of an ISA's candidates the default
// stands unless another is better by more than such a simulation can tell.
func simulatedBest(p tile.Problem, m *machine.Machine, isas []tile.ISA) (best tile.Candidate, ns float64, err error) {
	ns = math.Inf(1)
	for _, isa := range isas {
		d, e := sim.CPU(m, nil, isa, p.Threads)
		if e != nil {
			err = e
			continue
		}
		standing := math.Inf(1) // the default's time
		for i, cfg := range fewConfigs(p, isa) {
			c := tile.Candidate{ISA: isa, Config: cfg}
			program, e := Record(p, c)
			if e != nil {
				err = e
				continue
			}
			res, e := sim.Simulate(d, program)
			if e != nil {
				err = e
				continue
			}
			if i == 0 {
				standing = res.TimeNs
			} else if res.TimeNs > tellable*standing {
				continue
			}
			if res.TimeNs < ns {
				best, ns = c, res.TimeNs
			}
		}
	}
	if best.Config == nil {
		if err == nil {
			err = fmt.Errorf("kernels: no candidate of %s could be simulated", p)
		}
		return best, ns, err
	}
	return best, ns, nil
}

// tellable is the share of the default's time under which a simulated candidate is taken to be faster. Chunks of 16 to 128 tokens
// of the recurrence are simulated within 2 % of each other where they were measured 13 to 29 % apart.
const tellable = 0.9

// fewConfigs are the default and its like with other chunks.
func fewConfigs(p tile.Problem, isa tile.ISA) []tile.Config {
	cfgs := []tile.Config{Default(p, isa)}
	if p.Op == tile.HashLayer || p.Op == tile.CausalConv {
		return cfgs
	}
	for _, chunk := range chunks(p.Shape) {
		cfg := Default(p, isa)
		if chunk == cfg["chunk"] {
			continue
		}
		cfg["chunk"] = chunk
		if CheckConfig(p, tile.Candidate{ISA: isa, Config: cfg}) == nil {
			cfgs = append(cfgs, cfg)
		}
	}
	return cfgs
}
