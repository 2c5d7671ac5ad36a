package gpu

import (
	"encoding/csv"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
)

func TestDeviceFiles(t *testing.T) {
	names := Devices()
	if len(names) < 50 {
		t.Fatalf("known GPUs: %v", names)
	}
	taken := map[string]string{}
	for _, name := range names {
		d, err := FindDevice(strings.ToLower(name))
		if err != nil {
			t.Fatal(err)
		}
		if d.Name != name {
			t.Errorf("%s is found as %s", name, d.Name)
		}
		for _, a := range append([]string{d.Name}, d.Aliases...) {
			if other, ok := taken[folded(a)]; ok && other != d.Name {
				t.Errorf("%s means %s and %s", a, other, d.Name)
			}
			taken[folded(a)] = d.Name
		}
		for field := range d.Doubtful {
			if !strings.Contains(string(deviceSchemaText), `"`+field+`"`) {
				t.Errorf("%s doubts %q, which is no fact", name, field)
			}
		}
	}
}

// Every GPU of the published facts and timings has a file of its own.
func TestPublishedDevices(t *testing.T) {
	file, err := os.Open("../../../shared/gpu/specs.csv")
	if err != nil {
		t.Skip("no published facts here")
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows[1:] {
		if d, err := FindDevice(r[0]); err != nil || d.Name != r[0] {
			t.Errorf("%s: %v, %v", r[0], d, err)
		}
	}
	for _, r := range sharedRows(t) {
		if d, err := FindDevice(r.GPU); err != nil || d.Name != r.GPU {
			t.Errorf("%s: %v, %v", r.GPU, d, err)
		}
	}
}

func TestResolveDevice(t *testing.T) {
	for name, want := range map[string]string{
		"NVIDIA A100-SXM4-80GB": "A100-80GB-SXM", "h100": "H100-SXM", "GeForce RTX 4090": "RTX4090", "Tesla V100-SXM2-32GB": "V100-SXM2", "NVIDIA H100 80GB HBM3": "H100-SXM",
		"AMD Instinct MI300X": "MI300X", "RTX A6000": "RTXA6000", "nvidia l40s": "L40S", "H200-SXM5": "H200", "B200-180GB": "B200",
	} {
		d, note, err := ResolveDevice(name)
		if err != nil || d.Name != want {
			t.Errorf("%s is %v, %v, want %s", name, d, err, want)
			continue
		}
		if _, err := FindDevice(name); (err != nil) != (note != "") {
			t.Errorf("%s: note %q, but looking it up gives %v", name, note, err)
		}
	}
	if _, _, err := ResolveDevice("Abacus"); err == nil || !strings.Contains(err.Error(), "H100-SXM") {
		t.Errorf("error of an unknown GPU: %v", err)
	}
}

func TestParseDeviceRefuses(t *testing.T) {
	good, err := deviceFiles.ReadFile("devices/h100-sxm.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(good, &doc); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseDevice(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{"units", 0, "units"}, {"units", nil, "units"}, {"name", "", "name"}, {"memory_gbps", "fast", "memory_gbps"}, {"colour", "green", "colour"},
		{"schema", 2, "version 2"}, {"matrix_tflops", map[string]any{"bf17": 1}, "must be one of"}, {"vector_tflops", map[string]any{}, "fp32"}, {"sram_per_block_kib", 300, "sram_per_block_kib"},
	} {
		d := maps.Clone(doc)
		d[c.key] = c.value
		if c.value == nil {
			delete(d, c.key)
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDevice(text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %v: error %v, want one with %q", c.key, c.value, err, c.want)
		}
	}
	for _, bad := range []string{`{"schema": 10E900000000}`, "", "[]", "{", `{"schema":1}`} {
		if _, err := ParseDevice([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
