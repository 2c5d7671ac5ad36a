package space

import (
	"fmt"
	"slices"
	"strings"
)

// maxBound is how many names comprehensions may bind at the same place of nesting.
const maxBound = 4

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenNumber
	tokenText
	tokenName // also keywords
	tokenOperator
)

type token struct {
	kind tokenKind
	text string
	at   int
}

// parser reads an expression by recursive descent, from or (loosest) to atoms, and makes
// closures on the way.
type parser struct {
	source string
	tokens []token
	next   int
	depth  int
	names  []string
	bound  []string // names of the comprehensions around this place
	refs   []*ref
	code   compiler
}

// term is a part of an expression that was parsed: how to evaluate it, and the register that a program has its value in.
type term struct {
	eval
	register int
}

// plain is a term that programs do not have.
func plain(e eval) term { return term{e, noRegister} }

// ref is where a name's value lies: free names first, then those of comprehensions.
type ref struct {
	slot  int
	bound bool
}

var (
	operators = []string{"**", "//", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ","}
	keywords  = []string{"and", "or", "not", "in", "if", "else", "for", "True", "False", "None", "is", "lambda"}
	functions = []string{"range", "list", "len", "min", "max", "abs", "int", "float", "bool", "round", "sum"}
)

func (p *parser) tokenize() error {
	s := p.source
	for i := 0; i < len(s); {
		c := s[i]
		start := i
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c >= '0' && c <= '9' || c == '.' && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
			for i < len(s) && (isWord(s[i]) || s[i] == '.' || (s[i] == '+' || s[i] == '-') && (s[i-1] == 'e' || s[i-1] == 'E')) {
				i++
			}
			p.tokens = append(p.tokens, token{tokenNumber, s[start:i], start})
		case isWord(c):
			for i < len(s) && isWord(s[i]) {
				i++
			}
			p.tokens = append(p.tokens, token{tokenName, s[start:i], start})
		case c == '\'' || c == '"':
			for i++; i < len(s) && s[i] != c && s[i] != '\\' && s[i] != '\n'; i++ {
			}
			if i == len(s) || s[i] != c {
				return fmt.Errorf("text at %d does not end, or has a backslash", start)
			}
			i++
			p.tokens = append(p.tokens, token{tokenText, s[start+1 : i-1], start})
		default:
			k := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(s[i:], op) })
			if k < 0 {
				return fmt.Errorf("character %q at %d", c, i)
			}
			i += len(operators[k])
			p.tokens = append(p.tokens, token{tokenOperator, operators[k], start})
		}
	}
	p.tokens = append(p.tokens, token{tokenEnd, "end", len(s)})
	return nil
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (p *parser) peek() token { return p.tokens[p.next] }

// take consumes a token if it is this operator or keyword.
func (p *parser) take(text string) bool {
	t := p.peek()
	if t.text != text || t.kind != tokenOperator && t.kind != tokenName {
		return false
	}
	p.next++
	return true
}

func (p *parser) expect(text string) error {
	if !p.take(text) {
		return p.unexpected()
	}
	return nil
}

func (p *parser) unexpected() error {
	t := p.peek()
	return fmt.Errorf("unexpected %q at %d", short(t.text), t.at)
}

// free lists the names that the expression does not bind itself.
func (p *parser) free() []string { return p.names }

func (p *parser) parse() (eval, *program, error) {
	e, err := p.ternary()
	if err != nil {
		return nil, nil, err
	}
	if p.peek().kind != tokenEnd {
		return nil, nil, p.unexpected()
	}
	for _, r := range p.refs {
		if r.bound {
			r.slot += len(p.names)
		}
	}
	return e.eval, p.code.done(e.register), nil
}

