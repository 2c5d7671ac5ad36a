package cache

import "math/bits"

// maxPlain is how many levels a plain hierarchy has at most.
const maxPlain = 4

// request1 is request and all that follows from it in a plain hierarchy: first the levels that do not have the line, then, farthest
// first, its places in them. Levels of at most smallWays are done here in the steps of find, use and put. A miss of one level is one of all nearer
// levels and a line read into each, so that it is enough to count where lines were found.
func (h *Hierarchy) request1(line, dirty uint64) {
	f := filter(line)
	pattern := f * everyByte
	n := len(h.levels)
	i := 0
search:
	for ; i < n; i++ {
		l := &h.levels[i]
		set := line & l.mask
		if !l.narrow {
			if way := l.find(set, line); way >= 0 {
				if i == 0 {
					*l.entry(set, way) |= dirty
				}
				l.use(set, way, line)
				break
			}
			continue
		}
		first := int(set) * l.stride
		d := l.data[first : first+l.stride]
		z0, z1 := zeroBytes(d[1]^pattern), zeroBytes(d[2]^pattern)
		if z0|z1 == 0 {
			continue
		}
		for z := marks(z0, z1); z != 0; z &= z - 1 {
			at := 3 + bits.TrailingZeros64(z)
			if at >= len(d) || d[at]>>stateBits != line {
				continue
			}
			way := uint64(at - 3)
			if i == 0 {
				d[at] |= dirty
				l.recent[set] = line
			}
			if !l.lru {
				d[0] = d[0]&^l.path[way] | l.away[way]
				break search
			}
			x := d[0] ^ way*everyNibble
			z := (x - everyNibble) &^ x & (everyNibble << 3)
			below := z&-z<<1 - 1
			d[0] = d[0]&^below | (d[0]<<4|way)&below
			break search
		}
	}
	h.found[i&(2*maxPlain-1)]++
	entry := line<<stateBits | 1
	for i--; i > 0; i-- {
		l := &h.levels[i]
		set := line & l.mask
		if !l.narrow {
			if out := l.put(set, entry); out&(1<<dirtyShift) != 0 {
				h.evict(i, out)
			}
			continue
		}
		first := int(set) * l.stride
		d := l.data[first : first+l.stride]
		var way uint64
		if l.lru {
			way = d[0] >> (l.lastShift & 63) & 15
			d[0] = (d[0]<<4 | way) & l.lastMask
		} else {
			way = l.leaf(d)
			d[0] = d[0]&^l.path[way] | l.away[way]
		}
		shift := way % 8 * 8
		d[1+way/8] = d[1+way/8]&^(0xff<<shift) | f<<shift
		out := d[3+way]
		d[3+way] = entry
		if out&(1<<dirtyShift) != 0 {
			h.evict(i, out)
		}
	}
	if i == 0 {
		if out := h.levels[0].put(line&h.levels[0].mask, entry|dirty); out&(1<<dirtyShift) != 0 {
			h.evict(0, out)
		}
	}
}

// leaf is victim of a level of at most smallWays.
func (l *level) leaf(d []uint64) uint64 {
	if z := marks(zeroBytes(d[1]), zeroBytes(d[2])) & l.all; z != 0 {
		return uint64(bits.TrailingZeros64(z))
	}
	n := uint64(leaves[d[0]>>1&(1<<7-1)])
	if l.ways == smallWays {
		return 2*n + d[0]>>(n&63)&1 - smallWays
	}
	return n>>l.up - uint64(l.ways)
}

// leaves are the nodes that a tree of eight ways points to, by the bits of its nodes 1 to 7.
var leaves = func() (to [1 << 7]uint8) {
	for tree := range to {
		n := 1
		for n < 8 {
			n = 2*n + tree>>(n-1)&1
		}
		to[tree] = uint8(n)
	}
	return to
}()

// plainStats is what level i of a plain hierarchy did.
func (h *Hierarchy) plainStats(i int) (s Stats) {
	s.Hits = h.found[i]
	for _, n := range h.found[i+1 : len(h.levels)+1] {
		s.Misses += n
	}
	s.Read = s.Misses
	return s
}
