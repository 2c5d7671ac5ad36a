package sim

import (
	"fmt"

	"github.com/rooftune/rooftune/sim/cache"
)

// LevelReplay is what a level exchanges with the next nearer one, by the closed form and by a replay of the addresses.
type LevelReplay struct {
	Level         string `json:"level"`
	Ways          int    `json:"ways"` // of the nearer cache, that the replay had
	Bytes         int64  `json:"bytes"`
	ReplayedBytes int64  `json:"replayed_bytes"`
	Hits          int64  `json:"hits"`   // of lines in the nearer cache
	Misses        int64  `json:"misses"` // of these
}

// unknownWays stands in for the ways of a cache that does not tell them.
const unknownWays = 16

// Replay checks the closed form's traffic: it sends the addresses of all touches through a model of set-associative caches of the device's
// capacities, with true LRU, and counts the same as Simulate does, for the recorded trips alone. The program should be recorded with
// EveryPass. ways replaces those of all caches if it is not 0: with many, what differs is the closed form's own doing, with the device's own
// what conflicts in sets add. A program that is not cold goes through twice and the second time counts. Arrays lie one after the other, each
// from the start of a page.
func Replay(d *Device, p *Program, ways int) ([]LevelReplay, error) {
	recorded := *p
	recorded.Launches = nil
	for _, l := range p.Launches {
		nest := make([]Loop, len(l.Nest))
		copy(nest, l.Nest)
		for i := range nest {
			nest[i].Trips = 1
		}
		l.Nest = nest
		recorded.Launches = append(recorded.Launches, l)
	}
	r, err := Simulate(d, &recorded)
	if err != nil {
		return nil, err
	}
	var out []LevelReplay
	for _, level := range d.Levels[1:] {
		out = append(out, LevelReplay{Level: level.Name, Bytes: r.Bytes[level.Name]})
	}
	const page = 4096
	bases := make([]uint64, len(p.Buffers))
	at := uint64(page)
	for i, b := range p.Buffers {
		bases[i] = at
		at += uint64(b.Bytes+2*page-1) / page * page
	}
	for i := range recorded.Launches {
		l := &recorded.Launches[i]
		c := caches(d, l, ways)
		h, err := cache.New(c)
		if err != nil {
			return nil, fmt.Errorf("sim: replaying on %s: %w", d.Name, err)
		}
		replayTouches(h, l, bases)
		if !p.Cold {
			h.Reset()
			replayTouches(h, l, bases)
		}
		for j := range out {
			t, s := h.Beyond(j), h.Stats(j)
			out[j].ReplayedBytes += l.Blocks * (t.Read + t.Written)
			out[j].Hits += l.Blocks * s.Hits
			out[j].Misses += l.Blocks * s.Misses
			out[j].Ways = c.Levels[j].Ways
		}
	}
	return out, nil
}

// caches are the device's as one worker of a launch has them.
func caches(d *Device, l *Launch, ways int) cache.Config {
	line := int64(d.Levels[0].LineBytes)
	c := cache.Config{LineBytes: int(line)}
	for _, level := range d.Levels[:len(d.Levels)-1] {
		w := level.Ways
		switch {
		case ways > 0:
			w = ways
		case w <= 0:
			w = unknownWays
		}
		lines := level.Bytes / line
		if !level.PerUnit {
			lines /= l.Blocks
		}
		w = int(max(1, min(int64(w), lines)))
		c.Levels = append(c.Levels, cache.Level{Name: level.Name, Bytes: max(1, lines/int64(w)) * int64(w) * line, Ways: w})
	}
	return c
}

func replayTouches(h *cache.Hierarchy, l *Launch, bases []uint64) {
	for i := range l.Nest {
		for j := range l.Nest[i].Ops {
			op := &l.Nest[i].Ops[j]
			for k := range op.Touches {
				t := &op.Touches[k]
				for range 1 + t.Again {
					for row := range t.Rows {
						addr, size := bases[t.Buffer]+uint64(op.start(t, row)), int(t.RowBytes)
						switch t.Mode {
						case Read, Fetch:
							h.Load(addr, size)
						case Write:
							h.Store(addr, size)
						case Update:
							h.Load(addr, size)
							h.Store(addr, size)
						case Stream:
							h.Stream(addr, size)
						}
					}
				}
			}
		}
	}
}
