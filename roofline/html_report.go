package roofline

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
	"github.com/rooftune/rooftune/sim/gpu"
)

const unknown = "unknown"

// maxTrials bounds the candidates that a page lists, so that a long run's journal does not make it too large to load.
const maxTrials = 6000

// report is what the page's template shows.
type report struct {
	Title    string
	Facts    []fact // of the machine, in words
	Origin   []fact // of the profile
	Rows     []row
	Ceilings []ceilingBlock
	Levels   [][]string
	Notes    []string
	Data     *reportData // for the page's script
}

// fact is a name and what is known of it.
type fact struct{ Name, Value string }

// row is a point in the page's table.
type row struct {
	Index                                           int
	Problem, ISA, Time, Rate, Roof, Bound, RoofTime string
	Simulated, Ratio, Ties, Config                  string
	Stale                                           bool
}

// ceilingBlock is the table of one thread count.
type ceilingBlock struct {
	Threads string
	ISAs    []string
	Rows    [][]string
}

// reportData is the JSON that the page's script reads. Numbers that are not known are null.
type reportData struct {
	Levels   []string      `json:"levels"`
	ISAs     []tile.ISA    `json:"isas"`
	Ops      []string      `json:"ops"`
	Ceilings []dataCeiling `json:"ceilings"`
	Points   []dataPoint   `json:"points"`
	GPU      [][]dataGPU   `json:"gpu"`
	GPUFit   string        `json:"gpu_fit"` // what the predictions were fitted on, and their errors
	Verdicts []string      `json:"verdicts"`
	Journal  bool          `json:"journal"` // whether a run's journal was there
}

// dataCeiling is a peak: of FLOP/s, or of a level's bytes per second, of what is fastest.
type dataCeiling struct {
	ISA     tile.ISA `json:"isa"`
	Threads int      `json:"threads"`
	Level   string   `json:"level,omitempty"` // "" for flops
	Kind    string   `json:"kind"`            // "flops" or "bytes"
	Median  float64  `json:"median"`
	Max     float64  `json:"max"`
}

// dataPoint is a tuned answer.
type dataPoint struct {
	Op      int        `json:"op"` // index of its name in Ops
	Problem string     `json:"problem"`
	Group   string     `json:"group"` // the same for all ISAs and thread counts of a problem
	ISA     tile.ISA   `json:"isa"`
	Threads int        `json:"threads"`
	Config  string     `json:"config"`
	Ns      float64    `json:"ns"`
	MinNs   *float64   `json:"min"`
	MaxNs   *float64   `json:"max"`
	Samples int        `json:"samples"`
	RoofNs  float64    `json:"roof"`
	Bound   string     `json:"bound"`
	Level   string     `json:"level"`
	Flops   int64      `json:"flops"`
	ByBytes bool       `json:"by_bytes,omitempty"`
	Rate    *float64   `json:"rate"`  // of flops, or of bytes where the op is judged on them
	Least   []int64    `json:"least"` // bytes each level must move
	Moved   []int64    `json:"moved"` // as simulated; null if unknown
	SimNs   *float64   `json:"sim"`
	SimBy   string     `json:"sim_by,omitempty"`
	Parts   []dataPart `json:"parts"`
	Error   *float64   `json:"error"`
	Allowed *float64   `json:"allowed"`
	Effect  *float64   `json:"effect"`
	Tried   int        `json:"tried"`
	Ties    []string   `json:"ties,omitempty"`
	Stale   bool       `json:"stale,omitempty"`
	GPU     int        `json:"gpu"` // index
	Sweep   *dataSweep `json:"sweep"`
	DenseNs *float64   `json:"dense,omitempty"`
	Crosses string     `json:"crosses,omitempty"` // in words, where a hash layer is faster than a dense one
	Tokens  int        `json:"tokens,omitempty"`  // of a hash layer
	Family  string     `json:"family,omitempty"`  // the same for all batches of a hash layer
	Hash    bool       `json:"hash,omitempty"`
}

// dataPart is how long one resource alone would take.
type dataPart struct {
	Name string  `json:"name"`
	Ns   float64 `json:"ns"`
}

// dataSweep is the candidates that one answer was chosen from.
type dataSweep struct {
	Names   []string `json:"names"`
	Rows    [][]any  `json:"rows"` // values in the order of names, measured ns, simulated ns or null, index of the verdict
	LeftOut int      `json:"left_out,omitempty"`
}

