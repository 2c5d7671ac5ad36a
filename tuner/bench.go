package tuner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/sim"
)

// BenchOptions of Bench; zero values mean the defaults.
type BenchOptions struct {
	Samples  int               // of the kernel and of each ceiling; 0 means as many as 3 s allow, from 7 to 31
	Measured *machine.Measured // ceilings known before; nil means those that Bench measures itself
	Seed     uint64            // of the inputs
	Progress func(done, total int, what string)
}

const (
	benchTime    = 3 * time.Second
	ceilingTime  = 3 * time.Millisecond // one sample of a ceiling
	leastSamples = 7
	mostSamples  = 31
)

var errDrifted = errors.New("the machine drifted: no block was steady")

// Sample is what Bench measured. Its JSON form is the document of `tune bench --json` but its schema version.
type Sample struct {
	Op        string     `json:"op"`
	Rule      string     `json:"rule,omitempty"`
	Shape     tile.Shape `json:"shape"`
	DType     string     `json:"dtype"`
	Dir       string     `json:"dir"`
	Threads   int        `json:"threads"`
	Decay     string     `json:"decay,omitempty"`
	Weighting string     `json:"weighting,omitempty"`
	Precision string     `json:"precision"` // of products
	Cold      bool       `json:"cold"`      // false: runs follow each other on the same arrays

	ISA    tile.ISA    `json:"isa"`
	Config tile.Config `json:"config"`
	Source string      `json:"source"` // where the config is from

	MedianNs float64 `json:"median_ns"`
	MinNs    float64 `json:"min_ns"`
	MaxNs    float64 `json:"max_ns"`
	Samples  int     `json:"samples"`
	Blocks   []Block `json:"blocks"` // the samples, in order

	Flops             int64   `json:"flops"` // useful
	ExecutedFlops     int64   `json:"executed_flops"`
	CeilingFlopsPerS  float64 `json:"ceiling_flops_per_s"` // of this ISA and thread count, between the samples
	FractionOfCeiling float64 `json:"fraction_of_ceiling"` // useful flops over median time, over that
	CeilingMinPerS    float64 `json:"ceiling_min_flops_s"` // the lowest sample of the ceiling
	CeilingMaxPerS    float64 `json:"ceiling_max_flops_s"` // the highest

	Bytes                  map[string]int64 `json:"bytes"`                         // simulated traffic of each level
	BytesLevel             string           `json:"bytes_level,omitempty"`         // the level whose traffic takes longest
	CeilingBytesPerS       float64          `json:"ceiling_bytes_per_s,omitempty"` // of that level, reading or copying, the faster
	FractionOfBytesCeiling float64          `json:"fraction_of_bytes_ceiling,omitempty"`

	RoofNs      float64 `json:"roof_ns"`
	BoundBy     string  `json:"bound_by"`
	SimulatedNs float64 `json:"simulated_ns,omitempty"`
	MaxError    float64 `json:"max_error"`
	ErrorBound  float64 `json:"error_bound"`
	DenseNs     float64 `json:"dense_ns,omitempty"` // hash-layer: a dense layer of the same N, d and h on this ISA's own products

	Voided int    `json:"voided_blocks"`
	Failed string `json:"failed,omitempty"` // it is wrong, or beats its roof twice: not to be believed
}

// Block is one sample: the mean of the runs of a batch.
type Block struct {
	Runs int     `json:"runs"`
	Ns   float64 `json:"ns"` // a run
}

// Problem is the problem that was measured.
func (s *Sample) Problem() tile.Problem {
	return tile.Problem{Op: s.Op, Rule: s.Rule, Shape: s.Shape, DType: s.DType, Dir: s.Dir, Threads: s.Threads, Decay: s.Decay, Weighting: s.Weighting}
}

