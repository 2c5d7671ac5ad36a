package roofline

import (
	"math"
	"testing"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/sim"
)

func TestPoints(t *testing.T) {
	p := exampleProfile()
	points := Points(p)
	if len(points) != len(p.Entries) {
		t.Fatalf("%d points of %d entries", len(points), len(p.Entries))
	}
	for _, pt := range points {
		if !(pt.RoofNs > 0) || math.Abs(pt.Fraction-pt.RoofNs/pt.MedianNs) > 1e-12 {
			t.Errorf("%s: roof %v ns, time %v ns, fraction %v", pt.Problem, pt.RoofNs, pt.MedianNs, pt.Fraction)
		}
		flops := float64(sim.UsefulFlops(pt.Problem))
		if got := pt.FlopsPerS * pt.MedianNs / 1e9; math.Abs(got-flops) > 1e-6*flops {
			t.Errorf("%s: rate says %v flops, want %v", pt.Problem, got, flops)
		}
		if pt.BoundBy != Compute && pt.Level != pt.BoundBy {
			t.Errorf("%s is bound by %s, but drawn at %s", pt.Problem, pt.BoundBy, pt.Level)
		}
		if pt.Level != "" && math.Abs(pt.Intensity*pt.BytesPerS-pt.FlopsPerS) > 1e-6*pt.FlopsPerS {
			t.Errorf("%s: intensity %v, %v B/s, %v FLOP/s", pt.Problem, pt.Intensity, pt.BytesPerS, pt.FlopsPerS)
		}
	}
}

func TestPointsKeepRecordedRoof(t *testing.T) {
	p := exampleProfile()
	p.Entries = p.Entries[:1]
	p.Entries[0].RoofNs, p.Entries[0].BoundBy = 1234, "L3"
	if pt := Points(p)[0]; pt.RoofNs != 1234 || pt.BoundBy != "L3" {
		t.Errorf("got %v ns by %s", pt.RoofNs, pt.BoundBy)
	}
}

func TestPointsLeaveOutWhatHasNoRoof(t *testing.T) {
	p := exampleProfile()
	unknown := p.Entries[0]
	unknown.Problem.Op = "unknown-op"
	untimed := p.Entries[0]
	untimed.MedianNs = 0
	p.Entries = []profile.Entry{unknown, untimed}
	if points := Points(p); len(points) != 0 {
		t.Errorf("got %+v", points)
	}
}
