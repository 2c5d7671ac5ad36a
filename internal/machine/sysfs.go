package machine

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	cpuDir = "sys/devices/system/cpu"
	// maxCPUs limits what a CPU list may name, so that a broken file cannot ask for memory without end.
	maxCPUs = 1 << 16
)

// parseSize reads a size as sysfs writes cache sizes: "32K", "1024K", "32M" or plain bytes.
func parseSize(s string) (int, error) {
	s = strings.TrimSpace(s)
	shift := 0
	if s != "" {
		switch s[len(s)-1] {
		case 'K':
			shift = 10
		case 'M':
			shift = 20
		case 'G':
			shift = 30
		}
	}
	digits := s
	if shift > 0 {
		digits = s[:len(s)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 62)
	if err != nil {
		return 0, fmt.Errorf("machine: size %q: want digits and K, M or G", s)
	}
	if n > math.MaxInt>>shift {
		return 0, fmt.Errorf("machine: size %q is too large", s)
	}
	return int(n) << shift, nil
}

// parseCPUList reads a list of CPUs as the kernel writes it, "0-3,7", into ascending numbers without doubles.
func parseCPUList(s string) ([]int, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	var cpus []int
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		a, err := strconv.ParseUint(first, 10, 31)
		b := a
		if err == nil && ranged {
			b, err = strconv.ParseUint(last, 10, 31)
		}
		if err != nil || b < a || b >= maxCPUs {
			return nil, fmt.Errorf("machine: CPU list %q: bad part %q", s, part)
		}
		if len(cpus)+int(b-a) >= 2*maxCPUs {
			return nil, fmt.Errorf("machine: CPU list of %d characters names too many CPUs", len(s))
		}
		for c := a; c <= b; c++ {
			cpus = append(cpus, int(c))
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), nil
}

// readLine returns the trimmed text of a small file, "" if it cannot be read.
func readLine(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil || len(data) > 1<<20 {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// readInt returns the non-negative number in a small file, 0 if there is none.
func readInt(root fs.FS, name string) int {
	n, err := strconv.ParseUint(readLine(root, name), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// numbered returns the numbers N of the entries prefixN of a directory, ascending.
func numbered(root fs.FS, dir, prefix string) []int {
	entries, err := fs.ReadDir(root, dir)
	if err != nil {
		return nil
	}
	var ns []int
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(digits, 10, 31); err == nil && strconv.Itoa(int(n)) == digits {
			ns = append(ns, int(n))
		}
	}
	slices.Sort(ns)
	return ns
}

// sysfsCaches reads the data and unified caches of the lowest-numbered core
// that shows any. Guests hide caches or report a size of zero: such a cache is absent. Of
// two entries of one level the first counts.
func sysfsCaches(root fs.FS) []Cache {
	for _, cpu := range numbered(root, cpuDir, "cpu") {
		dir := path.Join(cpuDir, "cpu"+strconv.Itoa(cpu), "cache")
		var caches []Cache
		for _, i := range numbered(root, dir, "index") {
			index := path.Join(dir, "index"+strconv.Itoa(i))
			if kind := readLine(root, index+"/type"); kind != "Data" && kind != "Unified" {
				continue
			}
			level := readInt(root, index+"/level")
			size, err := parseSize(readLine(root, index+"/size"))
			if err != nil || size == 0 || level == 0 || level > 4 {
				continue
			}
			if slices.ContainsFunc(caches, func(c Cache) bool { return c.Level == level }) {
				continue
			}
			shared, err := parseCPUList(readLine(root, index+"/shared_cpu_list"))
			if err != nil {
				shared = nil
			}
			caches = append(caches, Cache{
				Level:     level,
				Bytes:     size,
				LineBytes: readInt(root, index+"/coherency_line_size"),
				Ways:      readInt(root, index+"/ways_of_associativity"),
				SharedBy:  len(shared),
			})
		}
		if len(caches) > 0 {
			slices.SortFunc(caches, func(a, b Cache) int { return a.Level - b.Level })
			return caches
		}
	}
	return nil
}

// mergeCaches completes sysfs's caches by those of cpuid: levels that sysfs
// does not show, and line sizes that it leaves out.
func mergeCaches(sysfs, cpuid []Cache) []Cache {
	merged := slices.Clone(sysfs)
	for _, c := range cpuid {
		i := slices.IndexFunc(merged, func(m Cache) bool { return m.Level == c.Level })
		switch {
		case i < 0:
			merged = append(merged, c)
		case merged[i].LineBytes == 0:
			merged[i].LineBytes = c.LineBytes
		}
	}
	slices.SortFunc(merged, func(a, b Cache) int { return a.Level - b.Level })
	return merged
}

// siblings returns the logical CPUs that share a core with this one, "" if unknown.
// Old kernels have only the second name.
func siblings(root fs.FS, cpu int) string {
	dir := path.Join(cpuDir, "cpu"+strconv.Itoa(cpu), "topology")
	if s := readLine(root, dir+"/core_cpus_list"); s != "" {
		return s
	}
	return readLine(root, dir+"/thread_siblings_list")
}

// sysfsTopology counts cores and logical CPUs, 0 where unknown. CPUs that are
// present but offline count as logical CPUs: taking one offline does not make
// another machine.
func sysfsTopology(root fs.FS) (cores, threads int) {
	seen := map[string]bool{}
	online := 0
	for _, cpu := range numbered(root, cpuDir, "cpu") {
		if s := siblings(root, cpu); s != "" {
			seen[s] = true
			online++
		}
	}
	present, err := parseCPUList(readLine(root, cpuDir+"/present"))
	if err != nil || len(present) < online {
		return len(seen), online
	}
	return len(seen), len(present)
}

// spread orders CPUs so that the first ones are on cores of their own: first one of
// every core, then the second ones. Unknown cores count as separate.
func spread(root fs.FS, cpus []int) []int {
	type placed struct{ turn, cpu int }
	turns := map[string]int{}
	order := make([]placed, len(cpus))
	for i, cpu := range cpus {
		order[i] = placed{0, cpu}
		if s := siblings(root, cpu); s != "" {
			order[i].turn = turns[s]
			turns[s]++
		}
	}
	slices.SortStableFunc(order, func(a, b placed) int {
		if a.turn != b.turn {
			return a.turn - b.turn
		}
		return a.cpu - b.cpu
	})
	out := make([]int, len(cpus))
	for i, p := range order {
		out[i] = p.cpu
	}
	return out
}

// nodes groups CPUs by the NUMA nodes that sysfs lists, in the order in which the CPUs are given.
func nodes(root fs.FS, cpus []int) [][]int {
	const dir = "sys/devices/system/node"
	var all [][]int
	left := len(cpus)
	for _, n := range numbered(root, dir, "node") {
		listed, err := parseCPUList(readLine(root, dir+"/node"+strconv.Itoa(n)+"/cpulist"))
		if err != nil {
			continue
		}
		var here []int
		for _, cpu := range cpus {
			if slices.Contains(listed, cpu) {
				here = append(here, cpu)
			}
		}
		if here != nil {
			all, left = append(all, here), left-len(here)
		}
	}
	if left != 0 { // none listed, or not all: one node
		all = nil
		if len(cpus) > 0 {
			all = [][]int{cpus}
		}
	}
	return all
}
