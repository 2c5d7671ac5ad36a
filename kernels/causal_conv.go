package kernels

import (
	"sync"

	"github.com/rooftune/rooftune/kernels/tile"
)

// The activations of CausalConv.
const (
	ActivationNone  = "none"
	ActivationSiLU  = "silu"
	ActivationSwish = "swish" // the same as silu
)

// CausalConv is ONNX CausalConvWithState: a convolution over time of its own for every channel, which sees the K-1 inputs before,
// channels first. With x the past state followed by the input:
//
//	y[b,c,l] = bias[c] + sum over j < K of weight[c,0,j] x[b,c,l+j]
//	output   = y, or y sigmoid(y)
//
// Sums are float32. With 16-bit arrays y is rounded to their type before the activation and after it. Values may be used by many
// goroutines at once.
type CausalConv struct {
	Activation string // ActivationNone (also ""), ActivationSiLU or ActivationSwish
	Threads    int    // workers, 0 for all that this process may use
	// ISA runs this instruction set in place of the selected one; "" leaves the choice to the library.
	ISA tile.ISA
	// Candidate runs this ISA and config in place of the selected ones, whatever ISA says; nil leaves the choice to the library.
	Candidate *tile.Candidate
}

// ConvInputs are the arrays of a convolution, all of one type.
type ConvInputs struct {
	Input     Tensor // (B, C, L)
	Weight    Tensor // (C, 1, K)
	Bias      Tensor // (C), optional
	PastState Tensor // (B, C, K-1), optional: zeros if absent
}

// ConvOutputs are what a convolution writes.
type ConvOutputs struct {
	Output       Tensor // (B, C, L)
	PresentState Tensor // (B, C, K-1), optional: the last K-1 of x; may be the very memory of PastState
}

// Forward computes the output and the state after the last input. It returns an *ArgumentError that names the argument if one is
// wrong, before anything is written. L = 0 hands the state on unchanged.
func (o *CausalConv) Forward(out *ConvOutputs, in *ConvInputs) error {
	a, err := o.check(out, in)
	if err != nil {
		return err
	}
	if a.b*a.c == 0 {
		return nil
	}
	candidate := o.Candidate
	if candidate == nil && o.ISA != "" {
		if _, ok := primitives(o.ISA); !ok {
			return refuse("ISA", "one that may run here", "%q", o.ISA)
		}
		candidate = &tile.Candidate{ISA: o.ISA, Config: defaultConv(a.problem())}
	}
	r, err := resolveGiven(a.problem(), candidate)
	if err != nil {
		return err
	}
	prim, _ := primitives(r.choice.Candidate.ISA)
	x := idleConvs.Get().(*conv)
	defer idleConvs.Put(x)
	x.withConfig(prim, r.choice.Candidate.Config)
	x.set(a)
	run(x, &x.shared)
	x.release()
	return nil
}

// convArgs are checked arguments.
type convArgs struct {
	b, c, l, k, threads                      int
	dtype                                    string
	silu                                     bool
	input, weight, bias, past, output, state Tensor
}

