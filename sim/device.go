// Package sim predicts what a tiling does on a memory hierarchy: exact
// traffic per level, a time in closed form, the bound that decides it and a
// sound lower bound on time. It measures nothing.
package sim

import (
	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Kinds of device.
const (
	KindCPU = "cpu"
	KindGPU = "gpu"
)

// Level is one level of a device's memory hierarchy. Bandwidths are of the whole
// device at the thread count it was built for.
type Level struct {
	Name      string  `json:"name"`       // "L1", "L2", "L3", "DRAM"; "SRAM", "L2", "HBM"
	Bytes     int64   `json:"bytes"`      // capacity that one unit can count on; 0 for the last level
	LineBytes int     `json:"line_bytes"` // transfer granularity
	ReadBps   float64 `json:"read_bps"`
	CopyBps   float64 `json:"copy_bps"` // loaded plus stored bytes a second
	PeakBps   float64 `json:"peak_bps"` // the most ever seen here: what lower bounds use
	LatencyNs float64 `json:"latency_ns"`
	PerUnit   bool    `json:"per_unit"` // private to a core or SM
}

// Device is a list of memory levels, nearest first, over compute units with a
// rate per path.
type Device struct {
	Name   string             `json:"name"`
	Kind   string             `json:"kind"`
	Units  int                `json:"units"` // cores in use or SMs
	Levels []Level            `json:"levels"`
	Rates  map[string]float64 `json:"rates"` // FLOP/s of the whole device by path: "fma.float32", "mma.bfloat16"
	Peaks  map[string]float64 `json:"peaks"` // the most ever seen, for lower bounds

	// GPUs only.
	SRAMPerBlock int64   `json:"sram_per_block,omitempty"` // bytes one block may allocate
	SRAMPerUnit  int64   `json:"sram_per_unit,omitempty"`
	WarpsPerUnit int     `json:"warps_per_unit,omitempty"`
	RegsPerUnit  int64   `json:"regs_per_unit,omitempty"` // bytes of registers
	ClockHz      float64 `json:"clock_hz,omitempty"`
	LaunchNs     float64 `json:"launch_ns,omitempty"`
}

// CPU builds the device of a CPU from its reported caches and measured
// ceilings, for one ISA and thread count. Where measured is nil or lacks a figure, documented
// typical rates for the reported caches stand in, so that a fresh machine can be ranked before it is measured.
func CPU(m *machine.Machine, measured *machine.Measured, isa tile.ISA, threads int) (*Device, error) {
	panic("pending")
}
