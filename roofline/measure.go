package roofline

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Options says what Measure measures.
type Options struct {
	Threads  []int      // thread counts; empty means 1 and all that are usable
	ISAs     []tile.ISA // empty means all that this CPU and build can run
	Quick    bool       // fewer and shorter samples, and a shorter latency curve: about 6 s instead of 25
	Progress func(done, total int, what string)
}

// effort is how long and how often each ceiling is sampled.
type effort struct {
	rounds          int           // samples a ceiling
	cache, memory   time.Duration // of one sample
	chase           time.Duration // of one latency sample
	chaseSamples    int
	leastChaseBytes int // the latency curve goes at least so far
}

var (
	quick = effort{rounds: 9, cache: 4 * time.Millisecond, memory: 9 * time.Millisecond,
		chase: 1500 * time.Microsecond, chaseSamples: 8, leastChaseBytes: 64 * mib}
	full = effort{rounds: 21, cache: 5 * time.Millisecond, memory: 14 * time.Millisecond,
		chase: 3 * time.Millisecond, chaseSamples: 15, leastChaseBytes: 256 * mib}
)

// Measure measures the ceilings of this machine: its latency curve and
// plateaus first, then in turns all ceilings of the options. Levels that the machine does not have are
// left out. It stops between two samples when ctx is done and returns ctx's error. No garbage is collected while it
// runs; the caller should keep the machine otherwise idle.
func Measure(ctx context.Context, m *machine.Machine, o Options) (*machine.Measured, error) {
	e := full
	if o.Quick {
		e = quick
	}
	return measure(ctx, m, o, e)
}

func measure(ctx context.Context, m *machine.Machine, o Options, e effort) (*machine.Measured, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	threads, isas, err := o.resolve(m)
	if err != nil {
		return nil, err
	}
	specs := specs(isas, threads)
	sizes := latencySizes(max(e.leastChaseBytes, 2*reportedLast(m)))
	if limit := machine.AvailableMemory() / 4; limit > 0 {
		sizes = slices.DeleteFunc(sizes, func(b int) bool { return int64(b) > limit && b > leastDRAM })
	}
	total := e.rounds + len(sizes)
	done := 0
	progress := func(what string) {
		done++
		if o.Progress != nil {
			o.Progress(done, total, what)
		}
	}

	defer quiet()()
	steal0, ticks0, stealKnown := machine.StealTicks()
	g, err := newGang(slices.Max(threads))
	if err != nil {
		return nil, err
	}
	defer g.close()

	out := &machine.Measured{StealPct: -1}
	if err := measureLatency(ctx, m, g, sizes, e, out, func(bytes int) {
		progress("latency of " + bytesText(float64(bytes)))
	}); err != nil {
		return nil, err
	}

	o2 := newPool()
	defer o2.free()
	type open struct {
		probe   *Probe
		window  time.Duration
		samples []float64
	}
	var probes []*open
	for _, s := range specs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if s.Level != "" && bufferBytes(m, out, s.Level, s.Threads) == 0 {
			continue
		}
		p, err := openProbe(g, o2, m, out, s)
		if err != nil {
			return nil, err
		}
		window := e.cache
		if s.Level == levelDRAM {
			window = e.memory
		}
		probes = append(probes, &open{probe: p, window: window})
	}
	for round := range e.rounds {
		for i := range probes {
			// Every other round runs backwards, so that no ceiling always follows the same one.
			p := probes[i]
			if round%2 == 1 {
				p = probes[len(probes)-1-i]
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p.samples = append(p.samples, p.probe.Sample(p.window))
		}
		progress(fmt.Sprintf("%d ceilings, round %d of %d", len(probes), round+1, e.rounds))
	}
	for _, p := range probes {
		out.Ceilings = append(out.Ceilings, p.probe.Ceiling(p.samples))
	}
	if steal1, ticks1, ok := machine.StealTicks(); ok && stealKnown && ticks1 > ticks0 && steal1 >= steal0 {
		out.StealPct = 100 * float64(steal1-steal0) / float64(ticks1-ticks0)
	}
	return out, nil
}

// measureLatency fills the curve and the plateaus.
func measureLatency(ctx context.Context, m *machine.Machine, g *gang, sizes []int, e effort, out *machine.Measured, step func(int)) error {
	a, err := newArena(slices.Max(sizes))
	if err != nil {
		return err
	}
	defer a.free()
	out.Latency, err = latencyCurve(ctx, g, a.uint32s(), sizes, e.chase, e.chaseSamples, step)
	if err != nil {
		return err
	}
	out.Plateaus = plateaus(out.Latency, m.Caches)
	return nil
}

