package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// pairs are the primitives of bfloat16 products. The register tile says nothing here.
var pairs = tile.PairPrimitives{
	NN:   []tile.PairKernel{{MR: 8, NR: 32, Run: pairNN}},
	TN:   []tile.PairKernel{{MR: 8, NR: 32, Run: pairTN}},
	Pack: PairPack,
	Turn: pairTurn,
}

func pairNN(p *tile.PairProduct) {
	pairProduct(p, func(i int) int {
		if p.Lower {
			return min(p.K, p.Lead+i/2+1)
		}
		return p.K
	}, p.LDA, 1)
}

func pairTN(p *tile.PairProduct) { pairProduct(p, func(int) int { return p.K }, 1, p.LDA) }

func pairProduct(p *tile.PairProduct, depth func(i int) int, rowA, stepA int) {
	for i := range p.M {
		k := depth(i)
		row := float32(1)
		if p.Row != nil {
			row = p.Row[i]
		}
		for j := range p.N {
			sum := float32(0)
			for k := range k {
				a, b := p.A[i*rowA+k*stepA], p.B[k*p.LDB+j]
				sum += halfOf(a)*halfOf(b) + halfOf(a>>16)*halfOf(b>>16)
			}
			c := &p.C[i*p.LDC+j]
			if p.Beta == 0 {
				*c = row * sum
			} else {
				*c = p.Beta**c + row*sum
			}
		}
	}
}

// halfOf is the lower half of a pair, a denormal one taken as 0.
func halfOf(pair uint32) float32 {
	const exponent = 0x7f80
	if pair&exponent == 0 {
		pair &= 0x8000
	}
	return fromBFloat16(uint16(pair))
}

// PairPack is tile.PairPack, exported for assembly, which leaves to it the columns that fill no vector.
func PairPack(p *tile.PairPack) {
	bad := false
	at := func(i, j int) uint32 {
		if i >= p.M || j >= p.N {
			return 0
		}
		x := p.Src[i*p.LDS+j]
		if p.Row != nil {
			x *= p.Row[i]
		}
		if p.Mask != nil {
			x *= p.Mask[i*p.LDM+j]
		}
		b := uint32(toBFloat16(x))
		if math.Float32bits(x)>>23&0xff == 0 { // zero or denormal
			b = math.Float32bits(x) >> 31 << 15
		}
		bad = bad || b&0x7f80 == 0x7f80
		return b
	}
	rows, cols, di, dj := p.M, (p.N+1)/2, 0, 1
	if p.Across {
		rows, cols, di, dj = (p.M+1)/2, p.N, 1, 0
	}
	for i := range rows {
		for j := range cols {
			a, b := i*(1+di), j*(1+dj)
			p.Dst[i*p.LDD+j] = at(a, b) | at(a+di, b+dj)<<16
		}
	}
	p.NonFinite = bad
}

func pairTurn(p *tile.PairTurn) {
	for i := range p.M {
		for j := range p.N {
			p.Dst[j*p.LDD+i] = p.Src[i*p.LDS+j]
		}
	}
}
