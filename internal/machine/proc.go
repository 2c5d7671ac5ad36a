package machine

import (
	"io/fs"
	"strconv"
	"strings"
)

// parseSteal reads the first line of /proc/stat: the ticks that the hypervisor
// gave to others while this guest wanted to run, and all ticks. ok is false where the line has no such field.
func parseSteal(stat string) (steal, total uint64, ok bool) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, false
	}
	// user nice system idle iowait irq softirq steal; guest time, which follows, is in user already
	for i, f := range fields[1:9] {
		n, err := strconv.ParseUint(f, 10, 63)
		if err != nil {
			return 0, 0, false
		}
		if i == 7 {
			steal = n
		}
		if total+n < total {
			return 0, 0, false
		}
		total += n
	}
	return steal, total, true
}

// parseMemAvailable returns MemAvailable of /proc/meminfo in bytes, 0 if unknown.
func parseMemAvailable(meminfo string) int64 {
	for line := range strings.Lines(meminfo) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemAvailable:" && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 52)
			if err != nil || n < 0 {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// armIdentity is how arm64's /proc/cpuinfo names a core, as numbers of the
// MIDR register; ok is false on other text.
func armIdentity(cpuinfo string) (implementer, variant, part, revision int, ok bool) {
	want := map[string]*int{"CPU implementer": &implementer, "CPU variant": &variant, "CPU part": &part, "CPU revision": &revision}
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		to := want[strings.TrimSpace(key)]
		if to == nil {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 0, 16)
		if err != nil {
			return 0, 0, 0, 0, false
		}
		*to = int(n)
		delete(want, strings.TrimSpace(key)) // the first core's
	}
	return implementer, variant, part, revision, len(want) == 0
}

// availableMemory returns the bytes that can still be allocated without
// swapping, 0 if unknown.
func availableMemory(root fs.FS) int64 {
	free := parseMemAvailable(readLine(root, "proc/meminfo"))
	if free == 0 {
		return 0
	}
	return min(free, cgroupMemory(root))
}
