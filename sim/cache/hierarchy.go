package cache

import "math/bits"

// Stats counts what a level did. A request is for one line; those of a nearer level's fetching ahead count like others.
type Stats struct {
	Hits, Misses int64 // requests; a line whose sector is missing is a miss
	Prefetches   int64 // lines that this level fetched ahead
	Read         int64 // sectors read from the farther levels
	Written      int64 // sectors written to the next level: dirty ones, and all valid ones if that level is exclusive
}

// Traffic counts bytes.
type Traffic struct{ Read, Written int64 }

// Op is what an access does.
type Op uint8

// Kinds of access.
const (
	Load   Op = iota
	Store     // allocates the line and leaves it dirty
	Stream    // goes past the caches to memory; copies of the line leave all levels
)

// Hierarchy is caches over a memory with their contents.
type Hierarchy struct {
	levels      []level
	names       []string
	lineShift   uint
	lineBytes   uint64
	sectorShift uint
	all         uint64 // the sectors of a line
	plain       bool   // no sectors, nothing inclusive, exclusive or fetched ahead, sets are powers of two

	found [2 * maxPlain]int64 // of a plain hierarchy: requests by the level where they were found, memory behind the last

	// The nearest level's last used lines, empty if lines have sectors, and what finds a set there: a wrong set does not hold the line.
	recent   []uint64
	mask     uint64
	hits     int64 // found there
	streamed int64 // bytes written past the caches
	written  int64 // bytes of dirty sectors that streaming stores drove out
}

// New makes empty caches.
func New(c Config) (*Hierarchy, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	sector := c.SectorBytes
	if sector == 0 {
		sector = c.LineBytes
	}
	h := &Hierarchy{
		lineShift: uint(bits.TrailingZeros(uint(c.LineBytes))), lineBytes: uint64(c.LineBytes),
		sectorShift: uint(bits.TrailingZeros(uint(sector))), all: 1<<(c.LineBytes/sector) - 1,
	}
	h.plain = h.all == 1 && len(c.Levels) <= maxPlain
	for i, l := range c.Levels {
		n := newLevel(l, c.LineBytes, i == 0)
		h.plain = h.plain && n.reduce == 0 && !n.exclusive && !n.inclusive && !n.nextLine
		h.levels = append(h.levels, n)
		h.names = append(h.names, l.Name)
	}
	if h.all == 1 {
		h.recent, h.mask = h.levels[0].recent, h.levels[0].mask
	}
	return h, nil
}

// Do does one access of size bytes. One that reaches over lines is one request for each. Addresses are below 2^62.
func (h *Hierarchy) Do(op Op, addr uint64, size int) {
	switch op {
	case Load:
		h.Load(addr, size)
	case Store:
		h.Store(addr, size)
	default:
		h.Stream(addr, size)
	}
}

// Load reads size bytes.
func (h *Hierarchy) Load(addr uint64, size int) {
	line, last := addr>>(h.lineShift&63), (addr+uint64(size)-1)>>(h.lineShift&63)
	if set := line & h.mask; line == last && set < uint64(len(h.recent)) && h.recent[set] == line {
		h.hits++
		return
	}
	h.touch(addr, size, 0)
}

// Store writes size bytes.
func (h *Hierarchy) Store(addr uint64, size int) { h.touch(addr, size, validBits<<dirtyShift) }

// touch does the lines of a load or a store; dirty is the dirty bits that it may set.
func (h *Hierarchy) touch(addr uint64, size int, dirty uint64) {
	line, last := addr>>(h.lineShift&63), (addr+uint64(size)-1)>>(h.lineShift&63)
	if line == last && h.all == 1 {
		l := &h.levels[0]
		set := l.set(line)
		if l.recent[set] != line {
			h.request(set, line, 1, dirty)
			return
		}
		h.hits++
		if dirty != 0 {
			*l.entry(set, l.find(set, line)) |= 1 << dirtyShift
		}
		return
	}
	for end := addr + uint64(size); addr < end; line++ {
		next := min(end, (line+1)<<h.lineShift)
		need := h.sectors(line, addr, next)
		h.request(h.levels[0].set(line), line, need, dirty)
		addr = next
	}
}

// sectors are those of a line that the bytes from addr to end lie in.
func (h *Hierarchy) sectors(line, addr, end uint64) uint64 {
	start := line << h.lineShift
	first, last := (addr-start)>>h.sectorShift, (end-1-start)>>h.sectorShift
	return (2<<last - 1) &^ (1<<first - 1)
}

