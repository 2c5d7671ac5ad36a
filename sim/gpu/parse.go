package gpu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of a program file.
const (
	maxProgramBytes = 1 << 20
	maxLaunches     = 256
	maxSweep        = 1 << 20
)

// Template is a parsed program: what a Program is for every shape, dtype, config and device. It is
// safe for use by several goroutines.
type Template struct {
	Name    string
	About   string
	Aliases []string

	names    map[string]int
	slots    []string
	dims     []parameter
	configs  []parameter
	steps    []step
	requires []requirement
	buffers  []bufferCode
	bounds   [levelCount]code
	passes   map[string][]launchCode
}

// parameter is a dimension of the shape or a tunable value.
type parameter struct {
	name     string
	slot     int
	required bool
	sweep    []code
}

// step gives a slot its value, unless the caller gave one.
type step struct {
	slot      int
	overrides bool // the caller may give it
	value     code
}

type requirement struct {
	value   code
	message string
}

type bufferCode struct {
	name  string
	kind  BufferKind
	bytes code
}

type launchCode struct {
	name                                   string
	grid, warps, stages, sram, acc, repeat code
	dtype                                  DType
	path                                   Path
	pipeline                               Pipeline
	transfer                               bool
	bytes, steps                           code   // of a transfer
	beside                                 string // the launch that a transfer runs beside
	loops                                  []loopCode
}

type loopCode struct {
	trips []code // the product of the nest around
	ops   []opCode
}

type opCode struct {
	kind          opKind
	name          string
	a             [3]code
	buffer        int
	share         code
	times         code
	access        code
	again         code
	chained       bool
	fromRegisters bool
}

type opKind uint8

const (
	opMMA opKind = iota
	opFMA
	opExp
	opElement
	opWait
	opReadTile
	opWriteTile
	opAddTile
	opExchange
)

var opWords = map[string]struct {
	kind opKind
	args int
}{
	"mma": {opMMA, 3}, "fma": {opFMA, 3}, "exp": {opExp, 1}, "element": {opElement, 1}, "wait": {opWait, 1},
	"load": {opReadTile, 1}, "store": {opWriteTile, 1}, "add": {opAddTile, 1}, "exchange": {opExchange, 1},
}

// Memory levels of a GPU, nearest first. The traffic of a level is what it exchanges with the next nearer one.
const (
	levelSRAM = iota
	levelL2
	levelHBM
	levelCount
)

var levelNames = [levelCount]string{"SRAM", "L2", "HBM"}

// Levels names the memory levels, nearest first.
func Levels() []string { return levelNames[:] }

// deviceNames are what expressions may ask of the device, and the dtype's size.
var deviceNames = []string{"e", "units", "cc", "amd", "sram_per_block", "l2_bytes", "unit_bytes", "chip_bytes", "link_gbps", "network_gbps", "node_devices"}

// Directions of a program.
const (
	Forward  = "fwd"
	Backward = "bwd"
	Both     = "both"
)

// ParseTemplate reads a program in the format that docs describe in sim/gpu/programs/README.md.
func ParseTemplate(text string) (*Template, error) {
	if len(text) > maxProgramBytes {
		return nil, fmt.Errorf("program: %d bytes, more than %d", len(text), maxProgramBytes)
	}
	p := &templateParser{t: &Template{names: map[string]int{}, passes: map[string][]launchCode{}}, pass: Forward}
	for _, n := range deviceNames {
		p.slot(n)
	}
	for i, line := range strings.Split(text, "\n") {
		if at := strings.IndexByte(line, '#'); at >= 0 {
			line = line[:at]
		}
		words, err := splitWords(line)
		if err == nil && len(words) > 0 {
			err = p.statement(words)
		}
		if err != nil {
			return nil, fmt.Errorf("program %s, line %d: %w", p.t.Name, i+1, err)
		}
	}
	return p.t, p.finish()
}

