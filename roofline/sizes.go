package roofline

import "github.com/rooftune/rooftune/internal/machine"

// The memory levels, nearest first.
const (
	levelL1   = "L1"
	levelL2   = "L2"
	levelL3   = "L3"
	levelDRAM = "DRAM"
)

var levels = []string{levelL1, levelL2, levelL3, levelDRAM}

const (
	mib         = 1 << 20
	leastDRAM   = 64 * mib
	usualDRAM   = 256 * mib
	guessedL1   = 32 << 10
	guessedL3   = 64 * mib
	guessedFree = 2048 * mib
)

// cacheBytes is the size to count on for a cache: as reported, but no more than what was measured. 0 if neither is known.
func cacheBytes(m *machine.Machine, measured *machine.Measured, level int) int {
	bytes := 0
	if c, ok := m.Cache(level); ok {
		bytes = c.Bytes
	}
	for _, p := range measured.Plateaus {
		if p.Level == levels[level-1] && p.Bytes > 0 && (bytes == 0 || p.Bytes < bytes) {
			// The curve knows sizes only in steps of half an octave: 24 KiB may be a cache of 32.
			if bytes == 0 || float64(p.Bytes) < 0.6*float64(bytes) {
				bytes = p.Bytes
			}
		}
	}
	return bytes
}

// bufferBytes gives the bytes a thread walks over to measure a level, 0 if
// the level can't be told from its neighbours. threads counts those that run at once.
func bufferBytes(m *machine.Machine, measured *machine.Measured, level string, threads int) int {
	l1 := cacheBytes(m, measured, 1)
	if l1 == 0 {
		l1 = guessedL1
	}
	l2, l3 := cacheBytes(m, measured, 2), cacheBytes(m, measured, 3)
	switch level {
	case levelL1:
		return align(l1 / 2)
	case levelL2:
		if l2 < 3*l1 {
			return 0
		}
		return align(l2 / 2)
	case levelL3:
		inner := max(l1, l2)
		if l3 == 0 {
			return 0
		}
		// A neighbour in another guest may hold much of a shared L3, so stay as near to L2 as its
		// own misses allow, and nearer still where the latency curve has left the level.
		most := inner + l3/(2*sharing(m, 3, threads))
		for _, times := range []int{4, 3, 2} {
			bytes := min(times*inner, most)
			if bytes < inner+inner/4 {
				return 0
			}
			if times == 2 || !leaves(measured, bytes) {
				return align(bytes)
			}
		}
	case levelDRAM:
		return align(dramBytes(m, measured, threads) / threads)
	}
	return 0
}

// sharing is how many of the running threads share one instance of a cache; where that is not known, all.
func sharing(m *machine.Machine, level, threads int) int {
	if c, ok := m.Cache(level); ok && c.SharedBy > 0 {
		return max(1, min(threads, c.SharedBy))
	}
	return max(1, threads)
}

// leaves reports whether the latency curve is nearer to memory than to the level's start at this size.
func leaves(measured *machine.Measured, bytes int) bool {
	var at, last float64
	for _, p := range measured.Latency {
		if p.Bytes <= bytes {
			at = p.NsPerLoad
		}
		last = p.NsPerLoad
	}
	return last > 0 && at > 0.6*last
}

// dramBytes is the size of the buffer for all threads together: eight times
// the last caches in use, at most 256 MiB or, where the caches are larger than half of that, twice
// the caches, and at most a quarter of the free memory.
func dramBytes(m *machine.Machine, measured *machine.Measured, threads int) int {
	last := 0
	if c, ok := m.Cache(3); ok {
		last = c.Bytes
	}
	for _, p := range measured.Plateaus {
		if p.Level == levelL3 {
			last = max(last, p.Bytes)
		}
	}
	if last == 0 {
		last = guessedL3
	}
	instances := 1
	if n := sharing(m, 3, threads); n > 0 {
		instances = (threads + n - 1) / n
	}
	last *= instances
	bytes := max(leastDRAM, min(8*last, max(usualDRAM, 2*last)))
	free := machine.AvailableMemory()
	if free == 0 {
		free = guessedFree
	}
	return int(min(int64(bytes), max(free/4, 4*mib)))
}

// align rounds down to whole pages, so that buffers of neighbours share no line.
func align(bytes int) int {
	return max(bytes&^4095, 4096)
}

// latencySizes are the buffer sizes of the latency curve: every half octave from 4 KiB to at least last bytes.
func latencySizes(last int) []int {
	var sizes []int
	for s := 4096; ; s *= 2 {
		sizes = append(sizes, s)
		if s >= last {
			return sizes
		}
		sizes = append(sizes, s+s/2)
	}
}