func newReport(p *profile.Profile, evidence *Evidence) *report {
	r := &report{Title: "Roofline of " + cmp.Or(p.Machine.Brand, p.Machine.Vendor, "an unknown CPU"), Data: &reportData{Levels: levels}}
	r.Facts = machineFacts(&p.Machine, &p.Measured)
	r.Ceilings = ceilingBlocks(&p.Measured)
	r.Levels = levelRows(&p.Machine, &p.Measured)
	for _, c := range p.Measured.Ceilings {
		if c.Kind == machine.KindFlops && c.Median > 0 && !math.IsInf(c.Median, 0) {
			r.Data.Ceilings = append(r.Data.Ceilings, dataCeiling{c.ISA, c.Threads, c.Level, c.Kind, c.Median, c.Max})
		}
	}
	for _, c := range bandwidths(&p.Measured) {
		r.Data.Ceilings = append(r.Data.Ceilings, dataCeiling{c.ISA, c.Threads, c.Level, "bytes", c.Median, c.Max})
	}
	points := placeAll(p)
	results := simulateAll(points)
	sweeps := r.sweeps(evidence)
	groups := map[string]int{} // GPU predictions by problem
	stale := 0
	if constants, err := gpu.Fitted(); err == nil {
		r.Data.GPUFit = constants.Fit
	}
	for i, pt := range points {
		d := r.point(pt, results[i])
		key := d.Group
		g, ok := groups[key]
		if !ok {
			g = len(r.Data.GPU)
			r.Data.GPU = append(r.Data.GPU, onGPUs(pt.Problem))
			groups[key] = g
		}
		d.GPU = g
		if c := p.Crossover(pt.Problem, pt.Candidate.ISA); c != nil {
			d.Crosses = crossoverText(c)
		}
		d.Sweep = sweeps[sweepKey(pt.Problem, pt.Candidate.ISA)]
		if d.Stale {
			stale++
		}
		r.Data.Points = append(r.Data.Points, d)
		r.Rows = append(r.Rows, tableRow(i, pt, d))
		if !slices.Contains(r.Data.ISAs, pt.Candidate.ISA) {
			r.Data.ISAs = append(r.Data.ISAs, pt.Candidate.ISA)
		}
	}
	r.origin(p, evidence, stale)
	if n := len(p.Entries) - len(points); n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d of the profile's %d answers have no roof or no time and are not shown.", n, len(p.Entries)))
	}
	if len(points) == 0 {
		r.Notes = append(r.Notes, "The profile has no tuned answers yet.")
	}
	if p.Measured.StealPct > 1 {
		r.Notes = append(r.Notes, fmt.Sprintf("The hypervisor took %s %% of the CPU's time while the ceilings were measured: they may be too low.", number(p.Measured.StealPct)))
	}
	return r
}

// point gathers what is known of one answer. simulated may be nil.
func (r *report) point(pt placed, simulated *sim.Result) dataPoint {
	e := pt.entry
	d := dataPoint{
		Op: r.op(opName(pt.Problem)), Problem: shapeText(pt.Problem.Shape), Group: groupOf(pt.Problem),
		ISA: pt.Candidate.ISA, Threads: pt.Problem.Threads, Config: pt.Candidate.Config.String(),
		Ns: pt.MedianNs, MinNs: known(e.MinNs), MaxNs: known(e.MaxNs), Samples: e.Samples,
		RoofNs: pt.RoofNs, Bound: pt.BoundBy, Level: pt.Level, Flops: pt.Flops, ByBytes: pt.BytesBound(),
		Rate: known(pt.FlopsPerS), SimNs: known(e.SimulatedNs), Tried: e.Candidates,
		Stale: e.SourceHash != kernels.SourceHash(pt.Problem.Op, e.ISA), Hash: pt.Problem.Op == tile.HashLayer,
	}
	if d.ByBytes {
		d.Rate = known(pt.BytesPerS)
	}
	if d.Hash {
		family := pt.Problem
		d.Tokens, family.Shape.N = family.Shape.N, 0
		d.Family = family.String()
	}
	if e.ErrorBound > 0 { // else it was not verified here
		d.Error, d.Allowed = &e.MaxError, &e.ErrorBound
	}
	d.Effect, d.DenseNs = known(e.DetectableEffect), known(e.DenseNs)
	for _, c := range e.TieSet {
		d.Ties = append(d.Ties, c.String())
	}
	for _, l := range levels {
		d.Least = append(d.Least, pt.Bytes[l])
	}
	if simulated != nil {
		d.SimBy = simulated.BoundBy
		for _, l := range levels {
			d.Moved = append(d.Moved, simulated.Bytes[l])
		}
		for _, name := range slices.Sorted(maps.Keys(simulated.Parts)) {
			d.Parts = append(d.Parts, dataPart{name, simulated.Parts[name]})
		}
		slices.SortStableFunc(d.Parts, func(a, b dataPart) int { return cmp.Compare(b.Ns, a.Ns) })
	}
	return d
}

