package kernels

import (
	"fmt"
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// recordBackward records the forward and the reverse sweep as launches one after the other. What both touch is wanted outside once: in
// the second launch it is a buffer of its own that counts as scratch. Work on a number a token that no primitive does (folding decays, quotients) is
// not seen.
func recordBackward(p tile.Problem, c tile.Candidate, prim *tile.Primitives, everyPass bool) (*sim.Program, error) {
	forward, err := recordSweep(p, c, prim, everyPass, false)
	if err != nil {
		return nil, err
	}
	reverse, err := recordSweep(p, c, prim, everyPass, true)
	if err != nil {
		return nil, err
	}
	buffers := len(forward.Buffers)
	forward.Buffers = append(forward.Buffers, reverse.Buffers...)
	for _, l := range reverse.Launches {
		for _, loop := range l.Nest {
			for i := range loop.Ops {
				for j := range loop.Ops[i].Touches {
					loop.Ops[i].Touches[j].Buffer += buffers
				}
			}
		}
		forward.Launches = append(forward.Launches, l)
	}
	return forward, nil
}

// recordSweep records the first trips of one of the sweeps.
func recordSweep(p tile.Problem, c tile.Candidate, prim *tile.Primitives, everyPass, reverse bool) (*sim.Program, error) {
	if s := p.Shape; 2*float64(s.B)*float64(s.Hq)*float64(s.Dk)*float64(s.Dv) > maxRecordedWords {
		return nil, fmt.Errorf("kernels: %s is too large to record", p)
	}
	r := sim.NewRecorder(prim)
	r.EveryPass = everyPass
	a := newBackward(p, r.Primitives(), c.Config)
	full, chunk := p.Shape, a.chunk
	short := p
	short.Shape.B, short.Shape.T = min(full.B, 1), min(full.T, recordedTrips*chunk)
	if short.Shape.T > chunk {
		short.Shape.T -= short.Shape.T % chunk // the last recorded trip stands for all others, so it must be a whole one
	}
	cs, err := newShapedCase(short)
	if err != nil {
		return nil, err
	}
	in, w := cs.attention, a.work[0]
	a.set(in)
	again, out := sim.Input, sim.Output // of what the forward sweep touches
	if reverse {
		again, out = sim.Scratch, sim.Scratch
	}
	for _, b := range []struct {
		name string
		data []float32
		kind sim.BufferKind
	}{
		{"query", in.query, sim.Input}, {"key", in.key, again}, {"value", in.value, again}, {"decay", in.decay, again},
		{"grad output", in.gradOutput, again}, {"grad query", a.gradQuery, out}, {"grad key", a.gradKey, sim.Output},
		{"grad value", in.gradValue, sim.Output}, {"grad decay", a.gradDecay, sim.Output}, {"panels", a.states, sim.Scratch},
		{"query copy", w.q, sim.Scratch}, {"key copy", w.k, sim.Scratch}, {"value copy", w.v, sim.Scratch}, {"output copy", w.o, sim.Scratch},
		{"g", w.g, sim.Scratch}, {"decays", w.decay, sim.Scratch}, {"row v", w.rowV, sim.Scratch}, {"row o", w.rowO, sim.Scratch},
		{"scale", w.scale, sim.Scratch}, {"c", w.c, sim.Scratch}, {"folded q", w.foldedQ, sim.Scratch}, {"folded k", w.foldedK, sim.Scratch},
		{"large", w.large, sim.Scratch}, {"scrap", w.scrap, sim.Scratch}, {"ones", w.ones, sim.Scratch}, {"row", w.row, sim.Scratch},
		{"query gradients", w.grads.query, sim.Scratch}, {"key gradients", w.grads.key, sim.Scratch}, {"value gradients", w.grads.value, sim.Scratch},
		{"norms", w.norms, sim.Scratch}, {"row x", w.rows.x, sim.Scratch}, {"row y", w.rows.y, sim.Scratch}, {"norm columns", a.norms, sim.Scratch},
		{"inverse", a.quotients.inverse, sim.Scratch}, {"divisor", a.quotients.divisor, sim.Scratch}, {"map factor", w.mapping.factor[:], sim.Scratch},
	} {
		r.Buffer(b.name, b.data, b.kind)
	}
	perBatch, units := full.Hkv*a.split, (a.units+a.workers-1)/a.workers
	here := min(units, perBatch)
	trips := float64(full.T) / float64(min(chunk, max(1, full.T)))
	if a.headOuter {
		trips *= float64(units) // one trip is one chunk of one head
		here = min(here, 1)
	} else {
		trips *= math.Ceil(float64(units) / float64(perBatch))
	}
	for u := range here {
		a.begin(a.unit(u))
	}
	for t := 0; t < short.Shape.T; t += chunk {
		for u := range here {
			if reverse {
				a.reverseStep(w, u, short.Shape.T-min(t+chunk, short.Shape.T), 0, here)
			} else {
				a.forwardStep(w, u, t, 0, here)
			}
		}
		r.Trip()
	}
	return r.Program(p.String(), c.Config, trips, a.workers)
}
