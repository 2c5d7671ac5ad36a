package space

import (
	"fmt"
	"slices"
)

// backtrack enumerates: parameter by parameter, with each condition checked as soon as its last one is bound, or before, where bounds of the
// others decide it. Two kinds of parameters are not walked: those of a single value, and those behind the last condition, every combination
// of which goes with every row before.
type backtrack struct {
	params []Param // all
	walk   []int   // those of more than one value, by depth
	at     []uint16
	rows   [][]uint16 // of the parameters before depth free, in pieces
	count  int        // of them
	free   int
	always []*condition   // of single values
	due    [][]*condition // by the depth that binds their last parameter
	early  [][]*condition // by the depths that bind one of the others, where bounds may decide them
	uses   [][]use        // by depth
	visits int
	all    []uint16 // positions from 0 on
}

// condition is an expression under enumeration. It has a program, or remembers what it gave so far, or both: its answer depends on the positions
// of its own parameters only, and these are fewer than the configs.
type condition struct {
	*Expression
	params  []int // of its names
	frame   *frame
	memo    []uint8          // 0 unknown, 1 holds, 2 does not
	allowed map[int][]uint16 // of its last parameter, by the key of the others
	key     int              // of the positions bound so far

	values *file // of the program; nil without one
	lo, hi *file // of its bounds
	sure   int   // the depth at which it was decided to hold, -1 while it is not
}

// smallMemo is how many combinations are remembered even where a program would compute them.
const smallMemo = 1 << 12

// use is a condition that reads a parameter, what a step of its position adds to the key, and its register with the parameter's values.
type use struct {
	*condition
	stride   int
	at       int // the position that the key has
	register int
	numbers  []float64
	lo, hi   float64
}

func newBacktrack(params []Param, conditions []*Expression) (*backtrack, error) {
	b := &backtrack{params: params}
	for k, p := range params {
		if len(p.Values) > 1 {
			b.walk = append(b.walk, k)
		}
	}
	n := len(b.walk)
	b.at, b.due, b.early, b.uses = make([]uint16, n), make([][]*condition, n), make([][]*condition, n), make([][]use, n)
	for _, e := range conditions {
		if err := b.bind(e); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// depth is where a parameter is walked, -1 where it has a single value.
func (b *backtrack) depth(param int) int { return slices.Index(b.walk, param) }

func (b *backtrack) bind(e *Expression) error {
	c := &condition{Expression: e, frame: e.frame(), sure: -1}
	last, size := -1, 1
	quick := e.quick != nil
	for _, n := range e.names {
		k := slices.IndexFunc(b.params, func(p Param) bool { return p.Name == n })
		if k < 0 {
			return fmt.Errorf("%q: there is no parameter %s", short(e.source), n)
		}
		c.params = append(c.params, k)
		last = max(last, b.depth(k))
		if size <= maxMemo {
			size *= len(b.params[k].Values)
		}
		quick = quick && !slices.ContainsFunc(b.params[k].Values, func(v Value) bool { _, ok := v.Number(); return !ok })
	}
	if quick {
		b.bindProgram(c, last)
	}
	if size <= smallMemo || !quick && size <= maxMemo {
		c.memo = make([]uint8, size)
	}
	stride := 1
	for register, k := range c.params {
		d := b.depth(k)
		if d < 0 {
			continue
		}
		u := use{condition: c, register: register, stride: stride}
		stride *= len(b.params[k].Values)
		if quick {
			u.numbers = numbers(b.params[k])
			u.lo, u.hi = slices.Min(u.numbers), slices.Max(u.numbers)
		}
		b.uses[d] = append(b.uses[d], u)
	}
	if last < 0 {
		b.always = append(b.always, c)
		return nil
	}
	b.due[last] = append(b.due[last], c)
	b.free = max(b.free, last+1)
	return nil
}

func numbers(p Param) []float64 {
	n := make([]float64, len(p.Values))
	for i, v := range p.Values {
		n[i] = v.number
	}
	return n
}

// bindProgram gives a condition registers for its program.
func (b *backtrack) bindProgram(c *condition, last int) {
	c.values = new(file)
	if c.quick.bounded {
		c.lo, c.hi = new(file), new(file)
	}
	for _, k := range c.quick.constants {
		c.values[k.register] = k.value
		if c.lo != nil {
			c.lo[k.register], c.hi[k.register] = k.value, k.value
		}
	}
	for register, k := range c.params {
		values := numbers(b.params[k])
		c.values[register] = values[0]
		if c.lo == nil {
			continue
		}
		c.lo[register], c.hi[register] = slices.Min(values), slices.Max(values)
		if d := b.depth(k); d >= 0 && d < last {
			b.early[d] = append(b.early[d], c)
		}
	}
}

// set binds the parameter to its value i.
func (u *use) set(i int) {
	u.key += (i - u.at) * u.stride
	u.at = i
	if u.values == nil {
		return
	}
	u.values[u.register] = u.numbers[i]
	if u.condition.lo != nil {
		u.condition.lo[u.register], u.condition.hi[u.register] = u.numbers[i], u.numbers[i]
	}
}

// unset frees the parameter after its last value.
func (u *use) unset() {
	u.key -= u.at * u.stride
	u.at = 0
	if u.condition.lo != nil {
		u.condition.lo[u.register], u.condition.hi[u.register] = u.lo, u.hi
	}
}

func (b *backtrack) holds(c *condition) (bool, error) {
	if c.memo != nil && c.memo[c.key] != 0 {
		return c.memo[c.key] == 1, nil
	}
	ok, err := b.evaluate(c)
	if c.memo != nil && err == nil {
		c.memo[c.key] = 2
		if ok {
			c.memo[c.key] = 1
		}
	}
	return ok, err
}

func (b *backtrack) evaluate(c *condition) (bool, error) {
	if c.values != nil {
		if r := c.quick.run(c.values); r == r {
			return r != 0, nil
		}
	}
	for i, k := range c.params {
		at := 0
		if d := b.depth(k); d >= 0 {
			at = int(b.at[d])
		}
		c.frame.slots[i] = b.params[k].Values[at]
	}
	o, err := c.run(c.frame)
	return o.truth(), err
}

// run enumerates, in rows of all parameters.
func (b *backtrack) run() ([]uint16, error) {
	for _, c := range b.always {
		if ok, err := b.holds(c); err != nil || !ok {
			return nil, err
		}
	}
	if b.free > 0 {
		if err := b.visit(0); err != nil {
			return nil, err
		}
	}
	return b.expand()
}

func (b *backtrack) visit(depth int) error {
	uses := b.uses[depth]
	values, err := b.values(depth)
	if err != nil {
		return err
	}
	if b.visits += len(values); b.visits > maxVisits {
		return fmt.Errorf("more than %d partial configs", maxVisits)
	}
	for _, i := range values {
		b.at[depth] = i
		for k := range uses {
			uses[k].set(int(i))
		}
		possible, err := b.possible(depth)
		if err != nil {
			return err
		}
		switch {
		case !possible:
		case depth+1 < b.free:
			if err := b.visit(depth + 1); err != nil {
				return err
			}
		case b.count >= MaxConfig:
			return errTooMany
		default:
			b.add()
		}
		for _, c := range b.early[depth] {
			if c.sure == depth {
				c.sure = -1
			}
		}
	}
	for k := range uses {
		uses[k].unset()
	}
	return nil
}

// piece is how many rows are allocated at a time.
const piece = 1 << 12

// add keeps the row that is bound.
func (b *backtrack) add() {
	if b.count%piece == 0 {
		b.rows = append(b.rows, make([]uint16, 0, piece*b.free))
	}
	last := &b.rows[len(b.rows)-1]
	*last = append(*last, b.at[:b.free]...)
	b.count++
}

// values lists the positions to try at a depth: all of them, or those that its only condition allows with what is bound before, which is
// worked out once for each combination.
func (b *backtrack) values(depth int) ([]uint16, error) {
	due, n := b.due[depth], len(b.params[b.walk[depth]].Values)
	for len(b.all) < n {
		b.all = append(b.all, uint16(len(b.all)))
	}
	if len(due) != 1 || len(due[0].memo) == 0 || len(due[0].memo) > smallMemo {
		return b.all[:n], nil
	}
	c := due[0]
	if c.allowed == nil {
		c.allowed = map[int][]uint16{}
	}
	key := c.key
	list, ok := c.allowed[key]
	if ok {
		return list, nil
	}
	list = []uint16{}
	uses := b.uses[depth]
	for i := range n {
		b.at[depth] = uint16(i)
		for k := range uses {
			uses[k].set(i)
		}
		ok, err := b.holds(c)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, uint16(i))
		}
	}
	for k := range uses {
		uses[k].unset()
	}
	c.allowed[key] = list
	return list, nil
}

