package guard

import (
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"
)

// addrError is what a fault carries under debug.SetPanicOnFault.
type addrError interface{ Addr() uintptr }

// faultAt reads p and returns the address of the fault, or 0.
func faultAt(p *float32) (addr uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			addr = r.(addrError).Addr()
		}
	}()
	sink = *p
	return 0
}

var sink float32

func TestGuard(t *testing.T) {
	for _, n := range []int{0, 1, 3, 1023, 1024, 1025, 5000} {
		for _, end := range []bool{false, true} {
			f := Float32s(t, n, end)
			i := Int32s(t, n, end)
			if len(f) != n || len(i) != n {
				t.Fatalf("n=%d: got %d and %d elements", n, len(f), len(i))
			}
			for k := range f {
				if f[k] != 0 || i[k] != 0 {
					t.Fatalf("n=%d: element %d is not zero", n, k)
				}
				f[k], i[k] = 1, 1
			}
			if !Enforced || n == 0 {
				continue
			}
			outside := unsafe.Add(unsafe.Pointer(&f[0]), -4)
			if end {
				outside = unsafe.Add(unsafe.Pointer(&f[0]), 4*n)
			}
			got := faultAt((*float32)(outside))
			if got != uintptr(outside) {
				t.Errorf("n=%d end=%v on %s: fault at %#x, want %#x", n, end, runtime.GOOS, got, outside)
			}
		}
	}
}
