//go:build unix && !noguard

package guard

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Enforced says whether a touch outside a buffer faults.
const Enforced = true

// block maps whole pages for size bytes between two inaccessible pages and
// returns the bytes at the upper or the lower end.
func block(tb testing.TB, size int, end bool) []byte {
	tb.Helper()
	page := os.Getpagesize()
	inner := max((size+page-1)/page, 1) * page
	all, err := unix.Mmap(-1, 0, inner+2*page, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		tb.Fatalf("guard: mapping %d bytes: %v", inner+2*page, err)
	}
	tb.Cleanup(func() {
		if err := unix.Munmap(all); err != nil {
			tb.Errorf("guard: unmapping: %v", err)
		}
	})
	open := all[page : page+inner]
	if err := unix.Mprotect(open, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		tb.Fatalf("guard: opening %d bytes: %v", inner, err)
	}
	if end {
		return open[inner-size:]
	}
	return open[:size]
}
