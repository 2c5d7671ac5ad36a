//go:build (amd64 || arm64) && !noasm

package asm

import "github.com/rooftune/rooftune/kernels/tile"

// The assembly does whole groups of octets. The last ones are done as the last whole group again, or, where there are fewer than a
// group, in room of their own.
func eachOctet(p *tile.Octets, group int) {
	switch {
	case p.N <= 0:
	case p.N%group == 0:
		wholeOctets(p, group)
	case p.N > group:
		wholeOctets(p, group)
		last := *p
		last.N = group
		at := p.N - group
		last.X, last.Code, last.P = p.X[8*at:], p.Code[at:], p.P[at:]
		if len(p.Norm) > 0 {
			last.Norm = p.Norm[at:]
		}
		wholeOctets(&last, group)
	default:
		var room struct {
			x       [8 * 16]float32
			code    [16]int32
			p, norm [16]float32
		}
		copy(room.x[:], p.X[:8*p.N])
		few := tile.Octets{X: room.x[:], Code: room.code[:], P: room.p[:], N: group}
		if len(p.Norm) > 0 {
			few.Norm = room.norm[:]
		}
		wholeOctets(&few, group)
		copy(p.Code[:p.N], room.code[:])
		copy(p.P[:p.N], room.p[:])
		if len(p.Norm) > 0 {
			copy(p.Norm[:p.N], room.norm[:])
		}
	}
}
