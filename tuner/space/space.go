// Package space holds search spaces: named parameters with their values, conditions over them, the configs that
// satisfy all conditions, and which configs are neighbours.
package space

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Limits on a space.
const (
	MaxParams = 64
	MaxValues = 1 << 16 // of one parameter
	MaxConfig = 1 << 22 // configs of one space
	maxVisits = 1 << 28 // nodes of an enumeration
	maxMemo   = 1 << 22 // combinations of one condition that are remembered
)

// Param is a parameter and what it can be, in order.
type Param struct {
	Name   string
	Values []Value
}

// Space is a set of configs. A config is a row of positions: where each parameter's value stands among its values.
// Configs are numbered in the order of enumeration: the first parameter varies slowest.
type Space struct {
	params []Param
	rows   []uint16 // positions, config after config
	index  map[string]int32
}

// New enumerates the configs that satisfy every condition.
func New(params []Param, conditions []*Expression) (*Space, error) {
	if err := checkParams(params); err != nil {
		return nil, err
	}
	b := &backtrack{params: params, at: make([]uint16, len(params))}
	if err := b.bind(conditions); err != nil {
		return nil, err
	}
	if err := b.visit(0); err != nil {
		return nil, err
	}
	return &Space{params: params, rows: b.rows}, nil
}

// Of makes the space of given configs, each a row of positions. The order is kept.
func Of(params []Param, rows [][]uint16) (*Space, error) {
	if err := checkParams(params); err != nil {
		return nil, err
	}
	if len(rows) > MaxConfig {
		return nil, fmt.Errorf("%d configs, must be at most %d", len(rows), MaxConfig)
	}
	s := &Space{params: params, rows: make([]uint16, 0, len(rows)*len(params))}
	for i, r := range rows {
		if len(r) != len(params) {
			return nil, fmt.Errorf("config %d has %d values, must have %d", i, len(r), len(params))
		}
		for k, x := range r {
			if int(x) >= len(params[k].Values) {
				return nil, fmt.Errorf("config %d has value %d of %s, which has %d", i, x, params[k].Name, len(params[k].Values))
			}
		}
		s.rows = append(s.rows, r...)
	}
	return s, nil
}

func checkParams(params []Param) error {
	if len(params) == 0 || len(params) > MaxParams {
		return fmt.Errorf("%d parameters, must be 1 to %d", len(params), MaxParams)
	}
	for i, p := range params {
		if p.Name == "" {
			return fmt.Errorf("parameter %d has no name", i)
		}
		if slices.ContainsFunc(params[:i], func(q Param) bool { return q.Name == p.Name }) {
			return fmt.Errorf("parameter %s is there twice", p.Name)
		}
		if len(p.Values) == 0 || len(p.Values) > MaxValues {
			return fmt.Errorf("parameter %s has %d values, must have 1 to %d", p.Name, len(p.Values), MaxValues)
		}
		seen := make(map[Value]bool, len(p.Values))
		for _, v := range p.Values {
			if v.kind == None {
				return fmt.Errorf("parameter %s has a value that is none", p.Name)
			}
			if seen[v] {
				return fmt.Errorf("parameter %s has value %s twice", p.Name, v)
			}
			seen[v] = true
		}
	}
	return nil
}

// Params lists the parameters.
func (s *Space) Params() []Param { return s.params }

// Len is the number of configs.
func (s *Space) Len() int { return len(s.rows) / len(s.params) }

// Row is a config's positions; it must not be changed.
func (s *Space) Row(config int) []uint16 {
	d := len(s.params)
	return s.rows[config*d : (config+1)*d : (config+1)*d]
}

// Values are a config's values, in the order of the parameters.
func (s *Space) Values(config int) []Value {
	v := make([]Value, len(s.params))
	for k, x := range s.Row(config) {
		v[k] = s.params[k].Values[x]
	}
	return v
}

// Key is a config's values with commas between them: the key of Kernel Tuner's cache files.
func (s *Space) Key(config int) string { return Key(s.Values(config)) }

