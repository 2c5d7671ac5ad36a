package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// The closed form's bytes against a replay of the drivers' addresses. With 256 ways a set is next to a whole cache, and what differs is the
// closed form's own doing: it is within 3 % of what L1 exchanges with L2, and within 10 % and half a megabyte of the levels behind: it takes
// what a call begins with for as old as the call, also the scratch and the states that the call before ended with. With the ways of a real core
// conflicts add as much again at L2 and more, where rows lie a power of two apart, or save a part, since not all of a set's lines are pushed
// out by a loop that is a little too long for the cache: that is what a replay is for, and nothing to hold the closed form to.
func TestReplayOfDrivers(t *testing.T) {
	m := &machine.Machine{Brand: "test", Cores: 2, Threads: 2, Caches: []machine.Cache{
		{Level: 1, Bytes: 48 << 10, LineBytes: 64, SharedBy: 1, Ways: 12}, {Level: 2, Bytes: 1280 << 10, LineBytes: 64, SharedBy: 1, Ways: 20},
		{Level: 3, Bytes: 8 << 20, LineBytes: 64, SharedBy: 2, Ways: 16},
	}}
	isas := tested()
	isa := isas[len(isas)-1]
	d, err := sim.CPU(m, nil, isa, 1)
	if err != nil {
		t.Fatal(err)
	}
	type replayed struct {
		problem tile.Problem
		config  tile.Config
	}
	var all []replayed
	for _, rule := range []int{2, gatedDelta} {
		p := attentionProblem(rule, 1, tile.Shape{B: 1, T: 512, Hq: 8, Hkv: 8, Dk: 64, Dv: 64})
		for _, form := range []int{formChunk, formRecurrence} {
			for _, chunk := range []int{16, 128} {
				cfg := Complete(p, isa, tile.Config{"form": form, "chunk": chunk})
				if CheckConfig(p, tile.Candidate{ISA: isa, Config: cfg}) == nil {
					all = append(all, replayed{p, cfg})
				}
			}
		}
	}
	if len(all) < 4 {
		t.Fatalf("%d candidates to replay", len(all))
	}
	if underRace {
		all = all[:2]
	}
	for _, x := range all {
		program, err := RecordAddresses(x.problem, tile.Candidate{ISA: isa, Config: x.config})
		if err != nil {
			t.Fatal(err)
		}
		for _, ways := range []int{256, 0} {
			levels, err := sim.Replay(d, program, ways)
			if err != nil {
				t.Fatal(err)
			}
			if len(levels) != 3 || levels[0].ReplayedBytes == 0 || levels[0].Hits == 0 {
				t.Fatalf("%s %s: replayed %+v", x.problem, x.config, levels)
			}
			for i, l := range levels {
				if ways == 0 {
					continue
				}
				tolerance, once := 0.1, 512<<10
				if i == 0 {
					tolerance, once = 0.03, 64<<10
				}
				diff := float64(l.Bytes - l.ReplayedBytes)
				if slack := float64(min(l.Bytes, l.ReplayedBytes))*tolerance + float64(once); diff > slack || diff < -slack {
					t.Errorf("%s %s: %s moves %d bytes in closed form, %d replayed with %d ways", x.problem, x.config, l.Level, l.Bytes, l.ReplayedBytes, l.Ways)
				}
			}
		}
	}
}
