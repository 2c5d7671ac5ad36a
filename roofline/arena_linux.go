package roofline

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// arena is memory outside the Go heap, on huge pages where the system grants them, so that
// address translation does not hide what the caches do.
type arena struct {
	mapped []byte
	data   []byte
}

func newArena(bytes int) (*arena, error) {
	// One huge page more, to start on a huge page's boundary.
	whole := (bytes + hugePage - 1) / hugePage * hugePage
	mapped, err := unix.Mmap(-1, 0, whole+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("roofline: allocate %d bytes: %w", bytes, err)
	}
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mapped))) & (hugePage - 1))
	a := &arena{mapped: mapped, data: mapped[skip : skip+bytes : skip+bytes]}
	// Advice: where it is refused, small pages do.
	_ = unix.Madvise(mapped[skip:skip+whole], unix.MADV_HUGEPAGE)
	return a, nil
}

func (a *arena) free() {
	if a.mapped != nil {
		_ = unix.Munmap(a.mapped)
		a.mapped, a.data = nil, nil
	}
}
