package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Result is an Estimate for people and programs to read.
type Result struct {
	Device          string             `json:"device"`
	Program         string             `json:"program"`
	Config          map[string]int     `json:"config"`
	Bytes           map[string]int64   `json:"bytes"`             // traffic of each level, both directions
	BytesLowerBound map[string]int64   `json:"bytes_lower_bound"` // what any tiling must move there
	SRAMPerBlock    int64              `json:"sram_per_block"`    // the most of all launches
	Occupancy       float64            `json:"occupancy"`         // resident warps over the most a unit takes, of the longest launch
	TimeNs          float64            `json:"time_ns"`
	BoundBy         string             `json:"bound_by"` // the largest of Parts
	Parts           map[string]float64 `json:"parts"`    // ns that each resource alone would take
	LowerBoundNs    float64            `json:"lower_bound_ns"`
	Flops           int64              `json:"flops"` // executed
	Launches        []LaunchResult     `json:"launches"`
	Fit             string             `json:"fit"` // what the constants were fitted on, and the error on GPUs and families left out
}

// LaunchResult is one launch of a Result.
type LaunchResult struct {
	Name      string             `json:"name"`
	Blocks    int64              `json:"blocks"`
	Repeat    int64              `json:"repeat"`
	Resident  int64              `json:"resident"` // blocks on a unit
	Occupancy float64            `json:"occupancy"`
	Waves     float64            `json:"waves"`
	StartNs   float64            `json:"start_ns"`
	TimeNs    float64            `json:"time_ns"`
	BoundBy   string             `json:"bound_by"`
	Parts     map[string]float64 `json:"parts"`
}

// ErrDoesNotFit is wrapped by the error for a launch that asks for more SRAM, registers or warps than the device gives a block.
var ErrDoesNotFit = errors.New("does not fit")

// Is makes an unfit launch match ErrDoesNotFit.
func (e *unfit) Is(target error) bool { return target == ErrDoesNotFit }

// Request is what to simulate.
type Request struct {
	Device    *Device
	Template  *Template
	DType     DType
	Direction string
	Values    Values // the shape's dimensions and tunables
	Constants *Constants
}

// Simulate predicts a program's traffic and time. Tunables that are not given take the program's defaults, made smaller until they fit.
func Simulate(r Request) (*Result, error) {
	args, err := r.Template.Arguments(r.Values)
	if err != nil {
		return nil, err
	}
	p := new(Program)
	if err := r.Template.BindFitting(p, r.Device, r.DType, r.Direction, args); err != nil {
		return nil, err
	}
	var e Estimate
	if err := NewMachine(r.Device, r.Constants).Time(p, Host{}, &e); err != nil {
		return nil, err
	}
	return r.result(p, &e), nil
}

func (r *Request) result(p *Program, e *Estimate) *Result {
	res := &Result{
		Device: r.Device.Name, Program: p.Name, Config: p.config(), SRAMPerBlock: round(e.SRAMPerBlock), Occupancy: e.Occupancy,
		TimeNs: e.TimeNs, BoundBy: e.BoundBy.String(), Parts: parts(&e.Parts), LowerBoundNs: e.LowerBoundNs, Flops: round(e.Flops),
		Bytes: map[string]int64{}, BytesLowerBound: map[string]int64{}, Fit: r.Constants.Fit,
	}
	for level, bytes := range [levelCount]float64{e.SRAM, e.L2, e.Memory} {
		res.Bytes[levelNames[level]] = round(bytes)
		res.BytesLowerBound[levelNames[level]] = round(min(bytes, max(e.Compulsory, p.bounds[level])))
	}
	for i := range e.Launches {
		le, l := &e.Launches[i], &p.Launches[i]
		most := Part(0)
		for part, ns := range le.Parts {
			if ns > le.Parts[most] {
				most = Part(part)
			}
		}
		res.Launches = append(res.Launches, LaunchResult{
			l.Name, round(l.Blocks), round(l.Repeat), round(le.Resident), le.Occupancy, le.Waves, le.StartNs, le.Ns, most.String(), parts(&le.Parts),
		})
	}
	return res
}

func parts(p *[partCount]float64) map[string]float64 {
	m := map[string]float64{}
	for part, ns := range p {
		if ns > 0 {
			m[Part(part).String()] = ns
		}
	}
	return m
}

func round(x float64) int64 { return int64(math.Round(x)) }

// config gives the tunables' values.
func (p *Program) config() map[string]int {
	c := map[string]int{}
	for i := range p.template.configs {
		c[p.template.configs[i].name] = int(math.Round(p.values[p.template.configs[i].slot]))
	}
	return c
}

// ConfigString gives "bm=128,bn=64": sorted by name.
func (r *Result) ConfigString() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(r.Config)) {
		out = append(out, fmt.Sprintf("%s=%d", k, r.Config[k]))
	}
	return strings.Join(out, ",")
}

// Sweep simulates every combination of the tunables' listed values that are not given, and returns the results that fit, fastest first, and how
// many there were. A combination that the device or the shape refuses is left out; when all are, the error says why.
func Sweep(r Request) (results []*Result, tried int, err error) {
	args, err := r.Template.Arguments(r.Values)
	if err != nil {
		return nil, 0, err
	}
	var names []int
	var values [][]float64
	p := new(Program)
	probe := make([]float64, len(r.Template.slots))
	for i := range r.Template.configs {
		c := &r.Template.configs[i]
		if len(c.sweep) == 0 || !math.IsNaN(args[c.slot]) {
			continue
		}
		probe[0] = r.DType.Bytes() // sweeps may depend on the element's size
		var list []float64
		for _, x := range c.sweep {
			list = append(list, x.eval(probe))
		}
		names, values = append(names, c.slot), append(values, list)
	}
	total := 1
	for _, v := range values {
		if total *= len(v); total > maxSweep {
			return nil, 0, fmt.Errorf("program %s: more than %d configs: give some with --config", r.Template.Name, maxSweep)
		}
	}
	type candidate struct {
		n  int
		ns float64
	}
	m := NewMachine(r.Device, r.Constants)
	var e Estimate
	var fit []candidate
	var refused error
	set := func(n int) {
		for i, v := range values {
			args[names[i]] = v[n%len(v)]
			n /= len(v)
		}
	}
	for n := range total {
		set(n)
		if err := r.Template.Bind(p, r.Device, r.DType, r.Direction, args); err != nil {
			refused = err
			continue
		}
		if err := m.Time(p, Host{}, &e); err != nil {
			refused = err
			continue
		}
		fit = append(fit, candidate{n, e.TimeNs})
	}
	if len(fit) == 0 {
		return nil, total, refused
	}
	slices.SortStableFunc(fit, func(a, b candidate) int { return cmp.Compare(a.ns, b.ns) })
	for _, c := range fit {
		set(c.n)
		if err := r.Template.Bind(p, r.Device, r.DType, r.Direction, args); err != nil {
			return nil, total, err
		}
		if err := m.Time(p, Host{}, &e); err != nil {
			return nil, total, err
		}
		results = append(results, r.result(p, &e))
	}
	return results, total, nil
}
