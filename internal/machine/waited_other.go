//go:build !linux

package machine

// Waited returns no figure: this system has none.
func Waited() (ns int64, ok bool) { return 0, false }

// CurrentCPU returns -1, unknown.
func CurrentCPU() int { return -1 }

// CPUTime returns 0, unknown.
func CPUTime() int64 { return 0 }
