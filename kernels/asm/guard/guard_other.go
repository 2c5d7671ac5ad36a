//go:build !unix || noguard

package guard

import (
	"testing"
	"unsafe"
)

// Enforced says whether a touch outside a buffer faults.
const Enforced = false

func block(_ testing.TB, size int, _ bool) []byte {
	words := make([]uint64, (size+7)/8) // aligned for any element
	if len(words) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
}
