package formats

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/tuner/space"
)

// T4 is a results file. Unlike a cache it names neither device nor kernel, nor all values of a parameter.
type T4 struct {
	SchemaVersion string          `json:"schema_version"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	Results       []T4Result      `json:"results"`
}

// T4Result is one config's outcome; times are in milliseconds.
type T4Result struct {
	Timestamp     string          `json:"timestamp,omitempty"`
	Configuration T4Configuration `json:"configuration"`
	Times         T4Times         `json:"times"`
	Invalidity    string          `json:"invalidity"` // one of Invalidities
	// Correctness is Kernel Tuner's 1 for right and 0 for failed; our own files have the largest error over its bound.
	Correctness  float64         `json:"correctness"`
	Measurements []T4Measurement `json:"measurements"`
	Objectives   []string        `json:"objectives"`
}

// T4Times says where the time went. The schema says compilation_time and Kernel Tuner writes compilation: both are read and written.
type T4Times struct {
	Compilation     *float64  `json:"compilation,omitempty"`
	CompilationTime *float64  `json:"compilation_time,omitempty"`
	Benchmark       *float64  `json:"benchmark,omitempty"`
	Framework       *float64  `json:"framework,omitempty"`
	SearchAlgorithm *float64  `json:"search_algorithm,omitempty"`
	Validation      *float64  `json:"validation,omitempty"`
	Runtimes        []float64 `json:"runtimes,omitempty"`
}

// T4Measurement is one measured value.
type T4Measurement struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"` // a number, a word or a list
	Unit  string          `json:"unit"`
}

// T4Configuration is a config with its order of names.
type T4Configuration []T4Value

// T4Value is one parameter's value.
type T4Value struct {
	Name  string
	Value space.Value
}

// Invalidity kinds of a T4 result.
const (
	Correct            = "correct"
	InvalidTimeout     = "timeout"
	InvalidCompile     = "compile"
	InvalidRuntime     = "runtime"
	InvalidCorrectness = "correctness"
	InvalidConstraints = "constraints"
)

// Invalidities lists the kinds.
func Invalidities() []string {
	return []string{Correct, InvalidTimeout, InvalidCompile, InvalidRuntime, InvalidCorrectness, InvalidConstraints}
}

// MarshalJSON writes an object in the order of the names.
func (c T4Configuration) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, v := range c {
		text, err := v.Value.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quote(v.Name) + ":")
		b.Write(text)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// UnmarshalJSON keeps the order of the names.
func (c *T4Configuration) UnmarshalJSON(data []byte) error {
	fields, err := members(data)
	if err != nil {
		return err
	}
	*c = make(T4Configuration, len(fields))
	for i, f := range fields {
		(*c)[i].Name = f.key
		if err := json.Unmarshal(f.value, &(*c)[i].Value); err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
	}
	return nil
}

