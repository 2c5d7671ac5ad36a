package kernels

import (
	"math"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// HashTables are a hash layer's tables as its forms read them, made once, when the tables are handed over. They may be used by many calls
// at once.
type HashTables struct {
	dtype     string
	k, tau, h int

	rows   tableElements // (K, 2^tau, h), as handed over
	panels tableElements // (panels, K, 2^tau, columns), the last panel filled up with zeros
	scales []float32     // int8: of each row, (K, 2^tau)
}

// tableElements is an array of the tables' type.
type tableElements struct {
	floats []float32
	halves []uint16
	bytes  []int8
}

// HashTableOptions say how tables are kept.
type HashTableOptions struct {
	// DType is tile.Float32, tile.BFloat16 or tile.Int8; "" keeps what is given. Narrowing rounds to nearest; int8 has
	// one scale a row, its largest absolute value over 127.
	DType string
	// Layout is LayoutRows, best for few tokens, LayoutPanels, best for many, or LayoutBoth ("").
	Layout string
}

// The layouts of prepared tables.
const (
	LayoutRows   = "rows"   // whole rows, as handed over: no memory is taken where the type stays
	LayoutPanels = "panels" // panels of columns: a copy
	LayoutBoth   = "both"
)

// PrepareHashTables makes tables (K, 2^tau, h) of float32 or bfloat16 ready for use. Where the type stays, rows are the caller's own
// memory, which must not change while the tables are in use.
func PrepareHashTables(tables Tensor, o HashTableOptions) (*HashTables, error) {
	t, err := newHashTables(tables.Shape, o)
	if err != nil {
		return nil, err
	}
	if err := checkLength("tables", tables); err != nil {
		return nil, err
	}
	from := tables.dtype()
	if o.DType == "" {
		t.dtype = from
	}
	if from != tile.Float32 && from != tile.BFloat16 || from == tile.BFloat16 && t.dtype == tile.Float32 {
		return nil, refuse("tables", "float32 or bfloat16, and not narrower than asked for", "%s for %s", from, t.dtype)
	}
	given := tableElements{floats: tables.float32s(), halves: tables.halves()}
	if t.dtype == from {
		t.rows = given
	} else {
		t.narrow(given)
	}
	return t.laidOut(o.Layout), nil
}

// QuantizedHashTables makes tables (K, 2^tau, h) of int8 ready for use, with a scale, not negative, for each row. Rows are
// the caller's own memory, as in PrepareHashTables.
func QuantizedHashTables(values []int8, scales []float32, shape []int, o HashTableOptions) (*HashTables, error) {
	t, err := newHashTables(shape, o)
	if err != nil {
		return nil, err
	}
	if o.DType != "" && o.DType != tile.Int8 {
		return nil, refuse("DType", tile.Int8, "%q", o.DType)
	}
	if n := t.k << t.tau * t.h; len(values) != n {
		return nil, refuse("tables", "as many as their shape says", "%d elements for shape %v", len(values), shape)
	}
	if len(scales) != t.k<<t.tau {
		return nil, refuse("scales", "one a row, (K,2^tau)", "%d for shape %v", len(scales), shape)
	}
	for i, s := range scales {
		if !(s >= 0) || math.IsInf(float64(s), 1) {
			return nil, refuse("scales", "finite and not negative", "%g at row %d", s, i)
		}
	}
	t.dtype, t.rows.bytes, t.scales = tile.Int8, values, scales
	return t.laidOut(o.Layout), nil
}

func newHashTables(shape []int, o HashTableOptions) (*HashTables, error) {
	switch o.DType {
	case "", tile.Float32, tile.BFloat16, tile.Int8:
	default:
		return nil, refuse("DType", `"float32", "bfloat16" or "int8"`, "%q", o.DType)
	}
	switch o.Layout {
	case "", LayoutRows, LayoutPanels, LayoutBoth:
	default:
		return nil, refuse("Layout", `"rows", "panels" or "both"`, "%q", o.Layout)
	}
	if len(shape) != 3 {
		return nil, refuse("tables", "rank 3, (K,2^tau,h)", "rank %d, shape %v", len(shape), shape)
	}
	tau := 0
	for 1<<tau < shape[1] && tau < maxTau {
		tau++
	}
	if shape[0] < 1 || shape[2] < 1 || shape[1] != 1<<tau || tau < 1 {
		return nil, refuse("tables", "(K,2^tau,h) with tau from 1 to 16", "shape %v", shape)
	}
	if _, ok := volume(shape); !ok || shape[0] > math.MaxInt32>>tau || shape[2] > maxElements/shape[0]>>tau-tile.SlabBytes {
		return nil, refuse("tables", "small enough to address", "shape %v", shape)
	}
	return &HashTables{dtype: o.DType, k: shape[0], tau: tau, h: shape[2]}, nil
}

// DType is the type that the tables are kept in.
func (t *HashTables) DType() string { return t.dtype }

// Shape is (K, 2^tau, h).
func (t *HashTables) Shape() []int { return []int{t.k, 1 << t.tau, t.h} }

// MemoryBytes is what the tables take, the caller's own memory or file included: once for rows and once for panels, whose columns are filled
// up to a multiple of 32 (64 of int8), and 4 bytes a row of int8 for scales.
func (t *HashTables) MemoryBytes() int64 {
	n := int64(4 * len(t.scales))
	for _, e := range []tableElements{t.rows, t.panels} {
		n += int64(4*len(e.floats) + 2*len(e.halves) + len(e.bytes))
	}
	return n
}

// RowData is where the rows begin in memory, nil where there are none.
func (t *HashTables) RowData() unsafe.Pointer {
	switch {
	case len(t.rows.floats) > 0:
		return unsafe.Pointer(&t.rows.floats[0])
	case len(t.rows.halves) > 0:
		return unsafe.Pointer(&t.rows.halves[0])
	case len(t.rows.bytes) > 0:
		return unsafe.Pointer(&t.rows.bytes[0])
	}
	return nil
}

func (e tableElements) present() bool { return e.floats != nil || e.halves != nil || e.bytes != nil }

// alignedElements is aligned for other types.
func alignedElements[E uint16 | int8 | uint32](n int) []E {
	var e E
	size := int(unsafe.Sizeof(e))
	if n == 0 {
		return []E{}
	}
	words := aligned((n*size + 3) / 4)
	return unsafe.Slice((*E)(unsafe.Pointer(&words[0])), n)
}

// narrow rounds given rows to t's type.
func (t *HashTables) narrow(given tableElements) {
	n := t.k << t.tau * t.h
	if t.dtype == tile.BFloat16 {
		t.rows.halves = alignedElements[uint16](n)
		c := converter{prim: genericPrimitives()}
		c.wholeBack(tile.BFloat16, t.rows.halves, given.floats)
		return
	}
	t.rows.bytes, t.scales = alignedElements[int8](n), aligned(t.k<<t.tau)
	row := make([]float32, t.h)
	for i := range t.scales {
		if given.floats != nil {
			copy(row, given.floats[i*t.h:])
		} else {
			for j, b := range given.halves[i*t.h:][:t.h] {
				row[j] = math.Float32frombits(uint32(b) << 16)
			}
		}
		t.scales[i] = quantizeRow(t.rows.bytes[i*t.h:][:t.h], row)
	}
}

// quantizeRow rounds a row to int8 and returns its scale. What is not finite gives a scale that is not either.
func quantizeRow(to []int8, row []float32) float32 {
	largest := float32(0)
	for _, x := range row {
		if a := float32(math.Abs(float64(x))); a > largest || a != a {
			largest = a
		}
	}
	scale := largest / 127
	if !(scale > 0) || math.IsInf(float64(scale), 1) {
		for i := range to {
			to[i] = 0
		}
		return scale
	}
	for i, x := range row {
		to[i] = int8(max(-127, min(127, math.RoundToEven(float64(x)/float64(scale)))))
	}
	return scale
}

// laidOut makes panels if they are asked for, and forgets rows if they are not.
func (t *HashTables) laidOut(layout string) *HashTables {
	if layout != LayoutRows {
		t.AddPanels()
	}
	if layout == LayoutPanels {
		t.rows = tableElements{}
	}
	return t
}

// AddPanels makes panels beside the rows where there are none yet, reading each row once. It must not run beside a call.
func (t *HashTables) AddPanels() {
	if t.panels.present() {
		return
	}
	width := tile.SlabColumns(t.dtype)
	panels, rows := (t.h+width-1)/width, t.k<<t.tau
	switch t.dtype {
	case tile.BFloat16:
		t.panels.halves = alignedElements[uint16](panels * rows * width)
	case tile.Int8:
		t.panels.bytes = alignedElements[int8](panels * rows * width)
	default:
		t.panels.floats = aligned(panels * rows * width)
	}
	var bytes [tile.SlabBytes]int8
	for i := range rows {
		for j := 0; j < t.h; j += width {
			n, at, from := min(width, t.h-j), (j/width*rows+i)*width, i*t.h+j
			switch t.dtype {
			case tile.BFloat16:
				to, row := t.panels.halves[at:][:width], t.rows.halves[from:][:n]
				for c, x := range row {
					to[2*c%width+2*c/width] = x
				}
			case tile.Int8:
				clear(bytes[copy(bytes[:], t.rows.bytes[from:][:n]):])
				to := t.panels.bytes[at:][:width]
				for c := range to {
					to[c] = bytes[tile.BytesPermuted(c)]
				}
			default:
				copy(t.panels.floats[at:][:width], t.rows.floats[from:][:n])
			}
		}
	}
}

// tensor is what the rows are as a tensor, without elements where there is none of the type.
func (t *HashTables) tensor() Tensor {
	return Tensor{Shape: t.Shape(), DType: t.dtype, Data: t.rows.floats, Bits: t.rows.halves}
}
