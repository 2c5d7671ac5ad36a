package hashfile

import "golang.org/x/sys/unix"

// advise says that a mapping is read from start to end. Where the advice is refused, it is read all the same.
func advise(mapping []byte) { _ = unix.Madvise(mapping, unix.MADV_SEQUENTIAL) }
