package sim

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

func TestUsefulFlopsAndCompulsoryBytes(t *testing.T) {
	s := tile.Shape{B: 2, T: 10, Hq: 4, Hkv: 2, Dk: 8, Dv: 16}
	for _, c := range []struct {
		p                    tile.Problem
		flops, read, written int64
	}{
		// 20 tokens x 128 x (2 for each of 4 query heads + 2 for each of 2 state heads); q 32, k 16, v 32, o 64 values a token; state 2x2x128.
		{attention(s), 20 * 128 * 12, 4 * (20*(32+16+32) + 512), 4 * (20*64 + 512)},
		{tile.Problem{Op: tile.DeltaRule, Rule: tile.RuleGatedDelta, Shape: s, Decay: tile.DecayHead}, 20 * 128 * 16, 4 * (20*(32+16+32+4) + 512), 4 * (20*64 + 512)},
		// Backward: 4 and 6 a head; reads the output's gradient and a past state and a state gradient too, writes what is like q, k, v and the past state.
		{tile.Problem{Op: tile.LinearAttention, Shape: s, Dir: tile.Backward}, 20 * 128 * 28, 4 * (20*(32+16+32+64) + 1024), 4 * (20*(32+16+32) + 512)},
		{tile.Problem{Op: tile.LinearAttention, Shape: s, Dir: tile.Backward, Decay: tile.DecayKey}, 20 * 128 * 28, 4 * (20*(32+16+32+16+64) + 1024), 4 * (20*(32+16+32+16) + 512)},
		// One token touches one row of each of ceil(20/8) tables.
		{tile.Problem{Op: tile.HashLayer, Shape: tile.Shape{N: 1, D: 20, H: 64, Tau: 8}}, 2 * 3 * 64, 4 * (20 + 3*64), 4 * 64},
		{tile.Problem{Op: "unknown", Shape: s}, 0, 0, 0},
	} {
		read, written := CompulsoryBytes(c.p)
		if got := UsefulFlops(c.p); got != c.flops || read != c.read || written != c.written {
			t.Errorf("%s: %d flops, %d read, %d written; want %d, %d, %d", c.p, got, read, written, c.flops, c.read, c.written)
		}
	}
}

// The rows that a roof counts on are never more than random tokens really touch.
func TestHashRoofRowsAreTouched(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		s := tile.Shape{N: 1 + rng.IntN(600), D: 8 * (1 + rng.IntN(40)), H: 1, Tau: 1 + rng.IntN(10)}
		n, err := problemBytes(tile.Problem{Op: tile.HashLayer, Shape: s})
		if err != nil {
			t.Fatal(err)
		}
		touched := 0
		for range (s.D + s.Tau - 1) / s.Tau {
			rows := map[int]bool{}
			for range s.N {
				rows[rng.IntN(1<<s.Tau)] = true
			}
			touched += len(rows)
		}
		if n.shared/4 > float64(touched)+1e-6 {
			t.Errorf("%s: counts on %g rows, %d were touched", s, n.shared/4, touched)
		}
	}
}

// An integer dot product multiplies four bytes of a lane, one byte of a weight at a time, so no roof of an int8 hash layer may be above a quarter or half of
// float32's flops.
func TestRoofOfIntegerProducts(t *testing.T) {
	d := testCPU(t, 1)
	for i := range d.Levels {
		d.Levels[i].PeakBps = math.Inf(1)
	}
	p := tile.Problem{Op: tile.HashLayer, Shape: tile.Shape{N: 64, D: 64, H: 64, Tau: 8}}
	float, err := Roof(d, p)
	if err != nil {
		t.Fatal(err)
	}
	for precision, gain := range map[string]float64{"": 2, tile.Int8: 4} {
		p.DType, p.Precision = tile.Int8, precision
		if b, err := Roof(d, p); err != nil || b.BoundBy != PartCompute || math.Abs(b.RoofNs*gain-float.RoofNs) > 1e-9*float.RoofNs {
			t.Errorf("precision %q: %g ns by %s, float32 %g (%v)", precision, b.RoofNs, b.BoundBy, float.RoofNs, err)
		}
	}
}

