package gpu

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Device is a GPU's facts, as in its data file.
type Device struct {
	Schema            int      `json:"schema"`
	Name              string   `json:"name"`
	Aliases           []string `json:"aliases,omitempty"`
	Vendor            string   `json:"vendor"`             // nvidia, amd, ...
	Architecture      string   `json:"architecture"`       // volta, turing, ampere, ada, hopper, blackwell, cdna2, ...
	ComputeCapability int      `json:"compute_capability"` // 80 for 8.0; 0 where there is none
	Units             int      `json:"units"`              // streaming multiprocessors, compute units
	BoostMHz          float64  `json:"boost_mhz"`
	LoadMHz           float64  `json:"load_mhz,omitempty"` // observed under load
	PowerW            float64  `json:"power_w"`

	SRAMPerUnitKiB    float64 `json:"sram_per_unit_kib"`
	SRAMPerBlockKiB   float64 `json:"sram_per_block_kib"`
	RegistersKiB      float64 `json:"registers_per_unit_kib"`
	WarpsPerUnit      float64 `json:"warps_per_unit"` // of 32 threads
	BlocksPerUnit     float64 `json:"blocks_per_unit"`
	SRAMBytesPerClock float64 `json:"sram_bytes_per_clock"` // of a unit
	ExpsPerClock      float64 `json:"exps_per_clock"`       // of a unit
	LanesPerClock     float64 `json:"lanes_per_clock"`      // float32 operations of a unit

	L2MiB       float64 `json:"l2_mib"`
	L2GBps      float64 `json:"l2_gbps,omitempty"`
	LLCMiB      float64 `json:"llc_mib,omitempty"` // a cache between L2 and memory
	LLCGBps     float64 `json:"llc_gbps,omitempty"`
	MemoryGiB   float64 `json:"memory_gib"`
	MemoryGBps  float64 `json:"memory_gbps"`
	MemoryShare float64 `json:"memory_share,omitempty"` // of it that reading and writing together reach

	MatrixTFLOPS map[string]float64 `json:"matrix_tflops"`          // dense, float32 accumulators, by dtype
	VectorTFLOPS map[string]float64 `json:"vector_tflops"`          // by dtype
	MatrixPath   string             `json:"matrix_path,omitempty"`  // wgmma, tcgen05, mma, mfma
	MMAShare     float64            `json:"mma_share,omitempty"`    // of the matrix rate that one-warp instructions reach, 1 if not given
	MatrixShare  float64            `json:"matrix_share,omitempty"` // the best published matrix product over the peak

	L2LatencyNs     float64 `json:"l2_latency_ns,omitempty"`
	MemoryLatencyNs float64 `json:"memory_latency_ns,omitempty"`

	LinkGBps    float64 `json:"link_gbps,omitempty"`    // to the other devices of a node, one direction
	NetworkGBps float64 `json:"network_gbps,omitempty"` // to other nodes, one direction
	NodeDevices int     `json:"node_devices,omitempty"`

	Source   string            `json:"source"`
	Doubtful map[string]string `json:"doubtful,omitempty"` // by field: why

	matrix [dtypeCount]float64 // FLOP/s
	vector [dtypeCount]float64
}

//go:embed devices/*.json
var deviceFiles embed.FS

//go:embed device.schema.json
var deviceSchemaText []byte

var deviceSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(deviceSchemaText))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("device.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("device.schema.json")
})

// maxDeviceBytes is the largest device file that is read.
const maxDeviceBytes = 1 << 20

// ParseDevice reads a device from its JSON form (device.schema.json) and names what is wrong with it.
func ParseDevice(data []byte) (*Device, error) {
	if len(data) > maxDeviceBytes {
		return nil, fmt.Errorf("device: %d bytes, more than %d", len(data), maxDeviceBytes)
	}
	// The schema library panics on a number that no float64 holds.
	if err := json.Unmarshal(data, new(any)); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if m, ok := doc.(map[string]any); ok {
		if n, ok := m["schema"].(json.Number); ok && n.String() != "1" {
			return nil, fmt.Errorf("device: schema version %s is not known, only 1", n)
		}
	}
	s, err := deviceSchema()
	if err != nil {
		return nil, err
	}
	if err := s.Validate(doc); err != nil {
		var v *jsonschema.ValidationError
		if errors.As(err, &v) {
			return nil, fmt.Errorf("device: %s", strings.Join(violations(v), "; "))
		}
		return nil, fmt.Errorf("device: %w", err)
	}
	d := new(Device)
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	return d, d.prepare()
}

