package generic

import "github.com/rooftune/rooftune/kernels/tile"

// Spread is the portable primitive.
func Spread(p *tile.Spread) {
	code, first, offset := p.Code[:p.N], p.First[:p.N], p.Offset[:p.N]
	for i, c := range code {
		offset[i] = first[i] + uint32(c)<<p.Shift
	}
	if len(p.Scaled) == 0 {
		return
	}
	weight, scaled := p.Weight[:p.N], p.Scaled[:p.N]
	if len(p.Scales) > 0 {
		for i, w := range weight {
			scaled[i] = w * p.Scales[i<<p.Tau+int(code[i])]
		}
	} else {
		copy(scaled, weight)
	}
	largest := float32(0)
	for _, w := range scaled {
		if w > largest || w != w {
			largest = w
		}
		if w != w {
			break
		}
	}
	p.Largest = largest
}

// Quantize is the portable primitive.
func Quantize(p *tile.Quantize) {
	for i := 0; i < p.N; i += 4 {
		w, pair := p.Weight[i:][:4:4], p.Quant[i/2:][:2:2]
		q0, q1 := uint32(w[0]*p.By+0.5), uint32(w[1]*p.By+0.5)
		q2, q3 := uint32(w[2]*p.By+0.5), uint32(w[3]*p.By+0.5)
		if p.Bits == 16 {
			pair[0] = q0>>8 | q1&0xff00 | q2>>8<<16 | q3>>8<<24
			pair[1] = q0&0xff | q1&0xff<<8 | q2&0xff<<16 | q3<<24
		} else {
			pair[0], pair[1] = q0|q1<<8|q2<<16|q3<<24, 0
		}
	}
}
