package space

import "math"

// program is an expression of numbers as three-address code over registers: parameters, then constants, then what is computed. It has what
// conditions are mostly made of and no others: a result that is NaN, or no program at all, sends an evaluation to the expression itself,
// which also says what is wrong. Both sides of and, or and if are computed, for there is nothing that they could do but be NaN.
type program struct {
	code      []instruction
	constants []constant
	result    uint8
	bounded   bool // bounds can follow it
}

type opcode uint8

const (
	opAdd opcode = iota
	opSub
	opMul
	opDiv
	opFloor
	opMod
	opEq
	opNe
	opLt
	opLe
	opGt
	opGe
	opAnd
	opOr
	opNot
	opIf
)

// opcodes are those of the binary operators.
var opcodes = map[string]opcode{"+": opAdd, "-": opSub, "*": opMul, "/": opDiv, "//": opFloor, "%": opMod,
	"==": opEq, "!=": opNe, "<": opLt, "<=": opLe, ">": opGt, ">=": opGe, "and": opAnd, "or": opOr}

type instruction struct {
	op          opcode
	to, x, y, z uint8
}

type constant struct {
	register uint8
	value    float64
}

// Registers of a program: as many parameters as a space may have, then the rest.
const (
	registers  = 256
	noRegister = -1
)

type file [registers]float64

// compiler makes a program while an expression is parsed. A register of noRegister is a value that programs do not have.
type compiler struct {
	program
	next int
}

func (c *compiler) register() int {
	if c.next < MaxParams {
		c.next, c.bounded = MaxParams, true
	}
	if c.next == registers {
		return noRegister
	}
	c.next++
	return c.next - 1
}

// constant gives a number a register.
func (c *compiler) constant(v Value) int {
	r := noRegister
	if v.kind != Text && v.kind != None {
		if r = c.register(); r != noRegister {
			c.constants = append(c.constants, constant{uint8(r), v.number})
		}
	}
	return r
}

// emit adds an instruction; it has no value if one of its operands has none.
func (c *compiler) emit(op opcode, operands ...int) int {
	i := instruction{op: op}
	for k, r := range operands {
		if r == noRegister {
			return noRegister
		}
		*[]*uint8{&i.x, &i.y, &i.z}[k] = uint8(r)
	}
	to := c.register()
	if to == noRegister {
		return noRegister
	}
	i.to = uint8(to)
	c.code = append(c.code, i)
	if op == opDiv || op == opFloor || op == opMod || op == opIf {
		c.bounded = false
	}
	return to
}

// done is the program whose result is in a register, nil without one.
func (c *compiler) done(r int) *program {
	if r == noRegister {
		return nil
	}
	c.result = uint8(r)
	return &c.program
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// whole is a number as an integer, if it is one that a float64 holds exactly.
func whole(x float64) (int64, bool) {
	i := int64(x)
	return i, float64(i) == x && i <= maxInt && i >= -maxInt
}

// run computes the result of parameters and constants in f, NaN if the expression must say it.
func (p *program) run(f *file) float64 {
	for _, i := range p.code {
		x, y := f[i.x], f[i.y]
		r := math.NaN()
		switch i.op {
		case opAdd:
			r = x + y
		case opSub:
			r = x - y
		case opMul:
			r = x * y
		case opDiv:
			if y != 0 {
				r = x / y
			}
		case opFloor, opMod:
			a, ok := whole(x)
			b, also := whole(y)
			if ok && also && b != 0 {
				q, m := a/b, a%b
				if m != 0 && (m < 0) != (b < 0) {
					q, m = q-1, m+b
				}
				if r = float64(q); i.op == opMod {
					r = float64(m)
				}
			}
		default:
			r = decide(i.op, x, y, f[i.z])
		}
		if !(r <= maxInt && r >= -maxInt) {
			r = math.NaN()
		}
		f[i.to] = r
	}
	return f[p.result]
}

// decide computes comparisons and what is made of them.
func decide(op opcode, x, y, z float64) float64 {
	if x != x || (op <= opGe && y != y) {
		return math.NaN()
	}
	switch op {
	case opEq:
		return truth(x == y)
	case opNe:
		return truth(x != y)
	case opLt:
		return truth(x < y)
	case opLe:
		return truth(x <= y)
	case opGt:
		return truth(x > y)
	case opGe:
		return truth(x >= y)
	case opNot:
		return truth(x == 0)
	case opAnd:
		if x == 0 {
			return x
		}
		return y
	case opOr:
		if x != 0 {
			return x
		}
		return y
	}
	// opIf: y if x else z
	if x != 0 {
		return y
	}
	return z
}

// verdict is what is known of a condition before all of its parameters are.
type verdict uint8

const (
	open verdict = iota
	holds
	fails
)

// bounds says what a bounded program comes to for all parameters from lo to hi, by interval arithmetic.
func (p *program) bounds(lo, hi *file) verdict {
	for _, i := range p.code {
		a, b, c, d := lo[i.x], hi[i.x], lo[i.y], hi[i.y]
		var l, h float64
		switch i.op {
		case opAdd:
			l, h = a+c, b+d
		case opSub:
			l, h = a-d, b-c
		case opMul:
			if a >= 0 && c >= 0 {
				l, h = a*c, b*d
			} else {
				l, h = min(a*c, a*d, b*c, b*d), max(a*c, a*d, b*c, b*d)
			}
		case opEq:
			l, h = truth(a == b && c == d && a == c), truth(a <= d && c <= b)
		case opNe:
			l, h = truth(a > d || c > b), truth(!(a == b && c == d && a == c))
		case opLt:
			l, h = truth(b < c), truth(a < d)
		case opLe:
			l, h = truth(b <= c), truth(a <= d)
		case opGt:
			l, h = truth(a > d), truth(b > c)
		case opGe:
			l, h = truth(a >= d), truth(b >= c)
		case opNot:
			l, h = truth(a == 0 && b == 0), truth(a <= 0 && b >= 0)
		case opAnd, opOr:
			zero, never := a == 0 && b == 0, a > 0 || b < 0 // the left side is, or cannot be, 0
			switch {
			case zero && i.op == opAnd || never && i.op == opOr:
				l, h = a, b
			case zero || never:
				l, h = c, d
			default:
				l, h = min(a, c), max(b, d)
			}
		}
		if !(l >= -maxInt && h <= maxInt) {
			return open // a part of it may be an error
		}
		lo[i.to], hi[i.to] = l, h
	}
	switch l, h := lo[p.result], hi[p.result]; {
	case l > 0 || h < 0:
		return holds
	case l == 0 && h == 0:
		return fails
	}
	return open
}
