package roofline

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rooftune/rooftune/internal/machine"
)

// curveOf is a latency curve over the usual sizes.
func curveOf(last int, ns func(bytes int) float64) []machine.LatencyPoint {
	var curve []machine.LatencyPoint
	for _, b := range latencySizes(last) {
		curve = append(curve, machine.LatencyPoint{Bytes: b, NsPerLoad: ns(b)})
	}
	return curve
}

func TestPlateaus(t *testing.T) {
	steps := func(b int) float64 {
		switch {
		case b <= 32<<10:
			return 1.2
		case b <= 1<<20:
			return 4
		case b <= 16<<20:
			return 15
		}
		return 110
	}
	got := plateaus(curveOf(64*mib, steps), nil)
	want := []machine.Plateau{
		{Level: "L1", Bytes: 32 << 10, NsPerLoad: 1.2}, {Level: "L2", Bytes: 1 << 20, NsPerLoad: 4},
		{Level: "L3", Bytes: 16 << 20, NsPerLoad: 15}, {Level: "DRAM", Bytes: 64 << 20, NsPerLoad: 110},
	}
	near := cmp.Comparer(func(a, b float64) bool { return a/b < 1.001 && b/a < 1.001 })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Error(diff)
	}
}

// guest is what the machine of the next curve reports.
var guest = []machine.Cache{{Level: 1, Bytes: 32 << 10}, {Level: 2, Bytes: 1 << 20}, {Level: 3, Bytes: 32 << 20}}

// Curves that were measured in guests: transitions are soft, the L3 is shared with neighbours, and one size of the second was lucky.
func TestPlateausSoft(t *testing.T) {
	for _, c := range []struct {
		l1 int
		ns []float64
	}{
		{32 << 10, []float64{1.47, 1.47, 1.46, 1.47, 1.47, 1.47, 2.24, 4.20, 4.21, 4.19, 4.20, 4.20, 4.30, 4.91, 6.55, 7.08, 9.25,
			12.5, 14.2, 15.3, 16.0, 17.5, 17.9, 31.4, 109.8, 137.8, 139.8, 146.2, 147.8}},
		{48 << 10, []float64{1.25, 1.25, 1.24, 1.25, 1.25, 1.24, 1.24, 1.66, 3.54, 3.57, 3.58, 3.57, 3.57, 3.72, 4.07, 4.68, 6.67,
			9.24, 10.02, 11.22, 11.8, 12.26, 12.6, 23.88, 82.49, 93.25, 38.49, 139.24, 146.23}},
	} {
		i := -1
		got := plateaus(curveOf(64*mib, func(int) float64 { i++; return c.ns[i] }), guest)
		want := map[string]int{"L1": c.l1, "L2": 768 << 10, "L3": 12 << 20, "DRAM": 64 << 20}
		if len(got) != len(want) {
			t.Fatalf("got %+v", got)
		}
		for _, p := range got {
			if p.Bytes != want[p.Level] {
				t.Errorf("%s: %d bytes, want %d", p.Level, p.Bytes, want[p.Level])
			}
		}
	}
}

func TestPlateausDegenerate(t *testing.T) {
	if got := plateaus(nil, nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
	flat := plateaus(curveOf(8*mib, func(int) float64 { return 5 }), guest)
	if len(flat) != 1 || flat[0].Level != levelDRAM {
		t.Errorf("of a flat line: %+v", flat)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 { // noise, however wild, gives levels in order
		got := plateaus(curveOf(64*mib, func(int) float64 { return 1 + 200*rng.Float64() }), guest)
		if len(got) < 1 || len(got) > len(levels) || got[len(got)-1].Level != levelDRAM {
			t.Fatalf("of noise: %+v", got)
		}
	}
}

// One disturbed point does not make a level, and a level that cannot be seen does not shift the others' names.
func TestPlateausDisturbed(t *testing.T) {
	steps := func(b int) float64 {
		switch {
		case b == 8<<10:
			return 9 // something ran in between
		case b <= 1<<20:
			return 4
		case b <= 8<<20:
			return 15
		}
		return 110
	}
	got := plateaus(curveOf(64*mib, steps), guest)
	if len(got) != 3 || got[0].Level != levelL2 || got[0].Bytes != 1<<20 || got[1].Level != levelL3 || got[1].Bytes != 8<<20 {
		t.Errorf("got %+v", got)
	}
}
