package sim

import (
	"fmt"
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Bound is the fastest time that a device's ceilings allow a problem.
type Bound struct {
	RoofNs  float64          `json:"roof_ns"`
	BoundBy string           `json:"bound_by"` // "compute" or a level
	Flops   int64            `json:"flops"`    // useful
	Bytes   map[string]int64 `json:"bytes"`    // the least each level must move
}

// Roof gives the fastest time that a CPU's ceilings allow a problem, whatever the program: the
// largest of
//
//   - the useful flops at the highest FLOP/s ever seen of the ISA, times what integer dot products add for int8 tables;
//   - at each level, the bytes that no program can keep in nearer levels, at the highest bandwidth ever seen there.
//
// It is sound for calls repeated on the same data. Useful flops are those of the sequential recurrence, which the chunk forms
// only add to. At level i a byte must move if the nearer levels, all holding the most they can and none holding what another
// does, have no room for it between calls. State counts twice (read and written), but in place, so it takes room once: a problem
// has a past and a present state. A hash layer needs the distinct table rows of N random tokens: the expected number less six standard
// deviations, and at least one row of each table. From the first level it must also load the row of every token and table into registers, except where tokens of
// the same code share one: at most 32 tokens, one for each of the most vector registers a core has, so at least the share of
// distinct codes among 32 random ones. Elements are as wide as the dtype, state 4 bytes, and a hash layer's input and output too.
func Roof(d *Device, p tile.Problem) (Bound, error) {
	if d.Kind != KindCPU {
		return Bound{}, fmt.Errorf("sim: roofs are for CPUs, and %q is a %s", d.Name, d.Kind)
	}
	n, err := problemBytes(p)
	if err != nil {
		return Bound{}, err
	}
	b := Bound{Flops: UsefulFlops(p), Bytes: map[string]int64{}}
	path := pathFMA
	if p.Precision == tile.BFloat16 && d.Peaks[pathDot] > 0 {
		path = pathDot
	}
	times := map[string]float64{PartCompute: float64(b.Flops) / (d.Peaks[path] * integerGain(p)) * 1e9}
	for i, l := range d.Levels {
		bytes := n.beyond(d, i, false)
		if s := p.Shape; i == 0 && p.Op == tile.HashLayer {
			const registers = 32
			rows := math.Ldexp(1, s.Tau)
			distinct := -rows * math.Expm1(registers*math.Log1p(-1/rows)) / registers
			tables := math.Ceil(float64(s.D) / float64(s.Tau))
			bytes = max(bytes, float64(s.N)*tables*float64(s.H)*elementBytes(p.DType)*min(1, distinct))
		}
		b.Bytes[l.Name] = int64(bytes)
		times[l.Name] = bytes / l.PeakBps * 1e9
	}
	b.BoundBy = largest(times)
	b.RoofNs = times[b.BoundBy]
	return b, nil
}

// integerGain is how many more products of int8 tables than float32 multiply-adds an instruction of integer dot products has: four a lane with
// weights of 8 bits, two with the two halves of 16.
func integerGain(p tile.Problem) float64 {
	switch {
	case p.DType != tile.Int8:
		return 1
	case p.Precision == tile.Int8:
		return 4
	}
	return 2
}

// UsefulFlops counts what rates are judged on: the flops of the sequential recurrence, which do not
// grow with the chunk. Per token, linear attention 2 dk dv for each output head and 2 for
// each state head, the delta rules 2 and 4; a hash layer 2 h for each of its ceil(d/tau) tables, 4 h backward; linear attention's backward
// pass 4 for each output head (dq, and the update of the state's gradient) and 6 for each state head (the state's update, dk and dv), that of the delta rules
// 4 and 12. 0 for an op or direction that it does not know.
func UsefulFlops(p tile.Problem) int64 {
	s := p.Shape
	if !knownDirection(p) {
		return 0
	}
	tokens, square := int64(s.B)*int64(s.T), int64(s.Dk)*int64(s.Dv)
	switch p.Op {
	case tile.LinearAttention:
		if p.Dir == tile.Backward {
			return tokens * square * (4*int64(max(s.Hq, s.Hkv)) + 6*int64(s.Hkv))
		}
		return tokens * square * (2*int64(max(s.Hq, s.Hkv)) + 2*int64(s.Hkv))
	case tile.DeltaRule:
		if p.Dir == tile.Backward {
			return tokens * square * (4*int64(max(s.Hq, s.Hkv)) + 12*int64(s.Hkv))
		}
		return tokens * square * (2*int64(max(s.Hq, s.Hkv)) + 4*int64(s.Hkv))
	case tile.CausalConv:
		return 2 * int64(s.B) * int64(s.C) * int64(s.L) * int64(s.K)
	case tile.HashLayer:
		if s.Tau > 0 {
			flops := 2 * int64(s.N) * int64((s.D+s.Tau-1)/s.Tau) * int64(s.H)
			if p.Dir == tile.Backward {
				flops *= 2
			}
			return flops
		}
	}
	return 0
}

// knownDirection says whether the flops and bytes of a problem's direction are known; "" is forward.
func knownDirection(p tile.Problem) bool {
	switch p.Dir {
	case tile.Forward, "":
		return true
	case tile.Backward:
		return p.Op == tile.LinearAttention || p.Op == tile.DeltaRule || p.Op == tile.HashLayer
	}
	return false
}

// CompulsoryBytes counts what a problem must read and write once each: inputs with the past state, outputs with the present
// state; backward also the outputs' gradients, and those of the inputs in place of the outputs. Of a hash layer's tables it counts the rows that N random tokens touch (see Roof). 0 for an
// op or direction that it does not know.
func CompulsoryBytes(p tile.Problem) (read, written int64) {
	n, err := problemBytes(p)
	if err != nil {
		return 0, 0
	}
	return round(n.read + n.shared + n.updated), round(n.written + n.updated)
}

// problemBytes counts the data of a problem. Beta is taken with a value for each state head.
func problemBytes(p tile.Problem) (n neededBytes, err error) {
	s := p.Shape
	if !knownDirection(p) {
		return n, fmt.Errorf("sim: no roof for direction %q", p.Dir)
	}
	size := elementBytes(p.DType)
	if size == 0 {
		return n, fmt.Errorf("sim: no roof for dtype %q", p.DType)
	}
	b, t, hq, hkv, dk, dv := float64(s.B), float64(s.T), float64(s.Hq), float64(s.Hkv), float64(s.Dk), float64(s.Dv)
	switch p.Op {
	case tile.LinearAttention, tile.DeltaRule:
		gates := 0.0
		switch p.Decay {
		case tile.DecayHead:
			gates++
		case tile.DecayKey:
			gates += dk
		}
		switch {
		case p.Gates != "": // of channels, and always float32
			n.read = b * t * hkv * (dk + dv) * 4
		case p.Op == tile.DeltaRule:
			gates++
		}
		n.read += b * t * (hq*dk + hkv*(dk+dv) + gates*hkv) * size
		n.written = b * t * max(hq, hkv) * dv * size
		n.updated = b * hkv * dk * dv * 4
		if p.Dir == tile.Backward { // read too: the output's gradient and the past state; written: a gradient for each input
			n.read, n.written = n.read+n.written+n.updated, n.read
		}
	case tile.CausalConv:
		rows, c, l, k := float64(s.B)*float64(s.C), float64(s.C), float64(s.L), float64(s.K)
		n.read, n.written, n.updated = (rows*l+c*(k+1))*size, rows*l*size, rows*(k-1)*size
	case tile.HashLayer:
		if s.Tau < 1 || s.D < 1 {
			return n, fmt.Errorf("sim: a hash layer needs d and tau, has %s", s)
		}
		tables, rows := math.Ceil(float64(s.D)/float64(s.Tau)), math.Ldexp(1, s.Tau)
		touched := -math.Expm1(float64(s.N) * math.Log1p(-1/rows)) // chance that a row is touched
		mean, deviation := tables*rows*touched, math.Sqrt(tables*rows*touched*(1-touched))
		distinct := min(mean, max(mean-6*deviation, min(float64(s.N), 1)*tables))
		const size4 = 4 // of all but tables
		n.read = float64(s.N) * float64(s.D) * size4
		n.written = float64(s.N) * float64(s.H) * size4
		n.shared = distinct * float64(s.H) * size
		if p.Dir == tile.Backward { // read too: the output's gradient; written: those of the input, all tables and the bias
			n.read, n.written = n.read+n.written, float64(s.N)*float64(s.D)*size4+(tables*rows+1)*float64(s.H)*size4
		}
	default:
		return n, fmt.Errorf("sim: no roof for op %q", p.Op)
	}
	return n, nil
}

// elementBytes is the width of a dtype by its long or short name, 0 if unknown.
func elementBytes(dtype string) float64 {
	switch canonicalDType(dtype) {
	case "float32":
		return 4
	case "bfloat16", "float16":
		return 2
	case "int8":
		return 1
	}
	return 0
}

// canonicalDType gives a dtype's long name; "" is float32.
func canonicalDType(dtype string) string {
	switch dtype {
	case "", "fp32", "f32":
		return "float32"
	case "bf16":
		return "bfloat16"
	case "fp16", "f16":
		return "float16"
	}
	return dtype
}
