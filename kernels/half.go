package kernels

import (
	"math"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// attentionBits are the arrays of a call that are stored in 16 bits; the float32 views of those are nil.
type attentionBits struct {
	query, key, value, decay, beta, output []uint16 // of the activations' type
	past, state, kept                      []uint16 // of the state's type
}

// halves says whether activations are stored in 16 bits, halfState whether states are.
func (a *attentionArgs) halves() bool    { return a.problem.DType != tile.Float32 }
func (a *attentionArgs) halfState() bool { return a.problem.StateDType != "" }

// converter copies between float32 and a 16-bit type with a table's primitives, in calls that are short enough.
type converter struct {
	prim   *tile.Primitives
	widen  tile.Widen
	narrow tile.Narrow
}

func (c *converter) toFloat32(dtype string, dst []float32, ldd int, src []uint16, lds int, n, width int) {
	rows := max(1, maxCallFlops/4/max(1, width))
	for i := 0; i < n; i += rows {
		c.widen = tile.Widen{Src: src[i*lds:], Dst: dst[i*ldd:], LDS: lds, LDD: ldd, M: min(rows, n-i), N: width, BFloat16: dtype == tile.BFloat16}
		c.prim.Widen(&c.widen)
	}
}

func (c *converter) fromFloat32(dtype string, dst []uint16, ldd int, src []float32, lds int, n, width int) {
	rows := max(1, maxCallFlops/4/max(1, width))
	for i := 0; i < n; i += rows {
		c.narrow = tile.Narrow{Src: src[i*lds:], Dst: dst[i*ldd:], LDS: lds, LDD: ldd, M: min(rows, n-i), N: width, BFloat16: dtype == tile.BFloat16}
		c.prim.Narrow(&c.narrow)
	}
}

// release drops the caller's arrays.
func (c *converter) release() { c.widen, c.narrow = tile.Widen{}, tile.Narrow{} }

// whole converts an array in pieces of one row.
func (c *converter) whole(dtype string, dst []float32, src []uint16) {
	const piece = 1 << 16
	for i := 0; i < len(src); i += piece {
		n := min(piece, len(src)-i)
		c.toFloat32(dtype, dst[i:], n, src[i:], n, 1, n)
	}
}

func (c *converter) wholeBack(dtype string, dst []uint16, src []float32) {
	const piece = 1 << 16
	for i := 0; i < len(src); i += piece {
		n := min(piece, len(src)-i)
		c.fromFloat32(dtype, dst[i:], n, src[i:], n, 1, n)
	}
}

// As gives a tensor's numbers in another type: rounded to nearest, ties to even, or widened exactly. It is the tensor itself if it
// has that type. It panics on a type that is not float32, bfloat16 or float16, or data that is not as long as the shape says.
func (t Tensor) As(dtype string) Tensor {
	if err := checkLength("As", t); err != nil {
		panic(err)
	}
	c := converter{prim: genericPrimitives()}
	switch {
	case t.dtype() == dtype:
		return t
	case dtype == tile.Float32:
		to := NewTensor(t.Shape...)
		c.whole(t.DType, to.Data, t.Bits)
		return to
	case dtype != tile.BFloat16 && dtype != tile.Float16:
		panic("kernels: unknown type " + dtype)
	case t.dtype() != tile.Float32:
		return t.As(tile.Float32).As(dtype)
	}
	to := NewHalfTensor(dtype, t.Shape...)
	c.wholeBack(dtype, to.Bits, t.Data)
	return to
}

// asFloat32 shows memory of 16-bit numbers as half as many float32, for a prefetch, which reads none of them.
func asFloat32(v []uint16) []float32 {
	if len(v) < 2 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&v[0])), len(v)/2)
}

// widened lets a form that knows float32 alone run on 16-bit arrays: it converts whole arrays before and after. The
// recurrence converts chunk by chunk and does without.
type widened struct {
	walker
	converter
	outer attentionArgs // the caller's
	inner attentionArgs // with float32 in their place
	room  [9][]float32
}

func (w *widened) set(args attentionArgs) {
	w.outer, w.inner = args, args
	for i, x := range []struct {
		bits  []uint16
		view  *[]float32
		dtype string
		read  bool
	}{
		{args.bits.query, &w.inner.query, args.problem.DType, true}, {args.bits.key, &w.inner.key, args.problem.DType, true},
		{args.bits.value, &w.inner.value, args.problem.DType, true}, {args.bits.decay, &w.inner.decay, args.problem.DType, true},
		{args.bits.beta, &w.inner.beta, args.problem.DType, true}, {args.bits.output, &w.inner.output, args.problem.DType, false},
		{args.bits.past, &w.inner.past, args.problem.StateDType, true}, {args.bits.state, &w.inner.state, args.problem.StateDType, false},
		{args.bits.kept, &w.inner.keptStates, args.problem.StateDType, false},
	} {
		if x.bits == nil {
			continue
		}
		w.room[i] = grown(w.room[i], len(x.bits))
		*x.view = w.room[i][:len(x.bits)]
		if x.read {
			w.whole(x.dtype, *x.view, x.bits)
		}
	}
	w.inner.problem.DType, w.inner.problem.StateDType, w.inner.bits = tile.Float32, "", attentionBits{}
	w.walker.set(w.inner)
}

func (w *widened) args() attentionArgs { return w.outer }

func (w *widened) release() {
	w.walker.release()
	w.converter.release()
	w.outer, w.inner = attentionArgs{}, attentionArgs{}
}

// finish hands the results to the caller.
func (w *widened) finish() {
	if b := w.outer.bits; b.output != nil {
		w.wholeBack(w.outer.problem.DType, b.output, w.inner.output)
	}
	if b := w.outer.bits; b.state != nil {
		w.wholeBack(w.outer.problem.StateDType, b.state, w.inner.state)
	}
	if b := w.outer.bits; b.kept != nil {
		w.wholeBack(w.outer.problem.StateDType, b.kept, w.inner.keptStates)
	}
}

func (w *widened) scratchBuffers() map[string][]float32 {
	b := w.walker.scratchBuffers()
	for i, room := range w.room {
		b[string(rune('0'+i))+" widened"] = room
	}
	return b
}

// roundoff is the largest relative error of one rounding to a dtype, smallest the smallest normal number of it and largest the largest
// number.
func roundoff(dtype string) (unit, smallest, largest float64) {
	switch dtype {
	case tile.BFloat16:
		return 0x1p-8, 0x1p-126, math.MaxFloat32
	case tile.Float16:
		return 0x1p-11, 0x1p-14, 65504
	}
	return 0, 0, math.MaxFloat32
}
