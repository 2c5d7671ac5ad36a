package gpu

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"strconv"
)

// opcode is one step of a compiled expression, on a stack of numbers.
type opcode uint8

const (
	opConst opcode = iota
	opLoad
	opAdd
	opSub
	opMul
	opDiv
	opMod
	opNeg
	opNot
	opLess
	opLessEq
	opEq
	opNotEq
	opAnd
	opOr
	opMin
	opMax
	opCeil
	opFloor
	opPow2
	opSqrt
	opLog2
	opExp2
	opCond
)

// maxDepth is the deepest stack that an expression may need.
const maxDepth = 24

type instr struct {
	op    opcode
	slot  int32
	value float64
}

// code is a compiled expression.
type code []instr

// functions of expressions: the number of arguments and what each does.
var functions = map[string]struct {
	args int
	op   opcode
}{
	"min":   {2, opMin},
	"max":   {2, opMax},
	"ceil":  {2, opCeil},  // ceil(a, b) is a/b rounded up
	"floor": {2, opFloor}, // floor(a, b) is a/b rounded down
	"pow2":  {1, opPow2},  // the next power of two, 1 at least
	"sqrt":  {1, opSqrt},
	"log2":  {1, opLog2},
	"exp2":  {1, opExp2},
	"cond":  {3, opCond}, // cond(c, a, b) is a where c is not 0, else b
}

// compile turns an expression in Go's syntax into code. Names are looked up in slots.
func compile(text string, slots map[string]int) (code, error) {
	tree, err := parser.ParseExpr(text)
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", text, err)
	}
	var c code
	depth, deepest := 0, 0
	push := func(i instr, change int) {
		c = append(c, i)
		depth += change
		deepest = max(deepest, depth)
	}
	binary := map[token.Token]opcode{
		token.ADD: opAdd, token.SUB: opSub, token.MUL: opMul, token.QUO: opDiv, token.REM: opMod,
		token.LSS: opLess, token.LEQ: opLessEq, token.EQL: opEq, token.NEQ: opNotEq, token.LAND: opAnd, token.LOR: opOr,
	}
	var walk func(ast.Expr) error
	walk = func(e ast.Expr) error {
		switch e := e.(type) {
		case *ast.ParenExpr:
			return walk(e.X)
		case *ast.BasicLit:
			v, err := strconv.ParseFloat(e.Value, 64)
			if err != nil || e.Kind != token.INT && e.Kind != token.FLOAT {
				return fmt.Errorf("expression %q: %s is no number", text, e.Value)
			}
			push(instr{op: opConst, value: v}, 1)
		case *ast.Ident:
			slot, ok := slots[e.Name]
			if !ok {
				return fmt.Errorf("expression %q: unknown name %q", text, e.Name)
			}
			push(instr{op: opLoad, slot: int32(slot)}, 1)
		case *ast.UnaryExpr:
			if err := walk(e.X); err != nil {
				return err
			}
			switch e.Op {
			case token.SUB:
				push(instr{op: opNeg}, 0)
			case token.NOT:
				push(instr{op: opNot}, 0)
			default:
				return fmt.Errorf("expression %q: operator %s is not known", text, e.Op)
			}
		case *ast.BinaryExpr:
			x, y, op := e.X, e.Y, e.Op
			if op == token.GTR {
				x, y, op = y, x, token.LSS
			} else if op == token.GEQ {
				x, y, op = y, x, token.LEQ
			}
			o, ok := binary[op]
			if !ok {
				return fmt.Errorf("expression %q: operator %s is not known", text, e.Op)
			}
			if err := walk(x); err != nil {
				return err
			}
			if err := walk(y); err != nil {
				return err
			}
			push(instr{op: o}, -1)
		case *ast.CallExpr:
			name, ok := e.Fun.(*ast.Ident)
			if !ok {
				return fmt.Errorf("expression %q: not a call of a function", text)
			}
			f, ok := functions[name.Name]
			if !ok {
				return fmt.Errorf("expression %q: unknown function %q", text, name.Name)
			}
			n := len(e.Args)
			if n < f.args || n > f.args && f.op != opMin && f.op != opMax {
				return fmt.Errorf("expression %q: %s takes %d values, not %d", text, name.Name, f.args, n)
			}
			for i, a := range e.Args {
				if err := walk(a); err != nil {
					return err
				}
				if i > 0 && (f.op == opMin || f.op == opMax) {
					push(instr{op: f.op}, -1)
				}
			}
			if f.op != opMin && f.op != opMax {
				push(instr{op: f.op}, 1-f.args)
			}
		default:
			return fmt.Errorf("expression %q: not understood", text)
		}
		return nil
	}
	if err := walk(tree); err != nil {
		return nil, err
	}
	if deepest > maxDepth {
		return nil, fmt.Errorf("expression %q is too deep", text)
	}
	return c, nil
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// eval runs the code on the values of the slots. It does not allocate.
func (c code) eval(values []float64) float64 {
	var s [maxDepth]float64
	n := 0
	for i := range c {
		in := &c[i]
		switch in.op {
		case opConst:
			s[n] = in.value
			n++
			continue
		case opLoad:
			s[n] = values[in.slot]
			n++
			continue
		case opNeg:
			s[n-1] = -s[n-1]
			continue
		case opNot:
			s[n-1] = truth(s[n-1] == 0)
			continue
		case opPow2:
			p := 1.0
			for p < s[n-1] && p < 1<<52 {
				p *= 2
			}
			s[n-1] = p
			continue
		case opSqrt:
			s[n-1] = math.Sqrt(s[n-1])
			continue
		case opLog2:
			s[n-1] = math.Log2(s[n-1])
			continue
		case opExp2:
			s[n-1] = math.Exp2(s[n-1])
			continue
		case opCond:
			if s[n-3] != 0 {
				s[n-3] = s[n-2]
			} else {
				s[n-3] = s[n-1]
			}
			n -= 2
			continue
		}
		a, b := s[n-2], s[n-1]
		n--
		var r float64
		switch in.op {
		case opAdd:
			r = a + b
		case opSub:
			r = a - b
		case opMul:
			r = a * b
		case opDiv:
			r = a / b
		case opMod:
			r = math.Mod(a, b)
		case opLess:
			r = truth(a < b)
		case opLessEq:
			r = truth(a <= b)
		case opEq:
			r = truth(a == b)
		case opNotEq:
			r = truth(a != b)
		case opAnd:
			r = truth(a != 0 && b != 0)
		case opOr:
			r = truth(a != 0 || b != 0)
		case opMin:
			r = min(a, b)
		case opMax:
			r = max(a, b)
		case opCeil:
			r = math.Ceil(a / b)
		case opFloor:
			r = math.Floor(a / b)
		}
		s[n-1] = r
	}
	return s[0]
}
