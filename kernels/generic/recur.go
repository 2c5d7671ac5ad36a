package generic

import "github.com/rooftune/rooftune/kernels/tile"

// recur is tile.Recur, token by token.
func recur(p *tile.Recur) {
	for i := range p.T {
		t := i
		if p.Reverse {
			t = p.T - 1 - i
		}
		decay, rowV := float32(1), float32(1)
		if p.Decay != nil {
			decay = p.Decay[i]
		}
		if p.RowV != nil {
			rowV = p.RowV[i]
		}
		value := p.V[t*p.LDV:][:p.N]
		for k, key := range p.K[t*p.LDK:][:p.Dk] {
			s := p.S[k*p.LDS:][:p.N]
			if decay != 1 {
				d := decay
				if p.D != nil {
					d = p.D[i*p.LDD+k]
				}
				for j := range s {
					s[j] *= d
				}
			}
			key *= rowV
			for j, v := range value {
				s[j] += key * v
			}
		}
		for h := range p.Heads {
			rowO := float32(1)
			if p.RowO != nil {
				rowO = p.RowO[i*p.Heads+h]
			}
			out := p.O[t*p.LDO+h*p.HeadO:][:p.N]
			if !p.Accumulate {
				clear(out)
			}
			for k, q := range p.Q[t*p.LDQ+h*p.HeadQ:][:p.Dk] {
				q *= rowO
				for j, s := range p.S[k*p.LDS:][:p.N] {
					out[j] += q * s
				}
			}
		}
	}
}