// request asks the nearest level for sectors of a line.
func (h *Hierarchy) request(set, line, need, dirty uint64) {
	if h.plain {
		h.request1(line, dirty&(1<<dirtyShift))
		return
	}
	h.fetch(0, set, line, need, true)
	if dirty != 0 {
		l := &h.levels[0]
		*l.entry(set, l.find(set, line)) |= need << dirtyShift & dirty
	}
}

// fetch asks level i for sectors of a line and returns the state that the line has on its way to the nearer level: at least
// those sectors, valid, and of an exclusive level all that it had. demand is false for what a nearer level fetches ahead, which makes no level fetch ahead.
func (h *Hierarchy) fetch(i int, set, line, need uint64, demand bool) uint64 {
	l := &h.levels[i]
	way := l.find(set, line)
	if way < 0 {
		l.Misses++
		got := h.below(i, line, need, demand)
		if l.exclusive {
			return got
		}
		h.insert(i, set, line<<stateBits|got)
		if l.nextLine && demand {
			h.ahead(i, line+1)
		}
		return need
	}
	e := *l.entry(set, way)
	missing := need &^ e
	if missing == 0 {
		l.Hits++
	} else {
		l.Misses++
	}
	if l.exclusive {
		l.remove(set, way)
		if missing != 0 {
			e |= h.below(i, line, missing, demand)
		}
		return e & stateMask
	}
	l.use(set, way, line)
	if missing != 0 {
		got := h.below(i, line, missing, demand)
		if way = l.find(set, line); way >= 0 {
			*l.entry(set, way) |= got
		} else { // a line fetched ahead pushed it out of a farther level that includes this one
			h.insert(i, set, line<<stateBits|e&stateMask|got)
		}
		if l.nextLine && demand {
			h.ahead(i, line+1)
		}
	}
	return need
}

// below fetches sectors for level i from the next one.
func (h *Hierarchy) below(i int, line, need uint64, demand bool) uint64 {
	l := &h.levels[i]
	if i+1 == len(h.levels) {
		l.Read += count(need)
		return need
	}
	got := h.fetch(i+1, h.levels[i+1].set(line), line, need, demand)
	l.Read += count(got & validBits)
	return got
}

func count(sectors uint64) int64 {
	if sectors == 1 {
		return 1
	}
	return int64(bits.OnesCount64(sectors))
}

// ahead fetches a line into level i unless it has it.
func (h *Hierarchy) ahead(i int, line uint64) {
	l := &h.levels[i]
	set := l.set(line)
	if l.find(set, line) >= 0 {
		return
	}
	l.Prefetches++
	got := h.below(i, line, h.all, false)
	h.insert(i, set, line<<stateBits|got)
}

// insert puts a line into level i, which does not have it, and sends what makes room on its way.
func (h *Hierarchy) insert(i int, set, entry uint64) {
	l := &h.levels[i]
	out := l.put(set, entry)
	if out == 0 {
		return
	}
	if l.inclusive {
		for j := range i {
			out |= h.invalidate(j, out>>stateBits)
		}
	}
	h.evict(i, out)
}

// invalidate takes a line out of level i and returns the state it had.
func (h *Hierarchy) invalidate(i int, line uint64) uint64 {
	l := &h.levels[i]
	set := l.set(line)
	way := l.find(set, line)
	if way < 0 {
		return 0
	}
	e := *l.entry(set, way)
	l.remove(set, way)
	return e & stateMask
}

// evict sends an entry that left level i to the next one.
func (h *Hierarchy) evict(i int, entry uint64) {
	l := &h.levels[i]
	dirty := entry >> dirtyShift & validBits
	last := i+1 == len(h.levels)
	switch {
	case !last && h.levels[i+1].exclusive:
		l.Written += count(entry & validBits)
		h.accept(i+1, entry>>stateBits, entry&stateMask)
	case dirty == 0:
	case last:
		l.Written += count(dirty)
	default:
		l.Written += count(dirty)
		h.accept(i+1, entry>>stateBits, dirty<<dirtyShift|dirty)
	}
}

// accept takes what a nearer level evicted. A line that is not here is allocated without being fetched.
func (h *Hierarchy) accept(i int, line, state uint64) {
	l := &h.levels[i]
	set := l.set(line)
	if way := l.find(set, line); way >= 0 {
		l.use(set, way, line)
		*l.entry(set, way) |= state
		return
	}
	h.insert(i, set, line<<stateBits|state)
}

