package roofline

import (
	"math"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// Compute is what bounds a point that no memory level bounds.
const Compute = "compute"

// Point is one tuned answer under the roof.
type Point struct {
	Problem   tile.Problem   `json:"problem"`
	Candidate tile.Candidate `json:"candidate"`
	MedianNs  float64        `json:"median_ns"`
	DenseNs   float64        `json:"dense_ns,omitempty"` // hash layers: a dense layer of these widths; absent if unknown
	RoofNs    float64        `json:"roof_ns"`            // the fastest time that the ceilings allow
	Fraction  float64        `json:"fraction"`           // RoofNs over MedianNs: 1 is on the roof
	BoundBy   string         `json:"bound_by"`           // "compute" or a memory level
	// Level is the memory level that intensity and bytes are of: the one that binds, or, under the compute roof, the
	// farthest that must move at least a sixteenth of what the first does. Empty if none must.
	Level     string  `json:"level,omitempty"`
	Intensity float64 `json:"intensity,omitempty"` // useful FLOP per byte of Level
	FlopsPerS float64 `json:"flops_per_s"`         // useful
	Flops     int64   `json:"flops"`               // useful
	// Bytes is what each memory level must move at least; 0 where all fits nearer levels.
	Bytes     map[string]int64 `json:"bytes"`
	BytesPerS float64          `json:"bytes_per_s"` // that Level must move at least, over the median time
}

// placed is a point with the evidence that it was made from.
type placed struct {
	Point
	entry  *profile.Entry
	device *sim.Device
}

// BytesBound reports whether the point's op is judged on bytes rather than flops.
func (p Point) BytesBound() bool { return p.Problem.Op == tile.HashLayer }

// Points places a profile's entries under its ceilings, in the order of op, problem and ISA. Entries that
// the simulator has no roof for are left out.
func Points(p *profile.Profile) []Point {
	var points []Point
	for _, pt := range placeAll(p) {
		points = append(points, pt.Point)
	}
	return points
}

func placeAll(p *profile.Profile) []placed {
	type key struct {
		isa     tile.ISA
		threads int
	}
	devices := map[key]*sim.Device{}
	var points []placed
	for i := range p.Entries {
		e := &p.Entries[i]
		k := key{e.ISA, e.Problem.Threads}
		d := devices[k]
		if d == nil {
			var err error
			if d, err = sim.CPU(&p.Machine, &p.Measured, k.isa, k.threads); err != nil {
				continue
			}
			devices[k] = d
		}
		b, err := sim.Roof(d, e.Problem)
		if err != nil || !(e.MedianNs > 0) {
			continue
		}
		points = append(points, placed{place(*e, d, b), e, d})
	}
	slices.SortStableFunc(points, func(a, b placed) int {
		switch {
		case opName(a.Problem) != opName(b.Problem):
			return compare(opName(a.Problem), opName(b.Problem))
		case a.Problem.Threads != b.Problem.Threads:
			return a.Problem.Threads - b.Problem.Threads
		case a.Problem != b.Problem:
			return compareShapes(a.Problem.Shape, b.Problem.Shape)
		}
		return slices.Index(p.Machine.ISAs, a.Candidate.ISA) - slices.Index(p.Machine.ISAs, b.Candidate.ISA)
	})
	return points
}

func place(e profile.Entry, d *sim.Device, b sim.Bound) Point {
	pt := Point{
		Problem: e.Problem, Candidate: tile.Candidate{ISA: e.ISA, Config: e.Config},
		MedianNs: e.MedianNs, DenseNs: e.DenseNs, RoofNs: b.RoofNs, BoundBy: b.BoundBy,
		FlopsPerS: float64(b.Flops) / e.MedianNs * 1e9, Flops: b.Flops, Bytes: b.Bytes,
	}
	if e.RoofNs > 0 { // the evidence of the time
		pt.RoofNs = e.RoofNs
		if e.BoundBy != "" {
			pt.BoundBy = e.BoundBy
		}
	}
	pt.Fraction = pt.RoofNs / e.MedianNs
	if b.Bytes[pt.BoundBy] > 0 {
		pt.Level = pt.BoundBy
	} else {
		// The farthest level that matters: what barely spills out of a cache is not a level's traffic.
		most := b.Bytes[d.Levels[0].Name]
		for _, l := range d.Levels {
			if b.Bytes[l.Name] > most/16 {
				pt.Level = l.Name
			}
		}
	}
	if bytes := float64(b.Bytes[pt.Level]); bytes > 0 {
		pt.Intensity = float64(b.Flops) / bytes
		pt.BytesPerS = bytes / e.MedianNs * 1e9
	}
	if math.IsInf(pt.FlopsPerS, 0) || math.IsNaN(pt.FlopsPerS) {
		pt.FlopsPerS = 0
	}
	return pt
}

// opName is what makes two points comparable: op, rule, where the decay comes from, weighting, direction and dtype.
func opName(p tile.Problem) string {
	name := p.Op
	if p.Rule != "" {
		name += "/" + p.Rule
	}
	if p.Decay != "" && p.Decay != tile.DecayNone {
		name += ", decay " + p.Decay
	}
	if p.Weighting != "" {
		name += ", weighting " + p.Weighting
	}
	return name + ", " + p.DType + " " + p.Dir
}

// Label names a problem in few letters, for lines of a terminal: "delta-rule/gated_delta T4096 H16/32 d128". What most problems have, float32,
// forward and a decay for each head, is not said.
func Label(p tile.Problem) string {
	name := strings.TrimSuffix(opName(p), " "+tile.Forward)
	name = strings.TrimSuffix(name, ", "+tile.Float32)
	name = strings.Replace(name, ", decay "+tile.DecayHead, "", 1)
	name = strings.Replace(name, ", weighting "+tile.WeightingPaper, "", 1)
	return name + " " + shapeText(p.Shape)
}

// shapeText is a shape in few letters: "T4096 H16/32 d128", "n32 d1024 h1024 t8".
func shapeText(s tile.Shape) string {
	if s.D != 0 {
		tokens := ""
		if s.N > 0 {
			tokens = "n" + number(float64(s.N)) + " "
		}
		return tokens + "d" + number(float64(s.D)) + " h" + number(float64(s.H)) + " t" + number(float64(s.Tau))
	}
	pair := func(a, b int) string {
		if a == b {
			return number(float64(a))
		}
		return number(float64(a)) + "/" + number(float64(b))
	}
	text := "T" + number(float64(s.T)) + " H" + pair(s.Hq, s.Hkv) + " d" + pair(s.Dk, s.Dv)
	if s.B != 1 {
		text = "B" + number(float64(s.B)) + " " + text
	}
	return text
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func compareShapes(a, b tile.Shape) int {
	return slices.Compare(
		[]int{a.B, a.Hq, a.Hkv, a.Dk, a.Dv, a.T, a.D, a.H, a.Tau, a.N},
		[]int{b.B, b.Hq, b.Hkv, b.Dk, b.Dv, b.T, b.D, b.H, b.Tau, b.N})
}
