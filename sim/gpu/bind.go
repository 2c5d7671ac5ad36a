package gpu

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// BufferKind says what an array is to a program.
type BufferKind string

// Kinds of buffer.
const (
	Input   BufferKind = "input"   // read from outside
	Output  BufferKind = "output"  // wanted outside
	State   BufferKind = "state"   // read and written, wanted outside
	Scratch BufferKind = "scratch" // of no use outside
)

// Program is a kernel for one shape, dtype, config and device: launches one after the other. Bind fills one and reuses
// its memory.
type Program struct {
	Name     string
	DType    DType
	Launches []Launch
	Buffers  []float64 // bytes

	template *Template
	bounds   [levelCount]float64 // bytes that the program says any tiling must move
	values   []float64           // of the template's names
	loops    []Loop
	touches  []Touch
}

// Launch is a grid of blocks that all walk the same loops.
type Launch struct {
	Name      string
	Blocks    float64
	Repeat    float64 // how often it is launched
	Warps     float64 // of a block
	Stages    float64 // of loads in flight, 1 is none ahead
	SRAMBytes float64 // of a block
	Registers float64 // 32-bit, of a thread
	DType     DType   // of the products' operands
	Path      Path
	Pipeline  Pipeline
	Loops     []Loop

	// A transfer between devices instead of a grid.
	Transfer bool
	Bytes    float64 // that a device sends
	Steps    float64 // one after the other
	Beside   int     // index of the launch that it runs beside, -1 for none
}

// Loop is what one block does in one trip, and how often. Nested loops are flattened: Trips is the product of the nest.
type Loop struct {
	Trips    float64
	Exps     float64
	Elements float64
	Exchange float64 // bytes through SRAM besides tiles and operands
	Wait     float64 // dependent steps besides the products
	Touches  []Touch

	products [6]Product
	n        int
}

// Products lists the loop's products.
func (l *Loop) Products() []Product { return l.products[:l.n] }

// Product is an M x N x K product of tiles, some times over.
type Product struct {
	M, N, K, Times float64
	Chained        bool // it waits for the one before
	Registers      bool // its first operand is in registers
	Vector         bool // it runs on the vector lanes
}

// Touch is a tile that a trip loads or stores.
type Touch struct {
	Buffer int
	Bytes  float64
	Mode   TouchMode
	Share  float64 // blocks that touch the same bytes at about the same time
	Again  float64 // times that the block comes back to the same bytes
	Row    float64 // bytes of a contiguous run, 0 for long ones
}

// TouchMode says what a touch does.
type TouchMode uint8

// Modes of a touch.
const (
	Read   TouchMode = iota
	Write            // whole tiles, not read before
	Atomic           // added to what is there
)

// Values are given by name: dimensions of the shape, then tunables. A NaN or a missing value is not given.
type Values map[string]float64

// Arguments are Values in the order of a template's slots, so that binding does not look up names.
type Arguments []float64

// Names lists what a program can be given: the dimensions that it needs, those it has defaults for, and its tunables.
func (t *Template) Names() (required, optional, tunable []string) {
	for _, d := range t.dims {
		if d.required {
			required = append(required, d.name)
		} else {
			optional = append(optional, d.name)
		}
	}
	for _, c := range t.configs {
		tunable = append(tunable, c.name)
	}
	return required, optional, tunable
}

// Has tells whether a dimension or tunable of that name can be given.
func (t *Template) Has(name string) bool {
	is := func(p parameter) bool { return p.name == name }
	return slices.ContainsFunc(t.dims, is) || slices.ContainsFunc(t.configs, is)
}

// Directions lists the passes that the program has.
func (t *Template) Directions() []string {
	var out []string
	for _, d := range []string{Forward, Backward} {
		if len(t.passes[d]) > 0 {
			out = append(out, d)
		}
	}
	return out
}

// Arguments orders values, and refuses names that the program has not.
func (t *Template) Arguments(v Values) (Arguments, error) {
	args := make(Arguments, len(t.slots))
	for i := range args {
		args[i] = math.NaN()
	}
	for name, x := range v {
		if !t.Has(name) {
			r, o, c := t.Names()
			return nil, fmt.Errorf("program %s has no %q: it has %s", t.Name, name, strings.Join(slices.Concat(r, o, c), ", "))
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("program %s: %s must be a number, not %g", t.Name, name, x)
		}
		args[t.names[name]] = x
	}
	return args, nil
}

// maxValue is the largest value that a dimension may have.
const maxValue = 1 << 52

