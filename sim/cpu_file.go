package sim

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// cpuFiles are published CPUs. What is doubtful in one is said in its notes.
//
//go:embed cpus/*.json
var cpuFiles embed.FS

// CPUFile is a CPU as a data file: what its maker publishes, per core and clock.
type CPUFile struct {
	Name          string            `json:"name"`
	ISA           tile.ISA          `json:"isa"`
	Cores         int               `json:"cores"`
	ClockHz       float64           `json:"clock_hz"`        // with all cores busy
	FlopsPerClock float64           `json:"flops_per_clock"` // of a core, float32 multiply-adds counted twice
	LineBytes     int               `json:"line_bytes"`
	Caches        []CPUCache        `json:"caches"` // L1, L2 and, if there is one, L3
	Memory        CPUMemory         `json:"memory"`
	Source        string            `json:"source"`
	Notes         map[string]string `json:"notes,omitempty"`
}

// CPUCache is a level of a CPUFile.
type CPUCache struct {
	Name          string  `json:"name"`
	Bytes         int     `json:"bytes"` // of one instance
	Ways          int     `json:"ways"`
	BytesPerClock float64 `json:"bytes_per_clock"` // that a core exchanges with it
	LatencyNs     float64 `json:"latency_ns"`
	SharedBy      int     `json:"shared_by"` // cores
}

// CPUMemory is the memory of a CPUFile.
type CPUMemory struct {
	CoreBps   float64 `json:"core_bps"` // that one core reaches
	Bps       float64 `json:"bps"`      // of all
	LatencyNs float64 `json:"latency_ns"`
}

// CPUs lists the published CPUs by name.
func CPUs() []string {
	entries, _ := cpuFiles.ReadDir("cpus")
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	return names
}

// ReadCPU reads a published CPU by name, or one of the same form from a file that ends in .json.
func ReadCPU(name string) (*CPUFile, error) {
	var data []byte
	var err error
	if strings.HasSuffix(name, ".json") {
		data, err = os.ReadFile(name)
	} else if data, err = cpuFiles.ReadFile(path.Join("cpus", name+".json")); err != nil {
		return nil, fmt.Errorf("sim: CPU %q is unknown, must be one of %s, or a JSON file", name, strings.Join(CPUs(), ", "))
	}
	if err != nil {
		return nil, err
	}
	var f CPUFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("sim: %s: %w", name, err)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("sim: %s: %w", name, err)
	}
	return &f, nil
}

func (f *CPUFile) check() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	switch {
	case f.Name == "" || f.ISA == "":
		return errors.New("name or isa is missing")
	case f.Cores < 1 || f.Cores > 1<<12:
		return fmt.Errorf("cores: %d", f.Cores)
	case !positive(f.ClockHz) || !positive(f.FlopsPerClock):
		return errors.New("clock_hz and flops_per_clock must be positive")
	case f.LineBytes < 16 || f.LineBytes&(f.LineBytes-1) != 0:
		return fmt.Errorf("line_bytes: %d is no power of two", f.LineBytes)
	case len(f.Caches) < 1 || len(f.Caches) > 3:
		return fmt.Errorf("caches: %d, must be 1 to 3", len(f.Caches))
	case !positive(f.Memory.CoreBps) || f.Memory.Bps < f.Memory.CoreBps || !positive(f.Memory.Bps) || !positive(f.Memory.LatencyNs):
		return errors.New("memory: core_bps, bps and latency_ns must be positive, bps at least core_bps")
	}
	for i, c := range f.Caches {
		if c.Name != fmt.Sprintf("L%d", i+1) || c.Bytes < f.LineBytes || c.Ways < 0 || c.SharedBy < 1 || !positive(c.BytesPerClock) || !positive(c.LatencyNs) {
			return fmt.Errorf("caches: %+v", c)
		}
	}
	return nil
}

// Device is a published CPU with some threads, one a core. Its rates are what is published, so its peaks are no higher than its rates and its
// lower bounds hold as far as those are right.
func (f *CPUFile) Device(threads int) (*Device, error) {
	if threads < 1 || threads > f.Cores {
		return nil, fmt.Errorf("sim: %s has %d cores, not %d", f.Name, f.Cores, threads)
	}
	m := &machine.Machine{Brand: f.Name, Cores: f.Cores, Threads: f.Cores}
	measured := &machine.Measured{}
	add := func(kind, level string, rate float64) {
		measured.Ceilings = append(measured.Ceilings, machine.Ceiling{Kind: kind, ISA: f.ISA, Level: level, Threads: threads, Median: rate, Min: rate, Max: rate})
	}
	add(machine.KindFlops, "", float64(threads)*f.ClockHz*f.FlopsPerClock)
	for i, c := range f.Caches {
		m.Caches = append(m.Caches, machine.Cache{Level: i + 1, Bytes: c.Bytes, LineBytes: f.LineBytes, Ways: c.Ways, SharedBy: c.SharedBy})
		add(machine.KindRead, c.Name, float64(threads)*f.ClockHz*c.BytesPerClock)
	}
	add(machine.KindRead, "DRAM", min(f.Memory.Bps, float64(threads)*f.Memory.CoreBps))
	d, err := CPU(m, measured, f.ISA, threads)
	if err != nil {
		return nil, err
	}
	for i, c := range f.Caches {
		d.Levels[i].LatencyNs = c.LatencyNs
	}
	d.Levels[len(d.Levels)-1].LatencyNs = f.Memory.LatencyNs
	d.Source, d.Notes = f.Source, f.Notes
	lanes := float64(coreOf(f.ISA).lanes)
	d.Core.ClockHz, d.Core.FMAs, d.Core.Loads = f.ClockHz, f.FlopsPerClock/2/lanes, f.Caches[0].BytesPerClock/4/lanes
	return d, nil
}

// IsCPU says whether a name is that of a published CPU.
func IsCPU(name string) bool { return slices.Contains(CPUs(), name) }
