package sim

// Compiled is a program whose traffic was counted on a device: what its recorded trips do once and what each further trip
// does. From it the estimate for any number of trips is a closed form of a microsecond, without another walk over the
// touches and without allocating. It is safe for concurrent use.
type Compiled struct {
	device   *Device
	launches []compiledLaunch
	cold     bool
	tableRow int64 // bytes of the first table row that is read
}

// compiledLaunch is one launch of it.
type compiledLaunch struct {
	blocks, line float64
	memory       int              // caches before the last level
	capacities   [MaxLevels]int64 // of one worker's caches in lines
	cold         bool
	steady       int     // the trip that is repeated, -1 if none
	trips        float64 // of that one, as recorded
	tableLines   float64
	rowBytes     int64 // of the longest table row
	walked       bool  // each steady trip has rows of tables of its own
	once, each   tally // what all other trips do together, what each steady one does
}

// tally is what trips do. All of it grows linearly with their number. Counts are lines where nothing is said.
type tally struct {
	clocks, calls, flops float64
	sweeps, fences       float64            // calls of recurrences, and of operations that write past the caches
	loaded, stored       float64            // bytes between registers and the first level
	written              [MaxLevels]float64 // written back, by the level that takes it
	left                 [MaxLevels]float64 // dirty at the end, by the nearest level that has the newer value
	tripTraffic
}

// times is n times a tally and once another.
func (t *tally) times(n float64, once *tally) tally {
	sum := *once
	sum.clocks += n * t.clocks
	sum.calls += n * t.calls
	sum.flops += n * t.flops
	sum.sweeps += n * t.sweeps
	sum.fences += n * t.fences
	sum.loaded += n * t.loaded
	sum.stored += n * t.stored
	for i := range sum.written {
		sum.written[i] += n * t.written[i]
		sum.left[i] += n * t.left[i]
	}
	sum.tripTraffic.add(&t.tripTraffic, n)
	return sum
}

// Estimate is a simulation in figures alone. Its arrays are by the device's levels.
type Estimate struct {
	TimeNs       float64
	LowerBoundNs float64 // see LowerBound
	BoundBy      string  // the largest part
	Flops        int64   // executed
	Occupancy    float64 // workers over cores
	Levels       int
	Bytes        [MaxLevels]int64 // traffic, both directions
	Needed       [MaxLevels]int64 // what any tiling must move
	Parts        [MaxLevels]float64
	ComputeNs    float64
	CallsNs      float64
	DispatchNs   float64
	LatencyNs    float64

	footprint float64            // bytes that the launch with most of them touches
	tables    [MaxLevels]float64 // of Bytes, those of rows of tables
}

// Compile counts a program's traffic on a device. The error says what is wrong with either.
func Compile(d *Device, p *Program) (*Compiled, error) {
	if err := checkProgram(d, p); err != nil {
		return nil, err
	}
	row, _ := p.tableRowBytes()
	c := &Compiled{device: d, cold: p.Cold, tableRow: row, launches: make([]compiledLaunch, len(p.Launches))}
	core := d.core()
	line := int64(d.Levels[0].LineBytes)
	for i := range p.Launches {
		l, out := &p.Launches[i], &c.launches[i]
		*out = compiledLaunch{blocks: float64(l.Blocks), line: float64(line), memory: len(d.Levels) - 1, cold: p.Cold, steady: -1}
		for j, level := range d.Levels[:out.memory] {
			out.capacities[j] = level.Bytes / line
			if !level.PerUnit {
				out.capacities[j] /= l.Blocks
			}
		}
		for j := range l.Nest {
			if l.Nest[j].Steady || l.Nest[j].Trips != 1 {
				out.steady = j
			}
		}
		for _, b := range p.Buffers {
			if b.Kind == Table {
				out.tableLines += float64(b.Bytes) / float64(line)
			}
		}
		countTraffic(d, p, l, out)
		for j := range l.Nest {
			loop := &l.Nest[j]
			to, n := &out.once, loop.Trips
			if j == out.steady {
				out.trips = loop.Trips
				to, n = &out.each, 1
			}
			for k := range loop.Ops {
				op := &loop.Ops[k]
				to.clocks += n * core.clocks(op) * d.ratio(op)
				to.calls += n
				if op.sweeps() {
					to.sweeps += n
				}
				if op.streams() {
					to.fences += n
				}
				to.flops += n * float64(op.Flops)
				to.loaded += n * float64(op.LoadBytes)
				to.stored += n * float64(op.StoreBytes)
			}
		}
	}
	return c, nil
}

// Estimate simulates a problem that is so many times as long as the recorded one, 1 for that itself: of every launch all trips are taken as
// many times more, those before the steady one as recorded. It allocates nothing.
func (c *Compiled) Estimate(longer float64) (e Estimate) {
	d := c.device
	e.Levels = len(d.Levels)
	var needed neededBytes
	var flops float64
	for i := range c.launches {
		flops += c.launches[i].addTo(&e, d, longer, c.tableRow, &needed)
	}
	e.Flops = int64(flops + 0.5)
	e.LowerBoundNs = float64(e.Flops) / d.Peaks[pathFMA] * 1e9
	for i := range d.Levels {
		bytes := needed.beyond(d, i, c.cold)
		if i == 0 {
			bytes = min(bytes, float64(e.Bytes[i]))
		}
		e.Needed[i] = int64(bytes)
		e.LowerBoundNs = max(e.LowerBoundNs, bytes/d.Levels[i].PeakBps*1e9)
	}
	e.BoundBy = e.largest(d)
	return e
}

// largest names the part that takes most time, the first by name among equals.
func (e *Estimate) largest(d *Device) string {
	name, most := "", 0.0
	take := func(n string, ns float64) {
		if name == "" || ns > most || ns == most && n < name {
			name, most = n, ns
		}
	}
	take(PartCompute, e.ComputeNs)
	take(PartCalls, e.CallsNs)
	for i, l := range d.Levels {
		take(l.Name, e.Parts[i])
	}
	if e.LatencyNs > 0 {
		take(PartLatency, e.LatencyNs)
	}
	if e.DispatchNs > 0 {
		take(PartDispatch, e.DispatchNs)
	}
	return name
}
