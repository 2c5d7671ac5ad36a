package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// recordedCandidates are candidates of both forms of the attention ops on a long prompt.
func recordedCandidates() (ps []tile.Problem, cs []tile.Candidate) {
	isa := ISAs()[len(ISAs())-1]
	for _, p := range DefaultProblems(1) {
		if p.Op == tile.HashLayer || p.Shape.T != 4096 || p.Shape.Hq > 16 {
			continue
		}
		for _, form := range []int{formChunk, formRecurrence} {
			for _, chunk := range []int{16, 128} {
				ps = append(ps, p)
				cs = append(cs, tile.Candidate{ISA: isa, Config: Complete(p, isa, tile.Config{"form": form, "chunk": chunk})})
			}
		}
	}
	return ps, cs
}

func BenchmarkRecordForms(b *testing.B) {
	ps, cs := recordedCandidates()
	for b.Loop() {
		for i, p := range ps {
			if _, err := Record(p, cs[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ps)), "ns/record")
}

func BenchmarkSimulateForms(b *testing.B) {
	ps, cs := recordedCandidates()
	m, err := machine.Detect()
	if err != nil {
		b.Fatal(err)
	}
	d, err := sim.CPU(m, nil, cs[0].ISA, 1)
	if err != nil {
		b.Fatal(err)
	}
	var programs []*sim.Program
	for i, p := range ps {
		program, err := Record(p, cs[i])
		if err != nil {
			b.Fatal(err)
		}
		programs = append(programs, program)
	}
	for b.Loop() {
		for _, p := range programs {
			if _, err := sim.Simulate(d, p); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ps)), "ns/simulation")
}
