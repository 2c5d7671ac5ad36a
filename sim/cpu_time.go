package sim

import (
	"math"
)

// Constants of the CPU's time that no measurement of the machine gives, in clocks where nothing is said. The first group is of cores in general: latencies
// that x86 and ARM cores of ten years share, and what generated code does beside its loops. sweepNs, those of traffic and waiting, and heldShare were chosen
// with measured candidates of attention problems in view (results/zen5-2026-11-26-sim.md, heldShare results/icelake-2026-11-26-sim.md).
const (
	fmaLatency      = 4    // until an accumulator can be used again
	tileClocks      = 10   // filling and draining the pipeline of a register tile
	expOps          = 16   // operations of one vector: polynomial of degree 6, range reduction, scaling
	callNs          = 8    // entering a primitive through its pointer
	dispatchNs      = 2500 // waking workers and waiting for the last
	sweepNs         = 75   // a driver's work around a recurrence, and its first rows
	reductionClocks = 0.75 // of one dot product's horizontal sum, many at a time

	// Of traffic, what is not hidden.
	overlapShare = 0.32 // of the time of a private level behind the first
	farShare     = 0.56 // of that of shared levels and memory
	aheadShare   = 0.15 // of that, what is fetched in a row in paces (results/zen5-2026-11-27-hash.md)
	fenceShare   = 0.55 // of memory's latency, after what is written past the caches

	// Of what is read and written beyond the private caches and not fetched ahead, in times that a line takes where lines are read in a row. Latency says less of
	// it: that of memory, measured, was 53 to 146 ns within an hour, and these waits were the same.
	readWait  = 3 // of a sweep of the state, for a line of inputs
	storeWait = 9 // of one, for a line of outputs
	copyWait  = 1 // of what is no sweep and does nothing meanwhile, for a line of inputs
	hiding    = 4 // see hide
)

// hide is the time of work and of waiting that go on side by side: little more than the longer's, unless they are near each other. Sweeps that
// compute for twice as long on narrower vectors were seen to lose a tenth of what wide ones lose by the same waiting.
func hide(work, wait float64) float64 {
	if wait == 0 {
		return work
	}
	return math.Pow(math.Pow(work, hiding)+math.Pow(wait, hiding), 1.0/hiding)
}

// core counts clocks of one core.
type core struct {
	Core
	lanes int
}

func (d *Device) core() core { return core{Core: d.Core, lanes: coreOf(d.ISA).lanes} }

func (c core) vectors(n int) int { return (n + c.lanes - 1) / c.lanes }

// chain is the latency between two multiply-adds of one sum.
func (c core) chain() float64 {
	if c.lanes == 1 {
		return fmaLatency / 2 // portable code: the compiler interleaves what it can
	}
	return fmaLatency
}

// step is the time of one step along k of a register tile: multiply-adds, loads, or the chain through an accumulator.
func (c core) step(fmas, loads int) float64 {
	return max(float64(fmas)/c.FMAs, float64(loads)/c.Loads, c.chain())
}

// tile is the time of an outer-product tile (NN, TN, the substitution above a block): a step loads a row of B and broadcasts a column of A.
func (c core) tile(rows, v, depth int, readC bool) float64 {
	t := float64(depth)*c.step(rows*v, rows+v) + tileClocks + float64(rows*v)/c.Stores
	if readC {
		t += float64(rows*v) / c.Loads
	}
	return t
}

// dots is the time of an inner-product tile (NT): a step loads a vector along k of each row of A and B.
func (c core) dots(rows, cols, depth int) float64 {
	return float64(c.vectors(depth))*c.step(rows*cols, rows+cols) + tileClocks + reductionClocks*float64(rows*cols)
}

// sweep is the time in which updates and reads walk the rows of a panel of v vectors: a row is loaded, takes every update in turn,
// is read after each and stored, so that only an accumulator waits for the row before.
func (c core) sweep(updates, reads, v, rows int) float64 {
	row := c.step((updates+reads)*v, v+updates+reads)
	if updates > 0 {
		row = max(row, float64(v)/c.Stores)
	}
	return float64(rows)*row + tileClocks + float64(v*(updates+reads))
}

// decays is the time of the products of a panel of v vectors with the decays before a recurrence's blocks.
func (c core) decays(op *Op, v int) float64 { return float64(op.Decays*op.K*v) / c.FMAs }

// width is how many of the columns that are left a recurrence takes in its next panel: those of a whole one, else two vectors or one.
func (c core) width(op *Op, left int) int {
	for _, cols := range []int{op.NR, 2 * c.lanes} {
		if left >= cols {
			return cols
		}
	}
	return min(left, c.lanes)
}