func TestRoofGrowsWithTheProblem(t *testing.T) {
	d := testCPU(t, 1)
	roof := func(p tile.Problem) float64 {
		t.Helper()
		b, err := Roof(d, p)
		if err != nil {
			t.Fatal(err)
		}
		return b.RoofNs
	}
	rng := rand.New(rand.NewPCG(9, 10))
	for range 200 {
		s := tile.Shape{B: 1 + rng.IntN(4), T: 1 + rng.IntN(5000), Hq: 4, Hkv: 2, Dk: 1 + rng.IntN(200), Dv: 1 + rng.IntN(200)}
		p := attention(s)
		before := roof(p)
		for _, grow := range []func(*tile.Shape){func(s *tile.Shape) { s.B++ }, func(s *tile.Shape) { s.T++ }, func(s *tile.Shape) { s.Dk++ }, func(s *tile.Shape) { s.Dv++ }, func(s *tile.Shape) { s.Hq += 2 }} {
			q := p
			grow(&q.Shape)
			if after := roof(q); after < before {
				t.Fatalf("%s has a roof of %g ns, %s of %g ns", p, before, q, after)
			}
		}
		h := tile.Problem{Op: tile.HashLayer, Shape: tile.Shape{N: 1 + rng.IntN(2000), D: 64 * (1 + rng.IntN(16)), H: 1 + rng.IntN(2000), Tau: 8}}
		before = roof(h)
		for _, grow := range []func(*tile.Shape){func(s *tile.Shape) { s.N++ }, func(s *tile.Shape) { s.D += 8 }, func(s *tile.Shape) { s.H++ }} {
			q := h
			grow(&q.Shape)
			if after := roof(q); after < before {
				t.Fatalf("%s has a roof of %g ns, %s of %g ns", h, before, q, after)
			}
		}
	}
	for _, p := range []tile.Problem{{Op: "unknown"}, {Op: tile.HashLayer}, {Op: tile.HashLayer, Dir: "bwd"}, {Op: tile.DeltaRule, DType: "int3"}} {
		if _, err := Roof(d, p); err == nil {
			t.Errorf("%+v has a roof", p)
		}
	}
}

// Measured ceilings decide rates, their largest samples the peaks; plateaus narrow what can be counted on but not what bounds use.
func TestCPUFromCeilings(t *testing.T) {
	measured := &machine.Measured{
		Ceilings: []machine.Ceiling{
			{Kind: machine.KindFlops, ISA: tile.AVX512, Threads: 1, Median: 100e9, Min: 90e9, Max: 110e9},
			{Kind: machine.KindRead, ISA: tile.AVX512, Level: "DRAM", Threads: 1, Median: 20e9, Min: 18e9, Max: 22e9},
			{Kind: machine.KindRead, ISA: tile.AVX2, Level: "DRAM", Threads: 1, Median: 24e9, Min: 20e9, Max: 25e9},
			{Kind: machine.KindRead, ISA: tile.AVX512, Level: "DRAM", Threads: 2, Median: 30e9, Min: 18e9, Max: 33e9},
			{Kind: machine.KindGather, ISA: tile.AVX512, Level: "DRAM", RowBytes: 4096, Threads: 1, Median: 28e9, Max: 30e9},
		},
		Plateaus: []machine.Plateau{{Level: "L3", Bytes: 8 << 20, NsPerLoad: 20}},
	}
	m := testMachine()
	d, err := CPU(m, measured, tile.AVX512, 1)
	if err != nil {
		t.Fatal(err)
	}
	l3, dram := d.Levels[2], d.Levels[3]
	if d.Rates[pathFMA] != 100e9 || d.Peaks[pathFMA] != 120e9 || dram.ReadBps != 20e9 || dram.PeakBps != 32e9 {
		t.Errorf("rates %g and %g, DRAM %g and %g", d.Rates[pathFMA], d.Peaks[pathFMA], dram.ReadBps, dram.PeakBps)
	}
	if l3.Bytes != 10<<20 || l3.MaxBytes != 32<<20 || l3.LatencyNs != 20 || l3.PerUnit {
		t.Errorf("L3 %+v", l3)
	}
	// What is updated in place may move twice what a copy moves, and no more than was measured where it was.
	for _, add := range []struct {
		kind string
		rate float64
		want float64
	}{{machine.KindCopy, 50e9, 100e9}, {machine.KindUpdate, 80e9, 80e9}} {
		measured.Ceilings = append(measured.Ceilings, machine.Ceiling{Kind: add.kind, ISA: tile.AVX512, Level: "L2", Threads: 1, Median: add.rate, Min: add.rate, Max: add.rate})
		d, err := CPU(m, measured, tile.AVX512, 1)
		if err != nil {
			t.Fatal(err)
		}
		if l2 := d.Levels[1]; l2.PeakBps != add.want || l2.CopyBps != 50e9 {
			t.Errorf("with %s: L2 peak %g and copied %g, want %g and 50e9", add.kind, l2.PeakBps, l2.CopyBps, add.want)
		}
	}
	two, err := CPU(m, measured, tile.AVX512, 2)
	if err != nil {
		t.Fatal(err)
	}
	if two.Rates[pathFMA] != 200e9 || two.Levels[3].ReadBps != 30e9 || two.Levels[1].MaxBytes != 2<<20 || two.Levels[1].Bytes != 1<<20 {
		t.Errorf("two threads: %g FLOP/s, DRAM %g, L2 %+v", two.Rates[pathFMA], two.Levels[3].ReadBps, two.Levels[1])
	}
	for _, caches := range [][]machine.Cache{nil, {{Level: 2, Bytes: 1 << 20}}, {{Level: 3, Bytes: 1 << 25}}} {
		bare, err := CPU(&machine.Machine{Caches: caches}, nil, tile.Generic, 1)
		if err != nil {
			t.Fatal(err)
		}
		if last := len(bare.Levels) - 1; bare.maxBytesBefore(last) < hiddenCache {
			t.Errorf("caches %v: bounds forget that caches may hide", caches)
		}
	}
	if _, err := CPU(m, nil, tile.AVX512, 0); err == nil {
		t.Error("0 threads were accepted")
	}
}

