package cache

import (
	"math/rand/v2"
	"testing"
)

// iceLake is the hierarchy of a server core of 2021.
func iceLake() Config {
	return Config{LineBytes: 64, Levels: []Level{
		{Name: "L1", Bytes: 48 << 10, Ways: 12}, {Name: "L2", Bytes: 1280 << 10, Ways: 20}, {Name: "L3", Bytes: 48 << 20, Ways: 12},
	}}
}

// treeCaches has the same levels with tree-PLRU.
func treeCaches() Config {
	return Config{LineBytes: 64, Levels: []Level{
		{Name: "L1", Bytes: 32 << 10, Ways: 8, Policy: PLRU}, {Name: "L2", Bytes: 1 << 20, Ways: 8, Policy: PLRU}, {Name: "L3", Bytes: 32 << 20, Ways: 16, Policy: PLRU},
	}}
}

func perSecond(b *testing.B, accesses int) {
	b.ReportMetric(float64(accesses)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Maccesses/s")
	b.ReportMetric(0, "ns/op")
}

// blockedProduct is the trace of C += A B of n x n doubles in blocks: for each element of C a load and a store, and for each
// multiply-add a load of A along its row and one of B down its column.
func blockedProduct(n, block uint64) (trace []Access) {
	for i0 := uint64(0); i0 < n; i0 += block {
		for j0 := uint64(0); j0 < n; j0 += block {
			for k0 := uint64(0); k0 < n; k0 += block {
				for i := i0; i < i0+block; i++ {
					for j := j0; j < j0+block; j++ {
						at := 2<<20 + 8*(i*n+j)
						trace = append(trace, Access{at, 8, Load})
						for k := k0; k < k0+block; k++ {
							trace = append(trace, Access{8 * (i*n + k), 8, Load}, Access{1<<20 + 8*(k*n+j), 8, Load})
						}
						trace = append(trace, Access{at, 8, Store})
					}
				}
			}
		}
	}
	return trace
}

// BenchmarkProduct replays the trace of a product of 120x120 doubles in blocks of 24.
func BenchmarkProduct(b *testing.B) {
	trace := blockedProduct(120, 24)
	for name, c := range map[string]Config{"lru": iceLake(), "plru": treeCaches()} {
		b.Run(name, func(b *testing.B) {
			h := mustNew(b, c)
			for b.Loop() {
				h.Replay(trace)
			}
			perSecond(b, len(trace))
		})
	}
}

// BenchmarkProductRuns is the same trace, its inner loop as runs: A along its row, B down its column, not interleaved.
func BenchmarkProductRuns(b *testing.B) {
	const n, block = 240, 24
	h := mustNew(b, iceLake())
	for b.Loop() {
		for i0 := uint64(0); i0 < n; i0 += block {
			for j0 := uint64(0); j0 < n; j0 += block {
				for k0 := uint64(0); k0 < n; k0 += block {
					for i := i0; i < i0+block; i++ {
						for j := j0; j < j0+block; j++ {
							at := 2<<20 + 8*(i*n+j)
							h.Load(at, 8)
							h.Run(Run{Load, 8 * (i*n + k0), 8, 8, block})
							h.Run(Run{Load, 1<<20 + 8*(k0*n+j), 8, 8 * n, block})
							h.Store(at, 8)
						}
					}
				}
			}
		}
	}
	perSecond(b, 2*n*n*n+2*n*n*n/block)
}

// BenchmarkStream reads a new line each time, of an array that no level holds: every access misses everywhere.
func BenchmarkStream(b *testing.B) {
	const lines = 4 << 20
	for name, c := range map[string]Config{"lru": iceLake(), "plru": treeCaches()} {
		b.Run(name, func(b *testing.B) {
			h := mustNew(b, c)
			for b.Loop() {
				for i := range uint64(lines) {
					h.Load(i*64, 8)
				}
			}
			perSecond(b, lines)
		})
	}
}

// BenchmarkTriad is a stream of doubles: b and c loaded, a stored, one element at a time, each array 64 MiB.
func BenchmarkTriad(b *testing.B) {
	const n = 8 << 20
	h := mustNew(b, iceLake())
	for b.Loop() {
		for i := range uint64(n) {
			h.Load(1<<30+8*i, 8)
			h.Load(2<<30+8*i, 8)
			h.Store(8*i, 8)
		}
	}
	perSecond(b, 3*n)
}

// BenchmarkRandom reads single lines of an array of 256 MiB at random.
func BenchmarkRandom(b *testing.B) {
	const n = 1 << 20
	r := rand.New(rand.NewPCG(1, 1))
	addrs := make([]uint64, n)
	for i := range addrs {
		addrs[i] = r.Uint64N(4<<20) * 64
	}
	h := mustNew(b, iceLake())
	for b.Loop() {
		for _, a := range addrs {
			h.Load(a, 8)
		}
	}
	perSecond(b, n)
}
