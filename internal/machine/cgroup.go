package machine

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// parseCPUMax reads cgroup v2's cpu.max, "max 100000" or "150000 100000", into
// CPUs; +Inf is no limit.
func parseCPUMax(s string) (float64, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 || len(fields) > 2 {
		return 0, fmt.Errorf("machine: cpu.max %q: want quota and period", s)
	}
	if fields[0] == "max" {
		return math.Inf(1), nil
	}
	period := "100000" // the kernel's default
	if len(fields) == 2 {
		period = fields[1]
	}
	return quotaCPUs(fields[0], period)
}

// quotaCPUs turns a quota and a period in microseconds into CPUs; a negative quota is cgroup v1's
// way to say no limit.
func quotaCPUs(quota, period string) (float64, error) {
	q, err := strconv.ParseInt(quota, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("machine: CPU quota %q is no number", quota)
	}
	if q < 0 {
		return math.Inf(1), nil
	}
	p, err := strconv.ParseInt(period, 10, 64)
	if err != nil || p <= 0 || q == 0 {
		return 0, fmt.Errorf("machine: CPU quota %q over period %q: both must be positive", quota, period)
	}
	return float64(q) / float64(p), nil
}

// hierarchy is where one cgroup file system shows this process: its mount point and the
// process's folder below it.
type hierarchy struct{ mount, folder string }

// hierarchies finds cgroup v2's mount and those of v1's cpu and memory controllers, by the
// name of the controller ("" for v2), in /proc/self/mountinfo and /proc/self/cgroup.
func hierarchies(mountinfo, cgroup string) map[string]hierarchy {
	folders := map[string]string{}
	for line := range strings.Lines(cgroup) {
		// "4:cpu,cpuacct:/folder", or "0::/folder" for v2
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for c := range strings.SplitSeq(parts[1], ",") {
			folders[c] = parts[2]
		}
	}
	found := map[string]hierarchy{}
	for line := range strings.Lines(mountinfo) {
		// "31 23 0:28 ROOT MOUNT options... - TYPE source super,options"
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		var names []string
		switch r[0] {
		case "cgroup2":
			names = []string{""}
		case "cgroup":
			names = strings.Split(r[2], ",")
		}
		for _, name := range names {
			folder, ok := folders[name]
			if _, twice := found[name]; !ok || twice {
				continue
			}
			// In a container the folder is the host's, the mount shows only ROOT's part of it.
			if rel, below := strings.CutPrefix(folder, strings.TrimSuffix(l[3], "/")); below {
				folder = rel
			} else {
				folder = "/"
			}
			found[name] = hierarchy{mount: l[4], folder: path.Clean("/" + folder)}
		}
	}
	return found
}

// each calls f for the process's folder and every one above it up to the
// mount, because a limit anywhere on the way holds. The paths suit an fs.FS rooted at "/".
func (h hierarchy) each(f func(dir string)) {
	for folder := h.folder; ; folder = path.Dir(folder) {
		if dir := strings.TrimPrefix(path.Join(h.mount, folder), "/"); fs.ValidPath(dir) {
			f(dir)
		}
		if folder == "/" || folder == "." {
			return
		}
	}
}

// cgroupCPUs returns the CPUs that cgroup quotas leave to this process, +Inf
// without a limit. root is the file system's root.
func cgroupCPUs(root fs.FS) float64 {
	limit := math.Inf(1)
	all := hierarchies(readLine(root, "proc/self/mountinfo"), readLine(root, "proc/self/cgroup"))
	if h, ok := all[""]; ok {
		h.each(func(dir string) {
			if cpus, err := parseCPUMax(readLine(root, dir+"/cpu.max")); err == nil {
				limit = min(limit, cpus)
			}
		})
	}
	if h, ok := all["cpu"]; ok {
		h.each(func(dir string) {
			cpus, err := quotaCPUs(readLine(root, dir+"/cpu.cfs_quota_us"), readLine(root, dir+"/cpu.cfs_period_us"))
			if err == nil {
				limit = min(limit, cpus)
			}
		})
	}
	return limit
}

// cgroupMemory returns the bytes that cgroup limits allow this process in all, math.MaxInt64 without a limit.
func cgroupMemory(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	all := hierarchies(readLine(root, "proc/self/mountinfo"), readLine(root, "proc/self/cgroup"))
	for name, file := range map[string]string{"": "/memory.max", "memory": "/memory.limit_in_bytes"} {
		if h, ok := all[name]; ok {
			h.each(func(dir string) {
				if n, err := strconv.ParseInt(readLine(root, dir+file), 10, 64); err == nil && n > 0 {
					limit = min(limit, n)
				}
			})
		}
	}
	return limit
}

// usable combines what affinity allows with a quota, rounded up: at least 1.
func usable(affinity int, quota float64) int {
	if quota < float64(affinity) {
		affinity = int(math.Ceil(quota))
	}
	return max(affinity, 1)
}
