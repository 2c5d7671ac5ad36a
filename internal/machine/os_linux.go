package machine

import (
	"fmt"
	"os"
	"runtime"
)

// describeOS adds what Linux knows better than the CPU's own answers.
func describeOS(m *Machine) {
	root := os.DirFS("/")
	m.Caches = mergeCaches(sysfsCaches(root), m.Caches)
	if cores, threads := sysfsTopology(root); cores > 0 {
		m.Cores, m.Threads = cores, threads
	}
	if m.Vendor == "" && runtime.GOARCH == "arm64" {
		if implementer, variant, part, revision, ok := armIdentity(readLine(root, "proc/cpuinfo")); ok {
			m.Vendor = fmt.Sprintf("arm-implementer-%#02x", implementer)
			m.Family, m.Model, m.Stepping = variant, part, revision
		}
	}
	m.Usable = usable(runtime.NumCPU(), cgroupCPUs(root))
}

// StealTicks returns the CPU time that the hypervisor gave to others while
// this guest wanted to run, and all CPU time, in ticks since boot over all CPUs. ok is false where that
// is unknown.
func StealTicks() (steal, total uint64, ok bool) {
	return parseSteal(readLine(os.DirFS("/"), "proc/stat"))
}

// AvailableMemory returns the bytes that can still be allocated without swapping, 0 if unknown.
func AvailableMemory() int64 { return availableMemory(os.DirFS("/")) }