// Bind fills p with the program for the arguments. It allocates only while p grows.
func (t *Template) Bind(p *Program, d *Device, dtype DType, dir string, args Arguments) error {
	if dtype == NoDType {
		return fmt.Errorf("program %s: no dtype", t.Name)
	}
	p.template, p.Name, p.DType = t, t.Name, dtype
	if cap(p.values) < len(t.slots) {
		p.values = make([]float64, len(t.slots))
	}
	v := p.values[:len(t.slots)]
	p.values = v
	for i, n := range [...]float64{dtype.Bytes(), float64(d.Units), float64(d.ComputeCapability), truth(d.Vendor == "amd"), d.SRAMPerBlockKiB * 1024, d.L2MiB * (1 << 20), (d.SRAMPerUnitKiB + d.RegistersKiB) * 1024, d.L2MiB*(1<<20) + float64(d.Units)*(d.SRAMPerUnitKiB+d.RegistersKiB)*1024, d.LinkGBps, d.NetworkGBps, float64(max(1, d.NodeDevices))} {
		v[i] = n
	}
	for i := range t.steps {
		s := &t.steps[i]
		if s.overrides && s.slot < len(args) && !math.IsNaN(args[s.slot]) {
			v[s.slot] = args[s.slot]
		} else if s.value != nil {
			v[s.slot] = s.value.eval(v)
		} else {
			return fmt.Errorf("program %s: %s is missing", t.Name, t.slots[s.slot])
		}
		if x := v[s.slot]; !(x >= -maxValue && x <= maxValue) {
			return fmt.Errorf("program %s: %s is %g", t.Name, t.slots[s.slot], x)
		}
	}
	for i := range t.dims {
		if x := v[t.dims[i].slot]; x < 0 {
			return fmt.Errorf("program %s: %s must not be negative, but is %g", t.Name, t.dims[i].name, x)
		}
	}
	for i := range t.configs {
		if x := v[t.configs[i].slot]; !(x > 0) {
			return fmt.Errorf("program %s: %s must be positive, but is %g", t.Name, t.configs[i].name, x)
		}
	}
	for i := range t.requires {
		if t.requires[i].value.eval(v) == 0 {
			return &shapeError{t.Name, t.requires[i].message}
		}
	}
	p.Buffers = p.Buffers[:0]
	for i := range t.buffers {
		p.Buffers = append(p.Buffers, max(0, t.buffers[i].bytes.eval(v)))
	}
	for i := range t.bounds {
		p.bounds[i] = max(0, or(t.bounds[i], v, 0))
	}
	p.Launches, p.loops, p.touches = p.Launches[:0], p.loops[:0], p.touches[:0]
	found := false
	for _, pass := range [...]string{Forward, Backward} {
		if dir != pass && dir != Both {
			continue
		}
		codes := t.passes[pass]
		if len(codes) == 0 {
			return fmt.Errorf("program %s has no pass %s", t.Name, pass)
		}
		found = true
		if err := p.bindPass(codes, dtype); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("program %s: direction %q: want fwd, bwd or both", t.Name, dir)
	}
	if len(p.Launches) == 0 {
		return fmt.Errorf("program %s launches nothing for this shape", t.Name)
	}
	return nil
}

// shapeError says which requirement of a program a shape or config breaks.
type shapeError struct{ program, message string }

func (e *shapeError) Error() string { return "program " + e.program + ": " + e.message }

func or(c code, v []float64, other float64) float64 {
	if c == nil {
		return other
	}
	return c.eval(v)
}

func (p *Program) bindPass(codes []launchCode, dtype DType) error {
	v := p.values
	for i := range codes {
		c := &codes[i]
		blocks := c.grid.eval(v)
		if !(blocks > 0) || blocks > maxValue {
			if blocks == 0 {
				continue
			}
			return fmt.Errorf("program %s: launch %s has %g blocks", p.Name, c.name, blocks)
		}
		if c.transfer {
			t := Launch{Name: c.name, Transfer: true, Blocks: math.Ceil(blocks), Repeat: or(c.repeat, v, 1), Bytes: c.bytes.eval(v), Steps: c.steps.eval(v), Beside: -1}
			if !(t.Bytes >= 0) || !(t.Steps >= 0) || t.Bytes > maxValue || t.Steps > maxValue {
				return fmt.Errorf("program %s: transfer %s has %g bytes and %g steps", p.Name, c.name, t.Bytes, t.Steps)
			}
			for j := len(p.Launches) - 1; j >= 0 && c.beside != ""; j-- {
				if p.Launches[j].Name == c.beside {
					t.Beside = j
					break
				}
			}
			p.Launches = append(p.Launches, t)
			continue
		}
		l := Launch{
			Beside: -1, Name: c.name, Blocks: math.Ceil(blocks), Repeat: or(c.repeat, v, 1), Warps: math.Ceil(or(c.warps, v, 4)), Stages: max(1, or(c.stages, v, 2)),
			SRAMBytes: max(0, or(c.sram, v, 0)), DType: c.dtype, Path: c.path, Pipeline: c.pipeline,
		}
		if l.DType == NoDType {
			l.DType = dtype
		}
		l.Registers = addressRegisters + math.Ceil(or(c.acc, v, 0)/(l.Warps*warpThreads))
		first := len(p.loops)
		for j := range c.loops {
			if len(c.loops[j].ops) == 0 {
				continue
			}
			p.loops = append(p.loops, Loop{})
			if err := p.bindLoop(&p.loops[len(p.loops)-1], &c.loops[j], c.name); err != nil {
				return err
			}
		}
		l.Loops = p.loops[first:len(p.loops):len(p.loops)]
		p.Launches = append(p.Launches, l)
	}
	return nil
}

