package generic

import "github.com/rooftune/rooftune/kernels/tile"

// Trail is tile.Trail in portable Go.
func Trail(p *tile.Trail) {
	if p.N == 0 {
		return
	}
	sum := p.Sum[:p.N]
	for i := p.M - 1; i >= 0; i-- {
		y, dy := p.Y[i*p.LDY:][:p.N], p.DY[i*p.LDDY:][:p.N]
		dst := p.Dst[i*p.LDD:][:p.N]
		for j := range sum {
			term := -y[j] * dy[j]
			for h := range p.Heads {
				term += p.X[i*p.LDX+h*p.HeadX+j] * p.DX[i*p.LDDX+h*p.HeadDX+j]
			}
			sum[j] += float64(term)
			dst[j] = float32(sum[j])
		}
	}
}