// Stream writes size bytes past the caches. What is dirty of its lines in sectors that it does not cover wholly is written back first.
func (h *Hierarchy) Stream(addr uint64, size int) {
	h.streamed += int64(size)
	end := addr + uint64(size)
	for addr < end {
		line := addr >> h.lineShift
		next := min(end, (line+1)<<h.lineShift)
		var had uint64
		for i := range h.levels {
			had |= h.invalidate(i, line)
		}
		if dirty := had >> dirtyShift; dirty != 0 {
			start := line << h.lineShift
			for s := uint64(0); 1<<s <= h.all; s++ {
				from := start + s<<h.sectorShift
				if dirty>>s&1 != 0 && (from < addr || from+1<<h.sectorShift > next) {
					h.written += 1 << h.sectorShift
				}
			}
		}
		addr = next
	}
}

// Run is Count accesses of Size bytes, Stride bytes apart.
type Run struct {
	Op     Op
	Addr   uint64
	Size   int
	Stride int64
	Count  int
}

// Run does a run's accesses in order. Those that stay in the line of the one before are counted at once.
func (h *Hierarchy) Run(r Run) {
	l := &h.levels[0]
	var dirty uint64
	if r.Op == Store {
		dirty = validBits << dirtyShift
	}
	addr := r.Addr
	for n := r.Count; n > 0; {
		line := addr >> h.lineShift
		offset := addr & (h.lineBytes - 1)
		inside := offset + uint64(r.Size)
		if r.Op == Stream || r.Stride < 0 || inside > h.lineBytes || h.all != 1 {
			h.Do(r.Op, addr, r.Size)
			addr += uint64(r.Stride)
			n--
			continue
		}
		same := n // accesses that end within the line
		if r.Stride > 0 && inside+uint64(n-1)*uint64(r.Stride) > h.lineBytes {
			same = 1
			if uint64(r.Stride) < h.lineBytes {
				same = int(uint32(h.lineBytes-inside)/uint32(r.Stride)) + 1
			}
		}
		set := l.set(line)
		if l.recent[set] == line {
			h.hits += int64(same)
			if dirty != 0 {
				*l.entry(set, l.find(set, line)) |= 1 << dirtyShift
			}
		} else {
			h.request(set, line, 1, dirty)
			if l.recent[set] != line {
				same = 1 // fetching ahead came between
			}
			h.hits += int64(same - 1)
		}
		addr += uint64(same) * uint64(r.Stride)
		n -= same
	}
}

// Access is one load or store of a trace.
type Access struct {
	Addr uint64
	Size uint32
	Op   Op
}

// Replay does a trace's accesses in order.
func (h *Hierarchy) Replay(trace []Access) {
	recent, mask, shift := h.recent, h.mask, h.lineShift&63
	hits := int64(0)
	for i := range trace {
		a := &trace[i]
		line, last := a.Addr>>shift, (a.Addr+uint64(a.Size)-1)>>shift
		if set := line & mask; line == last && set < uint64(len(recent)) && recent[set] == line && a.Op == Load {
			hits++
			continue
		}
		h.Do(a.Op, a.Addr, int(a.Size))
	}
	h.hits += hits
}

// Stats gives the counts of level i, nearest first.
func (h *Hierarchy) Stats(i int) Stats {
	s := h.levels[i].Stats
	if h.plain {
		written := s.Written
		s = h.plainStats(i)
		s.Written = written
	}
	if i == 0 {
		s.Hits += h.hits
	}
	return s
}

// Levels is how many levels there are.
func (h *Hierarchy) Levels() int { return len(h.levels) }

// Name is that of level i.
func (h *Hierarchy) Name(i int) string { return h.names[i] }

// Beyond gives the bytes that level i exchanged with the farther ones. Of the last level that is all that memory moved, streaming stores included.
func (h *Hierarchy) Beyond(i int) Traffic {
	s := h.Stats(i)
	t := Traffic{s.Read << h.sectorShift, s.Written << h.sectorShift}
	if i == len(h.levels)-1 {
		t.Written += h.streamed + h.written
	}
	return t
}

// Flush writes all dirty lines back and empties the caches, nearest first, each set from its most recent line on or, PLRU, by ways.
func (h *Hierarchy) Flush() {
	for i := range h.levels {
		l := &h.levels[i]
		for set := range l.sets {
			for n := range l.ways {
				// A way that is emptied goes to the end of an LRU set's order.
				way := n
				if l.lru {
					way = l.first(set)
				}
				if e := *l.entry(set, way); e != 0 {
					l.remove(set, way)
					h.evict(i, e)
				}
			}
		}
	}
}

// Reset sets all counts to zero and leaves the contents: what was done so far was warming up.
func (h *Hierarchy) Reset() {
	for i := range h.levels {
		h.levels[i].Stats = Stats{}
	}
	h.streamed, h.written, h.hits = 0, 0, 0
	clear(h.found[:])
}
