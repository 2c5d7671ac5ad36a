package tuner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/sim"
	"github.com/rooftune/rooftune/tuner/stats"
)

// BenchOptions say how long a problem is timed.
type BenchOptions struct {
	Worker   []string                           // command line of the child process that verifies: see Worker
	Cold     bool                               // each run finds its arrays in memory; else again in the caches
	Rounds   int                                // of the problem and every ceiling in turn; 0 means 15
	Progress func(done, total int, what string) // may be nil
}

const (
	benchRounds   = 15
	benchFewest   = 5               // rounds, however slow the problem
	benchTime     = 8 * time.Second // after which no further round is begun
	ceilingSample = 3 * time.Millisecond
	benchVoids    = 3 // rounds thrown away for each that is asked
)

// Sample is one problem timed beside its ceilings, which were measured in turns with it. Its JSON form is the document of `tune bench --json`.
type Sample struct {
	Schema    int        `json:"schema"`
	Op        string     `json:"op"`
	Rule      string     `json:"rule,omitempty"`
	Shape     tile.Shape `json:"shape"`
	DType     string     `json:"dtype"`
	Dir       string     `json:"dir"`
	Threads   int        `json:"threads"`
	Decay     string     `json:"decay,omitempty"`
	Weighting string     `json:"weighting,omitempty"`
	// Options of linear-attention and the attention ops' type of states, as in tile.Problem.
	StateDType string `json:"state_dtype,omitempty"`
	Full       bool   `json:"full,omitempty"`
	Normalize  bool   `json:"normalize,omitempty"`
	FeatureMap string `json:"feature_map,omitempty"`
	Front      string `json:"front,omitempty"`
	Gates      string `json:"gates,omitempty"`

	Precision string      `json:"precision"` // of products
	Cold      bool        `json:"cold"`      // false: repeated calls on the same arrays
	ISA       tile.ISA    `json:"isa"`
	Config    tile.Config `json:"config"`
	Source    string      `json:"source"` // profile, model, default or flag

	MedianNs float64 `json:"median_ns"`
	MinNs    float64 `json:"min_ns"`
	MaxNs    float64 `json:"max_ns"`
	Samples  int     `json:"samples"`
	Voided   int     `json:"voided_blocks"`

	Flops             int64   `json:"flops"` // useful
	ExecutedFlops     int64   `json:"executed_flops"`
	CeilingFlopsPerS  float64 `json:"ceiling_flops_per_s"`
	CeilingFlopsMin   float64 `json:"ceiling_flops_per_s_min"`
	CeilingFlopsMax   float64 `json:"ceiling_flops_per_s_max"`
	FractionOfCeiling float64 `json:"fraction_of_ceiling"`

	Bytes                  map[string]int64 `json:"bytes"` // that each level must move at least, of BytesLevel what a sweep through the data moves
	BytesLevel             string           `json:"bytes_level,omitempty"`
	CeilingBytesPerS       float64          `json:"ceiling_bytes_per_s,omitempty"` // of BytesLevel, the level that binds
	FractionOfBytesCeiling float64          `json:"fraction_of_bytes_ceiling,omitempty"`
	DenseNs                float64          `json:"dense_ns,omitempty"` // hash-layer: a dense layer of these widths on this project's A·B
	Dense                  string           `json:"dense,omitempty"`    // what that was timed on: profile.DenseDriver
	// What one thread takes, in turns with it; only of more threads. It runs what the library would choose for one, or the same candidate if
	// that was forced.
	OneThreadNs     float64     `json:"one_thread_ns,omitempty"`
	OneThreadISA    tile.ISA    `json:"one_thread_isa,omitempty"`
	OneThreadConfig tile.Config `json:"one_thread_config,omitempty"`
	Scaling         float64     `json:"scaling,omitempty"` // OneThreadNs over MedianNs

	RoofNs      float64 `json:"roof_ns"` // of the op, whatever its form
	BoundBy     string  `json:"bound_by"`
	SimulatedNs float64 `json:"simulated_ns,omitempty"`
	Form        *Form   `json:"form,omitempty"` // hash-layer: what the chosen form's own traffic takes
	MaxError    float64 `json:"max_error"`
	ErrorBound  float64 `json:"error_bound"`
	Failed      string  `json:"failed,omitempty"` // why the sample is not to be trusted

	Blocks []Block `json:"blocks"`
}

