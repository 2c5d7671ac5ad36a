//go:build !linux

package roofline

import "unsafe"

// arena is memory that starts on a cache line.
type arena struct{ data []byte }

func newArena(bytes int) (*arena, error) {
	const line = 128
	all := make([]byte, bytes+line)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(all))) & (line - 1))
	return &arena{data: all[skip : skip+bytes : skip+bytes]}, nil
}

func (a *arena) free() { a.data = nil }