// ReadT4 reads a results file, gzip or not.
func ReadT4(path string) (*T4, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	t, err := ParseT4(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// ParseT4 reads results from memory.
func ParseT4(data []byte) (*T4, error) {
	var t T4
	if err := json.Unmarshal(withoutNonNumbers(data), &t); err != nil {
		return nil, fmt.Errorf("no T4 file: %w", err)
	}
	if t.Results == nil {
		return nil, errors.New("no T4 file: results is missing")
	}
	if err := known("a T4 file", t.SchemaVersion); err != nil {
		return nil, err
	}
	if len(t.Results) > MaxEntries {
		return nil, fmt.Errorf("more than %d results", MaxEntries)
	}
	for i, r := range t.Results {
		if len(r.Configuration) == 0 {
			return nil, fmt.Errorf("result %d has no configuration", i)
		}
		if !slices.Contains(Invalidities(), r.Invalidity) {
			return nil, fmt.Errorf("result %d has invalidity %.20q, must be one of %s", i, r.Invalidity, strings.Join(Invalidities(), ", "))
		}
		if len(r.Times.Runtimes) > maxRepeats {
			return nil, fmt.Errorf("result %d has more than %d runtimes", i, maxRepeats)
		}
	}
	return &t, nil
}

// Write writes the file with two spaces of indentation.
func (t *T4) Write(w io.Writer) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// T4 converts a cache into a results file. What T4 has no place for is left behind: see Cache.
func (c *Cache) T4() *T4 {
	t := &T4{SchemaVersion: "1.0.0", Metadata: json.RawMessage(`{"timeunit": "milliseconds"}`), Results: make([]T4Result, len(c.Entries))}
	for i := range c.Entries {
		e := &c.Entries[i]
		r := T4Result{
			Timestamp: e.Timestamp, Invalidity: Correct, Correctness: 1, Objectives: []string{c.Objective},
			Times: T4Times{
				Compilation: given(e.CompileTime), CompilationTime: given(e.CompileTime), Benchmark: given(e.BenchmarkTime),
				Framework: given(e.FrameworkTime), SearchAlgorithm: given(e.StrategyTime), Validation: given(e.VerificationTime),
				Runtimes: e.Repeats,
			},
		}
		for k, p := range c.Params {
			r.Configuration = append(r.Configuration, T4Value{p.Name, e.Values[k]})
		}
		value := json.RawMessage(quote(e.Failure))
		switch e.Failure {
		case "":
			value = json.RawMessage(decimal(e.Value))
		case FailedCompilation:
			r.Invalidity = InvalidCompile
		case FailedConstraints:
			r.Invalidity = InvalidConstraints
		default:
			r.Invalidity = InvalidRuntime
		}
		if e.Failure != "" {
			r.Correctness = 0
		}
		r.Measurements = append(r.Measurements, T4Measurement{c.Objective, value, unit(c.Objective)})
		for _, m := range e.Metrics {
			if string(m.Value) != "null" {
				r.Measurements = append(r.Measurements, T4Measurement{m.Name, m.Value, unit(m.Name)})
			}
		}
		t.Results[i] = r
	}
	return t
}

func unit(name string) string {
	switch {
	case strings.HasPrefix(name, "time"):
		return "ms"
	case strings.HasSuffix(name, "/s"):
		return name
	}
	return ""
}

func given(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func orNaN(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}

// About is what a cache needs and a T4 file does not have.
type About struct {
	DeviceName  string
	KernelName  string
	ProblemSize json.RawMessage
	Params      []space.Param // nil: the values that the results have, in the order in which they come
}

// Cache converts results into a cache.
func (t *T4) Cache(about About) (*Cache, error) {
	if len(t.Results) == 0 {
		return nil, errors.New("no results")
	}
	c := &Cache{DeviceName: about.DeviceName, KernelName: about.KernelName, ProblemSize: about.ProblemSize, Params: about.Params, Objective: "time"}
	if o := t.Results[0].Objectives; len(o) > 0 {
		c.Objective = o[0]
	}
	if c.Params == nil {
		c.Params = t.params()
	}
	for i, r := range t.Results {
		e, err := c.fromT4(r)
		if err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
		c.Entries = append(c.Entries, e)
	}
	return c, nil
}

// params lists the parameters of the first result with all values that occur; numbers in order.
func (t *T4) params() []space.Param {
	var params []space.Param
	for _, v := range t.Results[0].Configuration {
		params = append(params, space.Param{Name: v.Name})
	}
	seen := map[T4Value]bool{}
	for _, r := range t.Results {
		for k, v := range r.Configuration {
			if k < len(params) && params[k].Name == v.Name && !seen[v] {
				seen[v] = true
				params[k].Values = append(params[k].Values, v.Value)
			}
		}
	}
	for _, p := range params {
		if !slices.ContainsFunc(p.Values, func(v space.Value) bool { return v.Kind() == space.Text }) {
			slices.SortStableFunc(p.Values, func(a, b space.Value) int {
				x, _ := a.Number()
				y, _ := b.Number()
				switch {
				case x < y:
					return -1
				case x > y:
					return 1
				}
				return 0
			})
		}
	}
	return params
}

func (c *Cache) fromT4(r T4Result) (Entry, error) {
	e := Entry{
		Values: make([]space.Value, len(c.Params)), Value: math.NaN(), Repeats: r.Times.Runtimes, Timestamp: r.Timestamp,
		CompileTime: orNaN(r.Times.Compilation), VerificationTime: orNaN(r.Times.Validation), BenchmarkTime: orNaN(r.Times.Benchmark),
		StrategyTime: orNaN(r.Times.SearchAlgorithm), FrameworkTime: orNaN(r.Times.Framework),
	}
	if r.Times.Compilation == nil {
		e.CompileTime = orNaN(r.Times.CompilationTime)
	}
	if len(r.Configuration) != len(c.Params) {
		return e, fmt.Errorf("configuration has %d values, must have %d", len(r.Configuration), len(c.Params))
	}
	for i, p := range c.Params {
		k := slices.IndexFunc(r.Configuration, func(v T4Value) bool { return v.Name == p.Name })
		if k < 0 {
			return e, fmt.Errorf("configuration has no %s", p.Name)
		}
		at := find(p.Values, r.Configuration[k].Value)
		if at < 0 {
			return e, fmt.Errorf("%s is %s, which is no value of it", p.Name, r.Configuration[k].Value)
		}
		e.Values[i] = p.Values[at]
	}
	found := false
	for _, m := range r.Measurements {
		if m.Name == c.Objective {
			found = true
			e.Value, e.Failure = outcome(m.Value)
		} else {
			e.Metrics = append(e.Metrics, Metric{m.Name, compact(m.Value)})
		}
	}
	if !found && r.Invalidity == Correct {
		return e, fmt.Errorf("no measurement of %s", c.Objective)
	}
	if r.Invalidity != Correct && (e.Failure == "" || e.Failure == FailedAny) {
		e.Value = math.NaN()
		switch r.Invalidity {
		case InvalidCompile:
			e.Failure = FailedCompilation
		case InvalidConstraints:
			e.Failure = FailedConstraints
		case InvalidRuntime:
			if e.Failure == "" {
				e.Failure = FailedRun
			}
		default: // timeout and correctness, for which Kernel Tuner has no word
			e.Failure = FailedAny
		}
	}
	return e, nil
}
