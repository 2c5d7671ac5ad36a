package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// randomConfig draws a small hierarchy, so that every kind of event is common.
func randomConfig(r *rand.Rand) Config {
	for {
		c := Config{LineBytes: []int{16, 64}[r.IntN(2)]}
		c.SectorBytes = []int{0, 0, c.LineBytes / 2, c.LineBytes / 4}[r.IntN(4)]
		lines := 1
		for i := range 1 + r.IntN(3) {
			ways := 1 + r.IntN(5)
			sets := 1 + r.IntN(6)
			l := Level{Name: fmt.Sprint("L", i+1), Ways: ways, NextLine: r.IntN(3) == 0}
			if r.IntN(2) == 0 {
				l.Policy = PLRU
				l.Ways = 1 << r.IntN(4)
			}
			if i > 0 {
				l.Inclusion = Inclusion(r.IntN(3))
			}
			lines = max(lines, l.Ways*sets)
			l.Bytes = int64(l.Ways * sets * c.LineBytes)
			c.Levels = append(c.Levels, l)
		}
		if c.Check() == nil {
			return c
		}
	}
}

func compare(t testing.TB, when string, c Config, h *Hierarchy, slow *slowHierarchy) {
	t.Helper()
	for i := range c.Levels {
		if got, want := h.Stats(i), slow.levels[i].stats; got != want {
			t.Fatalf("%+v\n%s: %s counts %+v, the obvious model %+v", c, when, h.Name(i), got, want)
		}
		if got, want := h.Beyond(i), slow.beyond(i); got != want {
			t.Fatalf("%+v\n%s: beyond %s move %+v, by the obvious model %+v", c, when, h.Name(i), got, want)
		}
	}
}

func TestAgainstObviousModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1500 {
		c := randomConfig(r)
		h, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		slow := newSlow(c)
		span := uint64(c.LineBytes * (4 + r.IntN(200)))
		for range 300 {
			op, addr, size := Op(r.IntN(3)), r.Uint64N(span), 1+r.IntN(2*c.LineBytes)
			if op == Stream && r.IntN(4) != 0 {
				op = Load
			}
			switch r.IntN(4) {
			case 0:
				run := Run{Op: op, Addr: addr, Size: 1 + r.IntN(12), Stride: int64(r.IntN(c.LineBytes + 20)), Count: r.IntN(40)}
				h.Run(run)
				for i := range run.Count {
					slow.access(op, addr+uint64(i)*uint64(run.Stride), run.Size)
				}
			default:
				h.Do(op, addr, size)
				slow.access(op, addr, size)
			}
		}
		compare(t, "after the accesses", c, h, slow)
		h.Flush()
		slow.flush()
		compare(t, "after writing back", c, h, slow)
	}
}

// FuzzAgainstObviousModel takes a seed of a configuration and three bytes for each access.
func FuzzAgainstObviousModel(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 2, 1, 9, 40, 2, 7, 7, 0, 1, 3})
	f.Add(uint64(77), []byte("a stream of loads and stores that is longer than the caches hold"))
	f.Fuzz(func(t *testing.T, seed uint64, trace []byte) {
		c := randomConfig(rand.New(rand.NewPCG(seed, 3)))
		h, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		slow := newSlow(c)
		for ; len(trace) >= 3; trace = trace[3:] {
			op, addr, size := Op(trace[0]%3), uint64(trace[1])*uint64(c.LineBytes)/3, 1+int(trace[2])%70
			if trace[0]&0x80 != 0 {
				run := Run{op, addr, size % 9, int64(trace[2] % 33), int(trace[0]>>2) & 31}
				run.Size = max(1, run.Size)
				h.Run(run)
				for i := range run.Count {
					slow.access(op, addr+uint64(i)*uint64(run.Stride), run.Size)
				}
				continue
			}
			h.Replay([]Access{{addr, uint32(size), op}})
			slow.access(op, addr, size)
		}
		h.Flush()
		slow.flush()
		compare(t, "at the end", c, h, slow)
	})
}

