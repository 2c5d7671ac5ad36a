package formats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/rooftune/rooftune/tuner/space"
)

// Cache is a Kernel Tuner cache file: every config that was measured on one device, with all its repeats. Times are in
// milliseconds.
type Cache struct {
	DeviceName  string
	KernelName  string
	ProblemSize json.RawMessage // a list, a number or a word
	Params      []space.Param   // in the order of tune_params_keys
	Objective   string          // "time" almost always
	Entries     []Entry         // in the file's order
}

// Entry is one config of a cache.
type Entry struct {
	Values  []space.Value // in the order of Params
	Failure string        // why there is no result, one of Failures; empty if there is one
	Value   float64       // of the objective: a mean time in ms; NaN if it failed
	Repeats []float64     // every repeat of it; in "times" where the objective is "time"

	CompileTime, VerificationTime, BenchmarkTime float64 // ms; NaN where the file has none
	StrategyTime, FrameworkTime                  float64 // ms; NaN where the file has none
	Timestamp                                    string
	Metrics                                      []Metric // whatever else was recorded, in the file's order
}

// Metric is a further key of an entry, such as GFLOP/s.
type Metric struct {
	Name  string
	Value json.RawMessage
}

// Simulated is the metric that holds a simulator's time in ms.
const Simulated = "simulated_ms"

// OK reports whether the config ran and gave a result.
func (e *Entry) OK() bool { return e.Failure == "" }

// The failures that Kernel Tuner records.
const (
	FailedAny         = "ErrorConfig"
	FailedConstraints = "InvalidConfig"
	FailedCompilation = "CompilationFailedConfig"
	FailedRun         = "RuntimeFailedConfig"
)

// Failures lists the words for failures. Any other text in place of a number counts as ErrorConfig.
func Failures() []string {
	return []string{FailedAny, FailedConstraints, FailedCompilation, FailedRun}
}

