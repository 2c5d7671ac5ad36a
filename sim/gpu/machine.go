package gpu

import (
	"fmt"
	"math"
)

// Fixed figures of the model; none is fitted.
const (
	warpThreads       = 32
	addressRegisters  = 40      // of a thread: pointers, masks, operands in flight
	maxRegisters      = 255     // of a thread
	reservedSRAM      = 1 << 10 // of a block
	sectorBytes       = 32      // the least that memory transfers
	l2Usable          = 0.65    // of L2: each half keeps a copy of what the other half reads
	unitL2Clock       = 64      // bytes a clock between a unit and L2
	tensorRegisters   = 128     // of a thread whose sums are in tensor memory
	tripsApart        = 2       // that blocks reading the same bytes drift apart
	coalesced         = 2       // requests of neighbouring units for the same line that L2 answers at once, from Ampere on
	registerChain     = 0.25    // of a chained step's latency when the result stays in a warp's registers
	runBytes          = 32      // that memory loses at the start of a random row: gathers of 256-byte rows reach 0.8 of the peak
	linkShare         = 0.8     // of a link's or network's bandwidth that collectives reach (NCCL: 360 of 450 GB/s on eight H100)
	linkStepNs        = 3000    // of a step between devices of a node
	networkStepNs     = 12000   // of a step between nodes
	peakOverDatasheet = 1.1     // clocks above the one of the datasheet
	defaultL2Ns       = 150
	defaultMemoryNs   = 300
	matrixM, groupM   = 16, 64
	matrixN           = 8
	matrixKBytes      = 32
	defaultGEMMShare  = 0.87 // of the peak, where power does not limit
)

// wattsPerTFLOP is the power that a dense bf16 TFLOP/s takes, by architecture and, where one architecture was made in several
// processes, by compute capability. From published best matrix products on power-limited boards; the others by process.
func wattsPerTFLOP(d *Device) float64 {
	switch d.Architecture {
	case "volta", "turing":
		return 1.7
	case "ampere":
		if d.ComputeCapability != 80 {
			return 2.0
		}
		return 1.19
	case "ada":
		return 1.1
	case "hopper":
		return 0.88
	case "blackwell":
		if d.ComputeCapability >= 120 {
			return 1.1
		}
		return 0.6
	case "cdna1":
		return 1.9
	case "cdna2":
		return 1.9
	case "cdna3":
		return 1.12
	}
	return 0.9
}

// matrixShare is the part of the peak that the best matrix products reach: as published, else what the power limit allows.
func (d *Device) matrixShare() float64 {
	if d.MatrixShare > 0 {
		return d.MatrixShare
	}
	peak := max(d.matrix[BF16], d.matrix[FP16]) / 1e12
	if peak == 0 {
		return defaultGEMMShare
	}
	return min(defaultGEMMShare, d.PowerW/wattsPerTFLOP(d)/peak)
}

// Machine is a device with the model's constants applied: rates in units of nanoseconds. It is safe for use by several goroutines.
type Machine struct {
	Device *Device

	c         *Constants
	clockNs   float64 // of one clock
	l2        float64 // bytes a ns
	llc       float64 // 0 if there is none
	memory    float64 // of launches with products
	stream    float64 // of launches without
	sram      float64 // bytes a ns and unit
	exps      float64 // a ns and unit
	elements  float64
	matrix    [dtypeCount]float64 // flops a ns and unit
	mma       [dtypeCount]float64
	vector    [dtypeCount]float64
	peak      [dtypeCount]float64 // flops a ns of the device by any path, for lower bounds
	l2Ns      float64
	memoryNs  float64
	usableL2  float64
	usableLLC float64
	launchNs  float64
}

