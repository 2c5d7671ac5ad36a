package space

import (
	"fmt"
	"math"
	"strings"
)

// Expression is a condition or a list of values as T1 files write them: a small part of Python's
// expressions, evaluated here and never run as code.
//
//	or, and, not, chained comparisons (== != < <= > >=, in, not in), + - * / // % **, parentheses, lists
//	and tuples, numbers, 'texts', True, False, None, names, x if c else y, [e for n in list if c],
//	range, list, len, min, max, abs, int, float, bool, round, sum
//
// No Go module has this grammar: chained comparisons and floored // and % rule out those for Go-like and C-like
// expressions, and Starlark has neither chains nor **.
type Expression struct {
	source string
	names  []string // free names, in order of appearance
	eval   eval
	quick  *program // nil where there is none
}

// Limits on what a hostile file can make an expression cost.
const (
	maxSource = 1 << 14 // bytes
	maxDepth  = 100     // of nesting
	maxList   = 1 << 16 // elements of all lists that one evaluation makes
)

// operand is a value or a list under evaluation.
type operand struct {
	Value
	list   []Value
	isList bool
	err    string // why there is no value
}

func bad(format string, a ...any) operand { return operand{err: fmt.Sprintf(format, a...)} }

func boolean(b bool) operand { return operand{Value: BoolValue(b)} }

func (o operand) truth() bool {
	switch {
	case o.isList:
		return len(o.list) > 0
	case o.kind == Text:
		return o.text != ""
	}
	return o.number != 0
}

func (o operand) numeric() bool { return !o.isList && o.kind != Text && o.kind != None }

// frame holds the values of names and what is left of the evaluation's allowance.
type frame struct {
	slots []Value
	left  int
}

type eval func(*frame) operand

// ParseExpression reads an expression.
func ParseExpression(source string) (*Expression, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("expression of %d bytes, must be at most %d", len(source), maxSource)
	}
	p := &parser{source: source}
	if err := p.tokenize(); err != nil {
		return nil, fmt.Errorf("%q: %w", short(source), err)
	}
	e, quick, err := p.parse()
	if err != nil {
		return nil, fmt.Errorf("%q: %w", short(source), err)
	}
	return &Expression{source: source, names: p.free(), eval: e, quick: quick}, nil
}

func short(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}

// String is the source.
func (e *Expression) String() string { return e.source }

// Names lists the parameters that the expression reads.
func (e *Expression) Names() []string { return e.names }

// run evaluates over the values of Names, in their order.
func (e *Expression) run(f *frame) (operand, error) {
	f.left = maxList
	o := e.eval(f)
	if o.err != "" {
		return o, fmt.Errorf("%q: %s", short(e.source), o.err)
	}
	return o, nil
}

// frame makes room for names and what comprehensions bind.
func (e *Expression) frame() *frame { return &frame{slots: make([]Value, len(e.names)+maxBound)} }

// evaluate runs the expression once, with names looked up in vars.
func (e *Expression) evaluate(vars map[string]Value) (operand, error) {
	f := e.frame()
	for i, n := range e.names {
		v, ok := vars[n]
		if !ok {
			return operand{}, fmt.Errorf("%q: name %s is unknown", short(e.source), n)
		}
		f.slots[i] = v
	}
	return e.run(f)
}

// Holds evaluates a condition.
func (e *Expression) Holds(vars map[string]Value) (bool, error) {
	o, err := e.evaluate(vars)
	return o.truth(), err
}

// Evaluate evaluates to one value.
func (e *Expression) Evaluate(vars map[string]Value) (Value, error) {
	o, err := e.evaluate(vars)
	if err == nil && (o.isList || o.kind == None) {
		return Value{}, fmt.Errorf("%q: is not one value", short(e.source))
	}
	return o.Value, err
}

// List evaluates to a list of values.
func (e *Expression) List(vars map[string]Value) ([]Value, error) {
	o, err := e.evaluate(vars)
	if err == nil && !o.isList {
		return nil, fmt.Errorf("%q: is no list", short(e.source))
	}
	return o.list, err
}

// arithmetic applies a binary operator to numbers as Python does: / gives floats, // and % floor.
func arithmetic(op string, x, y operand) operand {
	if x.err != "" {
		return x
	}
	if y.err != "" {
		return y
	}
	if !x.numeric() || !y.numeric() {
		return bad("%s needs numbers", op)
	}
	a, b := x.number, y.number
	kind := Int
	if x.kind == Float || y.kind == Float {
		kind = Float
	}
	var r float64
	switch op {
	case "+":
		r = a + b
	case "-":
		r = a - b
	case "*":
		r = a * b
	case "/":
		if b == 0 {
			return bad("division by zero")
		}
		r, kind = a/b, Float
	case "//", "%":
		if b == 0 {
			return bad("division by zero")
		}
		m := math.Mod(a, b)
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		if op == "%" {
			r = m
		} else {
			r = math.Round((a - m) / b)
		}
	case "**":
		if a == 0 && b < 0 {
			return bad("zero to a negative power")
		}
		if b < 0 {
			kind = Float
		}
		r = math.Pow(a, b)
	}
	switch {
	case math.IsNaN(r) || math.IsInf(r, 0):
		return bad("%s overflows", op)
	case kind == Int && math.Abs(r) > maxInt:
		return bad("%s gives an integer above 2^53", op)
	}
	return operand{Value: Value{kind: kind, number: r}}
}