// splitWords cuts a line at spaces outside brackets and quotes.
func splitWords(line string) ([]string, error) {
	var words []string
	var w strings.Builder
	depth, quoted := 0, false
	flush := func() {
		if w.Len() > 0 {
			words = append(words, w.String())
			w.Reset()
		}
	}
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
			continue
		case quoted:
		case r == '(':
			depth++
		case r == ')':
			depth--
			if depth < 0 {
				return nil, errors.New("a bracket is closed that was not opened")
			}
		case (r == ' ' || r == '\t' || r == '\r') && depth == 0:
			flush()
			continue
		}
		w.WriteRune(r)
	}
	if depth != 0 || quoted {
		return nil, errors.New("a bracket or a quote is not closed")
	}
	flush()
	return joined(words), nil
}

// joined puts words around a lone operator together: a + b is one expression.
func joined(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		if len(out) > 0 && i+1 < len(words) && strings.Contains(" + - * / % < <= > >= == != && || ", " "+words[i]+" ") {
			out[len(out)-1] += words[i] + words[i+1]
			i++
			continue
		}
		out = append(out, words[i])
	}
	return out
}

type templateParser struct {
	t      *Template
	pass   string
	launch *launchCode
	nest   []code
	open   int // loops
}

func (p *templateParser) slot(name string) int {
	n := len(p.t.slots)
	p.t.names[name] = n
	p.t.slots = append(p.t.slots, name)
	return n
}

func (p *templateParser) compile(text string) (code, error) { return compile(text, p.t.names) }