func (r *report) op(name string) int {
	i := slices.Index(r.Data.Ops, name)
	if i < 0 {
		i = len(r.Data.Ops)
		r.Data.Ops = append(r.Data.Ops, name)
	}
	return i
}

// known is a pointer to a positive number, or nil: what was not measured is not 0.
func known(x float64) *float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// groupOf names a problem without its thread count.
func groupOf(p tile.Problem) string {
	p.Threads = 0
	return opName(p) + " " + p.String()
}

// simulateAll simulates every answer on its own device, side by side; nil where that cannot be done.
func simulateAll(points []placed) []*sim.Result {
	results := make([]*sim.Result, len(points))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(len(points), runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(points) {
					return
				}
				program, err := kernels.Record(points[i].Problem, points[i].Candidate)
				if err != nil {
					continue
				}
				if result, err := sim.Simulate(points[i].device, program); err == nil {
					results[i] = result
				}
			}
		})
	}
	workers.Wait()
	return results
}

func sweepKey(p tile.Problem, isa tile.ISA) string {
	return opName(p) + " " + p.String() + " " + string(isa)
}

// sweeps groups the trials by problem and ISA, fastest first; of too many the slowest are left out.
func (r *report) sweeps(evidence *Evidence) map[string]*dataSweep {
	out := map[string]*dataSweep{}
	if evidence == nil {
		return out
	}
	r.Data.Journal = true
	byKey := map[string][]Trial{}
	for _, t := range evidence.Trials {
		key := sweepKey(t.Problem, t.ISA)
		byKey[key] = append(byKey[key], t)
	}
	most := maxTrials
	if n := len(byKey); n > 0 {
		most = max(maxTrials/n, 4)
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		trials := byKey[key]
		slices.SortStableFunc(trials, func(a, b Trial) int { return cmp.Compare(a.MedianNs, b.MedianNs) })
		s := &dataSweep{}
		if n := len(trials); n > most {
			s.LeftOut, trials = n-most, trials[:most]
		}
		names := map[string]bool{}
		for _, t := range trials {
			for name := range t.Config {
				names[name] = true
			}
		}
		s.Names = slices.Sorted(maps.Keys(names))
		for _, t := range trials {
			var cells []any
			for _, name := range s.Names {
				if v, ok := t.Config[name]; ok {
					cells = append(cells, v)
				} else {
					cells = append(cells, nil)
				}
			}
			verdict := slices.Index(r.Data.Verdicts, t.Verdict)
			if verdict < 0 {
				verdict = len(r.Data.Verdicts)
				r.Data.Verdicts = append(r.Data.Verdicts, t.Verdict)
			}
			s.Rows = append(s.Rows, append(cells, short(t.MedianNs), short(t.SimulatedNs), verdict))
		}
		out[key] = s
	}
	return out
}

// short is a number with five digits, nil for what is not known.
func short(x float64) any {
	if !(x > 0) || math.IsInf(x, 0) {
		return nil
	}
	scale := math.Pow(10, 4-math.Floor(math.Log10(x)))
	return math.Round(x*scale) / scale
}

func tableRow(i int, pt placed, d dataPoint) row {
	r := row{
		Index: i, Problem: opName(pt.Problem) + " " + shapeText(pt.Problem.Shape), ISA: fmt.Sprintf("%s x%d", pt.Candidate.ISA, pt.Problem.Threads),
		Time: timeText(pt.MedianNs), Rate: unknown, Roof: unknown, Bound: pt.BoundBy, RoofTime: unknown, Simulated: unknown, Ratio: unknown,
		Ties: number(float64(len(d.Ties))), Config: strings.ReplaceAll(d.Config, ",", ", "), Stale: d.Stale,
	}
	if d.Rate != nil {
		unit := " GFLOP/s"
		if d.ByBytes {
			unit = " GB/s"
		}
		r.Rate = number(*d.Rate/1e9) + unit
	}
	if pt.RoofNs > 0 {
		r.Roof, r.RoofTime = fmt.Sprintf("%.0f %%", 100*pt.Fraction), timeText(pt.RoofNs)
	}
	if d.SimNs != nil {
		r.Simulated, r.Ratio = timeText(*d.SimNs), number(pt.MedianNs / *d.SimNs)
	}
	if r.Config == "" {
		r.Config = "none"
	}
	return r
}
