package cache

import "math/bits"

// An entry is a line's number above eight bits: the valid sectors, and above them the dirty ones.
const (
	stateBits  = 8
	validBits  = 1<<maxSectors - 1
	dirtyShift = maxSectors
	stateMask  = 1<<stateBits - 1
)

const (
	everyByte   = 0x0101010101010101
	everyNibble = 0x1111111111111111
	noLine      = ^uint64(0) // the number of no line
	smallWays   = 16
	hostLine    = 8 // words of a cache line where this runs
)

// level is the contents of one cache. A set is a few words side by side: the ways in the order of their last use (LRU) or the tree
// (PLRU), a filter byte of each way's line, so that eight ways are looked at in a few operations, and the entries. The order of up to 16 ways is one
// word of four bits each, of more ways a byte each.
type level struct {
	Stats
	data   []uint64
	stride int      // words of a set
	recent []uint64 // nearest level only: per set, the line used last if it is still there, else noLine

	ways    int
	words   int    // of filters
	filters int    // where they begin in a set; the order or tree begins at 0
	entries int    // where they begin
	small   bool   // LRU of at most smallWays
	narrow  bool   // of at most smallWays, LRU or not
	all     uint64 // a bit for each way, if narrow
	up      uint   // levels of a narrow tree that eight ways have more
	sets    uint64 //
	mask    uint64 // sets-1 if that is a power of two
	reduce  uint64 // 2^64 / sets rounded up if it is not

	lastShift uint   // of the last way in the last word of the order
	lastMask  uint64 // of the ways in that word

	lru                            bool
	exclusive, inclusive, nextLine bool

	away, path []uint64 // PLRU: per way the bits of its path that point right, away from it, and all bits of its path
}

func newLevel(s Level, lineBytes int, nearest bool) level {
	lines := s.Bytes / int64(lineBytes)
	ways := int(s.ways(lineBytes))
	l := level{
		ways: ways, words: max(2, (ways+7)/8), sets: uint64(lines) / uint64(ways), lru: s.Policy == LRU, small: s.Policy == LRU && ways <= smallWays,
		exclusive: s.Inclusion == Exclusive, inclusive: s.Inclusion == Inclusive, nextLine: s.NextLine,
	}
	if l.narrow = ways <= smallWays; l.narrow {
		l.all = 1<<ways - 1
		l.up = uint(bits.LeadingZeros8(uint8(min(ways, 8))) - 4)
	}
	if l.sets&(l.sets-1) == 0 {
		l.mask = l.sets - 1
	} else {
		l.reduce = ^uint64(0)/l.sets + 1
	}
	l.filters = 1
	l.lastShift = uint(ways-1) * 4
	l.lastMask = 2<<(l.lastShift+3) - 1
	if l.lru && !l.small {
		l.filters = l.words
		l.lastShift = uint(ways-1) % 8 * 8
		l.lastMask = 2<<(l.lastShift+7) - 1
	}
	l.entries = l.filters + l.words
	l.stride = l.entries + ways
	if rest := l.stride % hostLine; rest != 0 && l.stride > hostLine {
		l.stride += hostLine - rest
	}
	l.data = make([]uint64, int(l.sets)*l.stride)
	if nearest {
		l.recent = make([]uint64, l.sets)
		for set := range l.recent {
			l.recent[set] = noLine
		}
	}
	if !l.lru {
		l.away, l.path = make([]uint64, ways), make([]uint64, ways)
		for w := range ways {
			for n := w + ways; n > 1; n /= 2 {
				l.path[w] |= 1 << (n / 2)
				if n%2 == 0 {
					l.away[w] |= 1 << (n / 2)
				}
			}
		}
		return l
	}
	for set := range l.sets {
		d := l.at(set)
		for w := range ways {
			if l.small {
				d[0] |= uint64(w) << (4 * w)
			} else {
				d[w/8] |= uint64(w) << (w % 8 * 8)
			}
		}
	}
	return l
}

// set is the number of a line's set.
func (l *level) set(line uint64) uint64 {
	if l.reduce == 0 {
		return line & l.mask
	}
	return l.remainder(line)
}

func (l *level) remainder(line uint64) uint64 {
	if line>>32 == 0 { // Lemire's remainder: exact for 32-bit numbers
		hi, _ := bits.Mul64(l.reduce*line, l.sets)
		return hi
	}
	return line % l.sets
}

// at is a set's words.
func (l *level) at(set uint64) []uint64 {
	first := int(set) * l.stride
	return l.data[first : first+l.stride]
}

// entry is that of a way.
func (l *level) entry(set uint64, way int) *uint64 { return &l.data[int(set)*l.stride+l.entries+way] }

// filter is a line's filter byte. That of an empty way is 0, which no line has.
func filter(line uint64) uint64 { return line*0x9e3779b97f4a7c15>>57<<1 | 1 }

// zeroBytes marks with their top bits the bytes of x that are zero. The lowest mark is right, marks above it may be wrong.
func zeroBytes(x uint64) uint64 { return (x - everyByte) &^ x & (everyByte << 7) }

