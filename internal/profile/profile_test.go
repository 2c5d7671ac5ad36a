package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

func attention(t, heads, width int) tile.Problem {
	return tile.Problem{
		Op: tile.LinearAttention, Rule: tile.RuleGated, DType: "float32", Dir: "fwd", Threads: 1, Decay: tile.DecayHead,
		Shape: tile.Shape{B: 1, T: t, Hq: heads, Hkv: heads, Dk: width, Dv: width},
	}
}

func entry(p tile.Problem, isa tile.ISA, ns float64) Entry {
	return Entry{
		Problem: p, ISA: isa, Config: tile.Config{"chunk": 64, "mr": 8}, SourceHash: "fresh-" + string(isa),
		MedianNs: ns, MinNs: 0.9 * ns, MaxNs: 1.5 * ns, Samples: 9, RoofNs: ns / 2, BoundBy: "flops", SimulatedNs: 0.8 * ns,
		MaxError: 1e-6, ErrorBound: 1e-5, TieSet: []tile.Config{{"chunk": 32, "mr": 8}}, DetectableEffect: 0.013, Candidates: 12,
	}
}

func sample() *Profile {
	return &Profile{
		Schema: Schema, Created: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC), Go: "go1.26.8",
		Machine: machine.Machine{
			Vendor: "AMD", Arch: "amd64", OS: "linux", Family: 26, Model: 2, Features: []string{"avx2"},
			ISAs:   []tile.ISA{tile.Generic, tile.AVX2},
			Caches: []machine.Cache{{Level: 1, Bytes: 48 << 10, LineBytes: 64, Ways: 12}}, Threads: 2, Fingerprint: "0123456789abcdef",
		},
		Measured: machine.Measured{
			Ceilings: []machine.Ceiling{{Kind: machine.KindFlops, ISA: tile.AVX2, DType: "float32", Threads: 1, Median: 2e11, Min: 1.9e11, Max: 2.1e11, Samples: 7, Unit: "FLOP/s"}},
			Latency:  []machine.LatencyPoint{{Bytes: 4096, NsPerLoad: 1.1}},
			Plateaus: []machine.Plateau{{Level: "L1", Bytes: 48 << 10, NsPerLoad: 1.1}},
			StealPct: 0.3,
		},
		Entries: []Entry{
			entry(attention(512, 8, 128), tile.AVX2, 2e6), entry(attention(512, 8, 128), tile.AVX512, 1e6),
			entry(attention(1, 8, 128), tile.AVX2, 2e4), entry(attention(512, 16, 64), tile.AVX2, 1.1e6),
		},
	}
}

func marshal(t testing.TB, p *Profile) []byte {
	t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "p.json")
	p := sample()
	p.Entries[2].Config = nil // an op without parameters
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Entries[2].Config = tile.Config{}
	if d := cmp.Diff(p, got, cmpopts.IgnoreUnexported(Profile{}), cmpopts.IgnoreFields(Profile{}, "Checksum")); d != "" {
		t.Fatal(d)
	}
	if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, want 0644", info.Mode().Perm())
	}
	if !bytes.Equal(marshal(t, p), marshal(t, got)) {
		t.Error("written again, the profile differs")
	}
}

// Every single flipped bit is found, and every truncation.
func TestDamage(t *testing.T) {
	p := sample()
	p.Entries = p.Entries[:1]
	raw := bytes.TrimSpace(marshal(t, p)) // without the newline at its end the document is whole
	step := 1
	if testing.Short() {
		step = 7
	}
	for i := 0; i < len(raw); i += step {
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			if _, err := Parse(bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped (%q to %q): accepted", bit, i, raw[i], bad[i])
			}
		}
		if _, err := Parse(raw[:i]); err == nil {
			t.Fatalf("cut at byte %d: accepted", i)
		}
	}
}

// White space is the one thing other tools may change.
func TestReformatted(t *testing.T) {
	var b bytes.Buffer
	if err := json.Compact(&b, marshal(t, sample())); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// edited returns a document whose checksum is right and whose content was changed.
func edited(t testing.TB, change func(doc map[string]any)) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(marshal(t, sample()), &doc); err != nil {
		t.Fatal(err)
	}
	change(doc)
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	if doc["checksum"], err = checksum(fields); err != nil {
		t.Fatal(err)
	}
	raw, _ = json.Marshal(doc)
	return raw
}

