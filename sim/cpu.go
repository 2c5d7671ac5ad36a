package sim

import (
	"fmt"
	"math"
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// isaCore is what one core does in a clock with an instruction set. The widths are those of the
// instruction set; how many a clock is what most cores since 2017 have. Rates that were not measured are
// these at typicalHz; lower bounds then take generousHz and the widest paths.
type isaCore struct {
	lanes      int     // float32 values of a vector
	fmas       float64 // vector multiply-adds a clock
	l1, l2, l3 float64 // bytes a clock
	fused      float64 // most multiply-adds a clock that any core is known to do
}

var isaCores = map[tile.ISA]isaCore{
	tile.Generic: {lanes: 1, fmas: 1, l1: 8, l2: 8, l3: 6, fused: 4},
	tile.AVX2:    {lanes: 8, fmas: 2, l1: 64, l2: 32, l3: 14, fused: 2},
	tile.AVX512:  {lanes: 16, fmas: 2, l1: 128, l2: 48, l3: 16, fused: 2},
}

func coreOf(isa tile.ISA) isaCore {
	if c, ok := isaCores[isa]; ok {
		return c
	}
	return isaCore{lanes: 4, fmas: 2, l1: 32, l2: 24, l3: 12, fused: 4} // 128-bit vectors
}

// Typical figures that stand in for what was not measured.
const (
	typicalHz      = 3e9
	generousHz     = 6.5e9 // above any core's clock
	typicalDRAM    = 15e9  // B/s of one core
	dramCores      = 4     // cores that fill the memory channels
	generousFactor = 4     // peak over typical bandwidth below L1
	typicalL1      = 32 << 10
	// hiddenCache is what a cache that the machine does not report may hold: more than any processor's
	// last level has. With it a lower bound stays sound in a guest that hides its L3.
	hiddenCache = 2 << 30
)

var typicalLatency = map[string]float64{"L1": 1.3, "L2": 4.5, "L3": 18, "DRAM": 95}

// CPU builds the device of a CPU from its reported caches and measured ceilings, for one ISA and thread count.
// A shared cache counts with the smaller of what is reported and a quarter more than its measured plateau (see between), a private one with the
// geometric mean of that and what is reported; for lower bounds with the larger. A cache that is neither reported nor measured is left out, and lower bounds assume a huge one in its place; a missing L1
// is taken as 32 KiB. Rates are medians, peaks the largest sample plus its distance from the median, for bytes of any ISA and of reading, copying or updating in place. Where measured
// is nil or lacks a figure, typical rates per core and clock stand in, so that a fresh machine can be
// ranked before it is measured; figures of another thread count are scaled by cores, those of DRAM up to four.
func CPU(m *machine.Machine, measured *machine.Measured, isa tile.ISA, threads int) (*Device, error) {
	if m == nil {
		return nil, fmt.Errorf("sim: no machine")
	}
	if threads < 1 {
		return nil, fmt.Errorf("sim: threads must be at least 1, not %d", threads)
	}
	if measured == nil {
		measured = &machine.Measured{}
	}
	core := coreOf(isa)
	d := &Device{Name: m.Brand, Kind: KindCPU, Units: threads, ISA: isa}
	if d.Name == "" {
		d.Name = "cpu"
	}
	flops := ceilings(measured, machine.KindFlops, "", threads, threads, isa)
	typical := float64(threads) * typicalHz * float64(core.lanes) * core.fmas * 2
	if flops.rate == 0 {
		flops.rate = typical
		flops.peak = float64(threads) * generousHz * float64(core.lanes) * core.fused * 2
	}
	d.Rates = map[string]float64{pathFMA: flops.rate}
	d.Peaks = map[string]float64{pathFMA: flops.peak}

	d.Core = issue(measured, isa, threads, flops.rate)

	dot := ceilings(measured, machine.KindDotBF16, "", threads, threads, isa)
	if dot.rate == 0 { // not measured: twice the float32 rate with an instruction for it, else the same
		times := 1.0
		if isa == tile.AVX512 {
			times = 2
		}
		dot.rate, dot.peak = times*flops.rate, times*flops.peak
	}
	d.Rates[pathDot], d.Peaks[pathDot] = dot.rate, dot.peak

	bytesAClock := []float64{core.l1, core.l2, core.l3}
	for n := 1; n <= 3; n++ {
		l, ok := cacheLevel(m, measured, n, threads)
		if !ok {
			d.Levels[len(d.Levels)-1].MaxBytes += hiddenCache
			continue
		}
		scale := float64(threads) * typicalHz
		setBandwidth(&l, measured, isa, threads, threads, bytesAClock[n-1]*scale)
		l.Gathers = gathers(measured, l.Name, isa, threads)
		d.Levels = append(d.Levels, l)
	}
	dram := Level{Name: "DRAM", LineBytes: d.Levels[0].LineBytes, LatencyNs: latency(measured, "DRAM")}
	setBandwidth(&dram, measured, isa, threads, dramCores, typicalDRAM*float64(min(threads, dramCores)))
	dram.Gathers = gathers(measured, dram.Name, isa, threads)
	for _, g := range dram.Gathers {
		dram.PeakBps = max(dram.PeakBps, g.Bps)
	}
	if c := ceilings(measured, machine.KindGather, "DRAM", threads, threads, ""); c.peak > dram.PeakBps {
		dram.PeakBps = c.peak
	}
	d.Levels = append(d.Levels, dram)
	for _, l := range measured.Latency {
		d.Latencies = append(d.Latencies, LatencyAt{int64(l.Bytes), l.NsPerLoad})
	}
	d.Primitives = ratios(d, measured.Primitives, isa)
	return d, d.Check()
}

// What a core does where it was not measured: of the two loads that ports allow some collide. No core is taken to do more than mostAccesses.
const (
	usualLoads   = 1.8
	usualStores  = 1
	mostAccesses = 4
)

// halfRate is the share of a narrower instruction set's rate per lane under which a wider one has half as many units: a core whose clock falls with
// wide vectors keeps more.
const halfRate = 0.7

// issue derives what a core does in a clock from its rates. The clock is that of its multiply-adds, of which wide vectors may have one a clock where
// narrow ones have two; the first level's rates over it are the loads and stores. Of what was not measured it takes the usual.
func issue(measured *machine.Measured, isa tile.ISA, threads int, flops float64) Core {
	core := coreOf(isa)
	lanes, fmas := float64(core.lanes), core.fmas
	for _, c := range measured.Ceilings {
		narrow := float64(coreOf(c.ISA).lanes)
		if c.Kind == machine.KindFlops && narrow > 1 && narrow < lanes && c.Threads == threads && flops/lanes < halfRate*c.Median/narrow {
			fmas = core.fmas / 2
		}
	}
	clock := flops / float64(threads) / (2 * lanes * fmas)
	out := Core{ClockHz: clock, FMAs: fmas, Loads: usualLoads, Stores: usualStores}
	vectors := float64(threads) * clock * 4 * lanes // bytes a second of one access a clock
	if read := ceilings(measured, machine.KindRead, "L1", threads, threads, isa); read.rate > 0 {
		out.Loads = min(mostAccesses, read.rate/vectors)
	}
	if copied := ceilings(measured, machine.KindCopy, "L1", threads, threads, isa); copied.rate > 0 {
		out.Stores = min(mostAccesses, copied.rate/2/vectors) // half of what is copied is stored
	}
	return out
}

// cacheLevel gives a cache's capacities for a number of threads.
func cacheLevel(m *machine.Machine, measured *machine.Measured, n, threads int) (Level, bool) {
	l := Level{Name: fmt.Sprintf("L%d", n), LineBytes: 64, PerUnit: n < 3}
	l.LatencyNs = latency(measured, l.Name)
	var reported, plateau, sharedBy int64
	for _, c := range m.Caches {
		if c.Level == n && c.Bytes > 0 {
			reported, sharedBy, l.Ways = int64(c.Bytes), int64(c.SharedBy), c.Ways
			if c.LineBytes > 0 {
				l.LineBytes = c.LineBytes
			}
		}
	}
	for _, p := range measured.Plateaus {
		if p.Level == l.Name && p.Bytes > 0 {
			plateau = int64(p.Bytes)
		}
	}
	switch {
	case reported == 0 && plateau == 0 && n > 1:
		return l, false
	case reported == 0 && plateau == 0:
		reported, plateau = typicalL1, 4*typicalL1
	case reported == 0:
		reported = plateau
	case plateau == 0:
		plateau = reported
	}
	smtWays := int64(1)
	if m.Cores > 0 && m.Threads > m.Cores {
		smtWays = int64(m.Threads / m.Cores)
	}
	if sharedBy > smtWays {
		l.PerUnit = false
	}
	most := max(reported, plateau)
	if l.PerUnit {
		// A private cache has the reported size; plateaus of single runs were seen from two fifths of it on, as pages of memory happened to fall in its sets.
		l.Bytes = int64(math.Sqrt(float64(reported)*float64(min(reported, between(plateau))))) / int64(l.LineBytes) * int64(l.LineBytes)
		l.MaxBytes = most * int64(threads)
		return l, true
	}
	// Threads may sit on one instance of a shared cache or spread over all.
	if sharedBy == 0 {
		sharedBy = int64(max(m.Threads, threads, 1))
	}
	used := (int64(threads) + sharedBy - 1) / sharedBy
	all := max(used, (int64(m.Threads)+sharedBy-1)/sharedBy)
	l.Bytes, l.MaxBytes = min(reported, between(plateau))*used, most*min(all, int64(threads))
	return l, true
}

// between is the middle of what a cache may hold whose measured plateau ends at a size: the next larger buffer that was measured, a third or a
// half more, did not fit.
func between(plateau int64) int64 { return plateau + plateau/4 }

func setBandwidth(l *Level, measured *machine.Measured, isa tile.ISA, threads, scaling int, typical float64) {
	read := ceilings(measured, machine.KindRead, l.Name, threads, scaling, isa)
	copied := ceilings(measured, machine.KindCopy, l.Name, threads, scaling, isa)
	l.ReadBps, l.CopyBps = read.rate, copied.rate
	switch {
	case l.ReadBps == 0 && l.CopyBps == 0:
		l.ReadBps, l.CopyBps = typical, typical
	case l.ReadBps == 0:
		l.ReadBps = l.CopyBps
	case l.CopyBps == 0:
		l.CopyBps = l.ReadBps
	}
	peak := func(kind string) float64 { return ceilings(measured, kind, l.Name, threads, scaling, "").peak }
	l.PeakBps = max(peak(machine.KindRead), peak(machine.KindCopy), peak(machine.KindUpdate))
	if peak(machine.KindUpdate) == 0 {
		// A copy also reads what it overwrites: in place, twice its rate was seen.
		l.PeakBps = max(l.PeakBps, 2*peak(machine.KindCopy))
	}
	if l.PeakBps == 0 {
		l.PeakBps = typical * generousFactor
		if l.Name == "L1" {
			// Three loads or stores of the widest vectors a clock.
			l.PeakBps = max(l.PeakBps, float64(threads)*generousHz*3*64)
		}
	}
	l.PeakBps = max(l.PeakBps, l.ReadBps, l.CopyBps)
}

type ceiling struct{ rate, peak float64 }

// ceilings finds a figure for a thread count: as measured there, else between what fewer threads
// reach times the threads (up to scaling cores) and what more threads reach. An empty isa takes the
// best of all. Row sizes of gathers are not told apart.
func ceilings(m *machine.Measured, kind, level string, threads, scaling int, isa tile.ISA) ceiling {
	var exact, fewer, more ceiling
	for _, c := range m.Ceilings {
		if c.Kind != kind || c.Level != level || isa != "" && c.ISA != isa || c.Median <= 0 || c.Threads < 1 {
			continue
		}
		rate, peak := c.Median, max(c.Max, c.Median)
		peak += peak - c.Median
		switch {
		case c.Threads == threads:
			exact = ceiling{max(exact.rate, rate), max(exact.peak, peak)}
		case c.Threads < threads:
			by := float64(threads) / float64(c.Threads)
			byRate := float64(max(1, min(threads, scaling)/c.Threads))
			fewer = ceiling{max(fewer.rate, rate*byRate), max(fewer.peak, peak*by)}
		default:
			more = ceiling{max(more.rate, rate), max(more.peak, peak)}
		}
	}
	switch {
	case exact.rate > 0:
		return exact
	case fewer.rate > 0 && more.rate > 0:
		return ceiling{min(fewer.rate, more.rate), fewer.peak}
	case fewer.rate > 0:
		return fewer
	}
	// Only more threads were measured: no thread is faster than all, but how much slower is unknown.
	if more.rate > 0 {
		return ceiling{more.rate, more.peak}
	}
	return ceiling{}
}

func gathers(m *machine.Measured, level string, isa tile.ISA, threads int) []GatherRate {
	best := map[int]float64{}
	for _, c := range m.Ceilings {
		if c.Kind == machine.KindGather && c.Level == level && c.ISA == isa && c.Threads == threads && c.Median > 0 {
			best[c.RowBytes] = max(best[c.RowBytes], c.Median)
		}
	}
	var out []GatherRate
	for bytes, rate := range best {
		out = append(out, GatherRate{bytes, rate})
	}
	slices.SortFunc(out, func(a, b GatherRate) int { return a.RowBytes - b.RowBytes })
	return out
}

func latency(m *machine.Measured, level string) float64 {
	for _, p := range m.Plateaus {
		if p.Level == level && p.NsPerLoad > 0 {
			return p.NsPerLoad
		}
	}
	return typicalLatency[level]
}
