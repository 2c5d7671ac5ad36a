//go:build librooftune && (amd64 || arm64)

package main

/*
#define ROOFTUNE_TYPES_ONLY
#include "rooftune.h"
*/
import "C"

import (
	"math/bits"
	"unsafe"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// maxBytes bounds an array, so that no length of a slice overflows.
const maxBytes = 1 << 55

// dtypes are the types of elements by their C constants.
var dtypes = [...]string{C.ROOFTUNE_FLOAT32: tile.Float32, C.ROOFTUNE_BFLOAT16: tile.BFloat16, C.ROOFTUNE_FLOAT16: tile.Float16}

// invalid is an argument that cannot be handed to the library.
func invalid(argument, got, must string) error {
	return &kernels.ArgumentError{Argument: argument, Got: got, Must: must}
}

// choose gives the name behind a C constant.
func choose(argument string, names []string, i C.int32_t) (string, error) {
	if i < 0 || int(i) >= len(names) {
		return "", invalid(argument, itoa(int64(i)), "one of the constants in rooftune.h")
	}
	return names[i], nil
}

// view sets t to a C tensor's memory; nil and ndim 0 are the absent tensor.
func view(name string, t *kernels.Tensor, c *C.rooftune_tensor) error {
	*t = kernels.Tensor{}
	if c == nil || c.ndim == 0 {
		return nil
	}
	if c.ndim < 0 || c.ndim > C.ROOFTUNE_MAX_DIMS {
		return invalid(name, "ndim "+itoa(int64(c.ndim)), "at most 5 dimensions")
	}
	if c.dtype < 0 || int(c.dtype) >= len(dtypes) {
		return invalid(name, "dtype "+itoa(int64(c.dtype)), "of a type in rooftune.h")
	}
	dtype := dtypes[c.dtype]
	shape := integers(&c.shape[0], C.int64_t(c.ndim))
	n, zero := uint64(1), false
	for _, d := range shape {
		if d < 0 {
			return invalid(name, "dimension "+itoa(int64(d)), "0 or more")
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > maxBytes {
			return invalid(name, "a shape of more than 2^55 elements", "small enough to address")
		}
		n = lo
	}
	if zero {
		n = 0
	}
	if c.data == nil && n > 0 {
		return invalid(name, "data NULL", "an array")
	}
	t.Shape, t.DType = shape, dtype
	size := uintptr(2)
	if dtype == tile.Float32 {
		size = 4
	}
	if uintptr(c.data)%size != 0 {
		return invalid(name, "an address that is no multiple of an element", "aligned to its elements")
	}
	if dtype == tile.Float32 {
		t.Data = unsafe.Slice((*float32)(c.data), n)
	} else {
		t.Bits = unsafe.Slice((*uint16)(c.data), n)
	}
	return nil
}

// integers views C's 64-bit integers as Go's, which have the same size on the machines that this library is built for.
func integers(p *C.int64_t, n C.int64_t) []int {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*int)(unsafe.Pointer(p)), n)
}

// counted is integers with a length that comes from the caller.
func counted(name string, p *C.int64_t, n C.int64_t) ([]int, error) {
	if n < 0 || n > maxBytes {
		return nil, invalid(name+"_count", itoa(int64(n)), "0 or more and small enough to address")
	}
	return integers(p, n), nil
}
