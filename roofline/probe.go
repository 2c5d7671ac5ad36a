package roofline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Spec names one ceiling.
type Spec struct {
	Kind     string   // machine.KindFlops, KindRead, KindCopy, KindUpdate or KindGather
	ISA      tile.ISA // whose loop
	Level    string   // "L1", "L2", "L3" or "DRAM"; empty for flops
	RowBytes int      // of a gather, a multiple of 64; 0 otherwise
	Threads  int      // that run at once, at least 1
}

// String gives "read L2 avx512 x2".
func (s Spec) String() string {
	text := s.Kind
	if s.Level != "" {
		text += " " + s.Level
	}
	if s.RowBytes > 0 {
		text += " rows of " + bytesText(float64(s.RowBytes))
	}
	return fmt.Sprintf("%s %s x%d", text, s.ISA, s.Threads)
}

// The row sizes at which gathers are measured: from memory, and of slabs of tables from the private cache behind the first.
var (
	rowBytes      = []int{256, 1 << 10, 4 << 10, 16 << 10}
	shortRowBytes = []int{64, 128}
)

const (
	sideBySide = 8  // rows that a gather reads at once
	lineBytes  = 64 // what a row's bytes are a multiple of
)

// Probe measures one ceiling, sample by sample, so that a caller can take its
// samples in turns with other work. It keeps its threads and memory until Close. It is
// not safe for concurrent use.
type Probe struct {
	spec     Spec
	gang     *gang
	variants []variant
	close    func()
}

// variant is one way to reach a ceiling; the fastest counts.
type variant struct {
	warm func(member int)
	work func(member int) float64
}

// OpenProbe prepares the measurement of one ceiling on this machine. measured
// may be nil; its latency curve, where there is one, guides the sizes of buffers. The error says what cannot be measured here:
// an ISA that this CPU or build cannot run, a level that the machine does not have.
func OpenProbe(m *machine.Machine, measured *machine.Measured, s Spec) (*Probe, error) {
	if s.Threads < 1 {
		return nil, fmt.Errorf("roofline: threads must be at least 1, not %d", s.Threads)
	}
	g, err := newGang(s.Threads)
	if err != nil {
		return nil, err
	}
	o := newPool()
	p, err := openProbe(g, o, m, measured, s)
	if err != nil {
		g.close()
		o.free()
		return nil, err
	}
	p.close = func() {
		g.close()
		o.free()
	}
	return p, nil
}

// Sample runs the loop for about d and returns its rate in the ceiling's unit; where there is more than one
// way to reach it, the best way's.
func (p *Probe) Sample(d time.Duration) float64 {
	best := 0.0
	for _, v := range p.variants {
		best = max(best, p.gang.rate(p.spec.Threads, d, v.warm, v.work))
	}
	return best
}

// Ceiling makes a ceiling of samples that Sample returned; it panics without any.
func (p *Probe) Ceiling(samples []float64) machine.Ceiling { return summarize(p.spec, samples) }

// Close frees the probe's memory and ends its threads.
func (p *Probe) Close() {
	if p.close != nil {
		p.close()
	}
	p.close, p.variants = nil, nil
}

// pool shares the buffers of memory levels between the probes of one run: every thread walks its own part.
type pool struct {
	arenas map[int]*arena
}

func newPool() *pool { return &pool{arenas: map[int]*arena{}} }

func (o *pool) get(bytes int) (*arena, error) {
	if a := o.arenas[bytes]; a != nil {
		return a, nil
	}
	a, err := newArena(bytes)
	if err != nil {
		return nil, err
	}
	fill(a.float32s())
	o.arenas[bytes] = a
	return a, nil
}

func (o *pool) free() {
	for _, a := range o.arenas {
		a.free()
	}
	clear(o.arenas)
}

func openProbe(g *gang, o *pool, m *machine.Machine, measured *machine.Measured, s Spec) (*Probe, error) {
	if measured == nil {
		measured = &machine.Measured{}
	}
	l, ok := loopsFor(s.ISA)
	if !ok {
		return nil, fmt.Errorf("roofline: %s cannot run here", s.ISA)
	}
	p := &Probe{spec: s, gang: g}
	if s.Kind == machine.KindFlops {
		p.variants = []variant{arithmetic(l.FMA, l.FMAFlops)}
		return p, nil
	}
	if s.Kind == machine.KindDotBF16 {
		if l.DotBF16 == nil {
			return nil, fmt.Errorf("roofline: %s has no bfloat16 products on this CPU", s.ISA)
		}
		p.variants = []variant{arithmetic(l.DotBF16, l.DotFlops)}
		return p, nil
	}
	if !slices.Contains(levels, s.Level) {
		return nil, fmt.Errorf("roofline: unknown memory level %q, want one of %v", s.Level, levels)
	}
	each := bufferBytes(m, measured, s.Level, s.Threads)
	if each == 0 {
		return nil, fmt.Errorf("roofline: this machine shows no %s that could be measured apart", s.Level)
	}
	a, err := o.get(each * s.Threads)
	if err != nil {
		return nil, err
	}
	parts := make([][]float32, s.Threads)
	for i := range parts {
		parts[i] = a.float32s()[i*each/4 : (i+1)*each/4]
	}
	switch s.Kind {
	case machine.KindRead:
		p.variants = []variant{reads(l, parts, s.Level)}
	case machine.KindCopy:
		p.variants = []variant{copies(l.Copy, parts, s.Level)}
		if s.Level == levelDRAM {
			p.variants = append(p.variants, copies(l.CopyNT, parts, s.Level))
		}
	case machine.KindUpdate:
		if s.ISA == tile.Generic { // whose copy of an array to itself does nothing
			return nil, fmt.Errorf("roofline: %s has no loop that updates in place", s.ISA)
		}
		p.variants = []variant{updates(l, parts, s.Level)}
	case machine.KindGather:
		if s.RowBytes < lineBytes || s.RowBytes%lineBytes != 0 || s.RowBytes*sideBySide > each {
			return nil, fmt.Errorf("roofline: rows of %d bytes: want a multiple of %d of which %d fit in %d", s.RowBytes, lineBytes, sideBySide, each)
		}
		p.variants = gathers(l, parts, s.RowBytes, s.Level)
	default:
		return nil, fmt.Errorf("roofline: unknown kind of ceiling %q", s.Kind)
	}
	return p, nil
}

