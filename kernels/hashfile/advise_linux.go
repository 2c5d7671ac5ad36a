package hashfile

import "golang.org/x/sys/unix"

// advise says that a mapping is read from start to end, or row by row from now on. Where the advice is refused, it is read all the same.
func advise(mapping []byte, sequential bool) {
	advice := unix.MADV_NORMAL
	if sequential {
		advice = unix.MADV_SEQUENTIAL
	}
	_ = unix.Madvise(mapping, advice)
}
