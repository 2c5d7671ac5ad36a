package space

import "fmt"

// T1 is what a T1 file's ConfigurationSpace says: names, values as the text of an expression, conditions.
type T1 struct {
	TuningParameters []T1Param     `json:"TuningParameters"`
	Conditions       []T1Condition `json:"Conditions,omitempty"`
}

// T1Param is a tuning parameter of a T1 file.
type T1Param struct {
	Name    string `json:"Name"`
	Type    string `json:"Type"` // int, uint, float, bool or string
	Values  string `json:"Values"`
	Default any    `json:"Default,omitempty"`
}

// T1Condition is a condition of a T1 file; all must hold.
type T1Condition struct {
	Expression string   `json:"Expression"`
	Parameters []string `json:"Parameters"`
}

// FromT1 enumerates the space that a T1 file describes.
func FromT1(t T1) (*Space, error) {
	params := make([]Param, len(t.TuningParameters))
	for i, p := range t.TuningParameters {
		e, err := ParseExpression(p.Values)
		if err != nil {
			return nil, fmt.Errorf("values of %s: %w", p.Name, err)
		}
		values, err := e.List(nil)
		if err != nil {
			return nil, fmt.Errorf("values of %s: %w", p.Name, err)
		}
		for k, v := range values {
			if values[k], err = v.as(p.Type); err != nil {
				return nil, fmt.Errorf("values of %s: %w", p.Name, err)
			}
		}
		params[i] = Param{Name: p.Name, Values: values}
	}
	var conditions []*Expression
	for _, c := range t.Conditions {
		e, err := ParseExpression(c.Expression)
		if err != nil {
			return nil, fmt.Errorf("condition %w", err)
		}
		conditions = append(conditions, e)
	}
	return New(params, conditions)
}

// as checks a value against a T1 type. An integer is a float too.
func (v Value) as(kind string) (Value, error) {
	ok := false
	switch kind {
	case "int":
		ok = v.kind == Int || v.kind == Bool
	case "uint":
		ok = v.kind == Int && v.number >= 0
	case "float":
		ok = v.kind == Int || v.kind == Float
	case "bool":
		ok = v.kind == Bool || v.kind == Int && (v.number == 0 || v.number == 1)
	case "string":
		ok = v.kind == Text
	default:
		return v, fmt.Errorf("type %q is unknown: int, uint, float, bool or string", kind)
	}
	if !ok {
		return v, fmt.Errorf("%s is no %s", v, kind)
	}
	return v, nil
}
