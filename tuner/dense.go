package tuner

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/rooftune/rooftune/kernels/asm"
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// dense is a dense layer, output (N, h) = input (N, d) · weights (d, h), on the ISA's own A·B products: what a
// hash layer of the same widths stands in for. The weights are packed beforehand, as a dense layer's would be.
type dense struct {
	n, d, h int
	threads int
	product func(*tile.Product)
	input   []float32
	panels  [][]float32 // of the weights: panelDepth x panelWidth, column blocks outermost
	output  []float32
	rows    int // of one call
}

const (
	panelDepth = 256
	panelWidth = 256
)

func newDense(n, d, h int, isa tile.ISA, threads int) (*dense, error) {
	table := generic.Primitives()
	rows := 2 // a call must stay short, and portable Go does a few flops a nanosecond
	if isa != tile.Generic {
		var ok bool
		if table, ok = asm.Primitives(isa); !ok {
			return nil, fmt.Errorf("ISA %q cannot run here", isa)
		}
		rows = 32
	}
	x := &dense{n: n, d: d, h: h, threads: threads, product: table.NN[0].Run, rows: rows}
	random := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = random.Float32() - 0.5
		}
		return v
	}
	x.input, x.output = fill(n*d), make([]float32, n*h)
	for j := 0; j < h; j += panelWidth {
		for k := 0; k < d; k += panelDepth {
			x.panels = append(x.panels, fill(min(panelDepth, d-k)*min(panelWidth, h-j)))
		}
	}
	return x, nil
}

// Run computes the layer once, column blocks in turns over the threads.
func (x *dense) Run() error {
	blocks := (x.h + panelWidth - 1) / panelWidth
	workers := min(x.threads, blocks)
	var group sync.WaitGroup
	for w := 1; w < workers; w++ {
		group.Go(func() { x.columns(w, workers) })
	}
	x.columns(0, workers)
	group.Wait()
	return nil
}

func (x *dense) columns(first, stride int) {
	deep := (x.d + panelDepth - 1) / panelDepth
	for j := first * panelWidth; j < x.h; j += stride * panelWidth {
		width := min(panelWidth, x.h-j)
		for k := 0; k < x.d; k += panelDepth {
			p := tile.Product{
				B: x.panels[j/panelWidth*deep+k/panelDepth], LDA: x.d, LDB: width, LDC: x.h,
				N: width, K: min(panelDepth, x.d-k), Beta: 1,
			}
			if k == 0 {
				p.Beta = 0
			}
			for i := 0; i < x.n; i += x.rows {
				p.M = min(x.rows, x.n-i)
				p.A, p.C = x.input[i*x.d+k:], x.output[i*x.h+j:]
				x.product(&p)
			}
		}
	}
}

func (x *dense) ExecutedFlops() (int64, error) { return 2 * int64(x.n) * int64(x.d) * int64(x.h), nil }

// Close has nothing to free.
func (x *dense) Close() {}