// resolve checks the options and fills in what they leave open.
func (o Options) resolve(m *machine.Machine) ([]int, []tile.ISA, error) {
	threads := slices.Clone(o.Threads)
	if len(threads) == 0 {
		threads = []int{1, m.Usable}
	}
	slices.Sort(threads)
	threads = slices.Compact(threads)
	if threads[0] < 1 {
		return nil, nil, fmt.Errorf("roofline: threads must be at least 1, not %d", threads[0])
	}
	isas := o.ISAs
	if len(isas) == 0 {
		for _, isa := range m.ISAs {
			if _, ok := loopsFor(isa); ok {
				isas = append(isas, isa)
			}
		}
	}
	for _, isa := range isas {
		if _, ok := loopsFor(isa); !ok || !m.Has(isa) {
			return nil, nil, fmt.Errorf("roofline: %s cannot run here", isa)
		}
	}
	return threads, isas, nil
}

// specs lists the ceilings to measure. Portable Go has fewer: its loops say little about memory.
func specs(isas []tile.ISA, threads []int) []Spec {
	var list []Spec
	for _, n := range threads {
		for _, isa := range isas {
			list = append(list, Spec{Kind: machine.KindFlops, ISA: isa, Threads: n})
			if l, ok := loopsFor(isa); ok && l.DotBF16 != nil {
				list = append(list, Spec{Kind: machine.KindDotBF16, ISA: isa, Threads: n})
			}
			for _, level := range levels {
				list = append(list, Spec{Kind: machine.KindRead, ISA: isa, Level: level, Threads: n})
				if isa != tile.Generic || level == levelL1 || level == levelDRAM {
					list = append(list, Spec{Kind: machine.KindCopy, ISA: isa, Level: level, Threads: n})
				}
				if isa != tile.Generic {
					list = append(list, Spec{Kind: machine.KindUpdate, ISA: isa, Level: level, Threads: n})
				}
			}
			short, long := shortRowBytes, rowBytes
			if isa == tile.Generic {
				short, long = nil, []int{4 << 10}
			}
			for _, bytes := range short {
				list = append(list, Spec{Kind: machine.KindGather, ISA: isa, Level: levelL2, RowBytes: bytes, Threads: n})
			}
			for _, bytes := range long {
				list = append(list, Spec{Kind: machine.KindGather, ISA: isa, Level: levelDRAM, RowBytes: bytes, Threads: n})
			}
		}
	}
	return list
}

func reportedLast(m *machine.Machine) int {
	last := 0
	for _, c := range m.Caches {
		last = max(last, c.Bytes)
	}
	return min(last, 512*mib)
}

// quiet collects garbage once and no more until the returned function is called.
func quiet() (restore func()) {
	runtime.GC()
	percent := debug.SetGCPercent(-1)
	return func() { debug.SetGCPercent(percent) }
}

// sampleSpec takes at least five samples of one ceiling in about d.
func sampleSpec(m *machine.Machine, measured *machine.Measured, s Spec, d time.Duration) (machine.Ceiling, error) {
	defer quiet()()
	p, err := OpenProbe(m, measured, s)
	if err != nil {
		return machine.Ceiling{}, err
	}
	defer p.Close()
	const samples = 7
	p.Sample(d / samples / 4) // first touches and clocks rising
	var all []float64
	for range samples {
		all = append(all, p.Sample(d/samples))
	}
	return p.Ceiling(all), nil
}

// MeasureFlops measures the ceiling of FLOP/s of one ISA and thread count in
// about d: 7 samples of fused multiply-adds (two flops each) in registers.
func MeasureFlops(isa tile.ISA, threads int, d time.Duration) (machine.Ceiling, error) {
	return sampleSpec(nil, nil, Spec{Kind: machine.KindFlops, ISA: isa, Threads: threads}, d)
}

// MeasureBandwidth measures one ceiling of bytes per second in about d, plus the time
// to allocate its buffer: 7 samples. measured may be nil; it guides the sizes of buffers as for OpenProbe.
func MeasureBandwidth(m *machine.Machine, measured *machine.Measured, s Spec, d time.Duration) (machine.Ceiling, error) {
	if s.Kind == machine.KindFlops || s.Kind == machine.KindDotBF16 {
		return machine.Ceiling{}, fmt.Errorf("roofline: %s is no bandwidth", s.Kind)
	}
	return sampleSpec(m, measured, s, d)
}
