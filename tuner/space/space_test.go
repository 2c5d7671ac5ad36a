package space

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func readT1(t testing.TB, name string) T1 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../shared/searchspaces/t1", name+".json"))
	if err != nil {
		t.Skip("the recorded spaces are not beside the tree")
	}
	var doc struct{ ConfigurationSpace T1 }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.ConfigurationSpace
}

func TestHubSpaces(t *testing.T) {
	for name, want := range map[string]int{"convolution_milo": 4362, "dedispersion_milo": 11130, "pnpoly": 4092, "hotspot_milo": 82984, "gemm_milo": 116928} {
		d := readT1(t, name)
		start := time.Now()
		s, err := FromT1(d)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d of %.0f configs in %v", name, s.Len(), Size(s.Params()), time.Since(start))
		if s.Len() != want {
			t.Errorf("%s has %d configs, must have %d", name, s.Len(), want)
		}
		if Size(s.Params()) > 1e5 {
			continue
		}
		naive := 0
		s.each(t, d, func() { naive++ })
		if naive != want {
			t.Errorf("%s: every combination tried gives %d", name, naive)
		}
	}
}

// each calls f for every combination that satisfies the conditions, tried one by one.
func (s *Space) each(t *testing.T, d T1, f func()) {
	var conditions []*Expression
	for _, c := range d.Conditions {
		e, err := ParseExpression(c.Expression)
		if err != nil {
			t.Fatal(err)
		}
		conditions = append(conditions, e)
	}
	vars := map[string]Value{}
	row := make([]uint16, len(s.params))
	at := 0
	var walk func(k int)
	walk = func(k int) {
		if k == len(s.params) {
			for _, c := range conditions {
				if ok, err := c.Holds(vars); err != nil {
					t.Fatal(err)
				} else if !ok {
					return
				}
			}
			if i, ok := s.Find(row); !ok || i != at {
				t.Fatalf("config %v is number %d, %v; must be %d", row, i, ok, at)
			}
			at++
			f()
			return
		}
		for i, v := range s.params[k].Values {
			row[k] = uint16(i)
			vars[s.params[k].Name] = v
			walk(k + 1)
		}
	}
	walk(0)
}

func TestNeighbours(t *testing.T) {
	var values []Value
	for i := range 4 {
		values = append(values, IntValue(i))
	}
	e, err := ParseExpression("x != 1 or y == 0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New([]Param{{"x", values}, {"y", values[:3]}}, []*Expression{e})
	if err != nil {
		t.Fatal(err)
	}
	at, ok := s.Find([]uint16{0, 1})
	if !ok {
		t.Fatal("x=0, y=1 is missing")
	}
	for kind, want := range map[Neighbourhood][]string{
		Hamming:          {"2,1", "3,1", "0,0", "0,2"},
		StrictlyAdjacent: {"0,0", "0,2", "1,0"},
		Adjacent:         {"0,0", "0,2", "1,0", "2,1"},
	} {
		var got []string
		for i := range s.Neighbours(at, kind) {
			got = append(got, s.Key(i))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
}

func TestBadSpaces(t *testing.T) {
	for _, d := range []T1{
		{},
		{TuningParameters: []T1Param{{Name: "a", Type: "int", Values: "[]"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "int", Values: "[1, 1]"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "int", Values: "[1.5]"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "uint", Values: "[-1]"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "complex", Values: "[1]"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "int", Values: "[1]"}, {Name: "a", Type: "int", Values: "[1]"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "int", Values: "[0]"}}, Conditions: []T1Condition{{Expression: "1/a > 0"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "int", Values: "[0]"}}, Conditions: []T1Condition{{Expression: "b > 0"}}},
		{TuningParameters: []T1Param{{Name: "a", Type: "int", Values: "range(60000)"}, {Name: "b", Type: "int", Values: "range(60000)"}}},
	} {
		if _, err := FromT1(d); err == nil {
			t.Errorf("%+v was accepted", d)
		}
	}
}

func BenchmarkEnumerate(b *testing.B) {
	for _, name := range []string{"convolution_milo", "dedispersion_milo", "pnpoly", "gemm_milo", "hotspot_milo"} {
		b.Run(name, func(b *testing.B) {
			d := readT1(b, name)
			n := 0
			for b.Loop() {
				s, err := FromT1(d)
				if err != nil {
					b.Fatal(err)
				}
				n = s.Len()
			}
			b.ReportMetric(float64(n), "configs")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/config")
		})
	}
}