// couple is the time of a block's products: a step loads a vector along k of each of its rows and multiplies all pairs.
func (c core) couple(op *Op) float64 {
	blocks := float64(op.M / op.MR)
	rows := op.MR*(1+op.Group) + op.MR - 1 // keys, queries, and keys that erase
	return blocks * (float64(c.vectors(op.K))*c.step(op.N, rows) + tileClocks + reductionClocks*float64(op.N))
}

// slab is the time of a token's pass over a slab of K tables: of each a row, its place and its weight are loaded, rows of bfloat16 are widened, bytes of four
// tables interleaved for integer products. Then the sums are fetched and put back.
func (c core) slab(op *Op) float64 {
	v := float64(c.vectors(op.N))
	works, loads := v, v+2 // of each table
	switch {
	case op.RowBytes == 2*op.N:
		works, loads = 2*v, v/2+2
	case op.RowBytes == op.N && op.Bits > 0:
		works, loads = v/4*(2+float64(op.Bits)/8), v/4+1+float64(op.Bits)/32
	case op.RowBytes == op.N:
		works, loads = 3*v, v/4+2
	}
	return float64(op.K)*max(works/c.FMAs, loads/c.Loads) + v/c.Loads + v/c.Stores
}

// clocks is the time of one operation with all its data in the first level.
func (c core) clocks(op *Op) float64 {
	var t float64
	switch op.Name {
	case "nn", "tn", "pair nn", "pair tn": // a pair is a step too
		for j := 0; j < op.N; j += op.NR {
			v := c.vectors(min(op.NR, op.N-j))
			for i := 0; i < op.M; i += op.MR {
				rows, depth := min(op.MR, op.M-i), op.K
				if op.Lower {
					depth = min(depth, i+rows)
				}
				t += c.tile(rows, v, depth, op.Accumulate)
			}
		}
	case "nt":
		for j := 0; j < op.N; j += op.NR {
			cols := min(op.NR, op.N-j)
			for i := 0; i < op.M; i += op.MR {
				rows := min(op.MR, op.M-i)
				if op.Lower && i+rows-1-op.Strict < j {
					if !op.Accumulate {
						t += float64(rows * c.vectors(cols))
					}
					continue
				}
				t += c.dots(rows, cols, op.K)
				if op.Accumulate {
					t += float64(rows*c.vectors(cols)) / c.Loads
				}
			}
		}
	case "solve":
		for j := 0; j < op.N; j += op.NR {
			v := c.vectors(min(op.NR, op.N-j))
			for i := 0; i < op.M; i += op.MR {
				rows := min(op.MR, op.M-i)
				// The block's own triangle is a chain: each row waits for the one before.
				t += c.tile(rows, v, i, true) + max(float64(rows)*fmaLatency, float64(rows*(rows-1)/2*v)/c.FMAs)
			}
		}
	case "recur":
		for j := 0; j < op.N; {
			cols := c.width(op, op.N-j)
			v := c.vectors(cols)
			if op.M > op.Singles {
				t += float64((op.M-op.Singles)/op.MR) * c.sweep(op.MR, op.MR*op.Group, v, op.K)
			}
			t += float64(op.Singles)*c.sweep(1, op.Group, v, op.K) + c.decays(op, v)
			j += cols
		}
	case "couple":
		t = c.couple(op)
	case "delta":
		for j := 0; j < op.N; {
			cols := c.width(op, op.N-j)
			v := c.vectors(cols)
			if op.M > op.Singles {
				t += float64((op.M-op.Singles)/op.MR) * c.sweep(op.MR, op.MR*(1+op.Group), v, op.K)
				t += c.sweep(op.MR, 0, v, op.K) // the last block's updates have no block after them to be taken with
			}
			t += float64(op.Singles)*(c.sweep(0, 1, v, op.K)+c.sweep(1, op.Group, v, op.K)) + c.decays(op, v)
			j += cols
		}
	case "steps":
		v := c.vectors(op.NR)
		t += float64(op.N/op.NR) * (float64(op.M)*c.sweep(1, 2, v, op.K) + c.decays(op, v))
	case "slab":
		t = float64(op.M) * c.slab(op)
	case "gather":
		v := c.vectors(op.N)
		for i := 0; i < op.K; i += op.Group {
			rows := min(op.Group, op.K-i)
			t += float64(v)*max(float64(rows)/c.FMAs, float64(rows+1)/c.Loads) + tileClocks
		}
	default:
		v := math.Ceil(float64(op.Elements) / float64(c.lanes))
		t = 1.2*v + tileClocks
		if op.Name == "exp" {
			t += expOps / c.FMAs * v
		}
	}
	return t
}