// arithmetic does flops in each iteration of a loop.
func arithmetic(loop func(iters int), flops int) variant {
	iters := boundedIters(loop)
	return variant{
		warm: func(int) { loop(iters) },
		work: func(int) float64 {
			loop(iters)
			return float64(iters) * float64(flops)
		},
	}
}

// piece is how many elements one call of a loop covers, at most: 64 KiB take about 100 µs even
// at 1 GB/s.
const piece = 16 << 10

// cursor walks over a thread's part in pieces, round and round. It is padded to keep threads off each other's lines.
type cursor struct {
	at int
	_  [120]byte
}

func (c *cursor) next(length int) (from, to int) {
	from = c.at
	to = min(from+piece, length)
	c.at = to
	if c.at == length {
		c.at = 0
	}
	return from, to
}

// pieces is how many pieces of a buffer of so many elements are walked between two looks at the
// clock: 2 MiB in caches, so that a look costs less than a percent, 256 KiB in memory.
func pieces(elements int, level string) int {
	look := 512 << 10
	if level == levelDRAM {
		look = 64 << 10
	}
	return max(1, look/min(piece, elements))
}

func reads(l *loops, parts [][]float32, level string) variant {
	cursors := make([]cursor, len(parts))
	n := pieces(len(parts[0]), level)
	step := func(member int) float64 {
		part, total := parts[member], 0
		for range n {
			from, to := cursors[member].next(len(part))
			l.Read(part[from:to])
			total += to - from
		}
		return 4 * float64(total)
	}
	return variant{warm: warmUp(step, len(parts[0]), level), work: step}
}

// copies moves one half of each part into the other.
func copies(loop func(dst, src []float32), parts [][]float32, level string) variant {
	cursors := make([]cursor, len(parts))
	half := len(parts[0]) / 2
	n := pieces(half, level)
	step := func(member int) float64 {
		part, total := parts[member], 0
		for range n {
			from, to := cursors[member].next(half)
			loop(part[half+from:half+to], part[from:to])
			total += to - from
		}
		return 8 * float64(total) // loaded and stored
	}
	return variant{warm: warmUp(step, len(parts[0]), level), work: step}
}

// updates loads and stores each part in place, as a decode step does with a state.
func updates(l *loops, parts [][]float32, level string) variant {
	v := reads(&loops{Read: func(p []float32) { l.Copy(p, p) }}, parts, level)
	once := v.work
	v.work = func(member int) float64 { return 2 * once(member) }
	return v
}

// gathers reads whole rows in a random order without repetition, rows of a line or two from prepared places too.
func gathers(l *loops, parts [][]float32, rowBytes int, level string) []variant {
	width := rowBytes / 4
	count := len(parts[0]) / width
	rng := rand.New(rand.NewPCG(3, uint64(rowBytes)))
	order := make([]int32, count)
	for i := range order {
		order[i] = int32(i)
	}
	rng.Shuffle(count, func(i, j int) { order[i], order[j] = order[j], order[i] })
	batch := min(count, max(sideBySide, piece/width)) / sideBySide * sideBySide
	n := pieces(len(parts[0]), level)
	walk := func(read func(part []float32, from, to int)) variant {
		cursors := make([]cursor, len(parts))
		for i := range cursors {
			cursors[i].at = i * count / len(cursors) / sideBySide * sideBySide // not all at the same rows of their parts
		}
		step := func(member int) float64 {
			c := &cursors[member]
			for range n {
				if c.at+batch > count {
					c.at = 0
				}
				read(parts[member], c.at, c.at+batch)
				c.at += batch
			}
			return float64(n*batch) * float64(rowBytes)
		}
		return variant{warm: warmUp(step, len(parts[0]), level), work: step}
	}
	variants := []variant{walk(func(part []float32, from, to int) { l.ReadRows(part, order[from:to], width, width) })}
	if rowBytes <= 2*lineBytes && count*rowBytes <= math.MaxInt32 { // places are of 32 bits
		places := make([]uint32, count)
		for i, row := range order {
			places[i] = uint32(row) * uint32(rowBytes)
		}
		variants = append(variants, walk(func(part []float32, from, to int) { l.ReadPlaces(part, places[from:to], rowBytes/lineBytes) }))
	}
	return variants
}

// warmUp walks over a cache's buffer twice, or over a little of memory.
func warmUp(step func(member int) float64, elements int, level string) func(member int) {
	return func(member int) {
		goal := 8 * float64(elements)
		if level == levelDRAM {
			goal = 4 * piece * 4
		}
		for done := 0.0; done < goal; {
			done += step(member)
		}
	}
}

// boundedIters finds how many iterations of the arithmetic loop take about 40 µs.
func boundedIters(loop func(iters int)) int {
	iters := 64
	for {
		start := time.Now()
		loop(iters)
		took := time.Since(start)
		if took >= 10*time.Microsecond || iters >= 1<<20 {
			return max(1, int(float64(iters)*40e-6/max(took.Seconds(), 1e-9)))
		}
		iters *= 2
	}
}
