package cache

import "math/bits"

// maxPlain is how many levels a plain hierarchy has at most.
const maxPlain = 4

// request1 is request and all that follows from it in a plain hierarchy: first the levels that do not have the line, then, farthest
// first, its places in them. Small levels are done here in the steps of find, use and put. A miss of one level is one of all nearer
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
		if !l.small {
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
		if !l.small {
			if out := l.put(set, entry); out&(1<<dirtyShift) != 0 {
				h.evict(i, out)
			}
			continue
		}
		first := int(set) * l.stride
		d := l.data[first : first+l.stride]
		way := d[0] >> (l.lastShift & 63) & 15
		d[0] = (d[0]<<4 | way) & l.lastMask
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

// plainStats is what level i of a plain hierarchy did.
func (h *Hierarchy) plainStats(i int) (s Stats) {
	s.Hits = h.found[i]
	for _, n := range h.found[i+1 : len(h.levels)+1] {
		s.Misses += n
	}
	s.Read = s.Misses
	return s
}
