package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// checkGatesApart checks and takes a write gate, with a beta that erases alone.
func (o attentionOp) checkGatesApart(a *attentionArgs, p *tile.Problem, in *Inputs) error {
	s := p.Shape
	if o.front != tile.FrontNone {
		return refuse("write", "absent with a Front", "given with %q", o.front)
	}
	for _, x := range []struct {
		name string
		t    Tensor
	}{{"write", in.Write}, {"beta", in.Beta}} {
		if x.t.dtype() != tile.Float32 {
			return refuse(x.name, "float32 where a write gate is given", "%s", x.t.dtype())
		}
	}
	a.writeWidth, a.eraseWidth = 1, 1
	if len(in.Write.Shape) == 3 && s.Dv > 1 && in.Write.Shape[2] == s.Hkv*s.Dv {
		a.writeWidth = s.Dv
	}
	if err := checkStored("write", "(B,T,Hkv) or (B,T,Hkv*dv)", in.Write, s.B, s.T, s.Hkv*a.writeWidth); err != nil {
		return err
	}
	width := a.betaHeads
	if len(in.Beta.Shape) == 3 && s.Dk > 1 && in.Beta.Shape[2] == s.Hkv*s.Dk {
		a.eraseWidth, a.betaHeads = s.Dk, s.Hkv
		width = s.Hkv * s.Dk
	}
	if err := checkStored("beta", "(B,T,Hkv), (B,T,1) or (B,T,Hkv*dk)", in.Beta, s.B, s.T, width); err != nil {
		return err
	}
	p.Gates, a.write = tile.GatesApart, in.Write.float32s()
	return nil
}

// gatesApart makes a chunk's erase keys and gated values of keys and values, which it may replace by copies, where gates are of channels. Erase keys lie as
// far apart as keys do.
func (a *recurrence) gatesApart(w *recurrenceWork, u panelUnit, row, n int, key *[]float32, lk *int, value *[]float32, lv *int) {
	s := a.problem.Shape
	if a.eraseWidth > 1 {
		if a.problem.Decay != tile.DecayKey { // else keys and erase keys are copies already
			if *lk != s.Dk || &(*key)[0] != &w.k[0] {
				a.copyRows(w, w.k, s.Dk, *key, *lk, n, s.Dk)
			}
			*key, *lk = w.k, s.Dk
			copy(w.delta.erase[:n*s.Dk], w.k)
		}
		w.rows.apply(a.prim, tile.MapTimes, operand{w.delta.erase, s.Dk}, operand{a.beta[(row*s.Hkv+u.h)*s.Dk:], s.Hkv * s.Dk}, n, s.Dk)
	}
	if a.writeWidth > 1 {
		j, width := a.columns(u)
		if !a.halves() { // else values are copies already
			a.copyRows(w, w.v[j:], s.Dv, (*value)[j:], *lv, n, width)
			*value, *lv = w.v, s.Dv
		}
		w.rows.apply(a.prim, tile.MapTimes, operand{w.v[j:], s.Dv}, operand{a.write[(row*s.Hkv+u.h)*s.Dv+j:], s.Hkv * s.Dv}, n, width)
	}
}
