package kernels

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Tensor is a dense row-major array. The zero Tensor means that an
// optional argument is absent.
type Tensor struct {
	Data  []float32 // elements of a float32 array
	Shape []int
	// DType is tile.Float32 (also ""), or tile.BFloat16 or tile.Float16, whose elements are Bits and not Data.
	DType string
	Bits  []uint16
}

// NewHalfTensor allocates a zeroed tensor of a 16-bit type. It panics on a shape that is negative or overflows, as make does.
func NewHalfTensor(dtype string, shape ...int) Tensor {
	n, ok := volume(shape)
	if !ok {
		panic(fmt.Sprintf("kernels: shape %v is negative or too large", shape))
	}
	return Tensor{Bits: make([]uint16, n), Shape: shape, DType: dtype}
}

// float32s and halves give the elements if they are of that type. An empty array of the other type may lie beside them, and must
// not be taken for what is asked for.
func (t Tensor) float32s() []float32 {
	if t.dtype() != tile.Float32 {
		return nil
	}
	return t.Data
}

func (t Tensor) halves() []uint16 {
	if t.dtype() == tile.Float32 {
		return nil
	}
	return t.Bits
}

// dtype is the type of the elements.
func (t Tensor) dtype() string {
	if t.DType == "" {
		return tile.Float32
	}
	return t.DType
}

// NewTensor allocates a zeroed tensor. It panics on a shape that is negative
// or overflows, as make does.
func NewTensor(shape ...int) Tensor {
	n, ok := volume(shape)
	if !ok {
		panic(fmt.Sprintf("kernels: shape %v is negative or too large", shape))
	}
	return Tensor{Data: aligned(n), Shape: shape}
}

func (t Tensor) present() bool { return t.Shape != nil || t.Data != nil || t.Bits != nil }

// ArgumentError names the argument that an op refused, what it was and what it must be.
type ArgumentError struct {
	Argument string
	Got      string
	Must     string
}

// Error gives "value: shape [2 3 5] must be ...".
func (e *ArgumentError) Error() string {
	return fmt.Sprintf("%s: %s, must be %s", e.Argument, e.Got, e.Must)
}

func refuse(argument, must, format string, a ...any) error {
	return &ArgumentError{Argument: argument, Got: fmt.Sprintf(format, a...), Must: must}
}

// maxElements keeps every byte count and every product of two index terms of an op inside an int.
const maxElements = math.MaxInt >> 8

// volume is the number of elements of a shape, or false if a dimension is
// negative or the number too large to address.
func volume(shape []int) (int, bool) {
	n, zero := 1, false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			zero = true
		case n > maxElements/d:
			return 0, false
		default:
			n *= d
		}
	}
	if zero {
		return 0, true
	}
	return n, true
}

// checkTensor refuses a tensor that is not float32, that does not have exactly this shape, or whose data is not as long as
// its shape says. layout names the dimensions for the message.
func checkTensor(name, layout string, t Tensor, shape ...int) error {
	if t.dtype() != tile.Float32 {
		return refuse(name, "float32", "%s", t.dtype())
	}
	return checkStored(name, layout, t, shape...)
}

// checkStored is checkTensor for elements of any type.
func checkStored(name, layout string, t Tensor, shape ...int) error {
	if len(t.Shape) != len(shape) {
		return refuse(name, fmt.Sprintf("rank %d, %s", len(shape), layout), "rank %d, shape %v", len(t.Shape), t.Shape)
	}
	for i, d := range t.Shape {
		if d != shape[i] {
			return refuse(name, fmt.Sprintf("%v, %s", append([]int(nil), shape...), layout), "shape %v", t.Shape)
		}
	}
	return checkLength(name, t)
}

func checkLength(name string, t Tensor) error {
	n, ok := volume(t.Shape)
	if !ok {
		return refuse(name, "non-negative and small enough to address", "shape %v", t.Shape)
	}
	have, other := len(t.Data), len(t.Bits)
	switch t.dtype() {
	case tile.Float32:
	case tile.BFloat16, tile.Float16:
		have, other = other, have
	default:
		return refuse(name, "float32, bfloat16 or float16", "of type %q", t.DType)
	}
	if have != n || other != 0 {
		return refuse(name, fmt.Sprintf("%d for shape %v, of %s alone", n, t.Shape, t.dtype()), "%d elements and %d of another type", have, other)
	}
	return nil
}

// overlaps says whether two slices share memory.
func overlaps[A, B any](a []A, b []B) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	a0, b0 := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	a1, b1 := a0+uintptr(len(a))*unsafe.Sizeof(a[0]), b0+uintptr(len(b))*unsafe.Sizeof(b[0])
	return a0 < b1 && b0 < a1
}

// same says whether two slices are the very same memory, so that an update in place is meant.
func same(a, b []float32) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}

// cacheLine is the alignment of every scratch buffer, in bytes.
const cacheLine = 64

// grown is v, or fresh memory if it is shorter than n.
func grown(v []float32, n int) []float32 {
	if len(v) < n {
		return aligned(n)
	}
	return v
}

// aligned allocates n zeroed floats that start at a cache line.
func aligned(n int) []float32 {
	if n == 0 {
		return []float32{}
	}
	b := make([]float32, n+cacheLine/4)
	adviseHuge(b)
	return fromLine(b, n)
}

// blank is aligned for arrays whose addresses alone matter: it asks for no large pages, which would be cleared as a whole at the first touch.
func blank(n int) []float32 {
	if n == 0 {
		return []float32{}
	}
	return fromLine(make([]float32, n+cacheLine/4), n)
}

// fromLine gives n elements of b from its first cache line on.
func fromLine(b []float32, n int) []float32 {
	skip := 0
	if r := int(uintptr(unsafe.Pointer(&b[0])) % cacheLine); r != 0 {
		skip = (cacheLine - r) / 4
	}
	return b[skip : skip+n : skip+n]
}
