// Package machine says what the CPU is: features, caches, cores and the
// fingerprint that profiles are keyed by. It also holds the data types of what
// is measured on a machine (ceilings, cache plateaus), because the simulator,
// profiles and reports all speak of them; package roofline fills them.
package machine

import "github.com/rooftune/rooftune/kernels/tile"

// Machine is what a CPU reports of itself.
type Machine struct {
	Vendor      string     `json:"vendor"`
	Brand       string     `json:"brand"` // for reports, never part of the fingerprint
	Arch        string     `json:"arch"`  // GOARCH
	OS          string     `json:"os"`    // GOOS
	Family      int        `json:"family"`
	Model       int        `json:"model"`
	Stepping    int        `json:"stepping"`
	Features    []string   `json:"features"` // those of the fixed, versioned list that are present, sorted
	ISAs        []tile.ISA `json:"isas"`     // that this CPU can execute, slowest first, generic included
	Caches      []Cache    `json:"caches"`   // as reported for the lowest-numbered core
	Cores       int        `json:"cores"`    // by topology, 0 if unknown
	Threads     int        `json:"threads"`  // logical CPUs by topology
	Usable      int        `json:"usable"`   // what affinity and cgroup quota leave now; not in the fingerprint
	Hypervisor  string     `json:"hypervisor,omitempty"`
	Fingerprint string     `json:"fingerprint"`
}

// Cache is one data or unified cache.
type Cache struct {
	Level     int `json:"level"`
	Bytes     int `json:"bytes"`
	LineBytes int `json:"line_bytes"`
	Ways      int `json:"ways,omitempty"`      // 0 if unknown
	SharedBy  int `json:"shared_by,omitempty"` // logical CPUs, 0 if unknown
}

// Kinds of ceiling.
const (
	KindFlops   = "flops"      // FLOP/s: fused multiply-adds, two flops each
	KindDotBF16 = "flops_bf16" // FLOP/s: products of bfloat16 pairs summed in float32, four flops each
	KindRead    = "read"       // B/s loaded
	KindCopy    = "copy"       // B/s loaded plus stored
	KindUpdate  = "update"     // the same of what is loaded and stored in place, where no line is read only to be overwritten
	KindGather  = "gather"     // B/s of table rows at random places
)

// Ceiling is a peak that this machine was measured to reach.
type Ceiling struct {
	Kind     string   `json:"kind"`
	ISA      tile.ISA `json:"isa"`
	Level    string   `json:"level,omitempty"` // "L1", "L2", "L3", "DRAM"; empty for flops
	DType    string   `json:"dtype,omitempty"` // "float32" for flops
	RowBytes int      `json:"row_bytes,omitempty"`
	Threads  int      `json:"threads"`
	Median   float64  `json:"median"`
	Min      float64  `json:"min"`
	Max      float64  `json:"max"`
	Samples  int      `json:"samples"`
	Unit     string   `json:"unit"` // "FLOP/s" or "B/s"
}

// LatencyPoint is one point of the latency curve: dependent loads over a buffer.
type LatencyPoint struct {
	Bytes     int     `json:"bytes"`
	NsPerLoad float64 `json:"ns_per_load"`
}

// Plateau is a cache as measured: how much the latency curve says a core really has of it.
type Plateau struct {
	Level     string  `json:"level"`
	Bytes     int     `json:"bytes"`
	NsPerLoad float64 `json:"ns_per_load"`
}

// PrimitiveFMA is a loop of multiply-adds in registers: Elements flops, beside which the primitives were timed.
const PrimitiveFMA = "fma"

// Primitive is one call of a primitive and the time it took.
type Primitive struct {
	ISA      tile.ISA `json:"isa"`
	Op       string   `json:"op"`           // "nn", "nt", "tn", "solve", "recur", "delta", "couple", "pack", "decay" or "exp"
	MR       int      `json:"mr,omitempty"` // register tile, or tokens of a block
	NR       int      `json:"nr,omitempty"`
	M        int      `json:"m,omitempty"`
	N        int      `json:"n,omitempty"`
	K        int      `json:"k,omitempty"`
	Group    int      `json:"group,omitempty"`  // heads of a block
	Decays   int      `json:"decays,omitempty"` // blocks before which the state decays
	Elements int64    `json:"elements,omitempty"`
	Ns       float64  `json:"ns"`
}

// Measured is what was measured on a machine.
type Measured struct {
	Ceilings []Ceiling      `json:"ceilings"`
	Latency  []LatencyPoint `json:"latency,omitempty"`
	Plateaus []Plateau      `json:"plateaus,omitempty"`
	// Primitives are times of single primitives on data in the first levels, one thread.
	Primitives []Primitive `json:"primitives,omitempty"`
	StealPct   float64     `json:"steal_pct"` // CPU time that the hypervisor took while measuring, -1 if unknown
}

// Find returns the ceiling of this kind, ISA, level and thread count (and
// row size, for gathers).
func (m *Measured) Find(kind string, isa tile.ISA, level string, threads, rowBytes int) (Ceiling, bool) {
	for _, c := range m.Ceilings {
		if c.Kind == kind && c.ISA == isa && c.Level == level && c.Threads == threads && c.RowBytes == rowBytes {
			return c, true
		}
	}
	return Ceiling{}, false
}
