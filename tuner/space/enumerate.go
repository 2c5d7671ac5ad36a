package space

import (
	"fmt"
	"slices"
)

// backtrack enumerates: parameter by parameter, with each condition checked as soon as its last one is bound, or before, where bounds of the
// others decide it. Parameters behind the last condition are not walked: every combination of theirs goes with every row before.
type backtrack struct {
	params []Param
	at     []uint16
	rows   []uint16 // of the parameters before depth free
	free   int
	due    [][]*condition // by the depth that binds their last parameter
	early  [][]*condition // by the depths that bind one of the others, where bounds may decide them
	uses   [][]use        // by depth
	visits int
}

// condition is an expression under enumeration. It has a program, or remembers what it gave so far, or both: its answer depends on the positions
// of its own parameters only, and these are fewer than the configs.
type condition struct {
	*Expression
	depths []int // of its names
	frame  *frame
	memo   []uint8 // 0 unknown, 1 holds, 2 does not
	key    int     // of the positions bound so far

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
	register int
	numbers  []float64
	lo, hi   float64
}

func (b *backtrack) bind(conditions []*Expression) error {
	b.due = make([][]*condition, len(b.params))
	b.early = make([][]*condition, len(b.params))
	b.uses = make([][]use, len(b.params))
	for _, e := range conditions {
		c := &condition{Expression: e, frame: e.frame(), sure: -1}
		last, size := 0, 1
		quick := e.quick != nil
		for _, n := range e.names {
			d := slices.IndexFunc(b.params, func(p Param) bool { return p.Name == n })
			if d < 0 {
				return fmt.Errorf("%q: there is no parameter %s", short(e.source), n)
			}
			c.depths = append(c.depths, d)
			last = max(last, d)
			if size <= maxMemo {
				size *= len(b.params[d].Values)
			}
			quick = quick && !slices.ContainsFunc(b.params[d].Values, func(v Value) bool { _, ok := v.Number(); return !ok })
		}
		if quick {
			b.bindProgram(c, last)
		}
		if size <= smallMemo || !quick && size <= maxMemo {
			c.memo = make([]uint8, size)
			stride := 1
			for _, d := range c.depths {
				if k := len(b.uses[d]) - 1; quick {
					b.uses[d][k].stride = stride
				} else {
					b.uses[d] = append(b.uses[d], use{condition: c, stride: stride})
				}
				stride *= len(b.params[d].Values)
			}
		}
		b.due[last] = append(b.due[last], c)
		b.free = max(b.free, last+1)
	}
	return nil
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
	for register, d := range c.depths {
		u := use{condition: c, register: register}
		for _, v := range b.params[d].Values {
			u.numbers = append(u.numbers, v.number)
		}
		u.lo, u.hi = slices.Min(u.numbers), slices.Max(u.numbers)
		if c.lo != nil {
			c.lo[register], c.hi[register] = u.lo, u.hi
			if d < last {
				b.early[d] = append(b.early[d], c)
			}
		}
		b.uses[d] = append(b.uses[d], u)
	}
}

// set binds the parameter to its value i.
func (u *use) set(i int) {
	if i > 0 {
		u.key += u.stride
	}
	if u.values == nil {
		return
	}
	u.values[u.register] = u.numbers[i]
	if u.condition.lo != nil {
		u.condition.lo[u.register], u.condition.hi[u.register] = u.numbers[i], u.numbers[i]
	}
}

// unset frees the parameter after its last value.
func (u *use) unset(n int) {
	u.key -= (n - 1) * u.stride
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
	for i, d := range c.depths {
		c.frame.slots[i] = b.params[d].Values[b.at[d]]
	}
	o, err := c.run(c.frame)
	return o.truth(), err
}

func (b *backtrack) visit(depth int) error {
	if depth == b.free { // no condition at all
		return nil
	}
	uses := b.uses[depth]
	n := len(b.params[depth].Values)
	if b.visits += n; b.visits > maxVisits {
		return fmt.Errorf("more than %d partial configs", maxVisits)
	}
	for i := range n {
		b.at[depth] = uint16(i)
		for k := range uses {
			uses[k].set(i)
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
		case len(b.rows) >= MaxConfig*b.free:
			return tooMany
		default:
			b.rows = append(b.rows, b.at[:b.free]...)
		}
		for _, c := range b.early[depth] {
			if c.sure == depth {
				c.sure = -1
			}
		}
	}
	for k := range uses {
		uses[k].unset(n)
	}
	return nil
}

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

var tooMany = fmt.Errorf("more than %d configs", MaxConfig)

// expand gives each row all combinations of the parameters behind the last condition.
func (b *backtrack) expand() ([]uint16, error) {
	d, tail := len(b.params), 1
	for _, p := range b.params[b.free:] {
		if tail *= len(p.Values); tail > MaxConfig {
			return nil, tooMany
		}
	}
	prefixes := 1
	if b.free > 0 {
		prefixes = len(b.rows) / b.free
	}
	if prefixes*tail > MaxConfig {
		return nil, tooMany
	}
	if b.free == d {
		return b.rows, nil
	}
	// The tails, each a whole row whose beginning is filled in.
	block := make([]uint16, tail*d)
	for i := range tail {
		rest := i
		for k := d - 1; k >= b.free; k-- {
			n := len(b.params[k].Values)
			block[i*d+k] = uint16(rest % n)
			rest /= n
		}
	}
	rows := make([]uint16, 0, prefixes*tail*d)
	for i := range prefixes {
		prefix := b.rows[i*b.free:][:b.free]
		for k := range tail {
			copy(block[k*d:], prefix)
		}
		rows = append(rows, block...)
	}
	return rows, nil
}