// NewMachine applies constants to a device.
func NewMachine(d *Device, c *Constants) *Machine {
	units := float64(d.Units)
	clock := d.LoadMHz
	if clock == 0 {
		clock = d.BoostMHz
	}
	clock *= 1e-3 // a ns
	m := &Machine{Device: d, c: c, clockNs: 1 / clock}
	share := d.MemoryShare
	if share == 0 {
		share = 0.88
	}
	m.stream = d.MemoryGBps * share
	m.memory = m.stream * c.Memory
	m.l2 = d.L2GBps
	if m.l2 == 0 {
		m.l2 = min(unitL2Clock*clock*units*0.5, 4*d.MemoryGBps)
	}
	m.llc = d.LLCGBps
	m.sram = d.SRAMBytesPerClock * clock
	m.exps = d.ExpsPerClock * clock
	m.elements = d.LanesPerClock * clock
	// No faster than the peak at the clock under load.
	top := min(d.matrixShare()*c.Matrix, max(1, d.LoadMHz/d.BoostMHz))
	mmaShare := d.MMAShare
	if mmaShare == 0 {
		mmaShare = 1
	}
	boost := d.BoostMHz * 1e-3
	for t := range m.matrix {
		v := d.vector[t] / 1e9 / units * clock / boost * c.Vector
		x := d.matrix[t] / 1e9 / units * top
		m.vector[t], m.matrix[t], m.mma[t] = v, x, x*mmaShare
	}
	// What a device has no instruction for runs as the next wider type.
	for _, fill := range [...]struct{ t, as DType }{{FP8, FP16}, {INT8, FP16}, {FP4, FP8}, {BF16, FP16}, {FP16, BF16}, {TF32, FP32}} {
		if m.vector[fill.t] == 0 {
			m.vector[fill.t] = m.vector[fill.as]
		}
		if m.matrix[fill.t] == 0 {
			m.matrix[fill.t], m.mma[fill.t] = m.matrix[fill.as], m.mma[fill.as]
		}
	}
	if d.matrix[BF16] == 0 && d.Vendor == "nvidia" { // before Ampere: bf16 products are widened to float32
		m.matrix[BF16], m.mma[BF16] = m.vector[FP32], m.vector[FP32]
	}
	for t := range m.matrix {
		if m.vector[t] == 0 {
			m.vector[t] = m.vector[FP32]
		}
		if m.matrix[t] == 0 {
			m.matrix[t], m.mma[t] = m.vector[t], m.vector[t]
		}
	}
	mostVector, mostMatrix := m.vector[FP32]/(c.Vector*clock/boost), 1/top
	for t := range m.peak {
		m.peak[t] = units * max(m.matrix[t]*mostMatrix, m.vector[t]/m.vector[FP32]*mostVector, mostVector) * peakOverDatasheet
	}
	m.l2Ns, m.memoryNs = d.L2LatencyNs, d.MemoryLatencyNs
	if m.l2Ns == 0 {
		m.l2Ns = defaultL2Ns
	}
	if m.memoryNs == 0 {
		m.memoryNs = defaultMemoryNs
	}
	m.usableL2 = l2Usable * d.L2MiB * (1 << 20)
	m.usableLLC = l2Usable * d.LLCMiB * (1 << 20)
	m.launchNs = c.LaunchNs
	return m
}

// Part is a resource that takes time.
type Part int

// Parts of a launch's time.
const (
	PartProducts Part = iota
	PartElement
	PartSRAM
	PartL2
	PartMemory
	PartLatency
	PartLaunch
	PartHost
	PartLink
	partCount
)

var partNames = [partCount]string{"products", "element-wise", "SRAM", "L2", "HBM", "latency", "launch", "host", "link"}

func (p Part) String() string { return partNames[p] }

// LaunchEstimate is one launch's share of an Estimate.
type LaunchEstimate struct {
	StartNs, Ns float64
	Parts       [partCount]float64
	Resident    float64 // blocks on a unit
	Occupancy   float64
	Waves       float64
}

