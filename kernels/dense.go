package kernels

import (
	"fmt"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Dense is a dense layer of a hash layer's widths, output (N,h) = input (N,d) weights (d,h), computed with the table's first
// A·B primitive: what a hash layer is compared with. The weights are packed in column panels once, as a library would at load.
type Dense struct {
	p       tile.Problem
	nn      func(*tile.Product)
	width   int // of a panel
	panels  int
	input   []float32
	weights []float32 // [panel][d][width]
	output  []float32
	workers int
	product []tile.Product
	shared  shared
}

// The blocks of a dense layer: rows and depth of one product call.
const (
	denseRows  = 64
	denseDepth = 256
)

// NewDense prepares the dense counterpart of a hash-layer problem on an ISA, with generated numbers.
func NewDense(p tile.Problem, isa tile.ISA) (*Dense, error) {
	if err := CheckProblem(p); err != nil {
		return nil, err
	}
	prim, ok := primitives(isa)
	if !ok || p.Op != tile.HashLayer {
		return nil, fmt.Errorf("kernels: no dense layer for %s on %q", p.Op, isa)
	}
	s := p.Shape
	a := &Dense{p: p, nn: prim.NN[0].Run, width: prim.NN[0].NR}
	a.panels = (s.H + a.width - 1) / a.width
	a.workers = max(1, min(p.Threads, a.panels))
	a.product = make([]tile.Product, a.workers)
	a.input, a.weights, a.output = aligned(s.N*s.D), aligned(a.panels*s.D*a.width), aligned(s.N*s.H)
	for i := range a.input {
		a.input[i] = float32(i%7) - 3
	}
	for i := range a.weights {
		a.weights[i] = float32(i%5) - 2
	}
	return a, nil
}

// Run computes the layer once.
func (a *Dense) Run() { run(a, &a.shared) }

func (a *Dense) parts() int { return a.workers }

func (a *Dense) part(w int) {
	s := a.p.Shape
	p := &a.product[w]
	first, last := w*a.panels/a.workers, (w+1)*a.panels/a.workers
	for k := 0; k < s.D; k += denseDepth {
		depth := min(denseDepth, s.D-k)
		beta := float32(1)
		if k == 0 {
			beta = 0
		}
		for i := 0; i < s.N; i += denseRows {
			for j := first; j < last; j++ {
				*p = tile.Product{
					A: a.input[i*s.D+k:], B: a.weights[(j*s.D+k)*a.width:], C: a.output[i*s.H+j*a.width:],
					LDA: s.D, LDB: a.width, LDC: s.H, M: min(denseRows, s.N-i), N: min(a.width, s.H-j*a.width), K: depth, Beta: beta,
				}
				a.nn(p)
			}
		}
	}
}