// Bench verifies a chosen candidate, then measures it in turns with the ceilings that it is
// judged by: FLOP/s of its ISA and thread count, and bytes per second of the level whose
// traffic takes longest. A wrong candidate is not timed: that is an error.
func Bench(ctx context.Context, m *machine.Machine, choice kernels.Choice, o BenchOptions) (*Sample, error) {
	p, c := choice.Problem, choice.Candidate
	if err := kernels.CheckConfig(p, c); err != nil {
		return nil, err
	}
	step := func(done int, what string) {
		if o.Progress != nil {
			o.Progress(done, 5, what)
		}
	}
	s := &Sample{
		Op: p.Op, Rule: p.Rule, Shape: p.Shape, DType: p.DType, Dir: p.Dir, Threads: p.Threads, Decay: p.Decay, Weighting: p.Weighting,
		Precision: "float32", ISA: c.ISA, Config: c.Config, Source: benchSource(choice.Source),
	}
	l := newLibrary(m, o.Measured)
	step(0, "verifying")
	var err error
	if s.MaxError, s.ErrorBound, err = l.Verify(p, c, o.Seed); err != nil {
		return nil, err
	}
	if !(s.MaxError <= s.ErrorBound) {
		return nil, fmt.Errorf("%s with %s: error %.3g is above its bound %.3g", p, c, s.MaxError, s.ErrorBound)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}

	step(1, "preparing")
	if len(l.measured.Ceilings) == 0 {
		quick, err := roofline.Measure(ctx, m, roofline.Options{Threads: []int{p.Threads}, ISAs: []tile.ISA{c.ISA}, Quick: true})
		if err != nil {
			return nil, err
		}
		l.measured = *quick
		clear(l.devices)
	}
	device, err := l.device(c.ISA, p.Threads)
	if err != nil {
		return nil, err
	}
	if x, err := l.Predict(p, c); err == nil {
		s.SimulatedNs, s.Bytes, s.BytesLevel = x.Ns, x.Bytes, slowestLevel(device, x.Bytes)
	} else {
		roof, err := l.Roof(p, c.ISA)
		if err != nil {
			return nil, err
		}
		s.Bytes, s.BytesLevel = roof.Bytes, slowestLevel(device, roof.Bytes)
	}
	box, err := l.Open(p, o.Seed)
	if err != nil {
		return nil, err
	}
	call, err := box.Prepare(c)
	if err != nil {
		return nil, err
	}
	defer call.Close()
	if s.ExecutedFlops, err = call.ExecutedFlops(); err != nil {
		return nil, err
	}
	calls := []batched{{Call: call}}
	if p.Op == tile.HashLayer && p.Shape.N > 0 {
		dense, err := newDense(p.Shape.N, p.Shape.D, p.Shape.H, c.ISA, p.Threads)
		if err != nil {
			return nil, err
		}
		calls = append(calls, batched{Call: dense})
	}
	specs := []roofline.Spec{{Kind: machine.KindFlops, ISA: c.ISA, Threads: p.Threads}}
	if s.BytesLevel != "" {
		for _, kind := range []string{machine.KindRead, machine.KindCopy} {
			specs = append(specs, roofline.Spec{Kind: kind, ISA: c.ISA, Level: s.BytesLevel, Threads: p.Threads})
		}
	}
	var probes []*roofline.Probe
	var kinds []roofline.Spec
	for _, spec := range specs {
		probe, err := roofline.OpenProbe(m, &l.measured, spec)
		if err != nil {
			if spec.Kind == machine.KindFlops {
				return nil, err
			}
			continue // a level that this machine cannot be measured at: its ceiling stays unknown
		}
		defer probe.Close()
		probes, kinds = append(probes, probe), append(kinds, spec)
	}

	step(2, "measuring")
	samples, err := s.measure(ctx, calls, probes, o.Samples)
	if err != nil {
		return nil, err
	}
	step(4, "roof")
	for i, x := range samples {
		c := probes[i].Ceiling(x)
		l.raise([]machine.Ceiling{c})
		if kinds[i].Kind == machine.KindFlops {
			s.CeilingFlopsPerS, s.CeilingMinPerS, s.CeilingMaxPerS = c.Median, c.Min, c.Max
		} else {
			s.CeilingBytesPerS = max(s.CeilingBytesPerS, c.Median)
		}
	}
	roof, err := l.Roof(p, c.ISA)
	if err != nil {
		return nil, err
	}
	if roof.beatenBy(s.MedianNs) {
		if again, err := l.RemeasureRoof(p, c.ISA); err == nil {
			roof = again
		}
		if err := s.again(calls[0], &roof); err != nil {
			return nil, err
		}
	}
	s.RoofNs, s.BoundBy, s.Flops = roof.Ns, roof.BoundBy, roof.Flops
	s.FractionOfCeiling = float64(s.Flops) / (s.MedianNs * 1e-9) / s.CeilingFlopsPerS
	if s.CeilingBytesPerS > 0 {
		s.FractionOfBytesCeiling = float64(s.Bytes[s.BytesLevel]) / (s.MedianNs * 1e-9) / s.CeilingBytesPerS
	}
	step(5, "done")
	return s, nil
}