var errTooMany = fmt.Errorf("more than %d configs", MaxConfig)

// possible says whether no condition fails with the parameters bound up to depth.
func (b *backtrack) possible(depth int) (bool, error) {
	for _, c := range b.due[depth] {
		if c.sure >= 0 {
			continue
		}
		if ok, err := b.holds(c); err != nil || !ok {
			return false, err
		}
	}
	for _, c := range b.early[depth] {
		if c.sure >= 0 {
			continue
		}
		switch c.quick.bounds(c.lo, c.hi) {
		case fails:
			return false, nil
		case holds:
			c.sure = depth
		}
	}
	return true, nil
}

// expand gives each row all combinations of the parameters behind the last condition, and the single values.
func (b *backtrack) expand() ([]uint16, error) {
	d, tail := len(b.params), 1
	for _, k := range b.walk[b.free:] {
		if tail *= len(b.params[k].Values); tail > MaxConfig {
			return nil, errTooMany
		}
	}
	prefixes := b.count
	if b.free == 0 {
		prefixes = 1
	}
	if prefixes*tail > MaxConfig {
		return nil, errTooMany
	}
	rows := make([]uint16, 0, prefixes*tail*d)
	// The rows of a prefix, in which only the prefix changes.
	block := make([]uint16, tail*d)
	for i := range tail {
		rest := i
		for _, k := range slices.Backward(b.walk[b.free:]) {
			n := len(b.params[k].Values)
			block[i*d+k] = uint16(rest % n)
			rest /= n
		}
	}
	if b.free == 0 {
		return block, nil
	}
	for _, some := range b.rows {
		for prefix := range slices.Chunk(some, b.free) {
			for depth, x := range prefix {
				for at := b.walk[depth]; at < len(block); at += d {
					block[at] = x
				}
			}
			rows = append(rows, block...)
		}
	}
	return rows, nil
}
