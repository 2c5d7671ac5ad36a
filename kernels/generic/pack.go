package generic

import "github.com/rooftune/rooftune/kernels/tile"

// pack copies a block, scaled by rows. A product with NaN or Inf among its
// factors is itself NaN or Inf, so that looking at the products is enough;
// times zero they sum to zero exactly if all were finite.
func pack(p *tile.Pack) {
	p.NonFinite = false
	if p.N == 0 {
		return
	}
	for i := range p.M {
		src := p.Src[i*p.LDS:][:p.N]
		dst := p.Dst[i*p.LDD:][:len(src)]
		sum := float32(0)
		if p.Row == nil {
			for j, v := range src {
				dst[j] = v
				sum += 0 * v
			}
		} else {
			scale := p.Row[i]
			for j, v := range src {
				v *= scale
				dst[j] = v
				sum += 0 * v
			}
		}
		if sum != 0 {
			p.NonFinite = true
		}
	}
}
