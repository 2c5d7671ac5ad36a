package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// decodes says whether a call is a decode step and nothing else: one token, float32, states where the caller has them. A head of d=64 takes
// little more time than the arguments of a general step, so its heads are walked with what they share set once.
func (a *recurrence) decodes() bool {
	p := a.problem
	return a.inPlace && p.Shape.T == 1 && !a.halves() && p.Decay != tile.DecayKey && a.featureMap == tile.MapNone && !a.normalize &&
		p.Front == tile.FrontNone && p.Gates == "" && a.offsets == nil && a.keep == nil
}

// decode takes the one token for the units of one batch item from first to last.
func (a *recurrence) decode(w *recurrenceWork, first, last int) {
	s, start, end := a.problem.Shape, a.unit(first), a.unit(last-1)
	row, _ := a.span(start.b)
	factor := a.factor[start.h : end.h+1]
	if a.problem.Decay == tile.DecayHead {
		factor = w.heads[:len(factor)]
		w.exp = tile.Exp{Src: a.decay[row*s.Hkv+start.h:], Dst: factor, Stride: 1, N: len(factor), Scale: 1}
		a.prim.Exp(&w.exp)
	}
	ldk, ldv := a.keyHeads*s.Dk, s.Hkv*s.Dv
	w.call = tile.Delta{}
	r := &w.call.Recur
	r.LDQ, r.HeadQ, r.LDK, r.LDV, r.LDO, r.HeadO = s.Hq*s.Dk, s.Dk, ldk, ldv, a.outputHeads()*s.Dv, s.Dv
	r.RowO, r.T, r.Heads, r.Dk = w.scale, 1, a.group, s.Dk
	for ui := first; ui < last; ui++ {
		u := a.unit(ui)
		hq, _ := a.queryHeads(u.h)
		r.Q, r.K = a.query[row*r.LDQ+hq*s.Dk:], a.key[row*ldk+a.keyHead(u.h)*s.Dk:]
		if a.problem.Decay != tile.DecayNone {
			r.Decay = factor[u.h-start.h:]
		}
		if a.delta {
			beta := a.beta[row*a.betaHeads+u.h%a.betaHeads:]
			w.call.Beta, r.RowV = beta, beta
		}
		if a.statistics != nil && u.p0 == 0 {
			a.statistics.Tokens.Add(1)
		}
		value, output := a.value[row*ldv+u.h*s.Dv:], a.output[row*r.LDO+u.h*a.group*s.Dv:]
		for p := u.p0; p < u.p1; p++ {
			state, ld, j, width := a.panel(u, p)
			r.V, r.O, r.S, r.LDS, r.N = value[j:], output[j:], state, ld, width
			a.run(&w.call)
		}
	}
}