func validName(s string) bool {
	for i, r := range s {
		if !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return s != ""
}

func (p *templateParser) statement(words []string) error {
	verb, rest := words[0], words[1:]
	if verb != "program" && p.t.Name == "" {
		return errors.New("a program begins with its name: program NAME")
	}
	switch verb {
	case "program":
		if len(rest) != 1 || p.t.Name != "" {
			return errors.New("want one name, once: program NAME")
		}
		p.t.Name = rest[0]
		return nil
	case "about":
		p.t.About = strings.TrimSpace(p.t.About + " " + strings.Join(rest, " "))
		return nil
	case "alias":
		p.t.Aliases = append(p.t.Aliases, rest...)
		return nil
	case "bound":
		if len(rest) != 2 || !slices.Contains(levelNames[:], rest[0]) {
			return fmt.Errorf("want a level and bytes: bound %s BYTES", strings.Join(levelNames[:], "|"))
		}
		c, err := p.compile(rest[1])
		p.t.bounds[slices.Index(levelNames[:], rest[0])] = c
		return err
	case "dim", "config", "let":
		return p.define(verb, rest)
	case "require":
		if len(rest) < 2 {
			return errors.New("want an expression and what to say: require EXPR \"message\"")
		}
		c, err := p.compile(rest[0])
		p.t.requires = append(p.t.requires, requirement{c, strings.Join(rest[1:], " ")})
		return err
	case "buffer":
		if len(rest) != 3 {
			return errors.New("want a name, a kind and a size: buffer NAME input|output|state|scratch BYTES")
		}
		kind := BufferKind(rest[1])
		if !slices.Contains([]BufferKind{Input, Output, State, Scratch}, kind) {
			return fmt.Errorf("buffer %s: kind %q: want input, output, state or scratch", rest[0], rest[1])
		}
		if p.buffer(rest[0]) >= 0 {
			return fmt.Errorf("buffer %s is there twice", rest[0])
		}
		c, err := p.compile(rest[2])
		p.t.buffers = append(p.t.buffers, bufferCode{rest[0], kind, c})
		return err
	case "pass":
		if len(rest) != 1 || rest[0] != Forward && rest[0] != Backward {
			return errors.New("want pass fwd or pass bwd")
		}
		if p.open > 0 {
			return errors.New("a loop is not ended")
		}
		p.pass, p.launch = rest[0], nil
		return nil
	case "launch":
		return p.beginLaunch(rest)
	case "transfer":
		return p.transfer(rest)
	case "loop":
		if p.launch == nil || len(rest) != 1 {
			return errors.New("want a number of trips, in a launch: loop EXPR")
		}
		c, err := p.compile(rest[0])
		if err != nil {
			return err
		}
		p.nest = append(p.nest, c)
		p.open++
		p.launch.loops = append(p.launch.loops, loopCode{trips: slices.Clone(p.nest)})
		return nil
	case "end":
		if p.open == 0 || len(rest) != 0 {
			return errors.New("there is no loop to end")
		}
		p.open--
		p.nest = p.nest[:len(p.nest)-1]
		if p.open > 0 {
			// What follows belongs to the outer loop again.
			p.launch.loops = append(p.launch.loops, loopCode{trips: slices.Clone(p.nest)})
		}
		return nil
	}
	if w, ok := opWords[verb]; ok {
		return p.operation(verb, w.kind, w.args, rest)
	}
	return fmt.Errorf("unknown statement %q", verb)
}

func (p *templateParser) buffer(name string) int {
	return slices.IndexFunc(p.t.buffers, func(b bufferCode) bool { return b.name == name })
}

// define handles dim NAME [= EXPR], config NAME = EXPR [in EXPR EXPR ...] and let NAME = EXPR.
func (p *templateParser) define(verb string, rest []string) error {
	if len(rest) == 0 {
		return fmt.Errorf("%s needs a name", verb)
	}
	name := rest[0]
	if !validName(name) {
		return fmt.Errorf("%q is no name", name)
	}
	if _, ok := p.t.names[name]; ok {
		return fmt.Errorf("%s is there twice", name)
	}
	param := parameter{name: name}
	var value code
	switch {
	case len(rest) == 1 && verb == "dim":
		param.required = true
	case len(rest) >= 3 && rest[1] == "=":
		var err error
		if value, err = p.compile(rest[2]); err != nil {
			return err
		}
		if len(rest) > 3 {
			if verb != "config" || rest[3] != "in" || len(rest) == 4 {
				return fmt.Errorf("%s %s: %q is not understood", verb, name, strings.Join(rest[3:], " "))
			}
			for _, w := range rest[4:] {
				c, err := p.compile(w)
				if err != nil {
					return err
				}
				param.sweep = append(param.sweep, c)
			}
		}
	default:
		return fmt.Errorf("want %s NAME = EXPR", verb)
	}
	param.slot = p.slot(name)
	switch verb {
	case "dim":
		p.t.dims = append(p.t.dims, param)
	case "config":
		p.t.configs = append(p.t.configs, param)
	}
	p.t.steps = append(p.t.steps, step{param.slot, verb != "let", value})
	return nil
}

func (p *templateParser) beginLaunch(rest []string) error {
	if p.open > 0 {
		return errors.New("a loop is not ended")
	}
	if len(rest) < 1 {
		return errors.New("want launch NAME grid=EXPR and further key=value")
	}
	l := launchCode{name: rest[0]}
	for _, w := range rest[1:] {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return fmt.Errorf("launch %s: %q: want key=value", l.name, w)
		}
		var err error
		switch key {
		case "grid":
			l.grid, err = p.compile(value)
		case "warps":
			l.warps, err = p.compile(value)
		case "stages":
			l.stages, err = p.compile(value)
		case "sram":
			l.sram, err = p.compile(value)
		case "acc":
			l.acc, err = p.compile(value)
		case "repeat":
			l.repeat, err = p.compile(value)
		case "dtype":
			l.dtype, err = ParseDType(value)
		case "path":
			l.path, err = parsePath(value)
		case "pipeline":
			l.pipeline, err = parsePipeline(value)
		default:
			err = fmt.Errorf("launch %s: unknown key %q", l.name, key)
		}
		if err != nil {
			return err
		}
	}
	if l.grid == nil {
		return fmt.Errorf("launch %s: grid is missing", l.name)
	}
	if len(p.t.passes[p.pass]) >= maxLaunches {
		return fmt.Errorf("more than %d launches", maxLaunches)
	}
	p.t.passes[p.pass] = append(p.t.passes[p.pass], l)
	p.launch = &p.t.passes[p.pass][len(p.t.passes[p.pass])-1]
	return nil
}

