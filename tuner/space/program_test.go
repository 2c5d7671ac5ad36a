package space

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// randomCondition writes a condition over a, b and c.
func randomCondition(r *rand.Rand, depth int) string {
	if depth == 0 {
		return []string{"a", "b", "c", "0", "1", "2", "7", "3.5", "True"}[r.IntN(9)]
	}
	x, y := randomCondition(r, depth-1), randomCondition(r, depth-1)
	switch k := r.IntN(16); {
	case k == 0:
		return "(not (" + x + "))"
	case k == 1:
		return "(" + x + " if " + y + " else " + randomCondition(r, depth-1) + ")"
	case k == 2:
		return "(" + x + " <= " + y + " < " + randomCondition(r, depth-1) + ")"
	case k == 3:
		return "-(" + x + ")"
	default:
		ops := []string{"+", "-", "*", "/", "//", "%", "==", "!=", "<", ">", ">=", "and", "or", "*", "-"}
		return "(" + x + " " + ops[r.IntN(len(ops))] + " " + y + ")"
	}
}

// TestPrograms holds programs and their bounds against the evaluator.
func TestPrograms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	programs, decided := 0, 0
	for range 3000 {
		source := randomCondition(r, 1+r.IntN(4))
		e, err := ParseExpression(source)
		if err != nil {
			t.Fatal(err)
		}
		p := e.quick
		if p == nil {
			t.Fatalf("%s has no program", source)
		}
		programs++
		var values, lo, hi file
		for _, k := range p.constants {
			values[k.register], lo[k.register], hi[k.register] = k.value, k.value, k.value
		}
		// A box of values, and every point of it.
		low, high := [3]int{}, [3]int{}
		for k := range low {
			low[k] = r.IntN(9) - 3
			high[k] = low[k] + r.IntN(3)
		}
		v := open
		if p.bounded {
			for i, n := range e.names {
				k := strings.Index("abc", n)
				lo[i], hi[i] = float64(low[k]), float64(high[k])
			}
			v = p.bounds(&lo, &hi)
		}
		if v != open {
			decided++
		}
		for a := low[0]; a <= high[0]; a++ {
			for b := low[1]; b <= high[1]; b++ {
				for c := low[2]; c <= high[2]; c++ {
					vars := map[string]Value{"a": IntValue(a), "b": IntValue(b), "c": IntValue(c)}
					for i, n := range e.names {
						values[i] = vars[n].number
					}
					got := p.run(&values)
					want, err := e.evaluate(vars)
					if err == nil && v != open && want.truth() != (v == holds) {
						t.Fatalf("%s at %d, %d, %d is %v; bounds %v to %v say %d", source, a, b, c, want.Value, low, high, v)
					}
					if math.IsNaN(got) { // the evaluator's to say
						continue
					}
					if err != nil || got != want.number {
						t.Fatalf("%s at %d, %d, %d is %v by its program, must be %v, %v", source, a, b, c, got, want.Value, err)
					}
				}
			}
		}
	}
	if decided < programs/50 {
		t.Errorf("bounds decided %d of %d conditions: this test sees too little of them", decided, programs)
	}
}

// TestProgramLimits checks what programs leave to the evaluator.
func TestProgramLimits(t *testing.T) {
	for _, source := range []string{"a in [1, 2]", "a == 'x'", "max(a, 1) > 0", "a ** 2 > 3", "a == None"} {
		e, err := ParseExpression(source)
		if err != nil {
			t.Fatal(err)
		}
		if e.quick != nil {
			t.Errorf("%s has a program", source)
		}
	}
	long := "a" + strings.Repeat("+1", registers) // more than there are registers
	e, err := ParseExpression(long)
	if err != nil {
		t.Fatal(err)
	}
	if e.quick != nil {
		t.Error("a program of more registers than there are")
	}
	// A text among a parameter's values sends the condition to the evaluator; so does a division by zero.
	for _, c := range []struct {
		values []Value
		source string
		want   int // -1 for an error
	}{
		{[]Value{TextValue("x"), IntValue(1)}, "a != 1", 1},
		{[]Value{IntValue(0), IntValue(1)}, "a == 0 or 1 // a == 1", 2},
		{[]Value{IntValue(0), IntValue(1)}, "1 // a == 1", -1},
		{[]Value{IntValue(1 << 52), IntValue(1)}, "a * 4 > 0", -1},
	} {
		e, err := ParseExpression(c.source)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New([]Param{{"a", c.values}, {"b", []Value{IntValue(1), IntValue(2)}}}, []*Expression{e})
		if (err != nil) != (c.want < 0) || err == nil && s.Len() != 2*c.want {
			t.Errorf("%s: %v, %v; want %d", c.source, s, err, c.want)
		}
	}
}

// TestConstantConditions has conditions without a parameter that varies.
func TestConstantConditions(t *testing.T) {
	two, one := []Value{IntValue(1), IntValue(2)}, []Value{IntValue(3)}
	for source, want := range map[string]int{"1 < 2": 4, "2 < 1": 0, "c == 3": 4, "c != 3": 0, "c > a": 4, "c == a + 1": 2} {
		e, err := ParseExpression(source)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New([]Param{{"c", one}, {"a", two}, {"d", one}, {"b", two}}, []*Expression{e})
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != want {
			t.Errorf("%s: %d configs, want %d", source, s.Len(), want)
		}
		for i := range s.Len() {
			if at, ok := s.Find(s.Row(i)); !ok || at != i || s.Values(i)[0] != one[0] || s.Values(i)[2] != one[0] {
				t.Errorf("%s: config %d is %v", source, i, s.Values(i))
			}
		}
	}
}
