package roofline

import (
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// exampleProfile is a made-up machine with ceilings and points of all kinds.
func exampleProfile() *profile.Profile {
	p := &profile.Profile{
		Schema: profile.Schema, Created: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
		Machine: machine.Machine{
			Vendor: "ExampleVendor", Brand: `Example <b>"9000"</b> & Sons`, Arch: "amd64", OS: "linux",
			ISAs:  []tile.ISA{tile.Generic, tile.AVX2, tile.AVX512},
			Cores: 2, Threads: 2, Usable: 2, Hypervisor: "KVMKVMKVM", Fingerprint: "0123456789abcdef",
			Caches: []machine.Cache{
				{Level: 1, Bytes: 32 << 10, LineBytes: 64, Ways: 8, SharedBy: 1},
				{Level: 2, Bytes: 1 << 20, LineBytes: 64, Ways: 8, SharedBy: 1},
				{Level: 3, Bytes: 32 << 20, LineBytes: 64, Ways: 16, SharedBy: 2},
			},
		},
		Measured: machine.Measured{
			StealPct: 0.25,
			Plateaus: []machine.Plateau{
				{Level: "L1", Bytes: 32 << 10, NsPerLoad: 1.47}, {Level: "L2", Bytes: 768 << 10, NsPerLoad: 4.25},
				{Level: "L3", Bytes: 12 << 20, NsPerLoad: 15.7}, {Level: "DRAM", Bytes: 64 << 20, NsPerLoad: 140},
			},
		},
	}
	bytes := map[tile.ISA][]float64{tile.Generic: {15, 14.5, 14, 12}, tile.AVX2: {210, 105, 60, 22}, tile.AVX512: {225, 112, 62, 22.5}}
	flops := map[tile.ISA]float64{tile.Generic: 6.9, tile.AVX2: 113, tile.AVX512: 118}
	for _, threads := range []int{1, 2} {
		n := float64(threads)
		for _, s := range specs(p.Machine.ISAs, []int{threads}) {
			if s.Kind == machine.KindDotBF16 { // of the CPU that this test runs on, not of the example
				continue
			}
			rate := flops[s.ISA] * n
			if s.Kind != machine.KindFlops {
				for i, level := range levels {
					if level == s.Level {
						rate = bytes[s.ISA][i] * n
					}
				}
				if s.Level == levelDRAM {
					rate *= 0.8 * 1.25 / n * (1 + 0.3*(n-1))
				}
			}
			p.Measured.Ceilings = append(p.Measured.Ceilings, summarize(s, []float64{rate * 0.98e9, rate * 1e9, rate * 1.01e9}))
		}
	}
	attention := func(op, rule, decay string, t, threads int) tile.Problem {
		return tile.Problem{Op: op, Rule: rule, Decay: decay, DType: "float32", Dir: "fwd", Threads: threads,
			Shape: tile.Shape{B: 1, T: t, Hq: 16, Hkv: 32, Dk: 128, Dv: 128}}
	}
	add := func(problem tile.Problem, isa tile.ISA, ns float64, config tile.Config) {
		p.Entries = append(p.Entries, profile.Entry{Problem: problem, ISA: isa, Config: config, MedianNs: ns, MinNs: ns, MaxNs: ns, Samples: 9})
	}
	config := tile.Config{"chunk": 64, "mr": 8, "nr": 32, "panel": 64, "prefetch": 4}
	for threads := 1; threads <= 2; threads++ {
		n := float64(threads)
		for i, t := range []int{1, 512, 4096} {
			tokens := []float64{2.4, 1, 1}[i] * float64(t) / n
			add(attention(tile.LinearAttention, tile.RuleGated, tile.DecayHead, t, threads), tile.AVX512, 19e3*tokens, config)
			add(attention(tile.DeltaRule, tile.RuleGatedDelta, tile.DecayHead, t, threads), tile.AVX512, 29e3*tokens, config)
			add(attention(tile.DeltaRule, tile.RuleGatedDelta, tile.DecayHead, t, threads), tile.AVX2, 33e3*tokens, config)
		}
		add(attention(tile.DeltaRule, tile.RuleGatedDelta, tile.DecayHead, 4096, threads), tile.Generic, 4096*700e3/n, tile.Config{"chunk": 16})
		for _, tokens := range []int{1, 32, 1024} {
			problem := tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: "float32", Dir: "fwd", Threads: threads,
				Shape: tile.Shape{N: tokens, D: 1024, H: 1024, Tau: 8}}
			add(problem, tile.AVX512, float64(tokens)*23e3/n, tile.Config{"group": 8, "slab": 0})
		}
	}
	return p
}
