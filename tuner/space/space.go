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
	b, err := newBacktrack(params, conditions)
	if err != nil {
		return nil, err
	}
	rows, err := b.run()
	if err != nil {
		return nil, err
	}
	return &Space{params: params, rows: rows}, nil
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

// Size is the number of combinations before conditions, +Inf if a float64 is too small for it.
func Size(params []Param) float64 {
	n := 1.0
	for _, p := range params {
		n *= float64(len(p.Values))
	}
	return math.Min(n, math.Inf(1))
}
