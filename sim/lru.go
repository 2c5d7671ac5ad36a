package sim

// lruStack holds the lines of a program in the order of their last use, cut in
// bands: band i is what level i holds beyond the nearer levels, if every level
// is a fully associative LRU cache that sees every access. A line's band is then the nearest level that has
// it, so one stack gives the exact misses and write-backs of all levels at once.
// A step costs a constant number of moves whatever the capacities.
type lruStack struct {
	widths []int64 // lines of each band; the last band, memory, has no end
	sizes  []int64
	ends   []int32 // the least recent line of each band, -1 if empty
	head   int32
	lines  []lruLine
}

type lruLine struct {
	prev, next int32 // towards more and less recent, -1 at the ends
	band       int8  // unseen: never touched
	dirty      uint8 // bit i: level i holds a newer value than level i+1
}

const unseen = -1

// newLRUStack takes the capacities in lines, nearest first. A level that is not larger than a
// nearer one adds one line, so that bands are never empty.
func newLRUStack(capacities []int64) *lruStack {
	s := &lruStack{head: -1}
	var below int64
	for _, c := range capacities {
		s.widths = append(s.widths, max(1, c-below))
		below = max(below+1, c)
	}
	n := len(capacities)
	s.sizes, s.ends = make([]int64, n+1), make([]int32, n+1)
	for i := range s.ends {
		s.ends[i] = -1
	}
	return s
}

// add makes n new lines and returns the number of the first.
func (s *lruStack) add(n int) int32 {
	first := int32(len(s.lines))
	for range n {
		s.lines = append(s.lines, lruLine{-1, -1, unseen, 0})
	}
	return first
}

// touch uses a line and returns the band it was found in, unseen if never touched. evicted is
// called with each line that is written back and the level it is written to.
func (s *lruStack) touch(id int32, write bool, evicted func(id int32, level int)) int {
	l := &s.lines[id]
	found := int(l.band)
	if id != s.head {
		memory := len(s.widths)
		deepest := memory // bands that may spill into the next
		if found != unseen {
			s.remove(id, l, found)
			deepest = found
		}
		l.prev, l.next, l.band = -1, s.head, 0
		if s.head >= 0 {
			s.lines[s.head].prev = id
		}
		s.head = id
		if s.sizes[0]++; s.sizes[0] == 1 {
			s.ends[0] = id
		}
		for i := 0; i < deepest && s.sizes[i] > s.widths[i]; i++ {
			out := s.ends[i]
			o := &s.lines[out]
			s.ends[i] = o.prev
			s.sizes[i]--
			o.band = int8(i + 1)
			if s.sizes[i+1]++; s.sizes[i+1] == 1 {
				s.ends[i+1] = out
			}
			if o.dirty>>i&1 != 0 {
				o.dirty &^= 1 << i
				if i+1 < memory {
					o.dirty |= 1 << (i + 1)
				}
				evicted(out, i+1)
			}
		}
	}
	if write {
		l.dirty |= 1
	}
	return found
}

func (s *lruStack) remove(id int32, l *lruLine, band int) {
	if l.prev >= 0 {
		s.lines[l.prev].next = l.next
	}
	if l.next >= 0 {
		s.lines[l.next].prev = l.prev
	}
	s.sizes[band]--
	if s.ends[band] == id {
		s.ends[band] = -1
		if s.sizes[band] > 0 {
			s.ends[band] = l.prev
		}
	}
}
