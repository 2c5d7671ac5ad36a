package kernels

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size and alignment of a huge page.
const hugePage = 2 << 20

// adviseHuge asks for huge pages under fresh memory: a state or a block of tokens walks many rows at once, and each row of a small
// page costs a translation. Where the advice is refused, small pages do.
func adviseHuge(p []float32) {
	if len(p) == 0 {
		return
	}
	start := uintptr(unsafe.Pointer(&p[0]))
	skip := -start & (hugePage - 1)
	if bytes := uintptr(len(p)) * 4; bytes >= skip+hugePage {
		whole := (bytes - skip) &^ (hugePage - 1)
		_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&p[0]), skip)), whole), unix.MADV_HUGEPAGE)
	}
}
