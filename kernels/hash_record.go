package kernels

import (
	"fmt"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// recordHashBackward records the first worker's first groups of tables.
func recordHashBackward(p tile.Problem, c tile.Candidate, r *sim.Recorder) (*sim.Program, error) {
	if p.Shape.N == 0 {
		return nil, fmt.Errorf("kernels: nothing to record in %s", p)
	}
	cs, err := newShapedCase(p)
	if err != nil {
		return nil, err
	}
	a := newHashBackward(p, r.Primitives(), c.Config)
	a.set(cs.hash)
	in := cs.hash
	r.Buffer("input", in.input, sim.Input)
	r.Buffer("tables", in.tables, sim.Table)
	r.Buffer("grad output", in.gradOutput, sim.Input)
	r.Buffer("grad input", in.gradInput, sim.Output)
	r.Buffer("grad tables", in.gradTables, sim.Output)
	r.Buffer("grad bias", in.gradBias, sim.Output)
	r.Buffer("ones", a.ones, sim.Scratch)
	r.Indices("tokens", a.every, sim.Scratch)
	w := a.work[0]
	r.Buffer("weights", w.weight, sim.Scratch)
	r.Buffer("weight gradients", w.dw, sim.Scratch)
	r.Buffer("exp", w.e, sim.Scratch)
	r.Indices("order", w.order, sim.Scratch)
	w.hasher.buffers(r.Buffer)
	share := (a.k + a.workers - 1) / a.workers
	a.bias(w, 0)
	for k, trip := 0, 0; k < share && trip < recordedTrips; k, trip = k+a.chunk, trip+1 {
		a.share(w, k, min(k+a.chunk, share))
		r.Trip()
	}
	return r.Program(p.String(), c.Config, max(float64(share)/float64(min(a.chunk, share)), 1), a.workers)
}
