package generic

import "github.com/rooftune/rooftune/kernels/tile"

// ownDecays stands for the factor of a token whose state rows have their own.
var ownDecays = []float32{0}

// StepsBy makes tile.Steps of a recurrence of the delta rules, state by state: for columns of any number, and where sums and updates of two panels do not
// fit the registers.
func StepsBy(run func(*tile.Delta)) tile.StepKernel {
	return tile.StepKernel{NR: 1, Run: func(p *tile.Steps) {
		p.One = tile.Delta{}
		r := &p.One.Recur
		r.RowO, r.LDS, r.T, r.Heads, r.Dk, r.N = p.Scale, p.LDS, 1, 1, p.Dk, p.N
		for i := range p.Units {
			u := &p.Units[i]
			r.Q, r.K, r.V, r.O, r.S, r.Decay = p.Q[u.Q:], p.K[u.K:], p.V[u.V:], p.O[u.O:], p.S[u.S:], p.Decay[u.Decay:]
			if p.KeyDecay {
				r.Decay, r.D = ownDecays, r.Decay
			}
			p.One.Beta, r.RowV = p.Beta[u.Beta:], p.Beta[u.Beta:]
			run(&p.One)
		}
		p.Done = len(p.Units)
	}}
}
