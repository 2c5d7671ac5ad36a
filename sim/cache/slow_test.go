package cache

// slowHierarchy is the model that Hierarchy must agree with: no packing, no shortcuts, time stamps for LRU, a tree of
// nodes for PLRU, one sector at a time.
type slowHierarchy struct {
	config   Config
	levels   []*slowLevel
	streamed int64
	written  int64
}

type slowLevel struct {
	Level
	sets  [][]*slowLine // by way, nil if empty
	trees []*slowNode
	clock int
	stats Stats
}

type slowLine struct {
	number       uint64
	valid, dirty [maxSectors]bool
	used         int
}

// slowNode is a node of a PLRU tree over the ways first to last.
type slowNode struct {
	first, last  int
	victimOnLeft bool
	left, right  *slowNode
}

func newSlowNode(first, last int) *slowNode {
	n := &slowNode{first: first, last: last, victimOnLeft: true}
	if first < last {
		middle := (first + last) / 2
		n.left, n.right = newSlowNode(first, middle), newSlowNode(middle+1, last)
	}
	return n
}

func (n *slowNode) use(way int) {
	if n.left == nil {
		return
	}
	n.victimOnLeft = way > n.left.last
	n.left.useIfInside(way)
	n.right.useIfInside(way)
}

func (n *slowNode) useIfInside(way int) {
	if way >= n.first && way <= n.last {
		n.use(way)
	}
}

func (n *slowNode) victim() int {
	switch {
	case n.left == nil:
		return n.first
	case n.victimOnLeft:
		return n.left.victim()
	}
	return n.right.victim()
}

func newSlow(c Config) *slowHierarchy {
	if c.SectorBytes == 0 {
		c.SectorBytes = c.LineBytes
	}
	h := &slowHierarchy{config: c}
	for _, l := range c.Levels {
		ways := int(l.ways(c.LineBytes))
		s := &slowLevel{Level: l}
		for range int(l.Bytes) / c.LineBytes / ways {
			s.sets = append(s.sets, make([]*slowLine, ways))
			s.trees = append(s.trees, newSlowNode(0, ways-1))
		}
		h.levels = append(h.levels, s)
	}
	return h
}

func (l *slowLevel) set(line uint64) int { return int(line % uint64(len(l.sets))) }

func (l *slowLevel) way(line uint64) int {
	for w, x := range l.sets[l.set(line)] {
		if x != nil && x.number == line {
			return w
		}
	}
	return -1
}

func (l *slowLevel) get(line uint64) *slowLine {
	if w := l.way(line); w >= 0 {
		return l.sets[l.set(line)][w]
	}
	return nil
}

func (l *slowLevel) use(line uint64) {
	l.clock++
	l.get(line).used = l.clock
	l.trees[l.set(line)].use(l.way(line))
}

func (l *slowLevel) take(line uint64) *slowLine {
	x := l.get(line)
	if x != nil {
		l.sets[l.set(line)][l.way(line)] = nil
	}
	return x
}

// put returns the line that made room.
func (l *slowLevel) put(x *slowLine) *slowLine {
	set := l.sets[l.set(x.number)]
	way := -1
	for w := range set {
		if set[w] == nil {
			way = w
			break
		}
	}
	if way < 0 && l.Policy == PLRU {
		way = l.trees[l.set(x.number)].victim()
	}
	if way < 0 {
		for w := range set {
			if way < 0 || set[w].used < set[way].used {
				way = w
			}
		}
	}
	out := set[way]
	set[way] = x
	l.use(x.number)
	return out
}

func (h *slowHierarchy) access(op Op, addr uint64, size int) {
	for size > 0 {
		line := addr / uint64(h.config.LineBytes)
		n := min(size, int((line+1)*uint64(h.config.LineBytes)-addr))
		if op == Stream {
			h.stream(line, addr, n)
		} else {
			h.request(op, line, addr, n)
		}
		addr += uint64(n)
		size -= n
	}
}

func (h *slowHierarchy) touched(line, addr uint64, n, sector int) bool {
	first := line*uint64(h.config.LineBytes) + uint64(sector*h.config.SectorBytes)
	return addr < first+uint64(h.config.SectorBytes) && first < addr+uint64(n) && sector < h.config.LineBytes/h.config.SectorBytes
}

func (h *slowHierarchy) request(op Op, line, addr uint64, n int) {
	var need [maxSectors]bool
	for s := range need {
		need[s] = h.touched(line, addr, n, s)
	}
	h.fetch(0, line, need, true)
	if op == Store {
		for s := range need {
			if need[s] {
				h.levels[0].get(line).dirty[s] = true
			}
		}
	}
}

