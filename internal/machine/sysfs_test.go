package machine

import (
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int{"32K": 32768, "1024K\n": 1 << 20, "32M": 32 << 20, "1G": 1 << 30, "64": 64, "0K": 0} {
		got, err := parseSize(in)
		if err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "K", "-1K", "32KB", "0x20", "9999999999999999999", "4611686018427387903G", "1.5M"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", in, got)
		}
	}
}

func TestParseCPUList(t *testing.T) {
	for in, want := range map[string][]int{
		"0-3,7\n": {0, 1, 2, 3, 7}, "": nil, "5": {5}, "3,1,1-2": {1, 2, 3},
	} {
		got, err := parseCPUList(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("parseCPUList(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"a", "3-1", "1-", "-1", "0-4294967295", "1,,2", "0-3-5"} {
		if got, err := parseCPUList(in); err == nil {
			t.Errorf("parseCPUList(%q) = %v, want an error", in, got)
		}
	}
}

func TestSysfsCaches(t *testing.T) {
	usual := join(
		cacheIndex(0, 0, "1", "Data", "32K", "64", "8", "0,8"),
		cacheIndex(0, 1, "1", "Instruction", "64K", "64", "8", "0,8"),
		cacheIndex(0, 2, "2", "Unified", "1024K", "64", "8", "0,8"),
		cacheIndex(0, 3, "3", "Unified", "32M", "64", "16", "0-15"),
	)
	l1 := Cache{Level: 1, Bytes: 32 << 10, LineBytes: 64, Ways: 8, SharedBy: 2}
	l2 := Cache{Level: 2, Bytes: 1 << 20, LineBytes: 64, Ways: 8, SharedBy: 2}
	l3 := Cache{Level: 3, Bytes: 32 << 20, LineBytes: 64, Ways: 16, SharedBy: 16}
	tests := map[string]struct {
		files map[string]string
		want  []Cache
	}{
		"usual":              {usual, []Cache{l1, l2, l3}},
		"guest hides caches": {map[string]string{cpuDir + "/cpu0/topology/core_id": "0"}, nil},
		"sizes of zero": {join(usual, cacheIndex(0, 3, "3", "Unified", "0K", "64", "0", "0-15")),
			[]Cache{l1, l2}},
		"broken files": {join(usual, cacheIndex(0, 2, "2", "Unified", "big", "64", "8", "0")),
			[]Cache{l1, l3}},
		"several L3: the first entry of the first core": {join(usual,
			cacheIndex(0, 4, "3", "Unified", "96M", "64", "16", "0-15"),
			cacheIndex(16, 3, "3", "Unified", "16M", "64", "16", "16-31")),
			[]Cache{l1, l2, l3}},
		"cores in numeric order": {join(
			cacheIndex(10, 0, "1", "Data", "64K", "64", "8", "10"),
			cacheIndex(2, 0, "1", "Data", "32K", "64", "8", "2,10")),
			[]Cache{l1}},
		"only a size": {cacheIndex(0, 0, "1", "Data", "32K", "", "", ""), []Cache{{Level: 1, Bytes: 32 << 10}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, sysfsCaches(files(tt.files))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMergeCaches(t *testing.T) {
	got := mergeCaches(
		[]Cache{{Level: 2, Bytes: 1 << 20}},
		[]Cache{{Level: 1, Bytes: 32 << 10, LineBytes: 64}, {Level: 2, Bytes: 2 << 20, LineBytes: 64}})
	want := []Cache{{Level: 1, Bytes: 32 << 10, LineBytes: 64}, {Level: 2, Bytes: 1 << 20, LineBytes: 64}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// twoCoresSMT has two cores of two threads each, numbered as Linux does on most machines.
func twoCoresSMT() map[string]string {
	out := map[string]string{cpuDir + "/present": "0-3\n", cpuDir + "/cpufreq/x": ""}
	for cpu, list := range []string{"0,2", "1,3", "0,2", "1,3"} {
		out[cpuDir+"/cpu"+strconv.Itoa(cpu)+"/topology/core_cpus_list"] = list + "\n"
	}
	return out
}

func TestSysfsTopology(t *testing.T) {
	smt := twoCoresSMT()
	cores, threads := sysfsTopology(files(smt))
	if cores != 2 || threads != 4 {
		t.Errorf("two cores of two threads: %d cores, %d threads", cores, threads)
	}
	offline := twoCoresSMT() // SMT switched off: same cores, same present CPUs
	delete(offline, cpuDir+"/cpu2/topology/core_cpus_list")
	delete(offline, cpuDir+"/cpu3/topology/core_cpus_list")
	offline[cpuDir+"/cpu0/topology/core_cpus_list"] = "0"
	offline[cpuDir+"/cpu1/topology/thread_siblings_list"] = "1"
	if cores, threads := sysfsTopology(files(offline)); cores != 2 || threads != 4 {
		t.Errorf("SMT off: %d cores, %d threads", cores, threads)
	}
	if cores, threads := sysfsTopology(files(nil)); cores != 0 || threads != 0 {
		t.Errorf("no sysfs: %d cores, %d threads", cores, threads)
	}
}

func TestSpread(t *testing.T) {
	if got := spread(files(twoCoresSMT()), []int{0, 2, 1, 3}); !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("got %v", got)
	}
	if got := spread(files(nil), []int{4, 6}); !slices.Equal(got, []int{4, 6}) {
		t.Errorf("without topology: got %v", got)
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"32K", "0", "4611686018427387903G"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); err == nil && n < 0 {
			t.Errorf("parseSize(%q) = %d", s, n)
		}
	})
}

func FuzzParseCPUList(f *testing.F) {
	for _, s := range []string{"0-3,7", "65535", "0-65535,0-65535,0-65535"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cpus, err := parseCPUList(s)
		if err != nil {
			return
		}
		if len(cpus) > maxCPUs {
			t.Errorf("%d CPUs", len(cpus))
		}
		for i, c := range cpus {
			if c < 0 || i > 0 && c <= cpus[i-1] {
				t.Fatalf("parseCPUList(%q): not ascending at %d", s, i)
			}
		}
	})
}
