//go:build (amd64 || arm64) && !noasm

package asm

import (
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// spreadLanes are the tables of which assembly takes whole multiples. Those left over, and slabs of other sizes, are left to portable Go.
const spreadLanes = 4

func spreadInFours(p *tile.Spread) {
	if p.G%spreadLanes != 0 || p.T == 0 {
		generic.Spread(p)
		return
	}
	whole := *p
	whole.N &^= spreadLanes - 1
	wholeSpread(&whole)
	if done := whole.N; done < p.N {
		slab, place := done/p.G, done%p.G
		rest := *p
		rest.N -= done
		rest.Code, rest.Weight, rest.First = p.Code[done:], p.Weight[done:], p.First[done:]
		rest.Offset, rest.Scaled = p.Offset[slab*p.Stride+place:], p.Scaled[slab*p.ScaledStride+place:]
		if len(p.Scales) > 0 {
			rest.Scales = p.Scales[done<<p.Tau:]
		}
		generic.Spread(&rest)
	}
}

func quantizeInFours(p *tile.Quantize) {
	if p.G%spreadLanes != 0 || p.T == 0 {
		generic.Quantize(p)
		return
	}
	whole := *p
	whole.N &^= spreadLanes - 1
	wholeQuantize(&whole)
	if done := whole.N; done < p.N {
		slab, place := done/p.G, done%p.G
		rest := *p
		rest.N -= done
		rest.Weight, rest.Quant = p.Weight[slab*p.WeightStride+place:], p.Quant[(slab*p.Stride+place)/2:]
		generic.Quantize(&rest)
	}
}
