package generic

import "github.com/rooftune/rooftune/kernels/tile"

// elementwise is tile.Map.
func elementwise(p *tile.Map) {
	for i := range p.M {
		if p.N == 0 {
			return
		}
		dst := p.Dst[i*p.LDD:][:p.N]
		for j, x := range p.Src[i*p.LDS:][:p.N] {
			switch {
			case p.Kind == tile.MapSteps && x >= 0:
				dst[j] = x + 1
			case p.Kind == tile.MapSteps:
			case p.Kind == tile.MapGate:
				if x <= 0 {
					dst[j] = 0
				}
			case p.Kind == tile.MapSlope:
				dst[j] *= min(x, 1)
			case p.Kind == tile.MapTimes:
				dst[j] *= x
			case x < 0:
				dst[j] = 0
			default:
				dst[j] = x
			}
		}
	}
}
