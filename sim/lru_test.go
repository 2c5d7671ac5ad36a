package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveLRU is one fully associative cache of lines, most recent first, that sees every access.
type naiveLRU struct {
	lines    []int32
	dirty    map[int32]bool
	capacity int
}

func (c *naiveLRU) access(id int32) (hit bool, out int32, writeBack bool) {
	out = -1
	if i := slices.Index(c.lines, id); i >= 0 {
		c.lines, hit = slices.Delete(c.lines, i, i+1), true
	}
	c.lines = slices.Insert(c.lines, 0, id)
	if len(c.lines) > c.capacity {
		out = c.lines[c.capacity]
		c.lines = c.lines[:c.capacity]
		writeBack = c.dirty[out]
		delete(c.dirty, out)
	}
	return hit, out, writeBack
}

// The stack must find every line where a slow hierarchy of separate caches finds it, and write the same lines back.
func TestLRUStackEqualsSeparateCaches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		capacities := []int64{1 + rng.Int64N(5)}
		capacities = append(capacities, capacities[0]+1+rng.Int64N(8))
		capacities = append(capacities, capacities[1]+1+rng.Int64N(20))
		stack := newLRUStack(capacities)
		stack.add(64, 1)
		var caches []*naiveLRU
		for _, c := range capacities {
			caches = append(caches, &naiveLRU{capacity: int(c), dirty: map[int32]bool{}})
		}
		seen := map[int32]bool{}
		lines := 2 + rng.Int32N(60)
		for step := range 1500 {
			id, write := rng.Int32N(lines), rng.IntN(3) == 0
			if rng.IntN(2) == 0 {
				id = int32(step) % lines // runs, as panels are read
			}
			want := len(caches)
			if !seen[id] {
				want = unseen
			}
			wantBack := make([]int, len(caches)+1)
			if write {
				caches[0].dirty[id] = true
			}
			for i, c := range caches {
				hit, out, back := c.access(id)
				if hit && want == len(caches) {
					want = i
				}
				if back {
					wantBack[i+1]++
					if i+1 < len(caches) {
						caches[i+1].dirty[out] = true
					}
				}
			}
			seen[id] = true
			gotBack := make([]int, len(caches)+1)
			got := stack.touch(id, write, func(_ int32, level int) { gotBack[level]++ })
			if got != want || !slices.Equal(gotBack, wantBack) {
				t.Fatalf("capacities %v, step %d, line %d: found in %d with write-backs %v, want %d with %v", capacities, step, id, got, gotBack, want, wantBack)
			}
		}
	}
}

func BenchmarkLRUStack(b *testing.B) {
	stack := newLRUStack([]int64{512, 16384, 1 << 19})
	stack.add(1<<15, 1)
	ignore := func(int32, int) {}
	n := 0
	for b.Loop() {
		// A block of B that stays, a panel of A that passes.
		stack.touch(int32(n&255), false, ignore)
		stack.touch(int32(256+n%32000), false, ignore)
		n++
	}
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mlines/s")
}