// marks gathers the top bits of sixteen bytes.
func marks(low, high uint64) uint64 {
	const gather = 0x0102040810204080
	return low>>7*gather>>56 | high>>7*gather>>56<<8
}

// find gives the way of a line, or -1.
func (l *level) find(set, line uint64) int {
	d := l.at(set)
	pattern := filter(line) * everyByte
	entries := d[l.entries:]
	if l.words == 2 {
		f := d[l.filters:]
		for z := marks(zeroBytes(f[0]^pattern), zeroBytes(f[1]^pattern)); z != 0; z &= z - 1 {
			if way := bits.TrailingZeros64(z); way < l.ways && entries[way]>>stateBits == line {
				return way
			}
		}
		return -1
	}
	for i, f := range d[l.filters:l.entries] {
		for z := zeroBytes(f ^ pattern); z != 0; z &= z - 1 {
			if way := 8*i + bits.TrailingZeros64(z)/8; way < l.ways && entries[way]>>stateBits == line {
				return way
			}
		}
	}
	return -1
}

// use makes a line, which is in a way, the set's last used one.
func (l *level) use(set uint64, way int, line uint64) {
	if l.recent != nil {
		l.recent[set] = line
	}
	d := l.at(set)
	switch {
	case !l.lru:
		d[0] = d[0]&^l.path[way] | l.away[way]
	case l.small:
		below := l.below(d[0], way)
		d[0] = d[0]&^below | (d[0]<<4|uint64(way))&below
	default:
		pattern, carry := uint64(way)*everyByte, uint64(way)
		for i, w := range d[:l.filters] {
			z := zeroBytes(w ^ pattern)
			if z == 0 {
				d[i] = w<<8 | carry
				carry = w >> 56
				continue
			}
			below := z&-z<<1 - 1 // this byte and those before it
			d[i] = w&^below | (w<<8|carry)&below
			return
		}
	}
}

// below masks a way and those before it in a small set's order.
func (l *level) below(order uint64, way int) uint64 {
	x := order ^ uint64(way)*everyNibble
	z := (x - everyNibble) &^ x & (everyNibble << 3) // as zeroBytes
	return z&-z<<1 - 1
}

// put gives a line that is not there a way of its set as its last used one and returns the entry that made room, 0 if a way was empty.
func (l *level) put(set, entry uint64) uint64 {
	d := l.at(set)
	var way int
	switch {
	case !l.lru:
		way = l.victim(d)
		d[0] = d[0]&^l.path[way] | l.away[way]
	case l.small:
		way = int(d[0] >> (l.lastShift & 63) & 15)
		d[0] = (d[0]<<4 | uint64(way)) & l.lastMask
	default:
		last := (l.ways - 1) / 8
		way = int(d[last] >> (l.lastShift & 63) & 0xff)
		carry := uint64(way)
		for i, w := range d[:last+1] {
			d[i] = w<<8 | carry
			carry = w >> 56
		}
		d[last] &= l.lastMask
	}
	if l.recent != nil {
		l.recent[set] = entry >> stateBits
	}
	shift := uint(way) % 8 * 8
	f := &d[l.filters+way/8]
	*f = *f&^(0xff<<shift) | filter(entry>>stateBits)<<shift
	e := &d[l.entries+way]
	out := *e
	*e = entry
	return out
}

// victim is the first empty way, or the one that the tree points to.
func (l *level) victim(d []uint64) int {
	for i, f := range d[l.filters:l.entries] {
		if z := zeroBytes(f); z != 0 {
			if way := 8*i + bits.TrailingZeros64(z)/8; way < l.ways {
				return way
			}
		}
	}
	n := 1
	for n < l.ways {
		n = 2*n + int(d[0]>>n&1)
	}
	return n - l.ways
}

// remove empties a way.
func (l *level) remove(set uint64, way int) {
	d := l.at(set)
	e := &d[l.entries+way]
	if l.recent != nil && l.recent[set] == *e>>stateBits {
		l.recent[set] = noLine
	}
	*e = 0
	d[l.filters+way/8] &^= 0xff << (way % 8 * 8)
	if !l.lru {
		return
	}
	// The way goes to the end of the order.
	if l.small {
		below := l.below(d[0], way)
		d[0] = d[0]&(below>>4) | d[0]&^below>>4 | uint64(way)<<l.lastShift
		return
	}
	place := func(i int) uint64 { return d[i/8] >> (i % 8 * 8) & 0xff }
	i := 0
	for place(i) != uint64(way) {
		i++
	}
	for ; i < l.ways; i++ {
		next := uint64(way)
		if i+1 < l.ways {
			next = place(i + 1)
		}
		d[i/8] = d[i/8]&^(0xff<<(i%8*8)) | next<<(i%8*8)
	}
}

// first is the way of an LRU set that was used last.
func (l *level) first(set uint64) int {
	order := l.data[int(set)*l.stride]
	if l.small {
		return int(order & 15)
	}
	return int(order & 0xff)
}
