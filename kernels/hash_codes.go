package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// hasher turns input rows into codes and weights, a range of tables at a time. A code of tau bits is made of octets: its last
// eight bits, and those before them behind zeros, whose factors of 1/2 are taken back.
type hasher struct {
	prim     *tile.Primitives
	d, tau   int
	octets   int // of a code
	released bool

	spread  []float32 // where octets are not the input's own
	bits    []int32
	p, norm []float32
	call    tile.Octets
}

// hashed are the codes of a block of tokens over a range of tables, token by token. Code and weight are in the hasher's memory, until it hashes
// again; p and norm, those of whole codes, are copied to where they are asked for.
type hashed struct {
	code    []int32
	weight  []float32
	p, norm []float32
}

// newHasher has room for n codes at a time.
func newHasher(p tile.Problem, prim *tile.Primitives, n int) *hasher {
	s := p.Shape
	a := &hasher{prim: prim, d: s.D, tau: s.Tau, octets: (s.Tau + 7) / 8, released: p.Weighting == tile.WeightingReleased}
	m := n * a.octets
	if s.Tau != 8 || s.D%8 != 0 {
		a.spread = aligned(8 * m)
	}
	a.bits, a.p, a.norm = make([]int32, m), aligned(m), aligned(m)
	return a
}

// rows hashes tables k0 to k1 of n tokens, input being the first token's row, into to.
func (a *hasher) rows(to *hashed, input []float32, n, k0, k1 int) {
	k, m := k1-k0, (k1-k0)*a.octets
	norms := a.released || to.norm != nil
	whole := n
	if k*a.tau != a.d { // rows are not side by side
		whole = 1
	}
	if a.spread != nil {
		a.spreadRows(input, n, k0, k1)
		whole = n
	}
	for i := 0; i < n; i += whole {
		x := a.spread
		if x == nil {
			x = input[i*a.d+8*k0:]
		}
		a.call = tile.Octets{X: x[:8*m*whole], Code: a.bits[i*m:][:m*whole], P: a.p[i*m:][:m*whole], N: m * whole}
		if norms {
			a.call.Norm = a.norm[i*m:][:m*whole]
		}
		a.prim.Octets(&a.call)
	}
	if a.octets > 1 || a.tau != 8 {
		a.join(n * k)
	}
	p := a.p[:n*k]
	if to.p != nil {
		copy(to.p, p)
		copy(to.norm, a.norm[:n*k])
	}
	if a.released {
		norm := a.norm[:len(p)]
		for i := range p {
			p[i] *= norm[i]
		}
	}
	to.code, to.weight = a.bits[:n*k], p
}

// join makes n codes of their octets.
func (a *hasher) join(n int) {
	missing := float32(math.Ldexp(1, 8*a.octets-a.tau))
	mask := int32(1)<<a.tau - 1
	for i := range n {
		code, p, norm := int32(0), missing, float32(0)
		for o := range a.octets {
			code = code<<8 | a.bits[i*a.octets+o]
			p *= a.p[i*a.octets+o]
			norm += a.norm[i*a.octets+o]
		}
		a.bits[i], a.p[i], a.norm[i] = code&mask, p, norm
	}
}

// spreadRows lays the sub-vectors of n tokens out in octets; what pads them stays zero.
func (a *hasher) spreadRows(input []float32, n, k0, k1 int) {
	at := 8*a.octets - a.tau
	for i := range n {
		for k := k0; k < k1; k++ {
			lo, hi := k*a.tau, min((k+1)*a.tau, a.d)
			to := a.spread[8*a.octets*(i*(k1-k0)+k-k0):][:8*a.octets]
			z := to[at:]
			copied := copy(z, input[i*a.d+lo:i*a.d+hi])
			clear(z[copied:])
		}
	}
}

// buffers names the arrays that the primitives read and write.
func (a *hasher) buffers(name func(name string, data []float32, kind sim.BufferKind)) {
	name("octets", a.spread, sim.Scratch)
	name("products", a.p, sim.Scratch)
	name("norms", a.norm, sim.Scratch)
}
