package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// decodes says whether a call is a decode step and nothing else: one token, float32, states where the caller has them. A head of d=64 takes
// little more time than the arguments of a general step, so its heads are walked with what they share set once.
func (a *recurrence) decodes() bool {
	p := a.problem
	return a.inPlace && p.Shape.T == 1 && !a.halves() && (p.Decay != tile.DecayKey || a.steps != nil) && a.featureMap == tile.MapNone && !a.normalize &&
		p.Front == tile.FrontNone && p.Gates == "" && a.offsets == nil && a.keep == nil
}

// decodeWork is a worker's scratch for decode steps.
type decodeWork struct {
	factors []float32       // of the heads' decays, or of all their keys
	units   []tile.StepUnit // of the heads of a batch item
	shared  [2]int          // key heads and betas that units are set for
	room    []float32
	call    tile.Steps
}

const (
	// togetherFloats bounds the states, 3 MiB, of which a part of the rows is taken at a time: that is faster where the second level or the third's nearest part
	// holds them (0.5 MiB: 20 %, 2 MiB: 15 %), equal at 4 MiB and slower past it (8 MiB: 40 %), where whole rows are prefetched better.
	togetherFloats = 3 << 18
	// stepFloats bounds the states of one primitive call.
	stepFloats = 1 << 18
)

// stepKernel chooses what takes several states of a delta rule together, nil where more than one query reads a state.
func (a *recurrence) stepKernel(s tile.Shape) func(*tile.Steps) {
	state := float64(s.Dk) * float64(s.Dv)
	if !a.delta || !a.inPlace || a.group > 1 || a.split > 1 || state > stepFloats {
		return nil
	}
	for _, k := range a.prim.Steps {
		if k.NR == 1 || s.Dv%k.NR == 0 && float64(a.units)*state <= togetherFloats {
			return k.Run
		}
	}
	return nil
}

// newDecodeWork makes room for the decode steps of a worker.
func (a *recurrence) newDecodeWork(w *recurrenceWork, p tile.Problem) {
	s, d := p.Shape, &w.decode
	n := s.Hkv
	if p.Decay == tile.DecayKey {
		n *= s.Dk
	}
	d.factors = aligned(n)
	for i := range d.factors {
		d.factors[i] = 1 // without decay
	}
	d.units, d.room = make([]tile.StepUnit, s.Hkv), aligned(tile.StepRoom(s.Dk))
}

// setUnits says where a batch item's heads are. That is the same at every call with as many key heads and betas.
func (a *recurrence) setUnits(w *decodeWork, factors int) {
	shared := [2]int{a.keyHeads, a.betaHeads}
	if w.shared == shared {
		return
	}
	w.shared = shared
	s := a.problem.Shape
	for h := range w.units {
		hq, _ := a.queryHeads(h)
		w.units[h] = tile.StepUnit{Q: hq * s.Dk, K: a.keyHead(h) * s.Dk, V: h * s.Dv, O: h * a.group * s.Dv, S: h * s.Dk * s.Dv, Decay: h * factors}
		if a.delta {
			w.units[h].Beta = h % a.betaHeads
		}
	}
}

// decode takes the one token for the units of one batch item from first to last.
func (a *recurrence) decode(w *recurrenceWork, first, last int) {
	u := a.unit(first)
	row, _ := a.span(u.b)
	factor, perHead := a.decodeFactors(w, row, u.h, a.unit(last-1).h+1)
	a.setUnits(&w.decode, perHead)
	if a.steps == nil {
		a.decodeApart(w, row, factor, first, last)
		return
	}
	s, c := a.problem.Shape, &w.decode.call
	*c = tile.Steps{
		Q: a.query[row*s.Hq*s.Dk:], K: a.key[row*a.keyHeads*s.Dk:], V: a.value[row*s.Hkv*s.Dv:], O: a.output[row*a.outputHeads()*s.Dv:],
		S: a.state[u.b*s.Hkv*s.Dk*s.Dv:], Decay: factor, Beta: a.beta[row*a.betaHeads:], Scale: w.scale,
		Room: w.decode.room, LDS: s.Dv, Dk: s.Dk, N: s.Dv, KeyDecay: perHead > 1,
	}
	units := w.decode.units[u.h:][:last-first]
	for most := stepFloats / (s.Dk * s.Dv); len(units) > 0; {
		c.Units = units[:min(most, len(units))]
		a.steps(c)
		if a.statistics != nil {
			a.statistics.Tokens.Add(int64(c.Done))
		}
		units = units[c.Done:]
		if c.Done < len(c.Units) {
			a.decodeApart(w, row, factor, last-len(units), last-len(units)+1)
			units = units[1:]
		}
	}
}

// decodeFactors gives the decay factors of state heads, set for those from h0 up to h1, and how many each has.
func (a *recurrence) decodeFactors(w *recurrenceWork, row, h0, h1 int) (factor []float32, perHead int) {
	s, perHead := a.problem.Shape, 1
	switch a.problem.Decay {
	case tile.DecayNone:
		return w.decode.factors, 1
	case tile.DecayFixed:
		return a.factor, 1
	case tile.DecayKey:
		perHead = s.Dk
	}
	w.exp = tile.Exp{Src: a.decay[(row*s.Hkv+h0)*perHead:], Dst: w.decode.factors[h0*perHead:], Stride: 1, N: (h1 - h0) * perHead, Scale: 1}
	a.prim.Exp(&w.exp)
	return w.decode.factors, perHead
}

// keyDecays stands for the factor of a token whose state rows have their own.
var keyDecays = []float32{0}

// decodeApart takes the token unit by unit.
func (a *recurrence) decodeApart(w *recurrenceWork, row int, factor []float32, first, last int) {
	s := a.problem.Shape
	ldk, ldv := a.keyHeads*s.Dk, s.Hkv*s.Dv
	w.call = tile.Delta{}
	r := &w.call.Recur
	r.LDQ, r.HeadQ, r.LDK, r.LDV, r.LDO, r.HeadO = s.Hq*s.Dk, s.Dk, ldk, ldv, a.outputHeads()*s.Dv, s.Dv
	r.RowO, r.T, r.Heads, r.Dk, r.LDD = w.scale, 1, a.group, s.Dk, s.Dk
	query, key, value, output := a.query[row*r.LDQ:], a.key[row*ldk:], a.value[row*ldv:], a.output[row*r.LDO:]
	for ui := first; ui < last; ui++ {
		u := a.unit(ui)
		at := w.decode.units[u.h]
		r.Q, r.K = query[at.Q:], key[at.K:]
		switch a.problem.Decay {
		case tile.DecayNone:
		case tile.DecayKey:
			r.Decay, r.D = keyDecays, factor[at.Decay:]
		default:
			r.Decay = factor[at.Decay:]
		}
		if a.delta {
			beta := a.beta[row*a.betaHeads+at.Beta:]
			w.call.Beta, r.RowV = beta, beta
		}
		if a.statistics != nil && u.p0 == 0 {
			a.statistics.Tokens.Add(1)
		}
		for p := u.p0; p < u.p1; p++ {
			state, ld, j, width := a.panel(u, p)
			r.V, r.O, r.S, r.LDS, r.N = value[at.V+j:], output[at.O+j:], state, ld, width
			a.run(&w.call)
		}
	}
}