// Key joins values with commas.
func Key(values []Value) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(v.String())
	}
	return b.String()
}

// Find is the number of the config with these positions. The first call makes an index: a Space that is shared among
// goroutines needs a call of Index before.
func (s *Space) Find(row []uint16) (config int, ok bool) {
	s.Index()
	var key [2 * MaxParams]byte
	i, ok := s.index[string(pack(key[:0], row))]
	return int(i), ok
}

// Index makes the index of Find and of neighbours, if there is none yet.
func (s *Space) Index() {
	if s.index != nil {
		return
	}
	var key [2 * MaxParams]byte
	s.index = make(map[string]int32, s.Len())
	for i := range s.Len() {
		s.index[string(pack(key[:0], s.Row(i)))] = int32(i)
	}
}

func pack(to []byte, row []uint16) []byte {
	for _, x := range row {
		to = append(to, byte(x), byte(x>>8))
	}
	return to
}

// backtrack enumerates: parameter by parameter, with each condition checked as soon as its last one is bound.
type backtrack struct {
	params []Param
	at     []uint16
	rows   []uint16
	due    [][]*condition // by the depth that binds their last parameter
	uses   [][]use        // by depth
	visits int
}

// condition is an expression with what it gave so far: its answer depends on the positions of its own
// parameters only, and these are fewer than the configs.
type condition struct {
	*Expression
	depths []int // of its names
	frame  *frame
	memo   []uint8 // 0 unknown, 1 holds, 2 does not
	key    int     // of the positions bound so far
}

// use is a condition that reads a parameter, and what a step of its position adds to the key.
type use struct {
	*condition
	stride int
}

func (b *backtrack) bind(conditions []*Expression) error {
	b.due = make([][]*condition, len(b.params))
	b.uses = make([][]use, len(b.params))
	for _, e := range conditions {
		c := &condition{Expression: e, frame: e.frame()}
		last, size := 0, 1
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
		}
		if size <= maxMemo {
			c.memo = make([]uint8, size)
			stride := 1
			for _, d := range c.depths {
				b.uses[d] = append(b.uses[d], use{c, stride})
				stride *= len(b.params[d].Values)
			}
		}
		b.due[last] = append(b.due[last], c)
	}
	return nil
}

func (b *backtrack) holds(c *condition) (bool, error) {
	if c.memo != nil && c.memo[c.key] != 0 {
		return c.memo[c.key] == 1, nil
	}
	for i, d := range c.depths {
		c.frame.slots[i] = b.params[d].Values[b.at[d]]
	}
	o, err := c.run(c.frame)
	if err != nil {
		return false, err
	}
	holds := o.truth()
	if c.memo != nil {
		c.memo[c.key] = 2
		if holds {
			c.memo[c.key] = 1
		}
	}
	return holds, nil
}

func (b *backtrack) visit(depth int) error {
	if depth == len(b.params) {
		if len(b.rows) >= MaxConfig*len(b.params) {
			return fmt.Errorf("more than %d configs", MaxConfig)
		}
		b.rows = append(b.rows, b.at...)
		return nil
	}
	uses := b.uses[depth]
	n := len(b.params[depth].Values)
	if b.visits += n; b.visits > maxVisits {
		return fmt.Errorf("more than %d partial configs", maxVisits)
	}
next:
	for i := range n {
		b.at[depth] = uint16(i)
		if i > 0 {
			for _, u := range uses {
				u.key += u.stride
			}
		}
		for _, c := range b.due[depth] {
			holds, err := b.holds(c)
			if err != nil {
				return err
			}
			if !holds {
				continue next
			}
		}
		if err := b.visit(depth + 1); err != nil {
			return err
		}
	}
	for _, u := range uses {
		u.key -= (n - 1) * u.stride
	}
	return nil
}

// Size is the number of combinations before conditions, +Inf if a float64 is too small for it.
func Size(params []Param) float64 {
	n := 1.0
	for _, p := range params {
		n *= float64(len(p.Values))
	}
	return math.Min(n, math.Inf(1))
}
