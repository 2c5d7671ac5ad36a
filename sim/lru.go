package sim

import "slices"

// lruStack holds the lines of a program in the order of their last use, cut in
// bands: band i is what level i holds beyond the nearer levels, if every level
// is a fully associative LRU cache that sees every access. A line's band is then the nearest level that has
// it, so one stack gives the exact misses and write-backs of all levels at once.
// A step costs a constant number of moves whatever the capacities. Lines that are always used together
// may stand for each other as one of some weight; a band then ends within a weight of its width.
type lruStack struct {
	widths []int64 // lines of each band; the last band, memory, has no end
	sizes  []int64
	ends   []int32 // the least recent line of each band, -1 if empty
	head   int32
	lines  []lruLine
}

type lruLine struct {
	prev, next int32 // towards more and less recent, -1 at the ends
	weight     int32
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

// add makes n new lines, each of a weight, and returns the number of the first.
func (s *lruStack) add(n int, weight int32) int32 {
	first := int32(len(s.lines))
	s.lines = slices.Grow(s.lines, n)
	for range n {
		s.lines = append(s.lines, lruLine{-1, -1, weight, unseen, 0})
	}
	return first
}

// touch uses a line and returns the band it was found in, unseen if never touched. evicted is
// called with each line that is written back and the level it is written to.
func (s *lruStack) touch(id int32, write bool, evicted func(id int32, level int)) int {
	l := &s.lines[id]
	found := int(l.band)
	if id != s.head {
		if found != unseen {
			s.remove(id, l, found)
		}
		l.prev, l.next, l.band = -1, s.head, 0
		if s.head >= 0 {
			s.lines[s.head].prev = id
		}
		s.head = id
		if s.sizes[0] == 0 {
			s.ends[0] = id
		}
		s.sizes[0] += int64(l.weight)
		if s.sizes[0] > s.widths[0] {
			s.spill(evicted)
		}
	}
	if write {
		l.dirty |= 1
	}
	return found
}

// spill moves what a band holds beyond its width to the next.
func (s *lruStack) spill(evicted func(id int32, level int)) {
	memory := len(s.widths)
	for i := 0; i < memory && s.sizes[i] > s.widths[i]; i++ {
		for s.sizes[i] > s.widths[i] {
			out := s.ends[i]
			o := &s.lines[out]
			s.ends[i] = o.prev
			if s.sizes[i] -= int64(o.weight); s.sizes[i] == 0 {
				s.ends[i] = -1
			}
			o.band = int8(i + 1)
			if s.sizes[i+1] == 0 {
				s.ends[i+1] = out
			}
			s.sizes[i+1] += int64(o.weight)
			if o.dirty>>i&1 != 0 {
				o.dirty &^= 1 << i
				if i+1 < memory {
					o.dirty |= 1 << (i + 1)
				}
				evicted(out, i+1)
			}
		}
	}
}

func (s *lruStack) remove(id int32, l *lruLine, band int) {
	if l.prev >= 0 {
		s.lines[l.prev].next = l.next
	}
	if l.next >= 0 {
		s.lines[l.next].prev = l.prev
	}
	s.sizes[band] -= int64(l.weight)
	if s.ends[band] == id {
		s.ends[band] = -1
		if s.sizes[band] > 0 {
			s.ends[band] = l.prev
		}
	}
}