// Estimate is what the model says of a program. Time fills one and reuses its memory.
type Estimate struct {
	TimeNs       float64
	HostNs       float64
	LowerBoundNs float64
	SRAM, L2     float64 // bytes
	Memory       float64
	Compulsory   float64 // bytes that memory must move
	Flops        float64
	SRAMPerBlock float64
	Occupancy    float64 // of the longest launch
	Parts        [partCount]float64
	BoundBy      Part
	Launches     []LaunchEstimate

	left []float64
}

// unfit is returned by Time for a launch that the device can't run. Its text is made when it is asked for.
type unfit struct {
	launch, what, device string
	need, have           float64
}

func (e *unfit) Error() string {
	return "launch " + e.launch + ": " + e.what + " does not fit on " + e.device
}

// Host is how a program's launches are issued.
type Host struct {
	PerLaunchNs float64
	PerCallNs   float64
}

// Time estimates the program. It does not allocate once e has grown, except for an error.
func (m *Machine) Time(p *Program, host Host, e *Estimate) error {
	launches := e.Launches[:0]
	left := e.left[:0]
	for range p.Buffers {
		left = append(left, -1)
	}
	*e = Estimate{Launches: launches, left: left}
	var moved, longest, peakNs, issued float64
	for i := range p.Launches {
		l := &p.Launches[i]
		var le LaunchEstimate
		if l.Transfer {
			if err := m.transfer(l, e, &le); err != nil {
				return err
			}
			e.Launches = append(e.Launches, le)
			continue
		}
		hbm, err := m.launch(p, l, e, &le, moved)
		if err != nil {
			return err
		}
		moved += hbm
		for b := range e.left {
			if e.left[b] == -2 {
				e.left[b] = moved
			}
		}
		le.StartNs = e.TimeNs
		n := l.Repeat
		le.Ns = n*le.Ns + n*m.launchNs
		le.Parts[PartLaunch] = n * m.launchNs
		issued += n
		e.TimeNs += le.Ns
		for part := range le.Parts {
			if part != int(PartLaunch) {
				le.Parts[part] *= n
			}
			e.Parts[part] += le.Parts[part]
		}
		e.SRAMPerBlock = max(e.SRAMPerBlock, l.SRAMBytes)
		if le.Ns >= longest {
			longest, e.Occupancy = le.Ns, le.Occupancy
		}
		e.Launches = append(e.Launches, le)
	}
	for i := range p.Buffers {
		if e.left[i] == -1 { // of another pass
			continue
		}
		switch p.template.buffers[i].kind {
		case Input, Output:
			e.Compulsory += p.Buffers[i]
		case State:
			e.Compulsory += 2 * p.Buffers[i]
		}
	}
	for i := range p.Launches {
		l := &p.Launches[i]
		peak := m.peak[l.DType]
		for j := range l.Loops {
			for _, x := range l.Loops[j].Products() {
				f := 2 * x.M * x.N * x.K * x.Times * l.Loops[j].Trips * l.Blocks * l.Repeat
				e.Flops += f
				peakNs += f / peak
			}
		}
	}
	e.LowerBoundNs = max(peakNs, e.Compulsory/m.Device.MemoryGBps)
	e.HostNs = host.PerCallNs + issued*host.PerLaunchNs
	if e.HostNs > e.TimeNs {
		e.Parts[PartHost] = e.HostNs - e.TimeNs
		e.TimeNs = e.HostNs
	}
	for part := range e.Parts {
		if e.Parts[part] > e.Parts[e.BoundBy] {
			e.BoundBy = Part(part)
		}
	}
	return nil
}

