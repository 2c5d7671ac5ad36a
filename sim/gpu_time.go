package sim

import (
	"fmt"
)

// Constants of the GPU's time, none fitted. They stand for effects that published models agree on; the
// ones marked doubtful are rough middles of what is reported.
const (
	warpLanes       = 32
	hiddenElement   = 0.6  // share of element-wise time that products and loads hide when loads are ahead (doubtful)
	chainClocks     = 300  // from one product of a tile to the next that needs it: matrix pipe, registers to SRAM, barrier (doubtful)
	l2Usable        = 0.65 // of L2, since each half keeps a copy of what the other half reads
	tripsApart      = 2    // that blocks reading the same bytes drift apart (doubtful)
	reservedSRAM    = 1 << 10
	maxThreadRegs   = 255
	matrixN         = 8 // the matrix instructions' shapes
	matrixKBytes    = 32
	matrixM, groupM = 16, 64 // mma.sync, WGMMA
)

// gpuLaunch is the count of one launch on a device.
type gpuLaunch struct {
	resident  int64 // blocks that fit on an SM together
	occupancy float64
	times     [partCount]float64
	ns        float64
	path      string
}

// Parts of a GPU launch.
const (
	partSRAM = iota
	partL2
	partHBM
	partProduct
	partElement
	partLatency
	partCount
)

// gpuTrip is what one block does in one trip of one loop.
type gpuTrip struct {
	productNs           float64 // of the block alone on an SM
	elementNs           float64
	sram                float64 // bytes
	l2Read, l2Written   float64
	hbmRead, hbmWritten float64
	chain               int
	loads               bool
}

// simulateGPU counts the launches one after the other.
//
// SRAM bytes are the tiles staged there, what products read from it as operands, and what is exchanged through it. L2 bytes are all loads and
// stores of all blocks. Of a load that several blocks share, HBM sees one copy a wave, and the others as far as
// a wave's tiles in flight exceed the usable L2; what an earlier launch left in L2 is not read again, in the proportion of the usable L2 to what was moved since.
// Stores reach HBM once.
//
// A launch runs in waves of the blocks that fit on the SMs together; in the last, fewer share an SM. A trip takes the longest of its
// products, SRAM, L2 and HBM at the wave's share of each, and a part of the element-wise time on top. With loads ahead
// (two stages or more) it also takes at least its chain of dependent products and one load's latency over the stages ahead;
// without, a block's own steps follow each other, and only other blocks of the SM overlap with it. Each launch
// adds LaunchNs.
func simulateGPU(d *Device, p *Program) (*Result, error) {
	res := &Result{
		Device: d.Name, Program: p.Name, Config: p.Config,
		Bytes: make(map[string]int64, 3), BytesLowerBound: make(map[string]int64, 3), Parts: make(map[string]float64, 8), Flops: p.Flops(),
	}
	usable := l2Usable * float64(d.Levels[partL2].Bytes)
	left := make([]float64, len(p.Buffers)) // bytes moved when a buffer was last touched, -1 before
	for i := range left {
		left[i] = -1
	}
	var moved, longest, peakNs float64
	var bytes [3]float64
	names := [partCount]string{d.Levels[0].Name, d.Levels[1].Name, d.Levels[2].Name, "", PartElement, PartLatency}
	for i := range p.Launches {
		l := &p.Launches[i]
		g, err := newGPULaunch(d, l)
		if err != nil {
			return nil, err
		}
		hbm := g.run(d, p, l, left, moved, usable, &bytes)
		moved += hbm
		for b := range left {
			if left[b] == -2 { // touched by this launch
				left[b] = moved
			}
		}
		names[partProduct] = g.path
		for part, ns := range g.times {
			if ns > 0 {
				res.Parts[names[part]] += ns
			}
		}
		res.Parts[PartLaunch] += d.LaunchNs
		res.TimeNs += g.ns + d.LaunchNs
		res.SRAMPerBlock = max(res.SRAMPerBlock, l.SRAMBytes)
		if g.ns >= longest {
			longest, res.Occupancy = g.ns, g.occupancy
		}
		if flops := float64(l.Blocks) * loopFlops(l.Nest); flops > 0 {
			peakNs += flops / max(d.Peaks["wgmma."+l.DType], d.Peaks["mma."+l.DType]) * 1e9
		}
	}
	var needed neededBytes
	for _, b := range p.Buffers {
		switch b.Kind {
		case Input, Table:
			needed.read += float64(b.Bytes)
		case Output:
			needed.written += float64(b.Bytes)
		case State:
			needed.updated += float64(b.Bytes)
		}
	}
	for i, level := range d.Levels {
		res.Bytes[level.Name] = round(bytes[i])
		res.BytesLowerBound[level.Name] = int64(needed.read + needed.written + 2*needed.updated)
	}
	last := len(d.Levels) - 1
	res.LowerBoundNs = max(peakNs, needed.beyond(d, last, p.Cold)/d.Levels[last].PeakBps*1e9)
	res.BoundBy = largest(res.Parts)
	return res, nil
}

