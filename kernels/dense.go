package kernels

import (
	"fmt"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// HashForms lists the configs that a hash layer's forms have by default on an ISA, and for whole rows also that of one group of tables after
// the other: what is worth trying for a number of tokens that was not tuned.
func HashForms(p tile.Problem, isa tile.ISA) ([]tile.Config, error) {
	if err := CheckProblem(p); err != nil {
		return nil, err
	}
	prim, ok := primitives(isa)
	if !ok || p.Op != tile.HashLayer || p.Dir != tile.Forward {
		return nil, fmt.Errorf("kernels: no forms of %s on %q", p, isa)
	}
	forms := []tile.Config{defaultHashForm(p, prim, formRows)}
	if s := tables(p.Shape); len(s) > 1 && p.Shape.N > 1 {
		grouped := defaultHashForm(p, prim, formRows)
		grouped["tables"] = slices.Min(s)
		forms = append(forms, grouped)
	}
	if hasSlab(p, prim) {
		forms = append(forms, defaultHashForm(p, prim, formSlab))
	}
	return forms, nil
}

// FirstTokens is a hash layer's case of fewer tokens on the same tables.
func (c *Case) FirstTokens(n int) (*Case, error) {
	p := c.Problem
	if p.Op != tile.HashLayer || p.Dir != tile.Forward || n < 0 || n > p.Shape.N {
		return nil, fmt.Errorf("kernels: no first %d tokens of %s", n, p)
	}
	p.Shape.N = n
	a := c.hash
	a.problem = p
	a.input, a.output = a.input[:n*p.Shape.D], a.output[:n*p.Shape.H]
	return &Case{Problem: p, hash: a}, nil
}

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