// ReadCache reads a cache file, gzip or not.
func ReadCache(path string) (*Cache, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c, err := ParseCache(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ReadResults reads recorded results: a cache file, or a T4 file as a cache that names neither device nor kernel.
func ReadResults(path string) (*Cache, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c, err := ParseCache(data)
	if err != nil {
		var top map[string]json.RawMessage
		if json.Unmarshal(withoutNonNumbers(data), &top) == nil && top["results"] != nil {
			var t *T4
			if t, err = ParseT4(data); err == nil {
				c, err = t.Cache(About{})
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// closed adds the end that Kernel Tuner leaves away until it has finished. A last line that is not whole is dropped.
func closed(data []byte) []byte {
	data = bytes.TrimSpace(data)
	if json.Valid(data) {
		return data
	}
	try := func(d []byte) ([]byte, bool) {
		d = bytes.TrimSuffix(bytes.TrimSpace(d), []byte(","))
		d = append(slices.Clone(d), "}\n}"...)
		return d, json.Valid(d)
	}
	if d, ok := try(data); ok {
		return d
	}
	if i := bytes.LastIndexByte(data, '\n'); i > 0 {
		if d, ok := try(data[:i]); ok {
			return d
		}
	}
	return data
}

// ParseCache reads a cache from memory.
func ParseCache(data []byte) (*Cache, error) {
	top, err := members(closed(withoutNonNumbers(data)))
	if err != nil {
		return nil, fmt.Errorf("no Kernel Tuner cache: %w", err)
	}
	c := &Cache{Objective: "time"}
	var keys []string
	var params map[string][]space.Value
	var entries []member
	seen := map[string]bool{}
	for _, m := range top {
		seen[m.key] = true
		var err error
		switch m.key {
		case "schema_version":
			var version string
			if err = json.Unmarshal(m.value, &version); err == nil {
				err = known("a cache", version)
			}
		case "device_name":
			err = json.Unmarshal(m.value, &c.DeviceName)
		case "kernel_name":
			err = json.Unmarshal(m.value, &c.KernelName)
		case "problem_size":
			c.ProblemSize = compact(m.value)
		case "tune_params_keys":
			err = json.Unmarshal(m.value, &keys)
		case "tune_params":
			err = json.Unmarshal(m.value, &params)
		case "objective":
			err = json.Unmarshal(m.value, &c.Objective)
		case "cache":
			entries, err = members(m.value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	for _, k := range []string{"tune_params_keys", "tune_params", "cache"} {
		if !seen[k] {
			return nil, fmt.Errorf("no Kernel Tuner cache: %s is missing", k)
		}
	}
	for _, k := range keys {
		values, ok := params[k]
		if !ok {
			return nil, fmt.Errorf("tune_params has no %q", k)
		}
		c.Params = append(c.Params, space.Param{Name: k, Values: values})
	}
	if len(params) != len(keys) {
		return nil, fmt.Errorf("tune_params has %d names, tune_params_keys %d", len(params), len(keys))
	}
	if _, err := space.Of(c.Params, nil); err != nil {
		return nil, err
	}
	c.Entries = make([]Entry, 0, len(entries))
	for _, m := range entries {
		e, err := c.entry(m)
		if err != nil {
			return nil, fmt.Errorf("entry %.200q: %w", m.key, err)
		}
		c.Entries = append(c.Entries, e)
	}
	return c, nil
}

// repeats is the key of an objective's repeats.
func (c *Cache) repeats() string { return c.Objective + "s" }

func (c *Cache) entry(m member) (Entry, error) {
	nan := math.NaN()
	e := Entry{
		Values: make([]space.Value, len(c.Params)), Value: nan,
		CompileTime: nan, VerificationTime: nan, BenchmarkTime: nan, StrategyTime: nan, FrameworkTime: nan,
	}
	fields, err := members(m.value)
	if err != nil {
		return e, err
	}
	found := false
	for _, f := range fields {
		if f.key == c.Objective {
			found = true
			e.Value, e.Failure = outcome(f.value)
			continue
		}
		if f.key == "__error__" {
			found = true
			_, e.Failure = outcome(f.value)
			continue
		}
		if i := slices.IndexFunc(c.Params, func(p space.Param) bool { return p.Name == f.key }); i >= 0 {
			if err := json.Unmarshal(f.value, &e.Values[i]); err != nil {
				return e, fmt.Errorf("%s: %w", f.key, err)
			}
			continue
		}
		var err error
		switch f.key {
		case c.repeats():
			var list []*float64
			if err = json.Unmarshal(f.value, &list); err == nil && len(list) > maxRepeats {
				err = fmt.Errorf("more than %d repeats", maxRepeats)
			}
			for _, x := range list {
				if x == nil {
					x = &nan
				}
				e.Repeats = append(e.Repeats, *x)
			}
		case "compile_time":
			err = optional(f.value, &e.CompileTime)
		case "verification_time":
			err = optional(f.value, &e.VerificationTime)
		case "benchmark_time":
			err = optional(f.value, &e.BenchmarkTime)
		case "strategy_time":
			err = optional(f.value, &e.StrategyTime)
		case "framework_time":
			err = optional(f.value, &e.FrameworkTime)
		case "timestamp":
			err = json.Unmarshal(f.value, &e.Timestamp)
		default:
			e.Metrics = append(e.Metrics, Metric{f.key, compact(f.value)})
		}
		if err != nil {
			return e, fmt.Errorf("%s: %w", f.key, err)
		}
	}
	if !found {
		return e, fmt.Errorf("%s is missing", c.Objective)
	}
	for i, p := range c.Params {
		k := find(p.Values, e.Values[i])
		if k < 0 {
			return e, fmt.Errorf("%s is %s, which tune_params does not list", p.Name, e.Values[i])
		}
		e.Values[i] = p.Values[k]
	}
	if e.Failure != "" {
		e.Value = nan
	}
	return e, nil
}

// find is the place of a value among others: of the same kind, else of equal number.
func find(values []space.Value, v space.Value) int {
	if i := slices.Index(values, v); i >= 0 || v.Kind() == space.None {
		return i
	}
	return slices.IndexFunc(values, v.Equal)
}

// outcome reads an objective: a number, or in its place the word for a failure. What is not finite failed.
func outcome(data json.RawMessage) (float64, string) {
	var word string
	if json.Unmarshal(data, &word) == nil && data[0] == '"' {
		if slices.Contains(Failures(), word) {
			return math.NaN(), word
		}
		return math.NaN(), FailedAny
	}
	var x *float64
	if json.Unmarshal(data, &x) != nil || x == nil {
		return math.NaN(), FailedAny
	}
	return *x, ""
}

// compact drops white space.
func compact(data json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, data) != nil { // it was valid
		return data
	}
	return b.Bytes()
}

// optional reads a number or null.
func optional(data json.RawMessage, to *float64) error {
	var x *float64
	if err := json.Unmarshal(data, &x); err != nil {
		return err
	}
	if x != nil {
		*to = *x
	}
	return nil
}

// Space is the set of the cache's configs, numbered as its entries. Two entries of one config are an error.
func (c *Cache) Space() (*space.Space, error) {
	rows := make([][]uint16, len(c.Entries))
	flat := make([]uint16, len(c.Entries)*len(c.Params))
	for i, e := range c.Entries {
		rows[i] = flat[i*len(c.Params) : (i+1)*len(c.Params)]
		for k, v := range e.Values {
			rows[i][k] = uint16(slices.Index(c.Params[k].Values, v))
		}
	}
	s, err := space.Of(c.Params, rows)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		if k, _ := s.Find(r); k != i {
			return nil, fmt.Errorf("config %s is there twice", s.Key(i))
		}
	}
	return s, nil
}

// Write writes the cache as Kernel Tuner does when it has finished, so that its simulation mode loads it.
func (c *Cache) Write(w io.Writer) error {
	if len(c.Entries) == 0 {
		return errors.New("a cache without entries")
	}
	var b bytes.Buffer
	field := func(key string, v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		fmt.Fprintf(&b, "%s: %s,\n", quote(key), text)
		return nil
	}
	size := c.ProblemSize
	if len(size) == 0 {
		size = json.RawMessage("[]")
	}
	keys := make([]string, len(c.Params))
	b.WriteString("{\n")
	var params bytes.Buffer
	for i, p := range c.Params {
		keys[i] = p.Name
		text, err := json.Marshal(p.Values)
		if err != nil {
			return err
		}
		if i > 0 {
			params.WriteString(", ")
		}
		params.WriteString(quote(p.Name) + ": ")
		params.Write(text)
	}
	for _, f := range []struct {
		key string
		v   any
	}{
		{"device_name", c.DeviceName},
		{"kernel_name", c.KernelName},
		{"problem_size", size},
		{"tune_params_keys", keys},
		{"tune_params", json.RawMessage("{" + params.String() + "}")},
		{"objective", c.Objective},
	} {
		if err := field(f.key, f.v); err != nil {
			return err
		}
	}
	b.WriteString(`"cache": {`)
	for i := range c.Entries {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		if err := c.writeEntry(&b, &c.Entries[i]); err != nil {
			return err
		}
		if _, err := b.WriteTo(w); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "}\n}")
	return err
}

func (c *Cache) writeEntry(b *bytes.Buffer, e *Entry) error {
	if len(e.Values) != len(c.Params) {
		return fmt.Errorf("an entry has %d values, must have %d", len(e.Values), len(c.Params))
	}
	b.WriteString(quote(space.Key(e.Values)) + ": {")
	for i, p := range c.Params {
		text, err := e.Values[i].MarshalJSON()
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "%s: %s, ", quote(p.Name), text)
	}
	if e.OK() {
		fmt.Fprintf(b, "%s: %s", quote(c.Objective), decimal(e.Value))
	} else {
		fmt.Fprintf(b, "%s: %s", quote(c.Objective), quote(e.Failure))
	}
	if e.Repeats != nil {
		fmt.Fprintf(b, ", %s: [", quote(c.repeats()))
		for i, x := range e.Repeats {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(decimal(x))
		}
		b.WriteByte(']')
	}
	number := func(key string, x float64) {
		if !math.IsNaN(x) {
			fmt.Fprintf(b, ", %s: %s", quote(key), decimal(x))
		}
	}
	number("compile_time", e.CompileTime)
	number("verification_time", e.VerificationTime)
	number("benchmark_time", e.BenchmarkTime)
	for _, m := range e.Metrics {
		fmt.Fprintf(b, ", %s: %s", quote(m.Name), m.Value)
	}
	number("strategy_time", e.StrategyTime)
	number("framework_time", e.FrameworkTime)
	if e.Timestamp != "" {
		fmt.Fprintf(b, ", \"timestamp\": %s", quote(e.Timestamp))
	}
	b.WriteByte('}')
	return nil
}

// decimal prints the shortest digits that read back; what JSON lacks becomes Python's word, as Kernel Tuner writes it.
func decimal(x float64) string {
	switch {
	case math.IsNaN(x):
		return "NaN"
	case math.IsInf(x, 0):
		return map[bool]string{true: "Infinity", false: "-Infinity"}[x > 0]
	}
	if a := math.Abs(x); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil { // strings always marshal
		panic(err)
	}
	return string(text)
}
