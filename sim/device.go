package sim

import (
	"errors"
	"fmt"

	"github.com/rooftune/rooftune/kernels/tile"
)

// KindCPU is the kind of the devices and programs of this package. GPUs have a package of their own, sim/gpu.
const KindCPU = "cpu"

// Level is one level of a device's memory hierarchy. Bandwidths are of the whole
// device at the thread count it was built for. The traffic of a level is what it exchanges with the
// next nearer one: of L1 what registers load and store, of L2 what L1 misses and writes back.
type Level struct {
	Name      string  `json:"name"`       // "L1", "L2", "L3", "DRAM"
	Bytes     int64   `json:"bytes"`      // capacity that can be counted on: of one unit if PerUnit, else of all together; 0 for the last level
	MaxBytes  int64   `json:"max_bytes"`  // the most that all units together may hold here: what lower bounds use; 0 for the last level
	LineBytes int     `json:"line_bytes"` // transfer granularity
	ReadBps   float64 `json:"read_bps"`
	CopyBps   float64 `json:"copy_bps"` // loaded plus stored bytes a second
	PeakBps   float64 `json:"peak_bps"` // the most ever seen here: what lower bounds use
	LatencyNs float64 `json:"latency_ns"`
	PerUnit   bool    `json:"per_unit"`       // private to a core
	Ways      int     `json:"ways,omitempty"` // of a cache's sets, 0 if unknown: for replays

	Gathers []GatherRate `json:"gathers,omitempty"` // ascending rows; where they were measured
}

// GatherRate is the bandwidth of reading whole rows at random places of a level.
type GatherRate struct {
	RowBytes int     `json:"row_bytes"`
	Bps      float64 `json:"bps"`
}

// LatencyAt is the time of a load at random places of so many bytes.
type LatencyAt struct {
	Bytes int64   `json:"bytes"`
	Ns    float64 `json:"ns"`
}

// Device is a list of memory levels, nearest first, over compute units with a
// rate per path.
type Device struct {
	Name   string             `json:"name"`
	Kind   string             `json:"kind"`
	Units  int                `json:"units"` // cores in use
	Levels []Level            `json:"levels"`
	Rates  map[string]float64 `json:"rates"` // FLOP/s of the whole device by path: "fma.float32", "dot.bfloat16"
	Peaks  map[string]float64 `json:"peaks"` // the most ever seen, for lower bounds

	ISA       tile.ISA    `json:"isa,omitempty"`
	Core      Core        `json:"core"`
	Latencies []LatencyAt `json:"latencies,omitempty"` // of loads that wait for each other, ascending bytes
	// Primitives are measured beside modelled; those that are not here are taken as modelled.
	Primitives []PrimitiveRatio `json:"primitives,omitempty"`

	Source string            `json:"source,omitempty"`
	Notes  map[string]string `json:"notes,omitempty"` // by field: what is doubtful or derived, and how
}

// Core is what one core does in a clock with vectors of the device's instruction set.
type Core struct {
	ClockHz float64 `json:"clock_hz"`
	FMAs    float64 `json:"fmas"`   // multiply-adds
	Loads   float64 `json:"loads"`  // from the first level, broadcasts too
	Stores  float64 `json:"stores"` // to it
}

// pathFMA is a CPU's rate of float32 fused multiply-adds.
const pathFMA = "fma.float32"

// pathDot is its rate of bfloat16 products summed in float32.
const pathDot = "dot.bfloat16"

// Check says what a device lacks to be simulated, or nil.
func (d *Device) Check() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("device %q: %s", d.Name, what))
		}
	}
	need(d.Name != "", "name is empty")
	need(d.Kind == KindCPU, fmt.Sprintf("kind %q: want cpu", d.Kind))
	need(d.Units > 0, "units must be positive")
	need(len(d.Levels) >= 2, "needs at least two memory levels")
	need(len(d.Levels) <= MaxLevels, fmt.Sprintf("has more than %d memory levels", MaxLevels))
	for i, l := range d.Levels {
		last := i == len(d.Levels)-1
		need(l.Name != "", fmt.Sprintf("level %d has no name", i))
		need(l.ReadBps > 0 && l.CopyBps > 0 && l.PeakBps >= l.ReadBps && l.PeakBps >= l.CopyBps, fmt.Sprintf("level %s: bandwidths must be positive and at most the peak", l.Name))
		need(l.LineBytes > 0 && l.LineBytes&(l.LineBytes-1) == 0, fmt.Sprintf("level %s: line_bytes must be a power of two", l.Name))
		need(last == (l.Bytes == 0), fmt.Sprintf("level %s: only the last level has no capacity", l.Name))
		need(last || l.MaxBytes >= l.Bytes, fmt.Sprintf("level %s: max_bytes is below bytes", l.Name))
	}
	need(len(d.Rates) > 0, "has no rates")
	for path, r := range d.Rates {
		need(r > 0 && d.Peaks[path] >= r, fmt.Sprintf("path %s: the rate must be positive and at most its peak", path))
	}
	need(d.Rates[pathFMA] > 0, "lacks the rate of "+pathFMA)
	c := d.Core
	need(c.ClockHz > 0 && c.FMAs > 0 && c.Loads > 0 && c.Stores > 0, "the clock and what a core does in one must be positive")
	return errors.Join(errs...)
}

// maxBytesBefore is the most that all levels nearer than level i may hold together.
// Caches may be exclusive of each other, so capacities add up.
func (d *Device) maxBytesBefore(i int) int64 {
	var sum int64
	for _, l := range d.Levels[:i] {
		sum += l.MaxBytes
	}
	return sum
}