func simulateCPU(d *Device, p *Program) (*Result, error) {
	c, err := Compile(d, p)
	if err != nil {
		return nil, err
	}
	e := c.Estimate(1)
	res := &Result{
		Device: d.Name, Program: p.Name, Config: p.Config,
		Bytes: map[string]int64{}, BytesLowerBound: map[string]int64{}, Parts: map[string]float64{},
		Flops: e.Flops, TimeNs: e.TimeNs, BoundBy: e.BoundBy, LowerBoundNs: e.LowerBoundNs, Occupancy: e.Occupancy, footprint: e.footprint, tables: e.tables,
	}
	for i, l := range d.Levels {
		res.Bytes[l.Name], res.BytesLowerBound[l.Name], res.Parts[l.Name] = e.Bytes[i], e.Needed[i], e.Parts[i]
	}
	res.Parts[PartCompute], res.Parts[PartCalls] = e.ComputeNs, e.CallsNs
	if e.LatencyNs > 0 {
		res.Parts[PartLatency] = e.LatencyNs
	}
	if e.DispatchNs > 0 {
		res.Parts[PartDispatch] = e.DispatchNs
	}
	return res, nil
}

// addTo adds a launch's time and traffic to an estimate and returns the flops of all its workers.
func (c *compiledLaunch) addTo(e *Estimate, d *Device, longer float64, tableRow int64, needed *neededBytes) float64 {
	workers, trips := c.blocks, 0.0
	if c.steady >= 0 {
		before := float64(c.steady)
		trips = c.trips
		if longer != 1 {
			trips = max(0, (before+trips)*longer-before)
		}
	}
	share := min(1, workers/float64(d.Units))  // of the rates of the private parts
	rounds := max(1, workers/float64(d.Units)) // more workers than cores take turns
	t := c.traffic(trips)
	e.footprint = max(e.footprint, workers*t.footprint)
	needed.add(t.needed, workers)
	sum := c.each.times(trips, &c.once)
	t.levels[0].read += sum.loaded
	t.levels[0].written += sum.stored
	compute := rounds * sum.clocks / d.Core.ClockHz * 1e9
	var parts, ahead [MaxLevels]float64 // ahead of shared levels: of parts, what is fetched meanwhile
	for j := range d.Levels {
		l := &t.levels[j]
		e.Bytes[j] += round(workers * (l.read + l.written))
		e.tables[j] += workers * l.tables
		parts[j], ahead[j] = d.levelNs(j, &t, workers, tableRow)
		if d.Levels[j].PerUnit {
			parts[j] /= share
		}
	}
	var reading, storing, copying float64
	for j, w := range t.waits {
		if j > 0 && w != (waits{}) {
			ns := rounds * d.lineNs(j, c.line, workers*t.footprint)
			reading += ns * readWait * w.read
			storing += ns * storeWait * w.stored
			copying += ns * copyWait * w.copied
		}
	}
	wait := hide(reading, storing)
	most, rest := max(compute, wait), 0.0
	for j := range d.Levels {
		e.Parts[j] += parts[j]
		most = max(most, parts[j])
		switch {
		case j == 0: // what loads and stores cost in the core is in its clocks already
		case d.Levels[j].PerUnit:
			rest += overlapShare * parts[j]
		default:
			rest += farShare*(parts[j]-ahead[j]) + aheadShare*ahead[j]
		}
	}
	calls := rounds * (sum.calls*callNs + sum.sweeps*sweepNs + sum.fences*fenceShare*d.latency(len(d.Levels)-1, workers*t.footprint))
	e.ComputeNs += compute
	e.LatencyNs += wait + copying
	e.CallsNs += calls
	e.TimeNs += max(most, hide(max(compute, parts[0]), wait)+copying+rest) + calls
	if workers > 1 {
		e.DispatchNs += dispatchNs
		e.TimeNs += dispatchNs
	}
	e.Occupancy = max(e.Occupancy, share)
	return workers * sum.flops
}

// levelNs is the time of so many workers' traffic of a level, and of it that of what a shared level is asked for ahead.
func (d *Device) levelNs(j int, t *traffic, workers float64, tableRow int64) (ns, ahead float64) {
	level, of := &d.Levels[j], &t.levels[j]
	tables, fetched, written := workers*of.tables, workers*of.fetched, workers*of.written
	read := workers*of.read - tables - fetched
	ns = level.ns(read, written)
	if j == len(d.Levels)-1 {
		ns *= d.runCost(t.run)
		if j > 0 { // what the last cache holds of it now and then
			held := d.held(workers * t.footprint)
			ns = (1-held)*ns + held*d.Levels[j-1].ns(read, written)
		}
	}
	if tables > 0 {
		ns += tables / d.tableBps(j, tableRow) * 1e9
	}
	if fetched == 0 {
		return ns, 0
	}
	if level.PerUnit {
		return ns + level.ns(fetched, 0), 0
	}
	ahead = fetched / max(level.ReadBps, level.gatherBps(math.MaxInt64)) * 1e9
	return ns + ahead, ahead
}