func newGPULaunch(d *Device, l *Launch) (gpuLaunch, error) {
	var g gpuLaunch
	if l.Warps < 1 || l.Stages < 1 {
		return g, fmt.Errorf("sim: launch %q needs warps and stages", l.Name)
	}
	threads := int64(l.Warps) * warpLanes
	switch {
	case l.SRAMBytes > d.SRAMPerBlock:
		return g, fmt.Errorf("sim: launch %q: %d bytes of SRAM in a block %w: %s gives %d", l.Name, l.SRAMBytes, ErrDoesNotFit, d.Name, d.SRAMPerBlock)
	case l.Warps > d.WarpsPerUnit || threads > 1024:
		return g, fmt.Errorf("sim: launch %q: %d warps in a block %w", l.Name, l.Warps, ErrDoesNotFit)
	case l.Registers > maxThreadRegs || int64(l.Registers)*4*threads > d.RegsPerUnit:
		return g, fmt.Errorf("sim: launch %q: %d registers in each of %d threads %w", l.Name, l.Registers, threads, ErrDoesNotFit)
	}
	g.resident = min(d.SRAMPerUnit/(l.SRAMBytes+reservedSRAM), int64(d.WarpsPerUnit/l.Warps), int64(d.BlocksPerUnit))
	if l.Registers > 0 {
		g.resident = min(g.resident, d.RegsPerUnit/(int64(l.Registers)*4*threads))
	}
	g.resident = max(1, g.resident)
	units := int64(d.Units)
	g.occupancy = float64(min(g.resident, (l.Blocks+units-1)/units)*int64(l.Warps)) / float64(d.WarpsPerUnit)
	return g, nil
}

// run counts the launch's bytes and time, and returns what it moved to and from HBM. left tells for each buffer
// how much had been moved when a launch last touched it.
func (g *gpuLaunch) run(d *Device, p *Program, l *Launch, left []float64, moved, usable float64, bytes *[3]float64) float64 {
	units := int64(d.Units)
	slots := units * g.resident
	atOnce := float64(min(l.Blocks, slots))
	inFlight := atOnce * tripsApart * readPerTrip(l.Nest)
	miss := 0.0
	if inFlight > usable {
		miss = (inFlight - usable) / inFlight
	}
	var hbm float64
	blocks := float64(l.Blocks)
	full, rest := l.Blocks/slots, l.Blocks%slots
	var walk func(loops []Loop, times float64)
	walk = func(loops []Loop, times float64) {
		for i := range loops {
			loop := &loops[i]
			n := times * loop.Trips
			if len(loop.Ops) > 0 && n > 0 {
				var t gpuTrip
				for j := range loop.Ops {
					g.op(d, l, &loop.Ops[j], &t)
					for _, touch := range loop.Ops[j].Touches {
						size := float64(touch.Bytes())
						t.sram += size
						if touch.Mode != Read {
							t.l2Written += size
							t.hbmWritten += size
						}
						if touch.Mode != Write {
							t.loads = true
							t.l2Read += size
							sharers := float64(max(1, touch.Sharers))
							together := max(1, min(sharers, atOnce*sharers/blocks)) // in one wave
							share := 1/together + (1-1/together)*miss
							if at := left[touch.Buffer]; at >= 0 && moved > 0 {
								share *= 1 - min(1, usable/max(1, moved-at+float64(p.Buffers[touch.Buffer].Bytes)))
							}
							t.hbmRead += size * share
						}
					}
				}
				bytes[0] += blocks * n * t.sram
				bytes[1] += blocks * n * (t.l2Read + t.l2Written)
				bytes[2] += blocks * n * (t.hbmRead + t.hbmWritten)
				hbm += blocks * n * (t.hbmRead + t.hbmWritten)
				g.trip(d, l, &t, n*float64(full), float64(g.resident), float64(slots), n > 1)
				if rest > 0 {
					g.trip(d, l, &t, n, float64((rest+units-1)/units), float64(rest), n > 1)
				}
			}
			walk(loop.Inner, n)
		}
	}
	walk(l.Nest, 1)
	markTouched(l.Nest, left)
	return hbm
}

