package generic

import "github.com/rooftune/rooftune/kernels/tile"

// delta is tile.Delta, token by token, for some columns at a time: they do not depend on each other.
func delta(p *tile.Delta) {
	var u [64]float32
	for j := 0; j < p.N; j += len(u) {
		deltaColumns(p, j, u[:min(len(u), p.N-j)])
	}
}

// deltaColumns is delta for as many columns from j on as u has.
func deltaColumns(p *tile.Delta, j int, u []float32) {
	one := p.Recur
	one.T, one.N, one.S, one.V, one.RowV = 1, len(u), p.S[j:], u, nil
	for t := range p.T {
		decay, beta, rowV := float32(1), float32(1), float32(1)
		if p.Decay != nil {
			decay = p.Decay[t]
		}
		if p.Beta != nil {
			beta = p.Beta[t]
		}
		if p.RowV != nil {
			rowV = p.RowV[t]
		}
		erase := p.K[t*p.LDK:][:p.Dk]
		if p.E != nil {
			erase = p.E[t*p.LDK:][:p.Dk]
		}
		clear(u)
		for k, e := range erase {
			if decay != 1 {
				d := decay
				if p.D != nil {
					d = p.D[t*p.LDD+k]
				}
				e *= d
			}
			for i, s := range one.S[k*p.LDS:][:len(u)] {
				u[i] += e * s
			}
		}
		for i, v := range p.V[t*p.LDV+j:][:len(u)] {
			u[i] = rowV*v - beta*u[i]
		}
		one.K, one.Q, one.O = p.K[t*p.LDK:], p.Q[t*p.LDQ:], p.O[t*p.LDO+j:]
		if p.Decay != nil {
			one.Decay = p.Decay[t:]
		}
		if p.D != nil {
			one.D = p.D[t*p.LDD:]
		}
		if p.RowO != nil {
			one.RowO = p.RowO[t*p.Heads:]
		}
		recur(&one)
	}
}

// couple is tile.Delta's Couple.
func couple(p *tile.Delta) {
	erase := p.E
	if erase == nil {
		erase = p.K
	}
	dot := func(x, y []float32) (sum float32) {
		for k, v := range x[:p.Dk] {
			sum += v * y[k]
		}
		return sum
	}
	bad := float32(0)
	for b := range p.T / p.Block {
		c, n := p.C[b*tile.Record(p.Block, p.Heads):], 0
		put := func(v float32) {
			c[n] = v
			n++
			bad += v - v
		}
		for i := range p.Block {
			t := b*p.Block + i
			for j := range i {
				put(dot(erase[t*p.LDK:], p.K[(t-i+j)*p.LDK:]))
			}
			for h := range p.Heads {
				for j := range i + 1 {
					put(dot(p.Q[t*p.LDQ+h*p.HeadQ:], p.K[(t-i+j)*p.LDK:]))
				}
			}
		}
	}
	p.NonFinite = bad != 0
}
