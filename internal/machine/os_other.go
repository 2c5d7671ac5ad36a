//go:build !linux && !darwin

package machine

// describeOS has nothing to add to the CPU's own answers here.
func describeOS(*Machine) {}

// StealTicks returns no figure: this system has none.
func StealTicks() (steal, total uint64, ok bool) { return 0, 0, false }

// AvailableMemory returns 0, unknown.
func AvailableMemory() int64 { return 0 }
