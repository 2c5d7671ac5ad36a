package cache

import (
	"errors"
	"fmt"
	"math/bits"
)

// Policy says which line of a full set makes room.
type Policy uint8

// Replacement policies.
const (
	LRU  Policy = iota // the least recently used
	PLRU               // the leaf that a binary tree of bits points to; each use turns the bits on its path away
)

// Inclusion says what a level holds of the lines of the nearer ones.
type Inclusion uint8

// Kinds of inclusion.
const (
	NonInclusive Inclusion = iota // a line is filled here too, and may leave on its own
	Inclusive                     // as NonInclusive, but a line that leaves here leaves all nearer levels
	Exclusive                     // only what the next nearer level evicts; a hit moves the line back there
)

// Level is one cache.
type Level struct {
	Name      string
	Bytes     int64 // capacity
	Ways      int   // at most 256; 0: fully associative
	Policy    Policy
	Inclusion Inclusion
	NextLine  bool // on a miss, the line after it is fetched too
}

// Config is a hierarchy of caches over a memory, nearest first.
type Config struct {
	LineBytes   int // a power of two, the same at all levels
	SectorBytes int // the part of a line that is fetched and written back; 0 means the whole line; at most maxSectors a line
	Levels      []Level
}

const (
	maxSectors  = 4
	maxTreeWays = 64
	maxWays     = 256
	maxLines    = 1 << 28
)

// Check says what is wrong with a configuration, or nil.
func (c Config) Check() error {
	if c.LineBytes <= 0 || c.LineBytes&(c.LineBytes-1) != 0 {
		return fmt.Errorf("cache: a line of %d bytes is no power of two", c.LineBytes)
	}
	if s := c.SectorBytes; s < 0 || s > c.LineBytes || s&(s-1) != 0 || s > 0 && c.LineBytes/s > maxSectors {
		return fmt.Errorf("cache: sectors of %d bytes do not cut a line of %d in at most %d", s, c.LineBytes, maxSectors)
	}
	if len(c.Levels) == 0 {
		return errors.New("cache: no levels")
	}
	ahead := false
	for _, l := range c.Levels {
		ahead = ahead || l.NextLine
	}
	for i, l := range c.Levels {
		lines := l.Bytes / int64(c.LineBytes)
		ways := l.ways(c.LineBytes)
		switch {
		case lines < 1 || lines > maxLines || l.Bytes%int64(c.LineBytes) != 0:
			return fmt.Errorf("cache: %s holds %d bytes, not 1 to %d lines of %d", l.Name, l.Bytes, maxLines, c.LineBytes)
		case ways < 1 || ways > maxWays || lines%ways != 0:
			return fmt.Errorf("cache: %s: %d ways do not divide its %d lines", l.Name, l.Ways, lines)
		case l.Policy > PLRU || l.Inclusion > Exclusive:
			return fmt.Errorf("cache: %s: unknown policy or inclusion", l.Name)
		case l.Policy == PLRU && (ways > maxTreeWays || bits.OnesCount64(uint64(ways)) != 1):
			return fmt.Errorf("cache: %s: tree-PLRU takes 1, 2, 4, ... %d ways, not %d", l.Name, maxTreeWays, ways)
		case i == 0 && l.Inclusion != NonInclusive:
			return fmt.Errorf("cache: %s is the nearest level: there is nothing to include or exclude", l.Name)
		case l.NextLine && l.Inclusion == Exclusive:
			return fmt.Errorf("cache: %s holds victims only and cannot fetch ahead", l.Name)
		case ahead && lines < 2:
			return fmt.Errorf("cache: %s has one line, which a line fetched ahead would push out", l.Name)
		}
	}
	return nil
}

func (l Level) ways(lineBytes int) int64 {
	if l.Ways == 0 {
		return l.Bytes / int64(lineBytes)
	}
	return int64(l.Ways)
}
