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

// buffers names tables.
func (e tableElements) buffers(r *sim.Recorder) {
	r.Buffer("tables", e.floats, sim.Table)
	r.Halves("tables", e.halves, sim.Table)
	r.Bytes("tables", e.bytes, sim.Table)
}

// recordHashSlab records the first worker's first panels, with its tokens hashed before the first.
func recordHashSlab(p tile.Problem, c tile.Candidate, r *sim.Recorder) (*sim.Program, error) {
	full := p.Shape.N
	if full == 0 {
		return nil, fmt.Errorf("kernels: nothing to record in %s", p)
	}
	// Passes are alike: some are enough.
	k := (p.Shape.D-1)/p.Shape.Tau + 1
	p.Shape.N = min(full, roundUp(max(1, recordedCodes/k), c.Config["tokens"]))
	cs, err := newShapedCase(p)
	if err != nil {
		return nil, err
	}
	a := newHashSlab(p, r.Primitives(), c.Config)
	a.set(cs.hash)
	in := cs.hash
	r.Buffer("input", in.input, sim.Input)
	in.prepared.panels.buffers(r)
	r.Buffer("output", in.output, sim.Output)
	r.Words("offsets", a.offset, sim.Scratch)
	r.Buffer("weights", a.weight, sim.Scratch)
	r.Words("integer weights", a.quant, sim.Scratch)
	r.Buffer("scales", a.scale, sim.Scratch)
	w := a.work[0]
	w.hasher.buffers(r.Buffer)
	r.Buffer("sums", w.y, sim.Scratch)
	r.Buffer("bias", w.init, sim.Scratch)
	for i := range a.workers {
		if i == 0 {
			a.hashing.part(0)
			continue
		}
		// Where the other workers' rows are decides what this one reads, so their offsets are made too, unseen.
		unseen := newHashSlab(p, sim.NewRecorder(a.prim).Primitives(), c.Config)
		unseen.set(in)
		unseen.offset, unseen.weight, unseen.quant, unseen.scale = a.offset, a.weight, a.quant, a.scale
		unseen.hashing.part(i)
	}
	share := (a.panels + a.workers - 1) / a.workers
	for panel := 0; panel < min(share, recordedTrips); panel++ {
		for t := 0; t < p.Shape.N; t += a.tokens {
			a.pass(w, panel, t, panel+1 < share)
		}
		r.Trip()
	}
	return r.Program(p.String(), c.Config, float64(share)*float64(full)/float64(p.Shape.N), a.workers)
}

// recordedCodes is about how many codes a recording of slabs walks.
const recordedCodes = 1 << 19
