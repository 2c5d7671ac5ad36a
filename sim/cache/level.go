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
	everyByte = 0x0101010101010101
	topBits   = 0x8080808080808080
	noLine    = ^uint64(0) // the number of no line
)

// level is the contents of one cache. Beside the entries of a set stand words of one byte a way, so that eight ways are looked at in
// a few operations: a filter byte of each way's line, and for LRU the ways in the order of their last use.
type level struct {
	Stats
	entries []uint64 // per set and way
	recent  []uint64 // per set, the line used last if it is still there, else noLine
	meta    []uint64 // per set: filter words, then order words (LRU) or the tree and the way last used (PLRU)

	ways   int
	words  int    // of filters in a set
	stride int    // words of meta in a set
	sets   uint64 //
	mask   uint64 // sets-1 if that is a power of two
	reduce uint64 // 2^64 / sets rounded up if it is not

	lru                            bool
	exclusive, inclusive, nextLine bool

	away, path []uint64 // PLRU: per way the bits of its path that point right, away from it, and all bits of its path
}

func newLevel(s Level, lineBytes int) level {
	lines := s.Bytes / int64(lineBytes)
	ways := int(s.ways(lineBytes))
	l := level{
		entries: make([]uint64, lines), ways: ways, words: (ways + 7) / 8, sets: uint64(lines) / uint64(ways), lru: s.Policy == LRU,
		exclusive: s.Inclusion == Exclusive, inclusive: s.Inclusion == Inclusive, nextLine: s.NextLine,
	}
	if l.sets&(l.sets-1) == 0 {
		l.mask = l.sets - 1
	} else {
		l.reduce = ^uint64(0)/l.sets + 1
	}
	l.stride = 2 * l.words
	if !l.lru {
		l.stride = l.words + 2
		l.away, l.path = make([]uint64, ways), make([]uint64, ways)
		for w := range ways {
			for n := w + ways; n > 1; n /= 2 {
				l.path[w] |= 1 << (n / 2)
				if n%2 == 0 {
					l.away[w] |= 1 << (n / 2)
				}
			}
		}
	}
	l.recent, l.meta = make([]uint64, l.sets), make([]uint64, int(l.sets)*l.stride)
	for set := range int(l.sets) {
		l.recent[set] = noLine
		if l.lru {
			for w := range ways {
				l.meta[set*l.stride+l.words+w/8] |= uint64(w) << (w % 8 * 8)
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

// filter is a line's filter byte. That of an empty way is 0, which no line has.
func filter(line uint64) uint64 { return line*0x9e3779b97f4a7c15>>57<<1 | 1 }

// zeros marks with their top bits the bytes of x that are zero. The lowest mark is right, marks above it may be wrong.
func zeros(x uint64) uint64 { return (x - everyByte) &^ x & topBits }

// find gives the way of a line, or -1.
func (l *level) find(set, line uint64) int {
	at, base := int(set)*l.stride, int(set)*l.ways
	pattern := filter(line) * everyByte
	for i, f := range l.meta[at : at+l.words] {
		for z := zeros(f ^ pattern); z != 0; z &= z - 1 {
			way := 8*i + bits.TrailingZeros64(z)/8
			if way < l.ways && l.entries[base+way]>>stateBits == line {
				return way
			}
		}
	}
	return -1
}

// entry is that of a way.
func (l *level) entry(set uint64, way int) *uint64 { return &l.entries[int(set)*l.ways+way] }

// latest is the way that was used last, if its line is still there.
func (l *level) latest(set uint64) int {
	at := int(set)*l.stride + l.words
	if l.lru {
		return int(l.meta[at] & 0xff)
	}
	return int(l.meta[at+1])
}

// use makes a line, which is in a way, the set's last used one.
func (l *level) use(set uint64, way int, line uint64) {
	if l.recent[set] == line {
		return
	}
	l.recent[set] = line
	if !l.lru {
		l.turn(set, way)
		return
	}
	at := int(set)*l.stride + l.words
	pattern := uint64(way) * everyByte
	carry := uint64(way)
	for i, w := range l.meta[at : at+l.words] {
		z := zeros(w ^ pattern)
		if z == 0 {
			l.meta[at+i] = w<<8 | carry
			carry = w >> 56
			continue
		}
		below := z&-z<<1 - 1 // this byte and those before it
		l.meta[at+i] = w&^below | (w<<8|carry)&below
		return
	}
}

func (l *level) turn(set uint64, way int) {
	at := int(set)*l.stride + l.words
	l.meta[at] = l.meta[at]&^l.path[way] | l.away[way]
	l.meta[at+1] = uint64(way)
}

// put gives a line that is not there a way of its set as its last used one and returns the entry that made room, 0 if a way was empty.
func (l *level) put(set, entry uint64) uint64 {
	at := int(set) * l.stride
	var way int
	if l.lru {
		order := l.meta[at+l.words : at+2*l.words]
		last := len(order) - 1
		shift := uint(l.ways-1) % 8 * 8
		way = int(order[last] >> shift & 0xff)
		carry := uint64(way)
		for i, w := range order {
			order[i] = w<<8 | carry
			carry = w >> 56
		}
		order[last] &= 2<<(shift+7) - 1
	} else {
		way = l.victim(set)
		l.turn(set, way)
	}
	shift := uint(way) % 8 * 8
	f := &l.meta[at+way/8]
	*f = *f&^(0xff<<shift) | filter(entry>>stateBits)<<shift
	l.recent[set] = entry >> stateBits
	e := l.entry(set, way)
	out := *e
	*e = entry
	return out
}

// victim is the first empty way, or the one that the tree points to.
func (l *level) victim(set uint64) int {
	at := int(set) * l.stride
	for i, f := range l.meta[at : at+l.words] {
		if z := zeros(f); z != 0 {
			if way := 8*i + bits.TrailingZeros64(z)/8; way < l.ways {
				return way
			}
		}
	}
	tree, n := l.meta[at+l.words], 1
	for n < l.ways {
		n = 2*n + int(tree>>n&1)
	}
	return n - l.ways
}

// remove empties a way.
func (l *level) remove(set uint64, way int) {
	e := l.entry(set, way)
	if l.recent[set] == *e>>stateBits {
		l.recent[set] = noLine
	}
	*e = 0
	at := int(set) * l.stride
	l.meta[at+way/8] &^= 0xff << (way % 8 * 8)
	if !l.lru {
		return
	}
	// The way goes to the end of the order.
	order := l.meta[at+l.words : at+2*l.words]
	place := func(i int) uint64 { return order[i/8] >> (i % 8 * 8) & 0xff }
	i := 0
	for place(i) != uint64(way) {
		i++
	}
	for ; i < l.ways; i++ {
		next := uint64(way)
		if i+1 < l.ways {
			next = place(i + 1)
		}
		order[i/8] = order[i/8]&^(0xff<<(i%8*8)) | next<<(i%8*8)
	}
}