// Form is what one form of an op could take at best: its own traffic at the measured ceilings, however well another form might do. The
// traffic is simulated, so this is an estimate and no sound bound, as Sample.RoofNs is.
type Form struct {
	RoofNs   float64          `json:"roof_ns"`
	BoundBy  string           `json:"bound_by"`
	Fraction float64          `json:"fraction"`       // RoofNs over the median time; Note is set where it is above 1
	Bytes    map[string]int64 `json:"bytes"`          // that the form moves at each level, as simulated
	Note     string           `json:"note,omitempty"` // why the estimate cannot be right
}

// tooMuch is the note of a form that was measured faster than its traffic allows.
const tooMuch = "measured faster than this: the simulated traffic is too much"

// Block is one timed batch.
type Block struct {
	Runs int     `json:"runs"`
	Ns   float64 `json:"ns"` // of one run
}

// Problem is the problem that was timed.
func (s *Sample) Problem() tile.Problem {
	p := tile.Problem{Op: s.Op, Rule: s.Rule, Shape: s.Shape, DType: s.DType, Dir: s.Dir, Threads: s.Threads, Decay: s.Decay, Weighting: s.Weighting,
		StateDType: s.StateDType, Full: s.Full, Normalize: s.Normalize, FeatureMap: s.FeatureMap, Front: s.Front, Gates: s.Gates}
	if s.Precision != tile.Float32 {
		p.Precision = s.Precision
	}
	return p
}

// Bench verifies a choice's candidate, then times it in turns with the ceilings of its ISA and thread count. A sample under its roof is
// taken again; if that repeats, Failed says so.
func Bench(ctx context.Context, m *machine.Machine, choice kernels.Choice, o BenchOptions) (*Sample, error) {
	if o.Rounds == 0 {
		o.Rounds = benchRounds
	}
	p, c := choice.Problem, choice.Candidate
	s := &Sample{
		Schema: ReportSchema, Op: p.Op, Rule: p.Rule, Shape: p.Shape, DType: p.DType, Dir: p.Dir, Threads: p.Threads, Decay: p.Decay,
		Weighting: p.Weighting, StateDType: p.StateDType, Full: p.Full, Normalize: p.Normalize, FeatureMap: p.FeatureMap, Front: p.Front, Gates: p.Gates,
		Precision: cmp.Or(p.Precision, tile.Float32), Cold: o.Cold, ISA: c.ISA, Config: c.Config, Source: benchSource(choice.Source),
	}
	b, err := newBench(m, choice, o.Cold)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if len(o.Worker) == 0 {
		return nil, errors.New("no worker: a candidate is verified in a child process")
	}
	child := newWorker(o.Worker)
	s.MaxError, s.ErrorBound, err = child.verify(p, c, 1)
	child.close()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", p, c, err)
	}
	if !(s.MaxError <= s.ErrorBound) {
		return nil, fmt.Errorf("%s %s is wrong: error %.3g above its bound %.3g", p, c, s.MaxError, s.ErrorBound)
	}
	if s.ExecutedFlops, err = b.call.ExecutedFlops(); err != nil {
		return nil, err
	}
	for attempt := range 2 {
		if err := b.measure(ctx, o); err != nil {
			return nil, err
		}
		if err := b.judge(s); err != nil {
			return nil, err
		}
		if s.MedianNs >= s.RoofNs {
			break
		}
		if attempt == 1 {
			s.Failed = fmt.Sprintf("measured %.4g µs, under the roof of %.4g µs (%s) twice: the measurement or the count is wrong", s.MedianNs/1e3, s.RoofNs/1e3, s.BoundBy)
		}
	}
	return s, nil
}