func (o *CausalConv) check(out *ConvOutputs, in *ConvInputs) (a convArgs, err error) {
	if in == nil {
		return a, refuse("in", "non-nil", "nil")
	}
	if out == nil {
		return a, refuse("out", "non-nil", "nil")
	}
	switch o.Activation {
	case ActivationNone, "":
	case ActivationSiLU, ActivationSwish:
		a.silu = true
	default:
		return a, refuse("Activation", `"none", "silu" or "swish"`, "%q", o.Activation)
	}
	if o.Threads < 0 {
		return a, refuse("Threads", "0 (all) or positive", "%d", o.Threads)
	}
	if s := in.Input.Shape; len(s) != 3 {
		return a, refuse("input", "rank 3, (B,C,L)", "rank %d, shape %v", len(s), s)
	}
	if s := in.Weight.Shape; len(s) != 3 || s[2] < 1 {
		return a, refuse("weight", "(C,1,K) with K at least 1", "shape %v", s)
	}
	a.b, a.c, a.l, a.k = in.Input.Shape[0], in.Input.Shape[1], in.Input.Shape[2], in.Weight.Shape[2]
	a.dtype = in.Input.dtype()
	for _, x := range [...]struct {
		name string
		t    Tensor
	}{{"weight", in.Weight}, {"bias", in.Bias}, {"past_state", in.PastState}, {"output", out.Output}, {"present_state", out.PresentState}} {
		if x.t.present() && x.t.dtype() != a.dtype {
			return a, refuse(x.name, a.dtype, "%s", x.t.dtype())
		}
	}
	if err := checkStored("input", "(B,C,L)", in.Input, a.b, a.c, a.l); err != nil {
		return a, err
	}
	if err := checkStored("weight", "(C,1,K)", in.Weight, a.c, 1, a.k); err != nil {
		return a, err
	}
	if in.Bias.present() {
		if err := checkStored("bias", "(C)", in.Bias, a.c); err != nil {
			return a, err
		}
	}
	if err := checkStored("output", "(B,C,L)", out.Output, a.b, a.c, a.l); err != nil {
		return a, err
	}
	for _, x := range [...]struct {
		name string
		t    Tensor
	}{{"past_state", in.PastState}, {"present_state", out.PresentState}} {
		if x.t.present() {
			if err := checkStored(x.name, "(B,C,K-1)", x.t, a.b, a.c, a.k-1); err != nil {
				return a, err
			}
		}
	}
	if _, ok := volume([]int{a.b, a.c, a.l + a.k}); !ok {
		return a, refuse("input", "small enough to address with its state", "shape %v with %d taps", in.Input.Shape, a.k)
	}
	a.input, a.weight, a.bias, a.past, a.output, a.state = in.Input, in.Weight, in.Bias, in.PastState, out.Output, out.PresentState
	if err := a.checkAliases(); err != nil {
		return a, err
	}
	s, err := selected()
	if err != nil {
		return a, err
	}
	if a.threads = o.Threads; a.threads == 0 {
		a.threads = s.machine.Usable
	}
	return a, nil
}

// checkAliases refuses outputs that overlap an input or each other; only the state may be updated in place.
func (a *convArgs) checkAliases() error {
	of := func(name string, t Tensor) extent { return extentOf(name, t.Data, t.Bits) }
	outputs := [...]extent{of("output", a.output), of("present_state", a.state)}
	inputs := [...]extent{of("input", a.input), of("weight", a.weight), of("bias", a.bias), of("past_state", a.past)}
	return refuseOverlaps(outputs[:], inputs[:])
}

var idleConvs = sync.Pool{New: func() any { return &conv{} }}

// conv is a prepared convolution: blocks of rows, the start of each row from a copy that joins the past state with it, the
// rest where it lies.
type conv struct {
	convArgs
	prim    *tile.Primitives
	block   int  // rows of one call
	stream  bool // outputs go past the caches
	workers int
	work    []*convWork
	weights []float32 // and bias, as float32
	shared  shared
}

type convWork struct {
	join, row, sums, ones []float32
	conv                  tile.Conv
	convert               converter
}

const (
	// maxConvRows bounds the rows that one call takes.
	maxConvRows = 256
	// convColumns is how many outputs of a row one call takes, or a little more: a call moves some 512 KiB.
	convColumns = 4096
)

// withConfig sets what a candidate says.
func (x *conv) withConfig(prim *tile.Primitives, cfg tile.Config) {
	x.prim, x.block, x.stream = prim, cfg["rows"], cfg["stream"] == 1
}

// release drops the caller's arrays.
func (x *conv) release() { x.convArgs = convArgs{} }