func (p *Program) bindLoop(l *Loop, c *loopCode, launch string) error {
	v := p.values
	l.Trips = 1
	for _, t := range c.trips {
		l.Trips *= t.eval(v)
	}
	if !(l.Trips >= 0) || l.Trips > maxValue {
		return fmt.Errorf("program %s: launch %s: a loop has %g trips", p.Name, launch, l.Trips)
	}
	n, first := 0, len(p.touches)
	for i := range c.ops {
		o := &c.ops[i]
		times := or(o.times, v, 1)
		var a [3]float64
		for j := range o.a {
			if o.a[j] != nil {
				a[j] = o.a[j].eval(v)
				if !(a[j] >= 0) || a[j] > maxValue {
					return fmt.Errorf("program %s: launch %s: %s has the value %g", p.Name, launch, o.name, a[j])
				}
			}
		}
		switch o.kind {
		case opMMA, opFMA:
			if n == len(l.products) {
				return fmt.Errorf("program %s: launch %s: more than %d products in one loop", p.Name, launch, len(l.products))
			}
			if times > 0 && a[0] > 0 && a[1] > 0 && a[2] > 0 {
				l.products[n] = Product{M: a[0], N: a[1], K: a[2], Times: times, Chained: o.chained, Registers: o.fromRegisters, Vector: o.kind == opFMA}
				n++
			}
		case opExp:
			l.Exps += times * a[0]
		case opElement:
			l.Elements += times * a[0]
		case opWait:
			l.Wait += times * a[0]
		case opExchange:
			l.Exchange += times * a[0]
		default:
			mode := Read
			switch o.kind {
			case opWriteTile:
				mode = Write
			case opAddTile:
				mode = Atomic
			}
			if bytes := times * a[0]; bytes > 0 {
				p.touches = append(p.touches, Touch{Buffer: o.buffer, Bytes: bytes, Mode: mode, Share: max(1, or(o.share, v, 1)), Row: or(o.access, v, 0), Again: max(1, or(o.again, v, 1))})
			}
		}
	}
	l.n = n
	l.Touches = p.touches[first:len(p.touches):len(p.touches)]
	return nil
}

// BindFitting is Bind, and where the default config asks for more of a block than the device has, stages, then tile sizes are halved until it fits, as
// kernels' own tables for smaller GPUs do. Tunables that the arguments give stay.
func (t *Template) BindFitting(p *Program, d *Device, dtype DType, dir string, args Arguments) error {
	own := slices.Clone(args)
	for {
		if err := t.Bind(p, d, dtype, dir, own); err != nil {
			return err
		}
		if p.fits(d) {
			return nil
		}
		best, most := -1, 1.0
		for i := range t.configs {
			c := &t.configs[i]
			if c.slot < len(args) && !math.IsNaN(args[c.slot]) {
				continue
			}
			x := p.values[c.slot]
			switch {
			case c.name == "stages" && x > 1:
				x = 1e9 // first
			case c.name == "warps" || c.name == "bwarps" || c.name == "groups" || c.name == "split" || c.name == "seq" || x <= 16:
				continue
			}
			if x > most {
				best, most = c.slot, x
			}
		}
		if best < 0 {
			return nil
		}
		if most == 1e9 {
			own[best] = p.values[best] - 1
		} else {
			own[best] = math.Floor(p.values[best] / 2)
		}
	}
}

// fits tells whether every launch fits on the device.
func (p *Program) fits(d *Device) bool {
	for i := range p.Launches {
		l := &p.Launches[i]
		if l.Transfer {
			continue
		}
		threads := l.Warps * warpThreads
		registers := math.Ceil(min(d.registers(l), maxRegisters)/8) * 8
		if l.SRAMBytes > d.SRAMPerBlockKiB*1024 || l.Warps > d.WarpsPerUnit || threads > 1024 || registers*4*threads > d.RegistersKiB*1024 {
			return false
		}
	}
	return true
}