// transfer handles transfer NAME bytes=EXPR steps=EXPR devices=EXPR [beside=LAUNCH] [repeat=EXPR].
func (p *templateParser) transfer(rest []string) error {
	if p.open > 0 {
		return errors.New("a loop is not ended")
	}
	if len(rest) < 1 {
		return errors.New("want transfer NAME bytes=EXPR steps=EXPR devices=EXPR")
	}
	l := launchCode{name: rest[0], transfer: true}
	for _, w := range rest[1:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "bytes":
			l.bytes, err = p.compile(value)
		case "steps":
			l.steps, err = p.compile(value)
		case "devices":
			l.grid, err = p.compile(value)
		case "repeat":
			l.repeat, err = p.compile(value)
		case "beside":
			l.beside = value
			if !slices.ContainsFunc(p.t.passes[p.pass], func(o launchCode) bool { return o.name == value && !o.transfer }) {
				err = fmt.Errorf("there is no launch %q before it in this pass", value)
			}
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return fmt.Errorf("transfer %s: %w", l.name, err)
		}
	}
	if l.bytes == nil || l.steps == nil || l.grid == nil {
		return fmt.Errorf("transfer %s: bytes, steps and devices are needed", l.name)
	}
	if len(p.t.passes[p.pass]) >= maxLaunches {
		return fmt.Errorf("more than %d launches", maxLaunches)
	}
	p.launch = nil
	p.t.passes[p.pass] = append(p.t.passes[p.pass], l)
	return nil
}

func (p *templateParser) operation(verb string, kind opKind, args int, rest []string) error {
	if p.launch == nil {
		return fmt.Errorf("%s is outside a launch", verb)
	}
	if p.open == 0 {
		return fmt.Errorf("%s is outside a loop: write loop 1 around what is done once", verb)
	}
	op := opCode{kind: kind, name: verb, buffer: -1}
	if kind == opReadTile || kind == opWriteTile || kind == opAddTile {
		if len(rest) == 0 || p.buffer(rest[0]) < 0 {
			return fmt.Errorf("%s needs a buffer that is there", verb)
		}
		op.buffer = p.buffer(rest[0])
		rest = rest[1:]
	}
	if len(rest) < args {
		return fmt.Errorf("%s takes %d values", verb, args)
	}
	for i := range args {
		c, err := p.compile(rest[i])
		if err != nil {
			return err
		}
		op.a[i] = c
	}
	for _, w := range rest[args:] {
		key, value, ok := strings.Cut(w, "=")
		var err error
		switch {
		case !ok && w == "chained" && kind == opMMA:
			op.chained = true
		case !ok && w == "registers" && kind == opMMA:
			op.fromRegisters = true
		case ok && key == "times":
			op.times, err = p.compile(value)
		case ok && key == "share" && op.buffer >= 0:
			op.share, err = p.compile(value)
		case ok && key == "again" && op.buffer >= 0:
			op.again, err = p.compile(value)
		case ok && key == "row" && op.buffer >= 0:
			op.access, err = p.compile(value)
		default:
			err = fmt.Errorf("%s: %q is not understood", verb, w)
		}
		if err != nil {
			return err
		}
	}
	loop := &p.launch.loops[len(p.launch.loops)-1]
	loop.ops = append(loop.ops, op)
	return nil
}

func (p *templateParser) finish() error {
	switch {
	case p.t.Name == "":
		return errors.New("program: the text is empty")
	case p.open > 0:
		return fmt.Errorf("program %s: a loop is not ended", p.t.Name)
	case len(p.t.passes) == 0:
		return fmt.Errorf("program %s has no launch", p.t.Name)
	}
	return nil
}