// measure takes the samples: a batch of each call, then of each ceiling, around and around.
func (s *Sample) measure(ctx context.Context, calls []batched, probes []*roofline.Probe, samples int) (ceilings [][]float64, err error) {
	meter := meter{clock: wallClock{}}
	quiet := meter.clock.Quiet()
	defer quiet()
	round := float64(len(probes)) * float64(ceilingTime)
	for i := range calls {
		runs, ns, err := meter.calibrate(calls[i].Call)
		if err != nil {
			return nil, err
		}
		// A sample as long as one of the ceiling beside it, where a run is shorter.
		calls[i].runs = max(runs, int(float64(ceilingTime)/ns))
		round += ns * float64(calls[i].runs)
	}
	if samples == 0 {
		samples = min(mostSamples, max(leastSamples, int(float64(benchTime)/round)))
	}
	ceilings = make([][]float64, len(probes))
	var dense []float64
	for try := 0; len(s.Blocks) < samples && try < 2*samples+8; try++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i, probe := range probes {
			ceilings[i] = append(ceilings[i], probe.Sample(ceilingTime))
		}
		ns, good, err := meter.block(calls, rotation(len(calls), try))
		if err != nil {
			return nil, err
		}
		if !good {
			continue
		}
		s.Blocks = append(s.Blocks, Block{calls[0].runs, ns[0]})
		if len(calls) > 1 {
			dense = append(dense, ns[1])
		}
	}
	s.Voided = meter.voided
	if len(s.Blocks) == 0 {
		return nil, errDrifted
	}
	if len(dense) > 0 {
		s.DenseNs = median(dense)
	}
	s.summarize()
	return ceilings, nil
}

func (s *Sample) summarize() {
	var ns []float64
	for _, b := range s.Blocks {
		ns = append(ns, b.Ns)
	}
	s.MedianNs, s.MinNs, s.MaxNs, s.Samples = median(ns), slices.Min(ns), slices.Max(ns), len(ns)
}

// again measures a sample that was under its roof once more; a repeat makes it a failure.
func (s *Sample) again(call batched, roof *Roof) error {
	meter := meter{clock: wallClock{}}
	quiet := meter.clock.Quiet()
	defer quiet()
	var blocks []Block
	for range len(s.Blocks) {
		ns, err := meter.run(call.Call, call.runs)
		if err != nil {
			return err
		}
		blocks = append(blocks, Block{call.runs, ns})
	}
	s.Blocks = blocks
	s.summarize()
	if roof.beatenBy(s.MedianNs) {
		s.Failed = fmt.Sprintf("measured %.4g µs, under its roof of %.4g µs (%s): the measurement or the count is wrong", s.MedianNs/1e3, roof.Ns/1e3, roof.BoundBy)
	}
	return nil
}

// slowestLevel names the memory level whose traffic takes longest.
func slowestLevel(d *sim.Device, bytes map[string]int64) string {
	name, longest := "", 0.0
	for _, l := range d.Levels {
		if t := float64(bytes[l.Name]) / math.Max(l.ReadBps, 1); t > longest {
			name, longest = l.Name, t
		}
	}
	return name
}

// benchSource shortens where a choice is from to the words of the document: profile, model, default or flag.
func benchSource(source string) string {
	switch source {
	case kernels.SourceEnvironment, kernels.SourceUser, kernels.SourceEmbedded:
		return "profile"
	}
	return source
}