// trip adds n trips of a wave of some blocks with m of them on the fullest SM.
func (g *gpuLaunch) trip(d *Device, l *Launch, t *gpuTrip, n, m, blocks float64, loop bool) {
	if n == 0 {
		return
	}
	var ns [partCount]float64
	ns[partProduct] = m * t.productNs
	ns[partElement] = m * t.elementNs
	ns[partSRAM] = m * t.sram / d.Levels[partSRAM].ReadBps * float64(d.Units) * 1e9
	ns[partL2] = levelNs(d.Levels[partL2], blocks*t.l2Read, blocks*t.l2Written)
	ns[partHBM] = levelNs(d.Levels[partHBM], blocks*t.hbmRead, blocks*t.hbmWritten)
	load := 0.0
	if t.loads {
		load = d.Levels[partL2].LatencyNs
		if t.hbmRead > 0 {
			load = d.Levels[partHBM].LatencyNs
		}
	}
	chain := float64(t.chain) * chainClocks / d.ClockHz * 1e9
	busiest := max(ns[partProduct], ns[partSRAM], ns[partL2], ns[partHBM])
	var took float64
	if l.Stages > 1 && loop {
		ns[partLatency] = max(chain+t.elementNs, load/float64(l.Stages-1))
		took = max(busiest+(1-hiddenElement)*ns[partElement], ns[partLatency], ns[partElement])
	} else {
		ns[partLatency] = load + chain
		alone := t.productNs + t.elementNs + max(ns[partSRAM]/m, ns[partL2]/blocks, ns[partHBM]/blocks)
		took = max(busiest+(1-hiddenElement)*ns[partElement], ns[partLatency]+alone)
	}
	for i := range ns {
		g.times[i] += n * ns[i]
	}
	g.ns += n * took
}

// op adds one step's arithmetic and SRAM bytes.
func (g *gpuLaunch) op(d *Device, l *Launch, op *Op, t *gpuTrip) {
	unitClock := 1e9 / d.ClockHz
	t.elementNs += (float64(op.Exps)/float64(d.ExpsPerClock) + float64(op.Elements)/float64(d.LanesPerClock)) * unitClock
	t.sram += float64(op.LoadBytes + op.StoreBytes)
	t.chain += op.Chain
	if op.Flops == 0 {
		return
	}
	path, m := "mma."+l.DType, matrixM
	if _, ok := d.Rates["wgmma."+l.DType]; ok && op.M >= groupM && l.Warps >= 4 {
		path, m = "wgmma."+l.DType, groupM
	}
	if g.path == "" {
		g.path = path
	}
	k := matrixKBytes / int(elementBytes(l.DType))
	padded := 1.0
	if op.M > 0 && op.N > 0 && op.K > 0 {
		padded = float64(ceilTo(op.M, m)) * float64(ceilTo(op.N, matrixN)) * float64(ceilTo(op.K, k)) / (float64(op.M) * float64(op.N) * float64(op.K))
	}
	t.productNs += float64(op.Flops) * padded / (d.Rates[path] / float64(d.Units)) * 1e9
}

// readPerTrip is the most that a block loads in one trip of any loop.
func readPerTrip(loops []Loop) float64 {
	var most float64
	for i := range loops {
		var sum float64
		for j := range loops[i].Ops {
			for _, t := range loops[i].Ops[j].Touches {
				if t.Mode != Write {
					sum += float64(t.Bytes())
				}
			}
		}
		most = max(most, sum, readPerTrip(loops[i].Inner))
	}
	return most
}

func markTouched(loops []Loop, left []float64) {
	for i := range loops {
		for j := range loops[i].Ops {
			for _, t := range loops[i].Ops[j].Touches {
				left[t.Buffer] = -2
			}
		}
		markTouched(loops[i].Inner, left)
	}
}

func ceilTo(n, to int) int { return (n + to - 1) / to * to }
