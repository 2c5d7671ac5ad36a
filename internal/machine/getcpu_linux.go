package machine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func getcpu(cpu, node *uint32) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(cpu)), uintptr(unsafe.Pointer(node)), 0); errno != 0 {
		return errno
	}
	return nil
}