// What a core does in a clock, from ceilings of one thread: in GFLOP/s and GB/s of AVX2 and AVX-512, multiply-adds, read and copied in L1.
func TestIssueFromCeilings(t *testing.T) {
	for _, c := range []struct {
		name                                       string
		flops2, flops, read, copied                float64
		wantClock, wantFMAs, wantLoads, wantStores float64
	}{
		{name: "Zen 5: two wide units, two wide loads and a wide store", flops2: 136.5, flops: 272.8, read: 493.8, copied: 516.2, wantClock: 4.26, wantFMAs: 2, wantLoads: 1.81, wantStores: 0.95},
		{name: "Zen 4: each wide operation takes two clocks", flops2: 116.1, flops: 116.3, read: 202.6, copied: 226, wantClock: 3.63, wantFMAs: 1, wantLoads: 0.87, wantStores: 0.49},
		{name: "Ice Lake: a slower clock", flops2: 103, flops: 163, read: 187, copied: 187, wantClock: 2.55, wantFMAs: 2, wantLoads: 1.15, wantStores: 0.57},
	} {
		measured := &machine.Measured{}
		add := func(kind, level string, isa tile.ISA, g float64) {
			measured.Ceilings = append(measured.Ceilings, machine.Ceiling{Kind: kind, Level: level, ISA: isa, Threads: 1, Median: g * 1e9, Max: g * 1e9})
		}
		add(machine.KindFlops, "", tile.AVX2, c.flops2)
		add(machine.KindFlops, "", tile.AVX512, c.flops)
		add(machine.KindRead, "L1", tile.AVX512, c.read)
		add(machine.KindCopy, "L1", tile.AVX512, c.copied)
		d, err := CPU(testMachine(), measured, tile.AVX512, 1)
		if err != nil {
			t.Fatal(err)
		}
		near := func(what string, got, want float64) {
			if math.Abs(got/want-1) > 0.02 {
				t.Errorf("%s: %s %.3g, want %.3g", c.name, what, got, want)
			}
		}
		near("clock", d.Core.ClockHz/1e9, c.wantClock)
		near("multiply-adds", d.Core.FMAs, c.wantFMAs)
		near("loads", d.Core.Loads, c.wantLoads)
		near("stores", d.Core.Stores, c.wantStores)
	}
}
