package kernels

import (
	"math/bits"
	"sync"
	"unsafe"
)

// reserved are addresses for tables that are recorded and never read, the same for all recordings: tables of the garbage-collected heap would be
// gigabytes that are cleared whenever their memory is used again.
var reserved struct {
	sync.Mutex
	bytes []byte
}

// reserve gives n elements among the reserved addresses, which must not be written, and as many more elsewhere. Both stay for as long as the process
// runs, and are asked for in powers of two, so that they take at most twice the addresses of the largest tables.
func reserve[E float32 | uint16 | int8](n, more int) (first, second []E, err error) {
	if n+more <= 0 {
		return []E{}, []E{}, nil
	}
	var e E
	size := (n + more) * int(unsafe.Sizeof(e))
	reserved.Lock()
	defer reserved.Unlock()
	if len(reserved.bytes) < size {
		b, err := reserveBytes(1 << bits.Len(uint(size-1)))
		if err != nil {
			return nil, nil, err
		}
		reserved.bytes = b
	}
	all := unsafe.Slice((*E)(unsafe.Pointer(&reserved.bytes[0])), n+more)
	return all[:n:n], all[n:], nil
}
