package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// mapRows writes the feature map of n rows to dst, which must not overlap src. The sum of squares of MapL2 is float32: it
// overflows, and gives zeros, where a row's norm reaches 1.8e19.
func mapRows(prim *tile.Primitives, kind string, eps float32, m *mapping, dst []float32, ldd int, src []float32, lds int, n, width int) {
	switch kind {
	case tile.MapReLU:
		m.elements = tile.Map{Src: src, Dst: dst, LDS: lds, LDD: ldd, M: n, N: width, Kind: tile.MapPositive}
		prim.Map(&m.elements)
	case tile.MapELU, tile.MapExp:
		for i := range n {
			m.exp = tile.Exp{Src: src[i*lds:], Dst: dst[i*ldd:], Stride: 1, N: width, Scale: 1}
			prim.Exp(&m.exp)
		}
		if kind == tile.MapELU {
			m.elements = tile.Map{Src: src, Dst: dst, LDS: lds, LDD: ldd, M: n, N: width, Kind: tile.MapSteps}
			prim.Map(&m.elements)
		}
	case tile.MapL2:
		for i := range n {
			m.product = tile.Product{A: src[i*lds:], B: src[i*lds:], C: m.factor[:], LDA: width, LDB: width, LDC: 1, M: 1, N: 1, K: width}
			prim.NT[0].Run(&m.product)
			m.factor[0] = float32(1 / math.Sqrt(float64(m.factor[0])+float64(eps)))
			m.pack = tile.Pack{Src: src[i*lds:], Dst: dst[i*ldd:], Row: m.factor[:], LDS: width, LDD: width, M: 1, N: width}
			prim.Pack(&m.pack)
		}
	}
}

// mapping holds the arguments of a feature map's primitives, so that a call allocates nothing.
type mapping struct {
	elements tile.Map
	exp      tile.Exp
	product  tile.Product
	pack     tile.Pack
	factor   [1]float32
}
