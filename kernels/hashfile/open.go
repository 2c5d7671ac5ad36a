// Package hashfile opens a hash layer's tables from a file, mapped into memory: NumPy's .npy (float32, or uint16 with the bits of bfloat16)
// or safetensors (F32, BF16, or I8 with a tensor of scales beside it).
//
//  1. The header is read and checked against the file's length: a file that is damaged or short is refused by name.
//  2. The tables are made ready as kernels.PrepareHashTables does, reading the file once.
//  3. Whole rows of the file's own type stay in the mapping; panels and narrower types are copies, after which the file is closed.
package hashfile

import (
	"fmt"
	"os"
	"slices"
	"unsafe"

	"github.com/edsrzf/mmap-go"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Options say what is opened, and how it is kept.
type Options struct {
	Tensor string // of a safetensors file; "" if it holds one alone, or "tables"
	Scales string // of int8 tables, a tensor (K,2^tau) of F32; "" is Tensor's name and "_scale"
	Tables kernels.HashTableOptions
}

// Tables are opened tables. They must not be used after Close.
type Tables struct {
	*kernels.HashTables
	mapping mmap.MMap
}

// Close gives back the mapping, if the tables still need it.
func (t *Tables) Close() error {
	t.HashTables = nil
	return unmap(&t.mapping)
}

func unmap(m *mmap.MMap) error {
	if *m == nil {
		return nil
	}
	return m.Unmap()
}

// Open opens tables (K, 2^tau, h).
func Open(path string, o Options) (_ *Tables, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if info.Size() < 10 {
		return nil, fmt.Errorf("%s: %d bytes are too few for tables", path, info.Size())
	}
	mapping, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = unmap(&mapping)
		}
	}()
	advise(mapping, true)
	tables, err := parse(mapping, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if within(tables, mapping) {
		advise(mapping, false)
	} else if err := unmap(&mapping); err != nil { // all that is needed was copied
		return nil, err
	}
	return &Tables{HashTables: tables, mapping: mapping}, nil
}

// within says whether tables keep rows in a mapping.
func within(t *kernels.HashTables, mapping []byte) bool {
	p := uintptr(t.RowData())
	first := uintptr(unsafe.Pointer(&mapping[0]))
	return p >= first && p < first+uintptr(len(mapping))
}

// parse makes tables of a file's bytes.
func parse(file []byte, o Options) (*kernels.HashTables, error) {
	if len(file) >= len(npyMagic) && string(file[:len(npyMagic)]) == npyMagic {
		a, err := parseNPY(file)
		if err != nil {
			return nil, err
		}
		if a.dtype == tile.Int8 {
			return nil, fmt.Errorf("int8 tables need scales, which an .npy file does not hold: use safetensors")
		}
		return prepare(a, nil, o.Tables)
	}
	tensors, err := parseSafetensors(file)
	if err != nil {
		return nil, err
	}
	name, a, err := choose(tensors, o.Tensor)
	if err != nil {
		return nil, err
	}
	if a.dtype != tile.Int8 {
		return prepare(a, nil, o.Tables)
	}
	beside := o.Scales
	if beside == "" {
		beside = name + "_scale"
	}
	scales, ok := tensors[beside]
	if !ok || scales.dtype != tile.Float32 {
		return nil, fmt.Errorf("tensor %q: int8 tables need their scales, F32, in tensor %q", name, beside)
	}
	return prepare(a, slices.Clone(elements[float32](scales.data)), o.Tables) // which outlive the mapping
}

// prepare makes an array ready.
func prepare(a array, scales []float32, o kernels.HashTableOptions) (*kernels.HashTables, error) {
	switch a.dtype {
	case tile.Float32:
		return kernels.PrepareHashTables(kernels.Tensor{Shape: a.shape, Data: elements[float32](a.data)}, o)
	case tile.BFloat16:
		return kernels.PrepareHashTables(kernels.Tensor{Shape: a.shape, DType: tile.BFloat16, Bits: elements[uint16](a.data)}, o)
	case tile.Int8:
		return kernels.QuantizedHashTables(elements[int8](a.data), scales, a.shape, o)
	}
	return nil, fmt.Errorf("elements are %s, must be float32, bfloat16 or int8", a.dtype)
}

// elements sees bytes as numbers, in place where they are aligned.
func elements[E float32 | uint16 | int8](data []byte) []E {
	var e E
	size := int(unsafe.Sizeof(e))
	if len(data) < size {
		return nil
	}
	if uintptr(unsafe.Pointer(&data[0]))%uintptr(size) != 0 {
		aligned := make([]E, len(data)/size)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&aligned[0])), len(data)), data)
		return aligned
	}
	return unsafe.Slice((*E)(unsafe.Pointer(&data[0])), len(data)/size)
}
