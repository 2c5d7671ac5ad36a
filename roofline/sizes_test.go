package roofline

import (
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/asm/probe"
)

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
		next := make([]uint32, lines*lineWords)
		cycle(next, rand.New(rand.NewPCG(1, 2)))
		at, steps := uint32(0), 0
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
		if got := probe.Chase(next, 0, lines); got != 0 {
			t.Errorf("%d lines: chase ends at %d, want 0", lines, got)
		}
	}
}
