// Package guard gives tests of assembly buffers that end, or start, exactly at
// a page that may not be touched, so that a load or store outside the buffer
// faults instead of going unseen. Only tests import it.
package guard

import (
	"testing"
	"unsafe"
)

// Float32s returns n zeroed elements. With end set, the first byte after them
// lies on an inaccessible page; otherwise the last byte before them does. The
// memory is given back when tb ends. On systems without mmap it is ordinary
// memory, and with the build tag noguard too, for emulators that load what a mask leaves out: Enforced says which.
func Float32s(tb testing.TB, n int, end bool) []float32 {
	tb.Helper()
	b := block(tb, 4*n, end)
	if n == 0 {
		return []float32{}
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), n)
}

// Int32s is Float32s for 32-bit integers.
func Int32s(tb testing.TB, n int, end bool) []int32 {
	tb.Helper()
	b := block(tb, 4*n, end)
	if n == 0 {
		return []int32{}
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(&b[0])), n)
}

// Uint16s is Float32s for 16-bit numbers.
func Uint16s(tb testing.TB, n int, end bool) []uint16 {
	tb.Helper()
	b := block(tb, 2*n, end)
	if n == 0 {
		return []uint16{}
	}
	return unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), n)
}

// Int8s is Float32s for int8.
func Int8s(tb testing.TB, n int, end bool) []int8 {
	tb.Helper()
	b := block(tb, n, end)
	if n == 0 {
		return []int8{}
	}
	return unsafe.Slice((*int8)(unsafe.Pointer(&b[0])), n)
}
