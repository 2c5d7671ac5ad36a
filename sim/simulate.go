package sim

import (
	"errors"
	"fmt"
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Result is what a simulation says of a program on a device.
type Result struct {
	Device          string             `json:"device"`
	Program         string             `json:"program"`
	Config          tile.Config        `json:"config"`
	Bytes           map[string]int64   `json:"bytes"`             // traffic of each level (see Level), both directions
	BytesLowerBound map[string]int64   `json:"bytes_lower_bound"` // what any tiling must move there
	Occupancy       float64            `json:"occupancy"`         // workers over cores
	TimeNs          float64            `json:"time_ns"`
	BoundBy         string             `json:"bound_by"`       // the largest of Parts
	Parts           map[string]float64 `json:"parts"`          // ns that each resource alone would take
	LowerBoundNs    float64            `json:"lower_bound_ns"` // see LowerBound
	Flops           int64              `json:"flops"`          // executed

	footprint float64            // see Estimate
	tables    [MaxLevels]float64 // likewise
}

// Names of parts that are no memory level.
const (
	PartCompute  = "compute"  // CPU: multiply-adds and element-wise work in the core
	PartCalls    = "calls"    // CPU: entering primitives
	PartDispatch = "dispatch" // CPU: handing work to workers
	PartLatency  = "latency"  // waiting for what is far and was not asked for ahead
)

// Simulate predicts a program's traffic and time on a device.
//
// The time is the core's (or the first level's, if that takes longer), with primitives as they were measured where they were, plus
// shares of the farther levels' times that are not hidden, the waiting of sweeps over a state for what was not asked for ahead, calls and
// dispatch; no less than any level takes alone.
//
// The error says what is wrong with the device or the program.
func Simulate(d *Device, p *Program) (*Result, error) {
	if err := checkProgram(d, p); err != nil {
		return nil, err
	}
	return simulateCPU(d, p)
}

func checkProgram(d *Device, p *Program) error {
	if d == nil || p == nil {
		return errors.New("sim: no device or no program")
	}
	if p.Kind != d.Kind {
		return fmt.Errorf("sim: program %q is for a %s, device %q is a %s", p.Name, p.Kind, d.Name, d.Kind)
	}
	if n := len(d.Levels); n < 2 || n > MaxLevels {
		return fmt.Errorf("sim: device %q has %d memory levels, not 2 to %d", d.Name, n, MaxLevels)
	}
	for i := range p.Launches {
		l := &p.Launches[i]
		if l.Blocks < 1 {
			return fmt.Errorf("sim: launch %q has %d blocks", l.Name, l.Blocks)
		}
		if err := checkLoops(p, l.Nest); err != nil {
			return fmt.Errorf("sim: launch %q: %w", l.Name, err)
		}
	}
	return nil
}

func checkLoops(p *Program, loops []Loop) error {
	for i := range loops {
		l := &loops[i]
		if !(l.Trips >= 0) || math.IsInf(l.Trips, 0) {
			return fmt.Errorf("a loop has %g trips", l.Trips)
		}
		for j := range l.Ops {
			for k := range l.Ops[j].Touches {
				t := &l.Ops[j].Touches[k]
				if t.Buffer < 0 || t.Buffer >= len(p.Buffers) || t.Offset < 0 || t.Rows < 0 || t.RowBytes <= 0 || t.Stride < 0 || t.Listed && t.Rows != len(l.Ops[j].Places) {
					return fmt.Errorf("%s touches nothing sensible: %+v", l.Ops[j].Name, *t)
				}
				if p.Kind == KindCPU && t.Rows > 0 && l.Ops[j].end(t) > p.Buffers[t.Buffer].Bytes {
					return fmt.Errorf("%s runs over the end of buffer %q", l.Ops[j].Name, p.Buffers[t.Buffer].Name)
				}
			}
		}
		if p.Kind == KindCPU && len(l.Inner) > 0 {
			return errors.New("a CPU program has one loop level: what is inside is recorded")
		}
		if err := checkLoops(p, l.Inner); err != nil {
			return err
		}
	}
	return nil
}

// largest names the part that takes most time, the first by name among equals.
func largest(parts map[string]float64) string {
	name := ""
	for n, ns := range parts {
		if name == "" || ns > parts[name] || ns == parts[name] && n < name {
			name = n
		}
	}
	return name
}

func round(x float64) int64 { return int64(math.Round(x)) }
