package machine

import "golang.org/x/sys/unix"

// describeOS adds what macOS knows better than the CPU's own answers. On
// Apple silicon the performance cores stand for the machine.
func describeOS(m *Machine) {
	number := func(names ...string) int {
		for _, name := range names {
			if n, err := unix.SysctlUint64(name); err == nil && n > 0 && n < 1<<40 {
				return int(n)
			}
			if n, err := unix.SysctlUint32(name); err == nil && n > 0 {
				return int(n)
			}
		}
		return 0
	}
	if n := number("hw.physicalcpu_max"); n > 0 {
		m.Cores = n
	}
	if n := number("hw.logicalcpu_max"); n > 0 {
		m.Threads = n
	}
	if brand, err := unix.Sysctl("machdep.cpu.brand_string"); err == nil && m.Brand == "" {
		m.Brand = clean(brand)
	}
	if m.Vendor == "" && m.Arch == "arm64" {
		m.Vendor = "Apple"
		m.Family = number("hw.cpufamily")
	}
	line := number("hw.cachelinesize")
	for level, names := range [][]string{
		{"hw.perflevel0.l1dcachesize", "hw.l1dcachesize"},
		{"hw.perflevel0.l2cachesize", "hw.l2cachesize"},
		{"hw.perflevel0.l3cachesize", "hw.l3cachesize"},
	} {
		if size := number(names...); size > 0 {
			m.Caches = mergeCaches([]Cache{{Level: level + 1, Bytes: size, LineBytes: line}}, m.Caches)
		}
	}
}

// StealTicks returns no figure: macOS has none.
func StealTicks() (steal, total uint64, ok bool) { return 0, 0, false }

// AvailableMemory returns 0, unknown: macOS has no figure that means the same.
func AvailableMemory() int64 { return 0 }