// set points the convolution at checked arguments. It allocates only what no earlier call has needed.
func (x *conv) set(a convArgs) {
	x.convArgs = a
	rows := a.b * a.c
	bytes := float64(rows) * float64(a.l+a.k) * 8
	x.workers = max(1, min(worthwhile(a.threads, bytes/minWorkerBytes), rows))
	for len(x.work) < x.workers {
		x.work = append(x.work, &convWork{})
	}
	grow := func(v *[]float32, n int) { *v = grown(*v, n) }
	half := a.dtype != tile.Float32
	for _, w := range x.work[:x.workers] {
		if a.l == 1 {
			grow(&w.sums, stepRows)
		}
		w.convert.prim = x.prim
		grow(&w.join, x.block*(x.head()+a.k-1))
		if half {
			grow(&w.row, x.block*(x.piece()+a.k-1))
			grow(&w.sums, x.block*x.piece())
			if len(w.ones) < x.block {
				grow(&w.ones, x.block)
				for i := range w.ones {
					w.ones[i] = 1
				}
			}
		}
	}
	if half {
		grow(&x.weights, a.c*(a.k+1))
		c := &x.work[0].convert
		c.whole(a.dtype, x.weights, a.weight.Bits)
		c.whole(a.dtype, x.weights[a.c*a.k:], a.bias.Bits)
	}
}

// head is how many outputs of a row come from the copy that joins it to the past: all that reach back to it, and so many that the
// rest begins on a cache line where the rows do.
func (x *conv) head() int { return min(x.l, roundUp(max(x.k-1, 1), cacheLine/4)) }

// piece is how many outputs of a row are converted together: no fewer than reach back from one piece to the one before.
func (x *conv) piece() int { return min(x.l, max(convColumns, x.k-1)) }

func (x *conv) parts() int { return x.workers }

func (x *conv) part(i int) {
	w := x.work[i]
	rows := x.b * x.c
	first, last := i*rows/x.workers, (i+1)*rows/x.workers
	if x.l == 1 && x.dtype == tile.Float32 {
		x.step(w, first, last)
		first = last
	}
	for r := first; r < last; {
		n := min(x.block, last-r, x.c-r%x.c) // of one batch item, whose channels follow each other
		if x.dtype == tile.Float32 {
			x.rows(w, r, n)
		} else {
			x.halfRows(w, r, n)
		}
		r += n
	}
	w.conv = tile.Conv{}
	w.convert.release()
}

// stepRows is how many channels of a decode step are activated together.
const stepRows = 1024

// one is the weight of a convolution that only activates.
var one = []float32{1}

// step takes the one output of each row from first to last. Rows are shorter than a vector, so their sums are scalar, and round where a
// longer call's multiply-adds do not; those of many rows are activated together.
func (x *conv) step(w *convWork, first, last int) {
	state := x.k - 1
	for r := first; r < last; {
		n := min(stepRows, last-r, x.c-r%x.c)
		sums := x.output.Data[r:][:n]
		if x.silu {
			sums = w.sums[:n]
		}
		if x.bias.Data != nil {
			copy(sums, x.bias.Data[r%x.c:])
		} else {
			clear(sums)
		}
		weight, input := x.weight.Data[r%x.c*x.k:][:n*x.k], x.input.Data[r:][:n]
		var past []float32
		if x.past.Data != nil {
			past = x.past.Data[r*state:][:n*state]
		}
		switch {
		case past != nil && state == 3:
			for i := range sums {
				v, p := (*[4]float32)(weight[4*i:]), (*[3]float32)(past[3*i:])
				sums[i] += v[0]*p[0] + v[1]*p[1] + (v[2]*p[2] + v[3]*input[i])
			}
		case past != nil:
			for i := range sums {
				y := sums[i]
				for j, p := range past[i*state:][:state] {
					y += weight[i*x.k+j] * p
				}
				sums[i] = y + weight[i*x.k+state]*input[i]
			}
		default:
			for i := range sums {
				sums[i] += weight[i*x.k+state] * input[i]
			}
		}
		if to := x.state.Data; to != nil && past != nil && state == 3 {
			to = to[r*3:][:n*3]
			for i, v := range input {
				p, s := (*[3]float32)(past[3*i:]), (*[3]float32)(to[3*i:])
				s[0], s[1], s[2] = p[1], p[2], v
			}
		} else {
			moveState(to, x.past.Data, x.input.Data, r, n, state, 1)
		}
		if x.silu {
			w.conv = tile.Conv{Src: sums, LDS: n, Dst: x.output.Data[r:], LDD: n, Weight: one, M: 1, N: n, K: 1, SiLU: true}
			x.prim.Conv(&w.conv)
		}
		r += n
	}
}