func benchSource(source string) string {
	switch source {
	case kernels.SourceEnvironment, kernels.SourceUser, kernels.SourceEmbedded:
		return "profile"
	}
	return source
}

// bench is a problem and its ceilings under measurement.
type bench struct {
	machine  *machine.Machine
	choice   kernels.Choice
	known    machine.Measured // of an earlier run: what the plateaus of the caches are
	call     Call
	dense    *kernels.Dense // hash layers
	alone    *alone         // nil where it is not timed
	probes   []*roofline.Probe
	ceilings [][]float64 // samples by probe
	meter    meter
	blocks   []Block
	voided   int // blocks
	denseNs  []float64
}

// alone is a problem of several threads on one. It has a meter of its own: what is usual for the canaries depends on what ran before.
type alone struct {
	batched
	candidate tile.Candidate
	meter     meter
	ns        []float64 // by block, beside those of the problem itself
}

func newBench(m *machine.Machine, choice kernels.Choice, cold bool) (*bench, error) {
	b := &bench{machine: m, choice: choice, meter: meter{clock: wallClock{}, single: true}}
	p, c := choice.Problem, choice.Candidate
	if old := kernels.Measured(); old != nil {
		b.known = machine.Measured{Latency: old.Latency, Plateaus: old.Plateaus, StealPct: -1}
	}
	var x Case
	var err error
	if cold {
		x, err = openCold(p, 1, lastCache(m, &b.known))
	} else {
		var warm *kernels.Case
		warm, err = kernels.NewCase(p, 1)
		x = libraryCase{warm}
	}
	if err != nil {
		return nil, err
	}
	if b.call, err = x.Prepare(c); err != nil {
		return nil, err
	}
	if p.Op == tile.HashLayer {
		if b.dense, err = kernels.NewDense(p, c.ISA); err != nil {
			return nil, err
		}
	}
	if p.Threads > 1 && !cold {
		b.alone = oneThread(choice)
	}
	specs := []roofline.Spec{{Kind: machine.KindFlops}}
	if p.Precision == tile.BFloat16 && c.ISA != tile.Generic { // portable Go has float32 products alone
		specs = append([]roofline.Spec{{Kind: machine.KindDotBF16}}, specs...)
	}
	for _, level := range []string{"L1", "L2", "L3", "DRAM"} {
		specs = append(specs, roofline.Spec{Kind: machine.KindRead, Level: level}, roofline.Spec{Kind: machine.KindCopy, Level: level}, roofline.Spec{Kind: machine.KindUpdate, Level: level})
	}
	if p.Op == tile.HashLayer {
		specs = append(specs, gatherRows(p, c.Config)...)
	}
	for _, s := range specs {
		s.ISA, s.Threads = c.ISA, p.Threads
		probe, err := roofline.OpenProbe(m, &b.known, s)
		if err != nil {
			if s.Level == "" {
				b.close()
				return nil, err
			}
			continue // a level that this machine does not have
		}
		b.probes = append(b.probes, probe)
	}
	return b, nil
}

// SourceFlag is a choice's source where the command line gave the candidate.
const SourceFlag = "flag"

// oneThread is the problem on one thread: with the same candidate if that was forced, else with what the library would choose. It is nil where
// that cannot be run: the figure is left out then, and the sample stands without.
func oneThread(choice kernels.Choice) *alone {
	p := choice.Problem
	p.Threads = 1
	c := choice.Candidate
	if choice.Source != SourceFlag {
		chosen, err := kernels.Explain(p)
		if err != nil {
			return nil
		}
		c = chosen.Candidate
	}
	x, err := kernels.NewCase(p, 1)
	if err != nil {
		return nil
	}
	call, err := libraryCase{x}.Prepare(c)
	if err != nil {
		return nil
	}
	return &alone{batched: batched{Call: call}, candidate: c, meter: meter{clock: wallClock{}, single: true}}
}

