package formats

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rooftune/rooftune/tuner/space"
)

const recorded = "../../../shared/searchspaces"

func recordedFile(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(recorded, name)
	if _, err := os.Stat(path); err != nil {
		t.Skip("the recorded spaces are not beside the tree")
	}
	return path
}

var same = cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateComparable(space.Value{}), cmpopts.EquateEmpty()}

// differ says where two caches differ; cmp needs many seconds for so many numbers.
func differ(a, b *Cache) string {
	x, y := *a, *b
	x.Entries, y.Entries = nil, nil
	if d := cmp.Diff(x, y, same); d != "" {
		return d
	}
	if len(a.Entries) != len(b.Entries) {
		return fmt.Sprintf("%d and %d entries", len(a.Entries), len(b.Entries))
	}
	for i := range a.Entries {
		// What fmt prints of a float64 reads back as the same.
		if x, y := fmt.Sprintf("%v", a.Entries[i]), fmt.Sprintf("%v", b.Entries[i]); x != y {
			return x + "\n" + y
		}
	}
	return ""
}

func readCache(t testing.TB, name string) *Cache {
	t.Helper()
	c, err := ReadCache(recordedFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func rewrite(t testing.TB, c *Cache) *Cache {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("}\n}")) {
		t.Fatalf("ends in %q: Kernel Tuner would close it again", b.Bytes()[b.Len()-4:])
	}
	again, err := ParseCache(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestCacheRoundTrip(t *testing.T) {
	for _, name := range []string{"dev/convolution_milo.A100.json.gz", "dev/pnpoly.RTX_3090.json.gz", "fixtures/hyper_genetic_algorithm.json"} {
		c := readCache(t, name)
		if d := differ(c, rewrite(t, c)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestRecordedCounts(t *testing.T) {
	for name, want := range map[string][3]int{
		"dev/convolution_milo.A100.json.gz": {4362, 4201, 32},
		"dev/pnpoly.RTX_3090.json.gz":       {4092, 3774, 10},
	} {
		c := readCache(t, name)
		ok := 0
		for _, e := range c.Entries {
			if e.OK() {
				ok++
				if len(e.Repeats) != want[2] {
					t.Errorf("%s: %d repeats, want %d", space.Key(e.Values), len(e.Repeats), want[2])
				}
			}
		}
		s, err := c.Space()
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != want[0] || ok != want[1] {
			t.Errorf("%s: %d configs, %d ok; want %v", name, s.Len(), ok, want)
		}
	}
}

// The A100 cache and its T4 file hold the same results: each converts into the other. T4 has no
// device, no kernel and no metric but the objective; the cache gives the former and loses the latter.
func TestCacheAndT4(t *testing.T) {
	c := readCache(t, "dev/convolution_milo.A100.json.gz")
	t4, err := ReadT4(recordedFile(t, "fixtures/convolution_milo.A100_T4.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	about := About{c.DeviceName, c.KernelName, c.ProblemSize, c.Params}
	fromT4, err := t4.Cache(about)
	if err != nil {
		t.Fatal(err)
	}
	plain := *c
	plain.Entries = slices.Clone(c.Entries)
	for i := range plain.Entries {
		plain.Entries[i].Metrics, plain.Entries[i].BenchmarkTime = nil, math.NaN()
	}
	if d := differ(&plain, fromT4); d != "" {
		t.Errorf("the T4 file as a cache:\n%.2000s", d)
	}
	inferred, err := t4.Cache(About{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Params, inferred.Params, same); d != "" {
		t.Errorf("parameters of the results:\n%s", d)
	}

	ours := plain.T4()
	for i := range ours.Results {
		ours.Results[i].Times.CompilationTime, ours.Results[i].Measurements[0].Unit = nil, ""
	}
	want, got := *t4, *ours
	want.Metadata, got.Metadata = nil, nil // ours spells milliseconds right
	if x, y := text(t, &want), text(t, &got); !bytes.Equal(x, y) {
		t.Errorf("the cache as a T4 file: %d bytes, want %d", len(y), len(x))
	}

	// With all that our own T4 files hold, only what T4 cannot say is lost on the way there and back.
	var b bytes.Buffer
	if err := c.T4().Write(&b); err != nil {
		t.Fatal(err)
	}
	read, err := ParseT4(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	back, err := read.Cache(about)
	if err != nil {
		t.Fatal(err)
	}
	if d := differ(c, back); d != "" {
		t.Errorf("there and back:\n%.2000s", d)
	}
}

func text(t *testing.T, f *T4) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const small = `{"device_name": "", "kernel_name": "k", "problem_size": "callable", "tune_params_keys": ["a", "b"],
"tune_params": {"b": ["x", "y"], "a": [1, 2.5, true]}, "objective": "time",
"cache": {
"1,x": {"a": 1, "b": "x", "time": 2.0, "times": [1.9, 2.1], "extra": {"deep": [1]}},
"2.5,x": {"a": 2.5, "b": "x", "time": "CompilationFailedConfig"},
"2.5,y": {"a": 2.5, "b": "y", "time": "SomethingElse"},
"1,y": {"a": 1, "b": "y", "time": NaN, "times": [Infinity, -Infinity], "note": "NaN"},
"True,y": {"a": true, "b": "y", "__error__": "RuntimeFailedConfig"}}
}`

func TestFailures(t *testing.T) {
	c, err := ParseCache([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range c.Entries {
		got = append(got, space.Key(e.Values)+"="+e.Failure)
	}
	want := []string{"1,x=", "2.5,x=CompilationFailedConfig", "2.5,y=ErrorConfig", "1,y=ErrorConfig", "True,y=RuntimeFailedConfig"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whatever is cut off the end of a file under way, all whole lines before it are read.
func TestUnfinished(t *testing.T) {
	c, err := ParseCache([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, rewrite(t, c), same, cmpopts.IgnoreFields(Entry{}, "Metrics", "Repeats")); d != "" {
		t.Error(d)
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	head := strings.Index(text, `"cache": {`) + len(`"cache": {`)
	for end := head; end < len(text); end++ {
		cut, err := ParseCache([]byte(text[:end]))
		if err != nil {
			t.Fatalf("cut at %d: %v: %q", end, err, text[head:end])
		}
		whole := max(0, strings.Count(text[:end], "\n\"")-strings.Count(text[:head], "\n\"")-1)
		if n := len(cut.Entries); n < whole || n > whole+1 {
			t.Fatalf("cut at %d: %d entries, want %d", end, n, whole)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"newer version":   {`{"device_name"`, `{"schema_version": "2.0.0", "device_name"`},
		"unknown value":   {`"a": 1, "b": "x"`, `"a": 3, "b": "x"`},
		"missing value":   {`"a": 1, "b": "x"`, `"b": "x"`},
		"no objective":    {`"time": 2.0, `, ``},
		"missing keys":    {`"tune_params_keys"`, `"keys"`},
		"unknown name":    {`["a", "b"]`, `["a", "c"]`},
		"name left out":   {`["a", "b"]`, `["a"]`},
		"times no list":   {`[1.9, 2.1]`, `"none"`},
		"value twice":     {`["x", "y"]`, `["x", "x", "y"]`},
		"no JSON":         {`"cache"`, `cache`},
		"entry no object": {`{"a": 2.5, "b": "x", "time": "CompilationFailedConfig"}`, `5`},
	} {
		text := strings.Replace(small, change[0], change[1], 1)
		if text == small {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := ParseCache([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, text := range []string{
		``, `[]`, `{}`, `{"results": [{}]}`, `{"results": [{"configuration": {"a": 1}, "invalidity": "odd"}]}`,
		`{"schema_version": "2.0.0", "results": []}`, `{"results": [{"configuration": {"a": [1]}, "invalidity": "correct"}]}`,
	} {
		if _, err := ParseT4([]byte(text)); err == nil {
			t.Errorf("T4 %s was accepted", text)
		}
		if _, err := ParseT1([]byte(text)); err == nil {
			t.Errorf("T1 %s was accepted", text)
		}
	}
}

func TestT1(t *testing.T) {
	for name, want := range map[string]int{"convolution_milo": 4362, "dedispersion_milo": 11130, "pnpoly": 4092} {
		d, err := ReadT1(recordedFile(t, "t1/"+name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Space()
		if err != nil || s.Len() != want {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		var b bytes.Buffer
		if err := d.Write(&b); err != nil {
			t.Fatal(err)
		}
		if again, err := ParseT1(b.Bytes()); err != nil || !cmp.Equal(d.ConfigurationSpace, again.ConfigurationSpace, same) {
			t.Errorf("%s does not survive writing: %v", name, err)
		}
	}
}

// The T1 conditions and the cache agree on which configs there are, in the same order.
func TestT1GivesCache(t *testing.T) {
	c := readCache(t, "dev/pnpoly.RTX_3090.json.gz")
	d, err := ReadT1(recordedFile(t, "t1/pnpoly.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Space()
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range c.Entries {
		if s.Key(i) != space.Key(e.Values) {
			t.Fatalf("config %d is %s, in the cache %s", i, s.Key(i), space.Key(e.Values))
		}
	}
}

func FuzzCache(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(small[:len(small)-60]))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCache(data)
		if err != nil {
			return
		}
		if _, err := c.Space(); err != nil || len(c.Entries) == 0 {
			return
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := ParseCache(b.Bytes())
		if err != nil {
			t.Fatalf("%v: %s", err, b.Bytes())
		}
		if len(again.Entries) != len(c.Entries) {
			t.Fatalf("%d entries, then %d", len(c.Entries), len(again.Entries))
		}
		t4 := c.T4()
		if _, err := t4.Cache(About{Params: c.Params}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzT4(f *testing.F) {
	f.Add([]byte(`{"results": [{"configuration": {"a": 1, "b": "x"}, "times": {"compilation_time": 1, "runtimes": [1, 2]}, "invalidity": "correct",
		"correctness": 1, "measurements": [{"name": "time", "value": 1.5, "unit": ""}], "objectives": ["time"]}], "schema_version": "1.0.0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseT4(data); err == nil && len(r.Results) > 0 {
			if c, err := r.Cache(About{}); err == nil {
				c.T4()
			}
		}
	})
}