// lineNs is the time of a line that a core reads with others in a row from a level, of a program that touches so many bytes.
func (d *Device) lineNs(level int, line, footprint float64) float64 {
	ns := line / d.Levels[level].ReadBps * float64(d.Units) * 1e9
	if last := len(d.Levels) - 1; level == last && level > 1 {
		held := d.held(footprint)
		ns = (1-held)*ns + held*d.lineNs(level-1, line, footprint)
	}
	return ns
}

// ns is the time of a level's traffic: bytes that can be paired, one read with one written, at the rate of copying,
// written ones that can't too, the other read ones at the rate of reading.
func (l *Level) ns(read, written float64) float64 {
	paired := min(read, written)
	return ((read-paired)/l.ReadBps + (paired+written)/l.CopyBps) * 1e9
}

// tableBps is the rate of reading rows of tables from a level. From a shared cache it was not measured: there it is as much less than that of reading all in a
// row as from memory.
func (d *Device) tableBps(level int, row int64) float64 {
	l, last := &d.Levels[level], &d.Levels[len(d.Levels)-1]
	if len(l.Gathers) == 0 && !l.PerUnit && len(last.Gathers) > 0 {
		return l.ReadBps * min(1, last.gatherBps(row)/last.gatherBps(math.MaxInt64))
	}
	return l.gatherBps(row)
}

// gatherBps is the rate of reading table rows from a level, by their length: that of reading all in a row where gathers were not measured. Between two lengths
// and below the shortest it goes by their logarithms.
func (l *Level) gatherBps(row int64) float64 {
	if len(l.Gathers) == 0 {
		return l.ReadBps
	}
	at := 0 // the first of the two lengths that the rate lies on
	for at+2 < len(l.Gathers) && int64(l.Gathers[at+1].RowBytes) < row {
		at++
	}
	rate := l.Gathers[at].Bps
	if last := l.Gathers[len(l.Gathers)-1]; row >= int64(last.RowBytes) {
		rate = last.Bps
	} else if at+1 < len(l.Gathers) {
		b := l.Gathers[at+1]
		f := math.Log(float64(row)/float64(l.Gathers[at].RowBytes)) / math.Log(float64(b.RowBytes)/float64(l.Gathers[at].RowBytes))
		rate = max(rate+f*(b.Bps-rate), rate/4)
	}
	return min(rate, l.PeakBps)
}

// held is the share of what does not fit the last cache that is found there nonetheless: between what can be counted on (others use the
// cache too, and lines far apart are slow to find where the translations of pages do not fit) and the most it may hold, by the logarithm of
// the bytes.
func (d *Device) held(footprint float64) float64 {
	last := len(d.Levels) - 2
	low, high := float64(d.Levels[last].Bytes), float64(d.Levels[last].MaxBytes)
	if d.Levels[last].PerUnit || footprint <= low || high <= low || high > mostHeld*low {
		return 0
	}
	return heldShare * max(0, 1-math.Log(footprint/low)/math.Log(high/low))
}

// heldShare is the most of it that was seen to be found there.
const heldShare = 0.7

// mostHeld is how much more than can be counted on a cache may hold: beyond that the figure is a guess (hiddenCache).
const mostHeld = 64

// latency is that of a level for a program that touches so many bytes: of the last level, what loads over as many bytes take, since
// part of them may be found nearer.
func (d *Device) latency(level int, footprint float64) float64 {
	ns := d.Levels[level].LatencyNs
	if level < len(d.Levels)-1 {
		return ns
	}
	for _, l := range d.Latencies {
		if float64(l.Bytes) >= footprint {
			return min(ns, l.Ns)
		}
	}
	return ns
}

// runCost is how much longer reading runs of some bytes takes than reading all in a row, as rows of that length do.
func (d *Device) runCost(run float64) float64 {
	last := &d.Levels[len(d.Levels)-1]
	if len(last.Gathers) == 0 || run <= 0 {
		return 1
	}
	return max(1, last.gatherBps(math.MaxInt64)/last.gatherBps(int64(run)))
}

// tableRowBytes is the length of the first table row that the program reads, if it does.
func (p *Program) tableRowBytes() (bytes int64, ok bool) {
	for i := range p.Launches {
		for _, loop := range p.Launches[i].Nest {
			for j := range loop.Ops {
				for _, t := range loop.Ops[j].Touches {
					if p.Buffers[t.Buffer].Kind == Table {
						return max(1, t.RowBytes), true
					}
				}
			}
		}
	}
	return 1, false
}