// violations lists the innermost errors of a validation, a line each.
func violations(v *jsonschema.ValidationError) []string {
	var out []string
	var walk func(*jsonschema.OutputUnit)
	walk = func(u *jsonschema.OutputUnit) {
		if u.Error != nil && len(u.Errors) == 0 {
			where := u.InstanceLocation
			if where == "" {
				where = "/"
			}
			out = append(out, where+": "+u.Error.String())
		}
		for i := range u.Errors {
			walk(&u.Errors[i])
		}
	}
	walk(v.DetailedOutput())
	slices.Sort(out)
	return slices.Compact(out)
}

// prepare checks what a schema can't say and orders the rates.
func (d *Device) prepare() error {
	if d.SRAMPerBlockKiB > d.SRAMPerUnitKiB {
		return fmt.Errorf("device %s: sram_per_block_kib is above sram_per_unit_kib", d.Name)
	}
	for name, x := range d.MatrixTFLOPS {
		t, err := ParseDType(name)
		if err != nil {
			return fmt.Errorf("device %s: matrix_tflops: %w", d.Name, err)
		}
		d.matrix[t] = x * 1e12
	}
	for name, x := range d.VectorTFLOPS {
		t, err := ParseDType(name)
		if err != nil {
			return fmt.Errorf("device %s: vector_tflops: %w", d.Name, err)
		}
		d.vector[t] = x * 1e12
	}
	return nil
}

var devices = sync.OnceValues(func() ([]*Device, error) {
	entries, err := deviceFiles.ReadDir("devices")
	if err != nil {
		return nil, err
	}
	var all []*Device
	for _, e := range entries {
		data, err := deviceFiles.ReadFile(path.Join("devices", e.Name()))
		if err != nil {
			return nil, err
		}
		d, err := ParseDevice(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *Device) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
})

// Devices lists the embedded devices by name.
func Devices() []string {
	all, err := devices()
	if err != nil {
		return nil
	}
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	return names
}

// folded reduces a device's name to letters and digits, without the words that vendors repeat.
func folded(name string) string {
	name = strings.ToLower(name)
	for _, w := range []string{"nvidia", "geforce", "amd", "instinct", "radeon", "tesla", "tensor core", "graphics"} {
		name = strings.ReplaceAll(name, w, "")
	}
	var b strings.Builder
	for _, r := range name {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// FindDevice returns the embedded device of this name or alias. Case, punctuation and vendors' words do not matter.
// The caller must not change it.
func FindDevice(name string) (*Device, error) {
	all, err := devices()
	if err != nil {
		return nil, err
	}
	want := folded(name)
	for _, d := range all {
		if folded(d.Name) == want {
			return d, nil
		}
		for _, a := range d.Aliases {
			if folded(a) == want {
				return d, nil
			}
		}
	}
	return nil, fmt.Errorf("unknown GPU %q: known are %s", name, strings.Join(Devices(), ", "))
}

// ResolveDevice is FindDevice, and for an unknown name the device whose name or alias it begins with or is the beginning of, the longest
// such. The note says what was chosen when the name was not known.
func ResolveDevice(name string) (d *Device, note string, err error) {
	if d, err = FindDevice(name); err == nil {
		return d, "", nil
	}
	all, e := devices()
	if e != nil {
		return nil, "", e
	}
	want, longest := folded(name), 0
	for _, c := range all {
		for _, a := range append([]string{c.Name}, c.Aliases...) {
			f := folded(a)
			if n := min(len(f), len(want)); n >= 2 && (strings.HasPrefix(want, f) || strings.HasPrefix(f, want)) && n > longest {
				longest, d = n, c
			}
		}
	}
	if d == nil {
		return nil, "", err
	}
	return d, fmt.Sprintf("GPU %q is not known: taken for %s", name, d.Name), nil
}