func TestRefused(t *testing.T) {
	first := func(doc map[string]any) map[string]any { return doc["entries"].([]any)[0].(map[string]any) }
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"newer":           {func(d map[string]any) { d["schema"] = 2 }, "schema 2"},
		"older":           {func(d map[string]any) { d["schema"] = 0 }, "schema 0 is unknown"},
		"version type":    {func(d map[string]any) { d["schema"] = "1" }, "must be an integer"},
		"no version":      {func(d map[string]any) { delete(d, "schema") }, "not a profile"},
		"unknown field":   {func(d map[string]any) { d["more"] = 1 }, "more"},
		"no machine":      {func(d map[string]any) { delete(d, "machine") }, "machine"},
		"negative time":   {func(d map[string]any) { first(d)["median_ns"] = -1 }, "median_ns"},
		"zero time":       {func(d map[string]any) { first(d)["min_ns"] = 0 }, "min_ns"},
		"order":           {func(d map[string]any) { first(d)["min_ns"] = 1e9 }, "not in order"},
		"huge value":      {func(d map[string]any) { first(d)["config"] = map[string]any{"chunk": 1 << 40} }, "chunk"},
		"fraction":        {func(d map[string]any) { first(d)["config"] = map[string]any{"chunk": 1.5} }, "chunk"},
		"parameter":       {func(d map[string]any) { first(d)["config"] = map[string]any{"a b": 1} }, "does not match pattern"},
		"isa":             {func(d map[string]any) { first(d)["isa"] = "AVX 2" }, "isa"},
		"wrong":           {func(d map[string]any) { first(d)["max_error"] = 1 }, "error_bound"},
		"threads":         {func(d map[string]any) { first(d)["problem"].(map[string]any)["threads"] = 0 }, "threads"},
		"twice":           {func(d map[string]any) { d["entries"].([]any)[1] = first(d) }, "answered already"},
		"ceiling":         {func(d map[string]any) { ceiling(d)["min"] = 1e15 }, "in order"},
		"negative extent": {func(d map[string]any) { first(d)["problem"].(map[string]any)["shape"] = map[string]any{"t": -4} }, "shape/t"},
	} {
		_, err := Parse(edited(t, c.change))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q does not say %q on one line", name, err, c.want)
		}
		if name == "newer" && !errors.Is(err, ErrNewer) {
			t.Errorf("newer: %v", err)
		}
	}
	// What a later version may bring is no reason to refuse.
	if _, err := Parse(edited(t, func(d map[string]any) {
		first(d)["isa"], first(d)["problem"].(map[string]any)["op"] = "sve2", "causal-conv"
	})); err != nil {
		t.Error(err)
	}
}

func ceiling(d map[string]any) map[string]any {
	return d["measured"].(map[string]any)["ceilings"].([]any)[0].(map[string]any)
}