// gatherRows are the reads of rows at random places that bound a candidate of a hash layer: of as much of a table's row as its passes read at once, in
// lines. A slab's rows are read from the private cache, to which its lines come in a row, so that from memory whole rows are the measure.
func gatherRows(p tile.Problem, c tile.Config) []roofline.Spec {
	const line = 64
	size := cmp.Or(map[string]int{tile.BFloat16: 2, tile.Int8: 1}[p.DType], 4)
	row := max(line, min(cmp.Or(c["cols"], p.Shape.H), p.Shape.H)*size/line*line)
	at := func(level string, bytes int) roofline.Spec {
		return roofline.Spec{Kind: machine.KindGather, Level: level, RowBytes: bytes}
	}
	if c["slab"] > 0 {
		return []roofline.Spec{at("L2", tile.SlabColumns(p.DType)*size), at("DRAM", row)}
	}
	return []roofline.Spec{at("L2", row), at("L3", row), at("DRAM", row)}
}

func (b *bench) close() {
	for _, p := range b.probes {
		p.Close()
	}
}

// measure takes rounds of one batch and one sample of every ceiling.
func (b *bench) measure(ctx context.Context, o BenchOptions) error {
	restore := b.meter.clock.Quiet(b.choice.Problem.Threads)
	defer restore()
	call := batched{Call: b.call}
	var err error
	if call.runs, _, err = b.meter.calibrate(b.call, b.choice.Problem.Threads); err != nil {
		return err
	}
	b.blocks, b.denseNs = nil, nil
	if b.alone != nil {
		b.alone.ns = nil
		if b.alone.runs, _, err = b.alone.meter.calibrate(b.alone.Call, 1); err != nil {
			b.alone = nil
		}
	}
	b.ceilings = make([][]float64, len(b.probes))
	start := time.Now()
	for try := 0; len(b.blocks) < o.Rounds; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(b.blocks) >= benchFewest && time.Since(start) > benchTime {
			return nil
		}
		if try > benchVoids*o.Rounds {
			if len(b.blocks) >= benchFewest {
				return nil
			}
			return errors.New("the machine drifts too much to measure: nearly every block was void")
		}
		if o.Progress != nil {
			o.Progress(len(b.blocks), o.Rounds, "timing "+b.choice.Problem.String())
		}
		for i, p := range b.probes {
			b.ceilings[i] = append(b.ceilings[i], p.Sample(ceilingSample))
		}
		ns, aloneNs, good, err := b.round(try, call)
		if err != nil {
			return err
		}
		if !good {
			b.voided++
			continue
		}
		b.blocks = append(b.blocks, Block{call.runs, ns})
		if b.alone != nil {
			b.alone.ns = append(b.alone.ns, aloneNs)
		}
		if b.dense != nil {
			b.dense.Run()
			t := time.Now()
			b.dense.Run()
			b.denseNs = append(b.denseNs, float64(time.Since(t)))
		}
	}
	return nil
}

// round times a block of the call and one of it on one thread, which comes first in turns. It is good if both are, so that drift voids both.
func (b *bench) round(k int, call batched) (ns, aloneNs float64, good bool, err error) {
	good = true
	for _, i := range rotation(2, k) {
		var fine bool
		switch {
		case i == 0:
			if ns, fine, err = warmBlock(&b.meter, call); err != nil {
				return 0, 0, false, err
			}
			good = good && fine
		case b.alone != nil:
			if aloneNs, fine, err = warmBlock(&b.alone.meter, b.alone.batched); err != nil {
				b.alone = nil // the figure is left out
				continue
			}
			good = good && fine
		}
	}
	return ns, aloneNs, good, nil
}

// warmBlock times a block of one call. What ran before has the caches, so one run finds its own data again; not where that is to be cold.
func warmBlock(m *meter, call batched) (float64, bool, error) {
	if _, cold := call.Call.(fresher); !cold {
		if err := call.Run(); err != nil {
			return 0, false, err
		}
	}
	ns, good, err := m.block([]batched{call}, []int{0})
	if err != nil {
		return 0, false, err
	}
	return ns[0], good, nil
}