// rows takes n float32 rows from row r on.
func (x *conv) rows(w *convWork, r, n int) {
	state, head, c := x.k-1, x.head(), r%x.c
	width := state + head
	for i := range n {
		join := w.join[i*width:][:width]
		if x.past.Data != nil {
			copy(join, x.past.Data[(r+i)*state:][:state])
		} else {
			clear(join[:state])
		}
		copy(join[state:], x.input.Data[(r+i)*x.l:][:head])
	}
	moveState(x.state.Data, x.past.Data, x.input.Data, r, n, state, x.l)
	call := tile.Conv{Weight: x.weight.Data[c*x.k:], M: n, K: x.k, SiLU: x.silu}
	if x.bias.Data != nil {
		call.Bias = x.bias.Data[c:]
	}
	for at := 0; at < x.l; {
		w.conv = call
		w.conv.Src, w.conv.LDS, w.conv.N = w.join, width, head
		if at > 0 {
			w.conv.Src, w.conv.LDS, w.conv.N, w.conv.Stream = x.input.Data[r*x.l+at-state:], x.l, min(convColumns, x.l-at), x.stream
		}
		w.conv.Dst, w.conv.LDD = x.output.Data[r*x.l+at:], x.l
		at += w.conv.N
		x.prim.Conv(&w.conv)
	}
}

// halfRows takes n rows of 16-bit numbers from row r on, piece by piece. The sum is rounded to their type, then the activation
// of what is left of it.
func (x *conv) halfRows(w *convWork, r, n int) {
	state, c := x.k-1, r%x.c
	for at := 0; at < x.l; {
		columns := min(x.piece(), x.l-at)
		width := state + columns
		if at == 0 {
			if x.past.Bits != nil {
				w.convert.toFloat32(x.dtype, w.row, width, x.past.Bits[r*state:], state, n, state)
			} else {
				for i := range n {
					clear(w.row[i*width:][:state])
				}
			}
			w.convert.toFloat32(x.dtype, w.row[state:], width, x.input.Bits[r*x.l:], x.l, n, columns)
		} else {
			w.convert.toFloat32(x.dtype, w.row, width, x.input.Bits[r*x.l+at-state:], x.l, n, width)
		}
		w.conv = tile.Conv{Src: w.row, LDS: width, Dst: w.sums, LDD: columns, Weight: x.weights[c*x.k:], M: n, N: columns, K: x.k}
		if x.bias.Bits != nil {
			w.conv.Bias = x.weights[x.c*x.k+c:]
		}
		x.prim.Conv(&w.conv)
		to := x.output.Bits[r*x.l+at:]
		w.convert.fromFloat32(x.dtype, to, x.l, w.sums, columns, n, columns)
		if x.silu {
			w.convert.toFloat32(x.dtype, w.row, columns, to, x.l, n, columns)
			w.conv = tile.Conv{Src: w.row, LDS: columns, Dst: w.sums, LDD: columns, Weight: w.ones, M: n, N: columns, K: 1, SiLU: true}
			x.prim.Conv(&w.conv)
			w.convert.fromFloat32(x.dtype, to, x.l, w.sums, columns, n, columns)
		}
		at += columns
	}
	moveState(x.state.Bits, x.past.Bits, x.input.Bits, r, n, state, x.l)
}

// moveState writes the last of past and input of n rows as their new state, in place if that is where the past is.
func moveState[E float32 | uint16](to, past, input []E, r, n, state, l int) {
	if to == nil {
		return
	}
	for i := r; i < r+n; i++ {
		s := to[i*state:][:state]
		switch {
		case l >= state:
			copy(s, input[(i+1)*l-state:][:state])
			continue
		case past != nil:
			copy(s, past[i*state+l:][:state-l])
		default:
			clear(s[:state-l])
		}
		copy(s[state-l:], input[i*l:][:l])
	}
}

// ConvErrorBound is the largest error of an output that rounding explains, over the sum of the absolute values of its terms
// (generic.Conv): k+1 additions and products, the exponential and the quotient of the activation, whose slope is at most 1.1, and
// with 16-bit arrays two roundings to their type.
func ConvErrorBound(k int, dtype string) float64 {
	unit, _, _ := roundoff(dtype)
	return eps*float64(2*k+32) + 2.2*unit
}