func TestWriteRefusesInvalid(t *testing.T) {
	dir := t.TempDir()
	for _, change := range []func(*Profile){
		func(p *Profile) { p.Entries[0].MedianNs = math.NaN() },
		func(p *Profile) { p.Entries[0].MaxNs = math.Inf(1) },
		func(p *Profile) { p.Machine.Fingerprint = "" },
		func(p *Profile) { p.Measured.Ceilings[0].Max = math.Inf(1) },
	} {
		p := sample()
		change(p)
		if err := p.Write(filepath.Join(dir, "p.json")); err == nil {
			t.Error("written")
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(filepath.Join(file, "p.json")); err == nil {
		t.Error("written below a file")
	}
	if err := sample().Write(dir); err == nil {
		t.Error("written over a folder")
	}
}

func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(path, bytes.Repeat([]byte(" "), MaxBytes+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}

// The schema names every field that the types write.
func TestSchemaCoversTypes(t *testing.T) {
	var p Profile
	fill(reflect.ValueOf(&p).Elem())
	raw, err := json.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil && strings.Contains(err.Error(), "additional properties") {
		t.Error(err)
	}
}

// fill sets every exported field to something that is not empty.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]int{"a": 1}).Convert(v.Type()))
	case reflect.String:
		v.SetString("a")
	case reflect.Int:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(true)
	}
}

func freshHash(_ string, isa tile.ISA) string { return "fresh-" + string(isa) }

func TestLookup(t *testing.T) {
	both := []tile.ISA{tile.AVX2, tile.AVX512}
	stale := func(is ...int) func(*Profile) {
		return func(p *Profile) {
			for _, i := range is {
				p.Entries[i].SourceHash = "old"
			}
		}
	}
	for name, c := range map[string]struct {
		problem tile.Problem
		isas    []tile.ISA
		change  func(*Profile)
		want    int // entry, -1 for none
		exact   bool
		stale   bool
	}{
		"fastest isa":            {attention(512, 8, 128), both, nil, 1, true, false},
		"allowed isa":            {attention(512, 8, 128), both[:1], nil, 0, true, false},
		"no isa":                 {attention(512, 8, 128), nil, nil, -1, false, false},
		"longer":                 {attention(4096, 8, 128), both, nil, 1, false, false},
		"decode stays decode":    {attention(1, 32, 128), both[:1], nil, 2, false, false},
		"width":                  {attention(512, 8, 64), both[:1], nil, 3, false, false},
		"fresh isa above stale":  {attention(512, 8, 128), both, stale(1), 0, true, false},
		"fresh neighbour":        {attention(512, 8, 128), both[:1], stale(0), 3, false, false},
		"all stale":              {attention(512, 8, 128), both, stale(0, 1, 2, 3), 1, true, true},
		"stale, but far faster":  {attention(512, 8, 128), both, func(p *Profile) { stale(1)(p); p.Entries[1].MedianNs = 1e5; p.Entries[1].MinNs = 1e5 }, 1, true, true},
		"nothing of this op":     {tile.Problem{Op: "causal-conv", DType: "float32", Dir: "fwd", Threads: 1}, both, nil, -1, false, false},
		"nothing of this dir":    {func() tile.Problem { p := attention(512, 8, 128); p.Dir = "bwd"; return p }(), both, nil, -1, false, false},
		"other rule, same op":    {func() tile.Problem { p := attention(512, 8, 128); p.Rule, p.Decay = "linear", "none"; return p }(), both, nil, 1, false, false},
		"nearer of the same isa": {attention(256, 16, 80), both[:1], nil, 3, false, false},
	} {
		p := sample()
		if c.change != nil {
			c.change(p)
		}
		parsed, err := Parse(marshal(t, p))
		if err != nil {
			t.Fatal(name, err)
		}
		for _, q := range []*Profile{p, parsed} { // with and without the map
			e, d, isStale := q.Lookup(c.problem, c.isas, freshHash)
			if c.want < 0 {
				if e != nil || !math.IsInf(d, 1) {
					t.Errorf("%s: got %v at %g", name, e, d)
				}
				continue
			}
			if e != &q.Entries[c.want] {
				t.Errorf("%s: got %v, want entry %d", name, e, c.want)
				continue
			}
			if (d == 0) != c.exact || isStale != c.stale {
				t.Errorf("%s: distance %g, stale %v", name, d, isStale)
			}
		}
	}
}

func TestDistance(t *testing.T) {
	p := attention(512, 8, 128)
	near := []tile.Problem{p, attention(1024, 8, 128), attention(4096, 8, 128), attention(512, 8, 64), attention(1, 8, 64)}
	for i := 1; i < len(near); i++ {
		if a, b := Distance(p, near[i-1]), Distance(p, near[i]); !(a < b) {
			t.Errorf("%s at %g is not nearer than %s at %g", near[i-1], a, near[i], b)
		}
		if a, b := Distance(p, near[i]), Distance(near[i], p); math.Abs(a-b) > 1e-12 {
			t.Errorf("not symmetric: %g, %g", a, b)
		}
	}
}

func TestConcurrentLookup(t *testing.T) {
	p, err := Parse(marshal(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := 1; n < 100; n++ {
				p.Lookup(attention(n, 8, 128), []tile.ISA{tile.AVX2}, freshHash)
			}
		})
	}
	group.Wait()
}

func FuzzParse(f *testing.F) {
	raw := marshal(f, sample())
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte(`{"schema":1,"checksum":""}`))
	f.Add([]byte(`[]`))
	f.Add(edited(f, func(d map[string]any) { d["entries"] = nil }))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum would stop nearly every mutation: mend it, so that what is behind it is reached too.
		var fields map[string]json.RawMessage
		if json.Unmarshal(data, &fields) == nil {
			if sum, err := checksum(fields); err == nil {
				fields["checksum"] = json.RawMessage(`"` + sum + `"`)
				if mended, err := json.Marshal(fields); err == nil {
					parseAndUse(t, mended)
				}
			}
		}
		parseAndUse(t, data)
	})
}

func parseAndUse(t *testing.T, data []byte) {
	p, err := Parse(data)
	if err != nil {
		return
	}
	p.Lookup(attention(100, 4, 128), []tile.ISA{tile.AVX2, tile.AVX512}, freshHash)
	if _, err := p.Marshal(); err != nil {
		t.Fatalf("accepted, but cannot be written: %v", err)
	}
}
