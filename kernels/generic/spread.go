package generic

import "github.com/rooftune/rooftune/kernels/tile"

// Spread is the portable primitive.
func Spread(p *tile.Spread) {
	for first := 0; first < p.N; first += p.G {
		n, slab := min(p.G, p.N-first), first/p.G
		for t := range p.T {
			code, weight := p.Code[t*p.LD+first:][:n], p.Weight[t*p.LD+first:][:n]
			offset, scaled := p.Offset[slab*p.Stride+t*p.G:][:n], p.Scaled[slab*p.ScaledStride+t*p.G:][:n]
			for i, c := range code {
				offset[i], scaled[i] = p.First[first+i]+uint32(c)<<p.Shift, weight[i]
			}
			if len(p.Scales) > 0 {
				for i, c := range code {
					scaled[i] *= p.Scales[(first+i)<<p.Tau+int(c)]
				}
			}
			if len(p.Largest) > 0 {
				p.Largest[t] = largestOf(p.Largest[t], scaled)
			}
		}
	}
}

// largestOf is the largest of some numbers and one more, NaN if there is one among them.
func largestOf(largest float32, of []float32) float32 {
	for _, x := range of {
		if largest != largest {
			break
		}
		if x > largest || x != x {
			largest = x
		}
	}
	return largest
}

// Quantize is the portable primitive.
func Quantize(p *tile.Quantize) {
	for first := 0; first < p.N; first += p.G {
		n, slab := min(p.G, p.N-first), first/p.G
		for t, by := range p.By[:p.T] {
			for i := 0; i < n; i += 4 {
				var w [4]float32
				copy(w[:], p.Weight[slab*p.WeightStride+t*p.G+i:][:min(4, n-i)])
				pair := p.Quant[(slab*p.Stride+t*p.G+i)/2:][:2:2]
				q0, q1 := uint32(w[0]*by+0.5), uint32(w[1]*by+0.5)
				q2, q3 := uint32(w[2]*by+0.5), uint32(w[3]*by+0.5)
				if p.Bits == 16 {
					pair[0] = q0>>8 | q1&0xff00 | q2>>8<<16 | q3>>8<<24
					pair[1] = q0&0xff | q1&0xff<<8 | q2&0xff<<16 | q3<<24
				} else {
					pair[0], pair[1] = q0|q1<<8|q2<<16|q3<<24, 0
				}
			}
		}
	}
}