func mustNew(t testing.TB, c Config) *Hierarchy {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Cases that can be counted by hand. The lines are numbered, the trace names them in order, "+" after one is a store.
func TestTextbookCases(t *testing.T) {
	one := func(lines int64, ways int, p Policy) Config {
		return Config{LineBytes: 64, Levels: []Level{{Name: "L1", Bytes: 64 * lines, Ways: ways, Policy: p}}}
	}
	two := func(inclusion Inclusion) Config {
		return Config{LineBytes: 64, Levels: []Level{{Name: "L1", Bytes: 2 * 64}, {Name: "L2", Bytes: 4 * 64, Inclusion: inclusion}}}
	}
	ahead := one(4, 0, LRU)
	ahead.Levels[0].NextLine = true
	for _, c := range []struct {
		name   string
		config Config
		trace  []int // negative: a store to -n
		want   []Stats
	}{
		{"direct mapped: 0 and 8 fight for a set", one(8, 1, LRU), []int{0, 8, 0, 6, 8}, []Stats{{Misses: 5, Read: 5}}},
		{"two ways keep both", one(8, 2, LRU), []int{0, 8, 0, 6, 8}, []Stats{{Hits: 2, Misses: 3, Read: 3}}},
		{"fully associative", one(4, 0, LRU), []int{0, 8, 0, 6, 8}, []Stats{{Hits: 2, Misses: 3, Read: 3}}},
		{"a loop one line longer than an LRU cache never hits", one(4, 0, LRU), []int{1, 2, 3, 4, 5, 1, 2, 3, 4, 5}, []Stats{{Misses: 10, Read: 10}}},
		// Belady's reference string on frames of 3 and 4: LRU faults 10 and 8 times.
		{"1 2 3 4 1 2 5 1 2 3 4 5 on three lines", one(3, 0, LRU), []int{1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5}, []Stats{{Hits: 2, Misses: 10, Read: 10}}},
		{"1 2 3 4 1 2 5 1 2 3 4 5 on four lines", one(4, 0, LRU), []int{1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5}, []Stats{{Hits: 4, Misses: 8, Read: 8}}},
		// The tree after 1 2 3 4 points to 1's way, after the use of 1 to the right half's 3 and not to 2, which LRU would take.
		{"tree-PLRU is not LRU", one(4, 0, PLRU), []int{1, 2, 3, 4, 1, 5, 2, 3}, []Stats{{Hits: 2, Misses: 6, Read: 6}}},
		{"LRU takes 2", one(4, 0, LRU), []int{1, 2, 3, 4, 1, 5, 2, 3}, []Stats{{Hits: 1, Misses: 7, Read: 7}}},
		{"a dirty line is written back once", one(2, 0, LRU), []int{-1, -1, 2, 3, 4}, []Stats{{Hits: 1, Misses: 4, Read: 4, Written: 1}}},
		{"the line ahead is there", ahead, []int{1, 2, 3, 4}, []Stats{{Hits: 2, Misses: 2, Prefetches: 2, Read: 4}}},
		// L2 sees 1, 2, 3, 4, 5 but not the uses of 1 in between, so it loses 1.
		{"inclusive: a line that L2 loses leaves L1", two(Inclusive), []int{1, 2, 1, 3, 1, 4, 1, 5, 1},
			[]Stats{{Hits: 3, Misses: 6, Read: 6}, {Misses: 6, Read: 6}}},
		{"not inclusive: it stays", two(NonInclusive), []int{1, 2, 1, 3, 1, 4, 1, 5, 1},
			[]Stats{{Hits: 4, Misses: 5, Read: 5}, {Misses: 5, Read: 5}}},
		{"exclusive: two and four lines hold six", two(Exclusive), []int{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6},
			[]Stats{{Misses: 12, Read: 12, Written: 10}, {Hits: 6, Misses: 6, Read: 6}}},
		{"not exclusive: four", two(NonInclusive), []int{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6},
			[]Stats{{Misses: 12, Read: 12}, {Misses: 12, Read: 12}}},
	} {
		h := mustNew(t, c.config)
		for _, line := range c.trace {
			if line < 0 {
				h.Store(uint64(-line)*64+8, 8)
			} else {
				h.Load(uint64(line)*64+8, 8)
			}
		}
		for i, want := range c.want {
			if got := h.Stats(i); got != want {
				t.Errorf("%s: %s counts %+v, want %+v", c.name, h.Name(i), got, want)
			}
		}
	}
}

// A matrix of 64x64 doubles is 32 KiB: read by rows it misses once in 8, by columns in a cache of 16 KiB always, twice over.
func TestMatrixByRowsAndColumns(t *testing.T) {
	c := Config{LineBytes: 64, Levels: []Level{{Name: "L1", Bytes: 16 << 10, Ways: 8}}}
	rows, columns := mustNew(t, c), mustNew(t, c)
	for range 2 {
		for i := range uint64(64) {
			rows.Run(Run{Load, i * 512, 8, 8, 64})
			columns.Run(Run{Load, i * 8, 8, 512, 64})
		}
	}
	if got, want := rows.Stats(0), (Stats{Hits: 7 * 1024, Misses: 1024, Read: 1024}); got != want {
		t.Errorf("by rows: %+v, want %+v", got, want)
	}
	// 512 bytes apart the lines of a column fall in 4 sets of 8 ways: 32 of 64 would fit.
	if got, want := columns.Stats(0), (Stats{Misses: 8192, Read: 8192}); got != want {
		t.Errorf("by columns: %+v, want %+v", got, want)
	}
}

func TestStreamingStores(t *testing.T) {
	h := mustNew(t, Config{LineBytes: 64, SectorBytes: 32, Levels: []Level{{Name: "L1", Bytes: 256}, {Name: "L2", Bytes: 1024}}})
	h.Store(0, 64)   // both sectors dirty
	h.Stream(0, 32)  // covers the first: the second is written back
	h.Stream(64, 64) // was nowhere
	h.Load(0, 8)     // a miss again
	if got, want := h.Beyond(1), (Traffic{Read: 64 + 32, Written: 32 + 32 + 64}); got != want {
		t.Errorf("memory moves %+v, want %+v", got, want)
	}
	if got := h.Stats(0); got.Misses != 2 || got.Hits != 0 {
		t.Errorf("L1 counts %+v, want 2 misses", got)
	}
}

func TestCheckRefuses(t *testing.T) {
	l := Level{Name: "L1", Bytes: 1024, Ways: 4}
	with := func(change func(*Config)) Config {
		c := Config{LineBytes: 64, Levels: []Level{l, l}}
		change(&c)
		return c
	}
	for name, c := range map[string]Config{
		"line":            with(func(c *Config) { c.LineBytes = 48 }),
		"sectors":         with(func(c *Config) { c.SectorBytes = 8 }),
		"no levels":       with(func(c *Config) { c.Levels = nil }),
		"ways":            with(func(c *Config) { c.Levels[0].Ways = 3 }),
		"negative ways":   with(func(c *Config) { c.Levels[0].Ways = -1 }),
		"bytes":           with(func(c *Config) { c.Levels[0].Bytes = 1000 }),
		"tree":            with(func(c *Config) { c.Levels[0] = Level{Bytes: 768, Ways: 12, Policy: PLRU} }),
		"nothing nearer":  with(func(c *Config) { c.Levels[0].Inclusion = Inclusive }),
		"victims ahead":   with(func(c *Config) { c.Levels[1].Inclusion, c.Levels[1].NextLine = Exclusive, true }),
		"one line, ahead": with(func(c *Config) { c.Levels[0].Bytes, c.Levels[0].Ways, c.Levels[1].NextLine = 64, 1, true }),
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted %+v", name, c)
		}
	}
}