// join adds lists and texts.
func (f *frame) join(x, y operand) operand {
	switch {
	case x.err != "":
		return x
	case y.err != "":
		return y
	case x.isList && y.isList:
		if f.left -= len(x.list) + len(y.list); f.left < 0 {
			return bad("lists of more than %d elements", maxList)
		}
		return operand{isList: true, list: append(append(make([]Value, 0, len(x.list)+len(y.list)), x.list...), y.list...)}
	case x.kind == Text && y.kind == Text:
		if f.left -= len(x.text) + len(y.text); f.left < 0 {
			return bad("texts of more than %d bytes", maxList)
		}
		return operand{Value: TextValue(x.text + y.text)}
	}
	return arithmetic("+", x, y)
}

// compare applies one comparison.
func compare(op string, x, y operand) operand {
	if x.err != "" {
		return x
	}
	if y.err != "" {
		return y
	}
	switch op {
	case "in", "not in":
		found := false
		switch {
		case y.isList && !x.isList:
			for _, v := range y.list {
				found = found || same(v, x.Value)
			}
		case y.kind == Text && x.kind == Text && !x.isList:
			found = strings.Contains(y.text, x.text)
		default:
			return bad("%s needs a list", op)
		}
		return boolean(found == (op == "in"))
	case "==", "!=":
		equal := x.isList == y.isList
		if x.isList && y.isList {
			equal = len(x.list) == len(y.list)
			for i := 0; equal && i < len(x.list); i++ {
				equal = same(x.list[i], y.list[i])
			}
		} else if equal {
			equal = same(x.Value, y.Value)
		}
		return boolean(equal == (op == "=="))
	}
	var less, equal bool
	switch {
	case x.numeric() && y.numeric():
		less, equal = x.number < y.number, x.number == y.number
	case x.kind == Text && y.kind == Text:
		less, equal = x.text < y.text, x.text == y.text
	default:
		return bad("%s needs two numbers or two texts", op)
	}
	switch op {
	case "<":
		return boolean(less)
	case "<=":
		return boolean(less || equal)
	case ">":
		return boolean(!less && !equal)
	}
	return boolean(!less)
}

func same(v, w Value) bool {
	if v.kind == None || w.kind == None {
		return v.kind == w.kind
	}
	return v.Equal(w)
}

// call applies a built-in function.
func (f *frame) call(name string, args []operand) operand {
	for _, a := range args {
		if a.err != "" {
			return a
		}
	}
	switch name {
	case "range":
		return f.arange(args)
	case "min", "max", "sum":
		items := make([]operand, 0, len(args))
		if len(args) == 1 && args[0].isList {
			for _, v := range args[0].list {
				items = append(items, operand{Value: v})
			}
		} else {
			if name != "sum" {
				items = args
			}
			if len(args) == 1 && name != "sum" && args[0].numeric() {
				return args[0] // the hub writes max(x) of one parameter
			}
		}
		if len(items) == 0 {
			return bad("%s needs values", name)
		}
		best := items[0]
		for _, x := range items[1:] {
			switch {
			case name == "sum":
				best = arithmetic("+", best, x)
			case compare("<", x, best).truth() == (name == "min") && compare("!=", x, best).truth():
				best = x
			}
			if best.err != "" || !x.numeric() {
				return bad("%s needs numbers", name)
			}
		}
		return best
	}
	if len(args) != 1 {
		return bad("%s needs one argument", name)
	}
	x := args[0]
	switch name {
	case "list":
		if x.isList {
			return x
		}
	case "len":
		if x.isList {
			return operand{Value: IntValue(len(x.list))}
		}
		if x.kind == Text {
			return operand{Value: IntValue(len(x.text))}
		}
	case "bool":
		return boolean(x.truth())
	}
	if !x.numeric() {
		return bad("%s cannot take this argument", name)
	}
	kind, r := x.kind, x.number
	if kind == Bool {
		kind = Int
	}
	switch name {
	case "abs":
		r = math.Abs(r)
	case "int":
		kind, r = Int, math.Trunc(r)
	case "round":
		kind, r = Int, math.RoundToEven(r)
	case "float":
		kind = Float
	default:
		return bad("%s cannot take this argument", name)
	}
	if kind == Int && math.Abs(r) > maxInt {
		return bad("%s gives an integer above 2^53", name)
	}
	return operand{Value: Value{kind: kind, number: r + 0}}
}

// arange is Python's range as a list.
func (f *frame) arange(args []operand) operand {
	if len(args) < 1 || len(args) > 3 {
		return bad("range needs one to three arguments")
	}
	for _, a := range args {
		if !a.numeric() || a.kind == Float {
			return bad("range needs integers")
		}
	}
	start, stop, step := 0.0, args[0].number, 1.0
	if len(args) > 1 {
		start, stop = args[0].number, args[1].number
	}
	if len(args) > 2 {
		step = args[2].number
	}
	if step == 0 {
		return bad("range needs a step other than zero")
	}
	n := math.Ceil((stop - start) / step)
	if n <= 0 {
		return operand{isList: true}
	}
	if n > float64(f.left) {
		return bad("lists of more than %d elements", maxList)
	}
	f.left -= int(n)
	list := make([]Value, int(n))
	for i := range list {
		list[i] = Value{kind: Int, number: start + float64(i)*step}
	}
	return operand{isList: true, list: list}
}
