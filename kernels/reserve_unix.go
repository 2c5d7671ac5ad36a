//go:build unix

package kernels

import "golang.org/x/sys/unix"

// reserveBytes gives addresses that have no memory until they are read.
func reserveBytes(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
}