func (h *slowHierarchy) fetch(i int, line uint64, need [maxSectors]bool, demand bool) *slowLine {
	result := &slowLine{number: line, valid: need}
	if i == len(h.levels) {
		return result
	}
	l := h.levels[i]
	have := l.get(line)
	missing := need
	if have != nil {
		for s := range missing {
			missing[s] = need[s] && !have.valid[s]
		}
	}
	if missing == [maxSectors]bool{} {
		l.stats.Hits++
		if l.Inclusion == Exclusive {
			return l.take(line)
		}
		l.use(line)
		return result
	}
	l.stats.Misses++
	if l.Inclusion == Exclusive {
		l.take(line)
		got := h.fetch(i+1, line, missing, demand)
		l.stats.Read += sectors(got.valid)
		if have != nil {
			merge(got, have)
		}
		return got
	}
	if have != nil {
		l.use(line)
	}
	got := h.fetch(i+1, line, missing, demand)
	l.stats.Read += sectors(got.valid)
	if now := l.get(line); now != nil {
		merge(now, got)
	} else {
		h.insert(i, got)
	}
	if l.NextLine && demand && l.get(line+1) == nil {
		l.stats.Prefetches++
		var all [maxSectors]bool
		for s := range h.config.LineBytes / h.config.SectorBytes {
			all[s] = true
		}
		next := h.fetch(i+1, line+1, all, false)
		l.stats.Read += sectors(next.valid)
		h.insert(i, next)
	}
	return result
}

func sectors(x [maxSectors]bool) (n int64) {
	for _, one := range x {
		if one {
			n++
		}
	}
	return n
}

func merge(into, from *slowLine) {
	for s := range into.valid {
		into.valid[s] = into.valid[s] || from.valid[s]
		into.dirty[s] = into.dirty[s] || from.dirty[s]
	}
}

func (h *slowHierarchy) insert(i int, x *slowLine) {
	copied := *x
	out := h.levels[i].put(&copied)
	if out == nil {
		return
	}
	if h.levels[i].Inclusion == Inclusive {
		for _, nearer := range h.levels[:i] {
			if y := nearer.take(out.number); y != nil {
				merge(out, y)
			}
		}
	}
	h.evict(i, out)
}

func (h *slowHierarchy) evict(i int, x *slowLine) {
	l := h.levels[i]
	if i+1 == len(h.levels) {
		l.stats.Written += sectors(x.dirty)
		return
	}
	next := h.levels[i+1]
	sent := &slowLine{number: x.number, valid: x.dirty, dirty: x.dirty}
	if next.Inclusion == Exclusive {
		sent.valid = x.valid
	}
	if sectors(sent.valid) == 0 {
		return
	}
	l.stats.Written += sectors(sent.valid)
	if there := next.get(x.number); there != nil {
		next.use(x.number)
		merge(there, sent)
		return
	}
	h.insert(i+1, sent)
}

func (h *slowHierarchy) stream(line, addr uint64, n int) {
	h.streamed += int64(n)
	var dirty [maxSectors]bool
	for _, l := range h.levels {
		if x := l.take(line); x != nil {
			for s := range dirty {
				dirty[s] = dirty[s] || x.dirty[s]
			}
		}
	}
	for s := range dirty {
		if !dirty[s] {
			continue
		}
		covered := true
		for b := range h.config.SectorBytes {
			at := line*uint64(h.config.LineBytes) + uint64(s*h.config.SectorBytes+b)
			covered = covered && at >= addr && at < addr+uint64(n)
		}
		if !covered {
			h.written += int64(h.config.SectorBytes)
		}
	}
}

// flush goes through an LRU set from its most recent line on, through others by way.
func (h *slowHierarchy) flush() {
	for i, l := range h.levels {
		for _, set := range l.sets {
			for {
				way := -1
				for w := range set {
					if set[w] != nil && (way < 0 || l.Policy == LRU && set[w].used > set[way].used) {
						way = w
					}
				}
				if way < 0 {
					break
				}
				x := set[way]
				set[way] = nil
				h.evict(i, x)
			}
		}
	}
}

func (h *slowHierarchy) beyond(i int) Traffic {
	s := h.levels[i].stats
	t := Traffic{s.Read * int64(h.config.SectorBytes), s.Written * int64(h.config.SectorBytes)}
	if i == len(h.levels)-1 {
		t.Written += h.streamed + h.written
	}
	return t
}
