package roofline

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// glance is just enough effort to see that everything is measured.
var glance = effort{rounds: 5, cache: 50 * time.Microsecond, memory: 50 * time.Microsecond,
	chase: 50 * time.Microsecond, chaseSamples: 1, leastChaseBytes: 1 * mib}

func testMachine(t *testing.T) *machine.Machine {
	t.Helper()
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	// Small caches keep the buffers of this test small.
	m.Caches = []machine.Cache{{Level: 1, Bytes: 32 << 10}, {Level: 2, Bytes: 256 << 10}, {Level: 3, Bytes: 2 * mib, SharedBy: 2}}
	return m
}

func TestMeasure(t *testing.T) {
	m := testMachine(t)
	calls, last := 0, 0
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	got, err := measure(context.Background(), m, Options{Threads: []int{2, 1, 2}, Progress: func(done, total int, what string) {
		calls++
		if done != last+1 || done > total || what == "" {
			t.Errorf("progress %d of %d, %q, after %d", done, total, what, last)
		}
		last = done
	}}, glance)
	if err != nil {
		t.Fatal(err)
	}
	if percent := debug.SetGCPercent(100); percent != 100 {
		t.Errorf("garbage collection left at %d %%", percent)
	}
	if want := len(got.Latency) + glance.rounds; calls != want {
		t.Errorf("%d calls of progress, want %d", calls, want)
	}
	if len(got.Latency) < 10 || len(got.Plateaus) == 0 {
		t.Errorf("%d points of latency, plateaus %+v", len(got.Latency), got.Plateaus)
	}
	for _, isa := range m.ISAs {
		if _, ok := loopsFor(isa); !ok {
			continue
		}
		for _, threads := range []int{1, 2} {
			for _, want := range []Spec{
				{Kind: machine.KindFlops}, {Kind: machine.KindRead, Level: levelL1}, {Kind: machine.KindRead, Level: levelDRAM},
				{Kind: machine.KindCopy, Level: levelDRAM}, {Kind: machine.KindGather, Level: levelDRAM, RowBytes: 4096},
			} {
				if _, ok := got.Find(want.Kind, isa, want.Level, threads, want.RowBytes); !ok {
					t.Errorf("no %s of %s, %d threads", rowName(want), isa, threads)
				}
			}
		}
	}
	var seen []Spec
	for _, c := range got.Ceilings {
		s := Spec{c.Kind, c.ISA, c.Level, c.RowBytes, c.Threads}
		if slices.Contains(seen, s) {
			t.Errorf("%s twice", s)
		}
		seen = append(seen, s)
		if !(0 < c.Min && c.Min <= c.Median && c.Median <= c.Max) || c.Samples != glance.rounds || c.Unit == "" {
			t.Errorf("%s: %+v", s, c)
		}
	}
}

func TestMeasureCancelled(t *testing.T) {
	m := testMachine(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Measure(ctx, m, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	calls := 0
	_, err := measure(ctx, m, Options{Threads: []int{1}, Progress: func(int, int, string) {
		calls++
		cancel()
	}}, glance)
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("cancelled in the middle: %v after %d steps", err, calls)
	}
}

func TestMeasureBadOptions(t *testing.T) {
	m := testMachine(t)
	for name, o := range map[string]Options{
		"threads":     {Threads: []int{0, 1}},
		"unknown ISA": {ISAs: []tile.ISA{"sparkle"}},
	} {
		if _, err := Measure(context.Background(), m, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMeasureOne(t *testing.T) {
	m := testMachine(t)
	c, err := MeasureFlops(tile.Generic, 2, 7*time.Millisecond)
	if err != nil || c.Samples < 5 || c.Unit != "FLOP/s" || c.DType != "float32" || !(c.Median > 0) {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = MeasureBandwidth(m, nil, Spec{Kind: machine.KindCopy, ISA: tile.Generic, Level: levelL2, Threads: 1}, 7*time.Millisecond)
	if err != nil || c.Samples < 5 || c.Unit != "B/s" || c.Level != levelL2 || !(c.Median > 0) {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = MeasureBandwidth(m, nil, Spec{Kind: machine.KindGather, ISA: tile.Generic, Level: levelL2, RowBytes: 128, Threads: 1}, 7*time.Millisecond)
	if err != nil || c.Samples < 5 || c.Unit != "B/s" || c.Level != levelL2 || c.RowBytes != 128 || !(c.Median > 0) {
		t.Errorf("%+v, %v", c, err)
	}
	for name, s := range map[string]Spec{
		"flops":          {Kind: machine.KindFlops, ISA: tile.Generic, Threads: 1},
		"no kind":        {ISA: tile.Generic, Level: levelL1, Threads: 1},
		"no level":       {Kind: machine.KindRead, ISA: tile.Generic, Threads: 1},
		"no threads":     {Kind: machine.KindRead, ISA: tile.Generic, Level: levelL1},
		"odd rows":       {Kind: machine.KindGather, ISA: tile.Generic, Level: levelDRAM, RowBytes: 100, Threads: 1},
		"ISA elsewhere":  {Kind: machine.KindRead, ISA: "sparkle", Level: levelL1, Threads: 1},
		"no such loop":   {Kind: machine.KindUpdate, ISA: tile.Generic, Level: levelL1, Threads: 1},
		"rows too large": {Kind: machine.KindGather, ISA: tile.Generic, Level: levelDRAM, RowBytes: 1 << 30, Threads: 1},
	} {
		if _, err := MeasureBandwidth(m, nil, s, time.Millisecond); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