// ternary: or [if or else ternary].
func (p *parser) ternary() (term, error) {
	if p.depth++; p.depth > maxDepth {
		return term{}, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	x, err := p.or()
	if err != nil || !p.take("if") {
		return x, err
	}
	c, err := p.or()
	if err != nil {
		return term{}, err
	}
	if err := p.expect("else"); err != nil {
		return term{}, err
	}
	y, err := p.ternary()
	return term{func(f *frame) operand {
		o := c.eval(f)
		switch {
		case o.err != "":
			return o
		case o.truth():
			return x.eval(f)
		}
		return y.eval(f)
	}, p.code.emit(opIf, c.register, x.register, y.register)}, err
}

func (p *parser) or() (term, error) { return p.logical("or", p.and, true) }

func (p *parser) and() (term, error) { return p.logical("and", p.not, false) }

// logical reads a chain of or, or of and: it ends at the first operand whose truth is stop.
func (p *parser) logical(word string, operand_ func() (term, error), stop bool) (term, error) {
	x, err := operand_()
	if err != nil {
		return term{}, err
	}
	for p.take(word) {
		left := x
		right, err := operand_()
		if err != nil {
			return term{}, err
		}
		x = term{func(f *frame) operand {
			if o := left.eval(f); o.err != "" || o.truth() == stop {
				return o
			}
			return right.eval(f)
		}, p.code.emit(opcodes[word], left.register, right.register)}
	}
	return x, nil
}

func (p *parser) not() (term, error) {
	if !p.take("not") {
		return p.comparison()
	}
	if p.depth++; p.depth > maxDepth {
		return term{}, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	x, err := p.not()
	return term{func(f *frame) operand {
		o := x.eval(f)
		if o.err != "" {
			return o
		}
		return boolean(!o.truth())
	}, p.code.emit(opNot, x.register)}, err
}

// comparison: a < b <= c means a < b and b <= c, with b evaluated once.
func (p *parser) comparison() (term, error) {
	first, err := p.sum()
	if err != nil {
		return term{}, err
	}
	var ops []string
	var rest []term
	for {
		op := ""
		for _, o := range []string{"==", "!=", "<=", ">=", "<", ">", "in"} {
			if p.take(o) {
				op = o
				break
			}
		}
		if op == "" && p.peek().kind == tokenName && p.peek().text == "not" {
			p.next++
			if err := p.expect("in"); err != nil {
				return term{}, err
			}
			op = "not in"
		}
		if op == "" {
			break
		}
		y, err := p.sum()
		if err != nil {
			return term{}, err
		}
		ops, rest = append(ops, op), append(rest, y)
	}
	switch len(ops) {
	case 0:
		return first, nil
	case 1:
		op, second := ops[0], rest[0]
		return term{func(f *frame) operand { return compare(op, first.eval(f), second.eval(f)) }, p.compare(op, first, second)}, nil
	}
	register := p.compare(ops[0], first, rest[0])
	for i, op := range ops[1:] {
		register = p.code.emit(opAnd, register, p.compare(op, rest[i], rest[i+1]))
	}
	return term{func(f *frame) operand {
		x := first.eval(f)
		for i, e := range rest {
			y := e.eval(f)
			if o := compare(ops[i], x, y); o.err != "" || !o.truth() {
				return o
			}
			x = y
		}
		return boolean(true)
	}, register}, nil
}

// compare emits a comparison; programs have no lists.
func (p *parser) compare(op string, x, y term) int {
	code, ok := opcodes[op]
	if !ok {
		return noRegister
	}
	return p.code.emit(code, x.register, y.register)
}

func (p *parser) sum() (term, error) {
	x, err := p.product()
	if err != nil {
		return term{}, err
	}
	for {
		left := x
		switch {
		case p.take("+"):
			right, err := p.product()
			if err != nil {
				return term{}, err
			}
			x = term{func(f *frame) operand { return f.join(left.eval(f), right.eval(f)) }, p.code.emit(opAdd, left.register, right.register)}
		case p.take("-"):
			right, err := p.product()
			if err != nil {
				return term{}, err
			}
			x = term{func(f *frame) operand { return arithmetic("-", left.eval(f), right.eval(f)) }, p.code.emit(opSub, left.register, right.register)}
		default:
			return x, nil
		}
	}
}

func (p *parser) product() (term, error) {
	x, err := p.unary()
	if err != nil {
		return term{}, err
	}
	for {
		op := ""
		for _, o := range []string{"*", "//", "/", "%"} {
			if p.take(o) {
				op = o
				break
			}
		}
		if op == "" {
			return x, nil
		}
		left := x
		right, err := p.unary()
		if err != nil {
			return term{}, err
		}
		x = term{func(f *frame) operand { return arithmetic(op, left.eval(f), right.eval(f)) }, p.code.emit(opcodes[op], left.register, right.register)}
	}
}

func (p *parser) unary() (term, error) {
	if p.depth++; p.depth > maxDepth {
		return term{}, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("-"):
		x, err := p.unary()
		zero := operand{Value: IntValue(0)}
		return term{func(f *frame) operand { return arithmetic("-", zero, x.eval(f)) }, p.code.emit(opSub, p.code.constant(zero.Value), x.register)}, err
	case p.take("+"):
		x, err := p.unary()
		zero := operand{Value: IntValue(0)}
		return term{func(f *frame) operand { return arithmetic("+", zero, x.eval(f)) }, p.code.emit(opAdd, p.code.constant(zero.Value), x.register)}, err
	}
	return p.power()
}

// power binds tighter than a minus before it and looser than one behind it.
func (p *parser) power() (term, error) {
	x, err := p.atom()
	if err != nil || !p.take("**") {
		return x, err
	}
	y, err := p.unary()
	return plain(func(f *frame) operand { return arithmetic("**", x.eval(f), y.eval(f)) }), err
}

func (p *parser) atom() (term, error) {
	t := p.peek()
	p.next++
	switch {
	case t.kind == tokenNumber:
		v, err := number(strings.ReplaceAll(t.text, "_", ""))
		o := operand{Value: v}
		return term{func(*frame) operand { return o }, p.code.constant(v)}, err
	case t.kind == tokenText:
		o := operand{Value: TextValue(t.text)}
		return plain(func(*frame) operand { return o }), nil
	case t.kind == tokenOperator && t.text == "(":
		return p.parenthesis()
	case t.kind == tokenOperator && t.text == "[":
		return p.brackets()
	case t.kind == tokenName:
		return p.name(t)
	}
	p.next--
	return term{}, p.unexpected()
}

func (p *parser) name(t token) (term, error) {
	switch t.text {
	case "True", "False":
		o := boolean(t.text == "True")
		return term{func(*frame) operand { return o }, p.code.constant(o.Value)}, nil
	case "None":
		return plain(func(*frame) operand { return operand{} }), nil
	}
	if slices.Contains(keywords, t.text) {
		p.next--
		return term{}, p.unexpected()
	}
	if p.take("(") {
		if !slices.Contains(functions, t.text) {
			return term{}, fmt.Errorf("function %s is unknown", short(t.text))
		}
		args, err := p.items(")")
		return plain(func(f *frame) operand {
			values := make([]operand, len(args))
			for i, a := range args {
				values[i] = a.eval(f)
			}
			return f.call(t.text, values)
		}), err
	}
	r := &ref{}
	p.refs = append(p.refs, r)
	for i, n := range slices.Backward(p.bound) {
		if n == t.text {
			r.slot, r.bound = i, true
			return plain(func(f *frame) operand { return operand{Value: f.slots[r.slot]} }), nil
		}
	}
	if r.slot = slices.Index(p.names, t.text); r.slot < 0 {
		r.slot = len(p.names)
		p.names = append(p.names, t.text)
	}
	register := r.slot
	if register >= MaxParams {
		register = noRegister
	}
	return term{func(f *frame) operand { return operand{Value: f.slots[r.slot]} }, register}, nil
}

// parenthesis reads a group or a tuple, which counts as a list, behind its "(".
func (p *parser) parenthesis() (term, error) {
	if p.take(")") {
		return listOf(nil), nil
	}
	x, err := p.ternary()
	if err != nil {
		return term{}, err
	}
	if p.take(")") {
		return x, nil
	}
	if err := p.expect(","); err != nil {
		return term{}, err
	}
	rest, err := p.items(")")
	return listOf(append([]term{x}, rest...)), err
}

// items reads expressions with commas between them up to the closing token; a last comma is allowed.
func (p *parser) items(end string) ([]term, error) {
	var list []term
	for !p.take(end) {
		x, err := p.ternary()
		if err != nil {
			return nil, err
		}
		list = append(list, x)
		if !p.take(",") {
			return list, p.expect(end)
		}
	}
	return list, nil
}

func listOf(items []term) term {
	return plain(func(f *frame) operand {
		if f.left -= len(items); f.left < 0 {
			return bad("lists of more than %d elements", maxList)
		}
		o := operand{isList: true, list: make([]Value, len(items))}
		for i, e := range items {
			x := e.eval(f)
			if x.err != "" {
				return x
			}
			if x.isList {
				return bad("a list inside a list")
			}
			o.list[i] = x.Value
		}
		return o
	})
}

// brackets reads a list or a comprehension behind its "[".
func (p *parser) brackets() (term, error) {
	// A comprehension's names are used before they are bound: look for its "for" first.
	name, found := p.boundName()
	if !found {
		items, err := p.items("]")
		return listOf(items), err
	}
	if len(p.bound) == maxBound {
		return term{}, fmt.Errorf("more than %d comprehensions inside each other", maxBound)
	}
	p.bound = append(p.bound, name)
	slot := &ref{slot: len(p.bound) - 1, bound: true}
	p.refs = append(p.refs, slot)
	element, err := p.ternary()
	if err != nil {
		return term{}, err
	}
	if err := p.expect("for"); err != nil {
		return term{}, err
	}
	p.next++ // the name
	if err := p.expect("in"); err != nil {
		return term{}, err
	}
	p.bound = p.bound[:len(p.bound)-1]
	source, err := p.or()
	if err != nil {
		return term{}, err
	}
	p.bound = append(p.bound, name)
	var conditions []term
	for p.take("if") {
		c, err := p.or()
		if err != nil {
			return term{}, err
		}
		conditions = append(conditions, c)
	}
	p.bound = p.bound[:len(p.bound)-1]
	return plain(func(f *frame) operand { return f.comprehend(slot.slot, element.eval, source.eval, conditions) }), p.expect("]")
}

// boundName finds the name behind the "for" of the bracket that is open, if it has one.
func (p *parser) boundName() (string, bool) {
	depth := 0
	for i := p.next; i+1 < len(p.tokens); i++ {
		switch t := p.tokens[i]; {
		case t.kind == tokenOperator && (t.text == "(" || t.text == "["):
			depth++
		case t.kind == tokenOperator && (t.text == ")" || t.text == "]"):
			if depth--; depth < 0 {
				return "", false
			}
		case t.kind == tokenName && t.text == "for" && depth == 0:
			n := p.tokens[i+1]
			return n.text, n.kind == tokenName && !slices.Contains(keywords, n.text)
		}
	}
	return "", false
}

func (f *frame) comprehend(slot int, element, source eval, conditions []term) operand {
	over := source(f)
	if over.err != "" {
		return over
	}
	if !over.isList {
		return bad("a comprehension needs a list")
	}
	if f.left -= len(over.list); f.left < 0 {
		return bad("lists of more than %d elements", maxList)
	}
	o := operand{isList: true}
next:
	for _, v := range over.list {
		f.slots[slot] = v
		for _, c := range conditions {
			if x := c.eval(f); x.err != "" {
				return x
			} else if !x.truth() {
				continue next
			}
		}
		x := element(f)
		if x.err != "" {
			return x
		}
		if x.isList {
			return bad("a list inside a list")
		}
		o.list = append(o.list, x.Value)
	}
	return o
}