// transfer adds what a transfer between devices takes beyond the launch that it runs beside. Devices of one node use their links; when
// there are more, the network sets the pace.
func (m *Machine) transfer(l *Launch, e *Estimate, le *LaunchEstimate) error {
	d := m.Device
	bandwidth, step := d.LinkGBps*linkShare, float64(linkStepNs)
	if l.Blocks > float64(max(1, d.NodeDevices)) {
		bandwidth, step = d.NetworkGBps*linkShare, networkStepNs
	}
	if l.Blocks > 1 && bandwidth == 0 {
		return fmt.Errorf("device %s: no link_gbps or network_gbps for a transfer between %g devices", d.Name, l.Blocks)
	}
	ns := 0.0
	if l.Blocks > 1 {
		ns = l.Repeat * (l.Steps*step + l.Bytes/bandwidth)
	}
	le.Parts[PartLink] = ns
	e.Parts[PartLink] += ns
	le.StartNs, le.Ns = e.TimeNs, ns
	if l.Beside >= 0 && l.Beside < len(e.Launches) {
		le.StartNs = e.Launches[l.Beside].StartNs
		ns = max(0, ns-(e.TimeNs-le.StartNs))
	}
	e.TimeNs += ns
	return nil
}

// wave is what the blocks that run together share.
type wave struct {
	count    float64 // waves of this kind
	perUnit  float64 // blocks on the fullest unit
	together float64 // blocks on all units

	times   [4]float64 // of products, SRAM, L2 and memory over the whole walk
	element float64
	alone   float64 // of a block with a unit for itself
}

