//go:build !linux

package hashfile

// advise has nothing to say here.
func advise([]byte, bool) {}
