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
	got := plateaus(curveOf(64*mib, steps))
	want := []machine.Plateau{
		{Level: "L1", Bytes: 32 << 10, NsPerLoad: 1.2}, {Level: "L2", Bytes: 1 << 20, NsPerLoad: 4},
		{Level: "L3", Bytes: 16 << 20, NsPerLoad: 15}, {Level: "DRAM", Bytes: 64 << 20, NsPerLoad: 110},
	}
	near := cmp.Comparer(func(a, b float64) bool { return a/b < 1.001 && b/a < 1.001 })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Error(diff)
	}
}

// A curve that was measured in a guest: transitions are soft and the L3 is shared with neighbours.
func TestPlateausSoft(t *testing.T) {
	ns := []float64{1.47, 1.47, 1.46, 1.47, 1.47, 1.47, 2.24, 4.20, 4.21, 4.19, 4.20, 4.20, 4.30, 4.91, 6.55, 7.08, 9.25,
		12.5, 14.2, 15.3, 16.0, 17.5, 17.9, 31.4, 109.8, 137.8, 139.8, 146.2, 147.8}
	i := -1
	got := plateaus(curveOf(64*mib, func(int) float64 { i++; return ns[i] }))
	want := map[string]int{"L1": 32 << 10, "L2": 768 << 10, "L3": 12 << 20, "DRAM": 64 << 20}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for _, p := range got {
		if p.Bytes != want[p.Level] {
			t.Errorf("%s: %d bytes, want %d", p.Level, p.Bytes, want[p.Level])
		}
	}
}

func TestPlateausDegenerate(t *testing.T) {
	if got := plateaus(nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
	flat := plateaus(curveOf(8*mib, func(int) float64 { return 5 }))
	if len(flat) != 1 || flat[0].Level != levelDRAM {
		t.Errorf("of a flat line: %+v", flat)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 { // noise, however wild, gives levels in order
		got := plateaus(curveOf(64*mib, func(int) float64 { return 1 + 200*rng.Float64() }))
		if len(got) < 1 || len(got) > len(levels) || got[len(got)-1].Level != levelDRAM {
			t.Fatalf("of noise: %+v", got)
		}
	}
}

func TestBufferBytes(t *testing.T) {
	usual := &machine.Machine{Threads: 2, Caches: []machine.Cache{
		{Level: 1, Bytes: 32 << 10}, {Level: 2, Bytes: 1 << 20}, {Level: 3, Bytes: 32 << 20, SharedBy: 2}}}
	small := &machine.Machine{Threads: 16, Caches: []machine.Cache{ // little L3 a core beside a large L2
		{Level: 1, Bytes: 48 << 10}, {Level: 2, Bytes: 2 << 20}, {Level: 3, Bytes: 24 << 20, SharedBy: 16}}}
	hidden := &machine.Machine{}
	seen := &machine.Measured{Plateaus: []machine.Plateau{
		{Level: "L1", Bytes: 32 << 10}, {Level: "L2", Bytes: 512 << 10}, {Level: "L3", Bytes: 8 << 20}, {Level: "DRAM", Bytes: 64 << 20}}}
	// The guest's part of L3 ends at 3 MiB.
	crowded := &machine.Measured{Latency: []machine.LatencyPoint{{Bytes: 2 << 20, NsPerLoad: 15}, {Bytes: 3 << 20, NsPerLoad: 70}, {Bytes: 64 << 20, NsPerLoad: 100}}}
	none := &machine.Measured{}
	tests := []struct {
		name     string
		m        *machine.Machine
		measured *machine.Measured
		level    string
		threads  int
		want     int
	}{
		{"half of L1", usual, none, levelL1, 2, 16 << 10},
		{"half of L2", usual, none, levelL2, 1, 512 << 10},
		{"four L2", usual, none, levelL3, 2, 4 << 20},
		{"two L2 where a neighbour holds L3", usual, crowded, levelL3, 2, 2 << 20},
		{"half of a thread's share of L3 beyond L2", small, none, levelL3, 16, 2<<20 + 24<<20/32},
		{"no L3 at all", hidden, none, levelL3, 1, 0},
		{"no L2 at all", hidden, none, levelL2, 1, 0},
		{"L1 is always there", hidden, none, levelL1, 1, 16 << 10},
		{"measured L2 where the guest hides it", hidden, seen, levelL2, 1, 256 << 10},
		{"measured L3 where the guest hides it", hidden, seen, levelL3, 1, 2 << 20},
	}
	for _, tt := range tests {
		if got := bufferBytes(tt.m, tt.measured, tt.level, tt.threads); got != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, got, tt.want)
		}
	}
	if got := bufferBytes(usual, none, levelDRAM, 2); got <= 0 || got > usualDRAM {
		t.Errorf("DRAM: %d bytes a thread", got)
	}
}

func TestCycleVisitsEveryLineOnce(t *testing.T) {
	for _, lines := range []int{1, 2, 64, 1000} {
		next := make([]uint64, lines*lineWords)
		cycle(next, rand.New(rand.NewPCG(1, 2)))
		at, steps := uint64(0), 0
		for {
			at = next[at]
			steps++
			if at == 0 || steps > lines {
				break
			}
		}
		if steps != lines {
			t.Errorf("%d lines: back after %d loads", lines, steps)
		}
		if got := chase(next, 0, lines); got != 0 {
			t.Errorf("%d lines: chase ends at %d, want 0", lines, got)
		}
	}
}