func (m *Machine) launch(p *Program, l *Launch, e *Estimate, le *LaunchEstimate, moved float64) (float64, error) {
	d := m.Device
	threads := l.Warps * warpThreads
	if l.SRAMBytes > d.SRAMPerBlockKiB*1024 {
		return 0, &unfit{l.Name, "SRAM of a block", d.Name, l.SRAMBytes, d.SRAMPerBlockKiB * 1024}
	}
	if l.Warps > d.WarpsPerUnit || threads > 1024 {
		return 0, &unfit{l.Name, "a block's warps", d.Name, l.Warps, d.WarpsPerUnit}
	}
	registers, spilled := d.registers(l), 0.0
	if registers > maxRegisters {
		spilled = (registers - maxRegisters) * threads * 4
		registers = maxRegisters
	}
	registers = math.Ceil(registers/8) * 8
	if registers*4*threads > d.RegistersKiB*1024 {
		return 0, &unfit{l.Name, "a block's registers", d.Name, registers * 4 * threads, d.RegistersKiB * 1024}
	}
	resident := min(math.Floor(d.SRAMPerUnitKiB*1024/(l.SRAMBytes+reservedSRAM)), math.Floor(d.WarpsPerUnit/l.Warps), d.BlocksPerUnit,
		math.Floor(d.RegistersKiB*1024/(registers*4*threads)))
	resident = max(1, resident)
	units := float64(d.Units)
	slots := units * resident
	full := math.Floor(l.Blocks / slots)
	rest := l.Blocks - full*slots
	waves := [2]wave{{count: full, perUnit: resident, together: slots}}
	if rest > 0 {
		waves[1] = wave{count: 1, perUnit: math.Ceil(rest / units), together: rest}
	}
	atOnce := min(l.Blocks, slots)
	le.Resident = resident
	le.Occupancy = min(resident, math.Ceil(l.Blocks/units)) * l.Warps / d.WarpsPerUnit
	le.Waves = full + math.Ceil(rest/units)/resident

	var hbmAll float64
	multiplies := products(l)
	for i := range l.Loops {
		loop := &l.Loops[i]
		if loop.Trips == 0 {
			continue
		}
		memory := m.memory
		if !multiplies {
			memory = m.stream
		}
		// What a wave reads in a trip decides whether re-reads of it find it in L2.
		inFlight, walked := 0.0, 0.0
		for j := range loop.Touches {
			if t := &loop.Touches[j]; t.Mode != Write {
				inFlight += t.Bytes / max(1, min(t.Share, atOnce))
				if t.Again > 1 { // and what it reads before it comes back, whether that is still there
					walked += t.Bytes * loop.Trips / t.Again / max(1, min(t.Share, atOnce))
				}
			}
		}
		walkMiss := overflow(walked*atOnce, m.usableL2)
		waveMiss := overflow(inFlight*atOnce*tripsApart*l.Stages, m.usableL2)
		// One block's work in a trip, in ns of a unit of its own.
		var work, chain, operands float64
		for _, x := range loop.Products() {
			rate := m.matrix[l.DType]
			mm := float64(matrixM)
			switch {
			case x.Vector || l.Path == PathVector:
				rate, mm = m.vector[l.DType], 1
			case l.Path == PathMMA || d.MatrixPath == "wgmma" && (x.M < groupM || l.Warps < 4):
				rate = m.mma[l.DType]
			case d.MatrixPath == "wgmma":
				mm = groupM
			case d.MatrixPath == "tcgen05":
				mm = 2 * groupM
				if x.M < 2*groupM { // a half-filled tile takes as long
					mm = groupM * 2
				}
			}
			padded := x.M * x.N * x.K
			if mm > 1 {
				k := matrixKBytes / l.DType.Bytes()
				padded = ceilTo(x.M, mm) * ceilTo(x.N, matrixN) * ceilTo(x.K, k)
			}
			work += 2 * padded * x.Times / rate
			if x.Chained && x.Registers { // no exchange and no barrier between them
				chain += x.Times * registerChain
			} else if x.Chained {
				chain += x.Times
			}
			// Operands of one-warp instructions come from SRAM through registers; warps split the tile into parts as square as
			// they can be, or by rows when the first operand is in registers already. WGMMA and tcgen05 read theirs under the product.
			if mm == matrixM {
				down := math.Sqrt(l.Warps * x.M / x.N)
				if x.Registers {
					down = l.Warps
				}
				down = max(1, min(down, l.Warps, x.M/matrixM))
				reads := down * x.N * x.K
				if !x.Registers {
					reads += l.Warps / down * x.M * x.K
				}
				reads *= x.Times * l.DType.Bytes()
				if l.DType.Bytes() >= 4 { // ldmatrix transposes 16-bit values only: others are loaded one by one
					reads *= 2
				}
				operands += reads
			}
		}
		element := max(loop.Exps/m.exps, loop.Elements/m.elements) // units of their own
		sram := operands + loop.Exchange + 2*spilled
		var l2, hbm float64
		loads := false
		for j := range loop.Touches {
			t := &loop.Touches[j]
			bytes, runs := t.Bytes, 1.0
			if t.Row > 0 {
				bytes *= ceilTo(t.Row, sectorBytes) / t.Row
				if !multiplies { // a random row: memory opens a page for it
					runs += runBytes / t.Row
				}
			}
			sram += t.Bytes
			together := max(1, min(t.Share, atOnce))
			size := p.Buffers[t.Buffer]
			share := 1/max(1, t.Share) + (1/together-1/max(1, t.Share))*overflow(size, m.usableL2) + (1-1/together)*waveMiss
			if at := e.left[t.Buffer]; at >= 0 && t.Mode != Write {
				share *= overflow(moved-at+size, m.usableL2)
			}
			again := 1/t.Again + (1-1/t.Again)*walkMiss
			share *= again
			switch t.Mode {
			case Read:
				loads = true
				if together >= 2 && d.ComputeCapability >= 80 {
					l2 += bytes / coalesced
				} else {
					l2 += bytes
				}
				hbm += bytes * share * runs
			case Write:
				l2 += bytes
				hbm += bytes * runs * again
			case Atomic:
				l2 += 2 * bytes
				hbm += 2 * bytes * share * runs
			}
		}
		all := l.Blocks * loop.Trips
		e.SRAM += all * sram * l.Repeat
		e.L2 += all * l2 * l.Repeat
		e.Memory += all * hbm * l.Repeat
		hbmAll += all * hbm

		for w := range waves {
			v := &waves[w]
			if v.count == 0 {
				continue
			}
			n := loop.Trips * v.count
			tp, te, ts := v.perUnit*work, v.perUnit*element, v.perUnit*sram/m.sram
			tl := max(v.together*l2/m.l2, v.perUnit*l2*m.clockNs/unitL2Clock)
			th := v.together * hbm / memory
			exposed := m.c.Exposed
			if l.Pipeline == PipelineSpecialized {
				exposed = m.c.Specialized
			}
			busy := max(tp, ts, tl, th, te)
			if multiplies {
				busy = max(max(tp, ts, tl, th)+exposed*te, te)
			}
			load := 0.0
			if loads {
				load = m.l2Ns
				if hbm > 0 {
					load = m.memoryNs
				}
			}
			serial := (chain + loop.Wait) * m.c.ChainClocks * m.clockNs
			alone := work + element + serial
			if l.Pipeline == PipelineSpecialized { // another group of warps computes meanwhile
				alone = max(work, element) + exposed*(element+serial)
			}
			if l.Pipeline == PipelineSync || l.Stages < 2 || loop.Trips <= 1 {
				alone += load
			} else { // loads are ahead, but for the first
				alone = max(alone, load/(l.Stages-1)) + load/loop.Trips
			}
			v.times[0] += n * tp
			v.times[1] += n * ts
			v.times[2] += n * tl
			v.times[3] += n * th
			v.element += n * te
			v.alone += n * max(alone, busy/v.perUnit)
			le.Parts[PartLatency] += n * alone
		}
	}
	for w := range waves {
		v := &waves[w]
		if v.count == 0 {
			continue
		}
		exposed := m.c.Exposed
		if l.Pipeline == PipelineSpecialized {
			exposed = m.c.Specialized
		}
		var busy float64
		if multiplies {
			busy = overlap(m.c.Overlap, v.times[0], v.times[1], v.times[2], v.times[3], 0)
			busy = max(busy+exposed*v.element, v.element)
		} else { // element-wise work holds no matrix unit up: it is one resource among the others
			busy = overlap(m.c.Overlap, v.times[0], v.times[1], v.times[2], v.times[3], v.element)
		}
		// The blocks of a unit take turns at the busiest resource. At best one's wait is hidden by the others, at worst each
		// waits for all before it; the fitted share lies between.
		took := max(busy, v.alone)
		if worst := v.alone + busy - busy/v.perUnit; worst > took && l.Pipeline != PipelineSpecialized {
			took += m.c.Queue * (worst - took)
		}
		le.Ns += took
		le.Parts[PartProducts] += v.times[0]
		le.Parts[PartSRAM] += v.times[1]
		le.Parts[PartL2] += v.times[2]
		le.Parts[PartMemory] += v.times[3]
		le.Parts[PartElement] += v.element
	}
	for i := range l.Loops {
		for j := range l.Loops[i].Touches {
			e.left[l.Loops[i].Touches[j].Buffer] = -2
		}
	}
	return hbmAll, nil
}

