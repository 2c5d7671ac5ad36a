package space

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of T1's parameter types; the zero Kind is no value.
const (
	None Kind = iota
	Int
	Float
	Bool
	Text
)

// maxInt bounds integers: up to here a float64 holds each of them exactly.
const maxInt = 1 << 53

// Value is one value of a parameter: an integer, a float, a bool or a text. Values are
// comparable with ==, which also tells 1 from 1.0; Equal compares as Python does.
type Value struct {
	kind   Kind
	number float64 // of Int, Float and Bool
	text   string
}

// IntValue makes an integer.
func IntValue(i int) Value { return Value{kind: Int, number: float64(i)} }

// FloatValue makes a float.
func FloatValue(f float64) Value { return Value{kind: Float, number: f} }

// TextValue makes a text.
func TextValue(s string) Value { return Value{kind: Text, text: s} }

// BoolValue makes a bool.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Bool, number: 1}
	}
	return Value{kind: Bool}
}

// Kind is the value's type.
func (v Value) Kind() Kind { return v.kind }

// Number is the value as a number, a bool being 0 or 1; false for texts.
func (v Value) Number() (float64, bool) { return v.number, v.kind != Text && v.kind != None }

// Equal compares as Python does: numbers of all kinds by value.
func (v Value) Equal(w Value) bool {
	if v.kind == Text || w.kind == Text {
		return v.kind == w.kind && v.text == w.text
	}
	return v.number == w.number
}

// String is the value as Python's str prints it, which is how cache keys spell it.
func (v Value) String() string {
	switch v.kind {
	case Int:
		return strconv.FormatInt(int64(v.number), 10)
	case Float:
		return pythonFloat(v.number)
	case Bool:
		if v.number != 0 {
			return "True"
		}
		return "False"
	case Text:
		return v.text
	}
	return "None"
}

// pythonFloat prints a float as Python's repr does: the shortest digits that read back, with a point or an exponent,
// the latter below 1e-4 and from 1e16.
func pythonFloat(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if math.Trunc(f) == f && !math.IsInf(f, 0) {
		s += ".0"
	}
	return s
}

// MarshalJSON writes a number, a bool or a string.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case Int, Float:
		if math.IsNaN(v.number) || math.IsInf(v.number, 0) {
			return nil, fmt.Errorf("JSON has no %g", v.number)
		}
		return []byte(v.String()), nil
	case Bool:
		return strconv.AppendBool(nil, v.number != 0), nil
	case Text:
		return json.Marshal(v.text)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads a number, a bool or a string. A number without point and exponent is an integer.
func (v *Value) UnmarshalJSON(data []byte) error {
	var err error
	switch c := data[0]; {
	case c == '"':
		v.kind, v.number = Text, 0
		return json.Unmarshal(data, &v.text)
	case c == 't' || c == 'f':
		*v = BoolValue(c == 't')
	case c == '-' || c >= '0' && c <= '9':
		*v, err = number(string(data))
	default:
		err = fmt.Errorf("%.20s is no value of a parameter: must be a number, a bool or a string", data)
	}
	return err
}

// number reads a decimal literal: an Int if it has neither point nor exponent.
func number(s string) (Value, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return Value{}, fmt.Errorf("%.40s is no number that a float64 holds", s)
	}
	for _, c := range s {
		if c != '-' && c != '_' && (c < '0' || c > '9') {
			return FloatValue(f), nil
		}
	}
	if math.Abs(f) > maxInt {
		return Value{}, fmt.Errorf("%.40s is above 2^53", s)
	}
	return Value{kind: Int, number: f + 0}, nil // + 0: there is one integer zero
}
