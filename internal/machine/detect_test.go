package machine

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func TestDetect(t *testing.T) {
	m, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if !m.Has(tile.Generic) || m.ISAs[0] != tile.Generic {
		t.Errorf("ISAs %v: want generic first", m.ISAs)
	}
	if m.Usable < 1 {
		t.Errorf("usable %d", m.Usable)
	}
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(m.Fingerprint) {
		t.Errorf("fingerprint %q", m.Fingerprint)
	}
	for _, c := range m.Caches {
		if c.Bytes <= 0 {
			t.Errorf("cache %+v: an unknown size must be absent", c)
		}
	}
	again, err := Detect()
	if err != nil || again.Fingerprint != m.Fingerprint {
		t.Errorf("second fingerprint %q, %v, first %q", again.Fingerprint, err, m.Fingerprint)
	}
	if text, err := json.MarshalIndent(m, "", "  "); err == nil {
		t.Logf("%s", text)
	}
}

func TestISAs(t *testing.T) {
	avx2 := []string{"AVX2", "F16C", "FMA3"}
	full := append(slices.Clone(avx2), "AVX512F", "AVX512BW", "AVX512DQ", "AVX512VL")
	tests := []struct {
		arch     string
		features []string
		want     []tile.ISA
	}{
		{"amd64", nil, []tile.ISA{tile.Generic}},
		{"amd64", []string{"AVX2"}, []tile.ISA{tile.Generic}},
		{"amd64", avx2, []tile.ISA{tile.Generic, tile.AVX2}},
		{"amd64", full, []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512}},
		{"amd64", full[:len(full)-1], []tile.ISA{tile.Generic, tile.AVX2}},
		{"amd64", full[3:], []tile.ISA{tile.Generic}},
		{"arm64", full, []tile.ISA{tile.Generic, tile.NEON}},
		{"arm64", nil, []tile.ISA{tile.Generic, tile.NEON}},
		{"riscv64", full, []tile.ISA{tile.Generic}},
	}
	for _, tt := range tests {
		if got := isas(tt.arch, tt.features); !slices.Equal(got, tt.want) {
			t.Errorf("%s %v: got %v, want %v", tt.arch, tt.features, got, tt.want)
		}
	}
}

func example() *Machine {
	return &Machine{
		Vendor: "AuthenticAMD", Brand: "AMD EPYC", Arch: "amd64", OS: "linux", Family: 25, Model: 17, Stepping: 1,
		Features: []string{"AVX2", "FMA3"},
		Caches:   []Cache{{Level: 1, Bytes: 32 << 10, LineBytes: 64, Ways: 8, SharedBy: 1}},
		Cores:    2, Threads: 2, Usable: 2, Hypervisor: "KVMKVMKVM",
	}
}

// The text is pinned: a change of it orphans every profile and needs a new version.
func TestFingerprintText(t *testing.T) {
	const want = `rooftune-fingerprint-1
arch amd64
vendor AuthenticAMD
family 25
model 17
stepping 1
features AVX2 FMA3
cache L1 32768 line 64 ways 8
cores 2
hypervisor KVMKVMKVM
`
	if got := fingerprintText(example()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestFingerprintStable(t *testing.T) {
	base := fingerprint(example())
	same := map[string]func(*Machine){
		"brand":         func(m *Machine) { m.Brand = "other" },
		"usable":        func(m *Machine) { m.Usable = 1 },
		"CPUs online":   func(m *Machine) { m.Caches[0].SharedBy = 9 },
		"OS":            func(m *Machine) { m.OS = "windows" },
		"narrowed ISAs": func(m *Machine) { m.ISAs = nil },
	}
	for name, change := range same {
		m := example()
		change(m)
		if fingerprint(m) != base {
			t.Errorf("%s changes the fingerprint", name)
		}
	}
	other := map[string]func(*Machine){
		"stepping":   func(m *Machine) { m.Stepping++ },
		"feature":    func(m *Machine) { m.Features = m.Features[:1] },
		"cache":      func(m *Machine) { m.Caches = nil },
		"cores":      func(m *Machine) { m.Cores = 4 },
		"hypervisor": func(m *Machine) { m.Hypervisor = "" },
	}
	for name, change := range other {
		m := example()
		change(m)
		if fingerprint(m) == base {
			t.Errorf("%s does not change the fingerprint", name)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("KVMKVMKVM\x00\x00\x00"); got != "KVMKVMKVM" {
		t.Errorf("got %q", got)
	}
	if got := clean("  AMD  EPYC \xff"); got != "AMD EPYC" {
		t.Errorf("got %q", got)
	}
}

func TestPin(t *testing.T) {
	cpus := CPUs()
	if len(cpus) == 0 {
		t.Skip("this system cannot pin threads")
	}
	unpin, err := Pin(cpus[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := CPUs(); !slices.Equal(got, cpus[:1]) {
		t.Errorf("pinned to %d, may run on %v", cpus[0], got)
	}
	unpin()
	if _, err := Pin(-1); err == nil {
		t.Error("pinned to CPU -1")
	}
}