// registers is what a thread of a launch needs: where the matrix unit has a memory of its own for sums, they are not in registers.
func (d *Device) registers(l *Launch) float64 {
	if d.MatrixPath == "tcgen05" && l.Path != PathMMA && l.Path != PathVector && products(l) {
		return min(l.Registers, tensorRegisters)
	}
	return l.Registers
}

// products tells whether a launch multiplies tiles: its loads come in bursts between products.
func products(l *Launch) bool {
	for i := range l.Loops {
		if l.Loops[i].n > 0 {
			return true
		}
	}
	return false
}

// overflow is the part of size that a cache of the given bytes does not keep.
func overflow(size, cache float64) float64 {
	if size <= cache {
		return 0
	}
	return 1 - cache/size
}

// overlap is the p-norm of five times: their sum for 1, the largest as p grows.
func overlap(p, a, b, c, d, e float64) float64 {
	most := max(a, b, c, d, e)
	if p == 1 || most == 0 {
		return a + b + c + d + e
	}
	sum := 0.0
	for _, x := range [...]float64{a, b, c, d, e} {
		if x == most {
			sum++
		} else if x > 0.02*most {
			sum += math.Exp(p * math.Log(x/most))
		}
	}
	return most * math.Exp(math.Log(sum)/p)
}

func ceilTo(n, to float64) float64 { return math.Ceil(n/to) * to }