// judge puts the samples under the ceilings of the same rounds.
func (b *bench) judge(s *Sample) error {
	measured := b.known
	for i, p := range b.probes {
		measured.Ceilings = append(measured.Ceilings, p.Ceiling(b.ceilings[i]))
	}
	var times []float64
	s.MinNs, s.MaxNs = b.blocks[0].Ns, b.blocks[0].Ns
	for _, x := range b.blocks {
		times = append(times, x.Ns)
		s.MinNs, s.MaxNs = min(s.MinNs, x.Ns), max(s.MaxNs, x.Ns)
	}
	s.MedianNs, s.Samples, s.Blocks, s.Voided = stats.Median(times), len(times), b.blocks, b.voided
	p, c := b.choice.Problem, b.choice.Candidate
	d, err := sim.CPU(b.machine, &measured, c.ISA, p.Threads)
	if err != nil {
		return err
	}
	roof, err := sim.Roof(d, p)
	if err != nil {
		return err
	}
	s.Flops, s.Bytes, s.RoofNs, s.BoundBy = roof.Flops, roof.Bytes, roof.RoofNs, roof.BoundBy
	flops := measured.Ceilings[0]
	s.CeilingFlopsPerS, s.CeilingFlopsMin, s.CeilingFlopsMax = flops.Median, flops.Min, flops.Max
	s.FractionOfCeiling = float64(s.Flops) / s.MedianNs * 1e9 / flops.Median
	s.BytesLevel, s.CeilingBytesPerS, s.FractionOfBytesCeiling = "", 0, 0
	slowest := 0.0
	for _, l := range d.Levels {
		if ns := float64(roof.Bytes[l.Name]) / l.PeakBps; ns > slowest {
			slowest = ns
			s.BytesLevel, s.CeilingBytesPerS = l.Name, max(l.ReadBps, l.CopyBps)
		}
	}
	if p.Op != tile.HashLayer {
		sweep, err := sim.SweepOf(d, p)
		if err != nil {
			return err
		}
		if sweep.Bytes > 0 {
			s.Bytes = maps.Clone(s.Bytes)
			s.Bytes[sweep.Level] = sweep.Bytes
			s.BytesLevel, s.CeilingBytesPerS = sweep.Level, float64(sweep.Bytes)/sweep.Ns*1e9
		}
	}
	if p.Op == tile.HashLayer && s.BytesLevel == "DRAM" {
		for _, g := range d.Levels[len(d.Levels)-1].Gathers {
			s.CeilingBytesPerS = g.Bps
		}
	}
	if s.BytesLevel != "" {
		s.FractionOfBytesCeiling = float64(s.Bytes[s.BytesLevel]) / s.MedianNs * 1e9 / s.CeilingBytesPerS
	}
	s.OneThreadNs, s.Scaling, s.OneThreadISA, s.OneThreadConfig = 0, 0, "", nil
	if b.alone != nil && len(b.alone.ns) > 0 {
		s.OneThreadNs, s.OneThreadISA, s.OneThreadConfig = stats.Median(b.alone.ns), b.alone.candidate.ISA, b.alone.candidate.Config
		s.Scaling = s.OneThreadNs / s.MedianNs
	}
	if len(b.denseNs) > 0 {
		s.DenseNs, s.Dense = stats.Median(b.denseNs), profile.DenseDriver
	}
	program, err := kernels.Record(p, c)
	if err != nil {
		return nil // nothing to simulate, as with no tokens: the time stands without
	}
	r, err := sim.Simulate(d, program)
	if err != nil {
		return err
	}
	s.SimulatedNs = r.TimeNs
	if p.Op == tile.HashLayer {
		f := sim.FormRoof(d, program, r)
		s.Form = &Form{RoofNs: f.RoofNs, BoundBy: f.BoundBy, Fraction: f.RoofNs / s.MedianNs, Bytes: f.Bytes}
		if s.Form.Fraction > 1 {
			s.Form.Note = tooMuch
		}
	}
	return nil
}
