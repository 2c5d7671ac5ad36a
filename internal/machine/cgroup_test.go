package machine

import (
	"math"
	"testing"
)

func TestParseCPUMax(t *testing.T) {
	for in, want := range map[string]float64{
		"max 100000\n": math.Inf(1), "150000 100000": 1.5, "200000": 2, "max": math.Inf(1),
	} {
		if got, err := parseCPUMax(in); err != nil || got != want {
			t.Errorf("parseCPUMax(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a b", "1 2 3", "0 100000", "1 0", "1 -5"} {
		if got, err := parseCPUMax(in); err == nil {
			t.Errorf("parseCPUMax(%q) = %v, want an error", in, got)
		}
	}
}

const (
	mountV2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	mountV1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)

func TestCgroupCPUs(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  float64
	}{
		"no cgroup file system": {nil, math.Inf(1)},
		"v2, own limit": {map[string]string{
			"proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/cpu.max": "250000 100000\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n",
		}, 2.5},
		"v2, limit above": {map[string]string{
			"proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "100000 100000\n",
		}, 1},
		"v2, namespace: the mount is the process's folder": {map[string]string{
			"proc/self/mountinfo":   "31 23 0:28 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			"proc/self/cgroup":      "0::/docker/x\n",
			"sys/fs/cgroup/cpu.max": "50000 100000\n",
		}, 0.5},
		"v2, folder outside the mount": {map[string]string{
			"proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/../other\n",
			"sys/fs/cgroup/cpu.max": "300000 100000\n",
		}, 3},
		"v1": {map[string]string{
			"proc/self/mountinfo": mountV1, "proc/self/cgroup": "4:cpu,cpuacct:/job\n1:memory:/\n",
			"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us":  "150000\n",
			"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":      "-1\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us":     "100000\n",
		}, 1.5},
		"v1 without limit": {map[string]string{
			"proc/self/mountinfo": mountV1, "proc/self/cgroup": "4:cpu,cpuacct:/\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, math.Inf(1)},
		"broken": {map[string]string{
			"proc/self/mountinfo": mountV2 + "short\n", "proc/self/cgroup": "0::/\nno colons\n",
			"sys/fs/cgroup/cpu.max": "lots\n",
		}, math.Inf(1)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := cgroupCPUs(files(tt.files)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAvailableMemory(t *testing.T) {
	base := map[string]string{
		"proc/meminfo":        "MemTotal: 24000 kB\nMemAvailable:   20000 kB\n",
		"proc/self/mountinfo": mountV1, "proc/self/cgroup": "1:memory:/job\n",
	}
	if got := availableMemory(files(base)); got != 20000<<10 {
		t.Errorf("without a limit: %d", got)
	}
	limited := join(base, map[string]string{"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "1048576\n"})
	if got := availableMemory(files(limited)); got != 1<<20 {
		t.Errorf("with a limit of 1 MiB: %d", got)
	}
	if got := availableMemory(files(nil)); got != 0 {
		t.Errorf("unknown: %d", got)
	}
}

func TestUsable(t *testing.T) {
	for _, tt := range []struct {
		affinity int
		quota    float64
		want     int
	}{{4, math.Inf(1), 4}, {4, 1.5, 2}, {4, 0.1, 1}, {2, 8, 2}, {0, 1, 1}} {
		if got := usable(tt.affinity, tt.quota); got != tt.want {
			t.Errorf("usable(%d, %v) = %d, want %d", tt.affinity, tt.quota, got, tt.want)
		}
	}
}

func FuzzCgroup(f *testing.F) {
	f.Add(mountV1, "4:cpu,cpuacct:/job\n", "150000 100000")
	f.Add(mountV2, "0::/a/../..//b\n", "max")
	f.Fuzz(func(t *testing.T, mountinfo, cgroup, limit string) {
		for _, h := range hierarchies(mountinfo, cgroup) {
			n := 0
			h.each(func(string) { n++ })
			if n > len(cgroup)+1 {
				t.Errorf("%d folders above %+v", n, h)
			}
		}
		if cpus, err := parseCPUMax(limit); err == nil && !(cpus > 0) {
			t.Errorf("parseCPUMax(%q) = %v", limit, cpus)
		}
	})
}
