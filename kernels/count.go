package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// counting is a table with prim's register tiles whose functions add up flops and compute nothing. A lower triangle counts as
// its elements, whatever a tile rounds it up to.
func counting(prim *tile.Primitives, flops *int64) *tile.Primitives {
	add := func(n int) { *flops += int64(n) }
	products := func(ks []tile.ProductKernel, count func(*tile.Product)) []tile.ProductKernel {
		c := make([]tile.ProductKernel, len(ks))
		for i, k := range ks {
			c[i] = tile.ProductKernel{MR: k.MR, NR: k.NR, Run: count}
		}
		return c
	}
	full := func(p *tile.Product) { add(2 * p.M * p.N * p.K) }
	var pair *tile.PairPrimitives
	if prim.Pair != nil {
		pair = countingPairs(prim.Pair, add)
	}
	decayed := func(r *tile.Recur) {
		for _, d := range r.Decay[:min(len(r.Decay), r.T)] {
			if d != 1 {
				add(r.Dk * r.N)
			}
		}
	}
	var recurs []tile.RecurKernel
	for _, k := range prim.Recur {
		recurs = append(recurs, tile.RecurKernel{Tokens: k.Tokens, NR: k.NR, Shared: k.Shared, Run: func(r *tile.Recur) {
			add(2 * (1 + r.Heads) * r.T * r.Dk * r.N)
			decayed(r)
		}})
	}
	var deltas []tile.DeltaKernel
	for _, k := range prim.Delta {
		deltas = append(deltas, tile.DeltaKernel{Tokens: k.Tokens, NR: k.NR, Shared: k.Shared, Run: func(d *tile.Delta) {
			add(2 * (2 + d.Heads) * d.T * d.Dk * d.N)
			decayed(&d.Recur)
			if d.C != nil { // what the tokens of a block are to each other
				add(2 * d.T / d.Block * tile.Products(d.Block, d.Heads) * d.N)
			}
		}})
	}
	var steps []tile.StepKernel
	for _, k := range prim.Steps {
		steps = append(steps, tile.StepKernel{NR: k.NR, Run: func(s *tile.Steps) {
			s.Done = len(s.Units)
			for _, u := range s.Units {
				one := tile.Recur{Decay: s.Decay[u.Decay:], T: 1, Dk: s.Dk, N: s.N}
				add(6 * s.Dk * s.N)
				decayed(&one)
			}
		}})
	}
	return &tile.Primitives{
		ISA: prim.ISA,
		NN: products(prim.NN, func(p *tile.Product) {
			if p.Lower {
				add(p.N * p.M * (p.M + 1))
				return
			}
			full(p)
		}),
		NT: products(prim.NT, func(p *tile.Product) {
			if p.Lower {
				add(p.K * p.M * (p.M + 1 - 2*p.Strict))
				return
			}
			full(p)
		}),
		TN:         products(prim.TN, full),
		Solve:      func(s *tile.Solve) { add(s.W * s.N * (s.N - 1)) },
		Substitute: func(s *tile.Substitute) { add(s.W * s.N * (s.N - 1)) },
		Pack: func(p *tile.Pack) {
			p.NonFinite = false
			if p.Row != nil {
				add(p.M * p.N)
			}
		},
		Turn:  func(*tile.Turn) {},
		Dots:  func(d *tile.Dots) { add(2 * d.M * d.N) },
		Decay: func(d *tile.Decay) { add(d.N * d.N / 2) },
		Exp:   func(e *tile.Exp) {},
		Fold:  func(f *tile.Fold) { f.Unsafe = false },
		Recur: recurs,
		Delta: deltas,
		Steps: steps,
		Chunk: countingChunks(prim.Chunk, add),
		Couple: func(d *tile.Delta) {
			d.NonFinite = false
			add(2 * d.T / d.Block * tile.Products(d.Block, d.Heads) * d.Dk)
		},
		Map:    func(*tile.Map) {},
		Blend:  func(b *tile.Blend) { add(2 * b.M * b.N) },
		Trail:  func(t *tile.Trail) { add(2 * (1 + t.Heads) * t.M * t.N) },
		Widen:  func(*tile.Widen) {},
		Narrow: func(*tile.Narrow) {},
		Pair:   pair,
		Conv:   func(c *tile.Conv) { add(2 * c.M * c.N * c.K) },
		Gather: func(g *tile.Gather) { add(2 * len(g.Rows) * g.N) },
		Octets: func(*tile.Octets) {},
		Spread: func(*tile.Spread) {}, Quantize: func(*tile.Quantize) {},

		GatherHalf:  func(g *tile.GatherHalf) { add(2 * len(g.Rows) * g.N) },
		GatherBytes: func(g *tile.GatherBytes) { add(2 * len(g.Rows) * g.N) },
		SlabFloats:  func(s *tile.Slab) { add(2 * s.T * s.G * tile.SlabFloats) },
		SlabHalves:  func(s *tile.Slab) { add(2 * s.T * s.G * tile.SlabHalves) },
		SlabBytes:   countingBytes(prim.SlabBytes, add),
	}
}

// countingChunks counts the steps of a chunk, whose triangles are computed as squares.
func countingChunks(like *tile.ChunkKernels, add func(int)) *tile.ChunkKernels {
	if like == nil {
		return nil
	}
	const n, square, solve, decays = tile.ChunkTokens, 2 * tile.ChunkTokens * tile.ChunkTokens, tile.ChunkTokens * tile.ChunkTokens * (tile.ChunkTokens - 1), tile.ChunkTokens * tile.ChunkTokens / 2
	state := func(p *tile.DeltaChunk) int { return 2 * n * p.Dk * p.Dv }
	return &tile.ChunkKernels{
		Forward: func(p *tile.DeltaChunk) { add(decays + 2*state(p) + square*(p.Dk+p.Dv) + solve) },
		Begin:   func(p *tile.DeltaChunk) { add(decays + 2*state(p)) },
		Query:   func(p *tile.DeltaChunk) { add(state(p) + square*(3*p.Dk+2*p.Dv) + 2*n*p.Dk) },
		End:     func(p *tile.DeltaChunk) { add((2+p.Heads)*state(p) + square*(p.Dk+2*p.Dv) + solve + 2*n*(p.Dk+p.Dv)) },
	}
}

// countingBytes counts a product of integers as two flops, as any other.
func countingBytes(like []tile.ByteKernel, add func(int)) (ks []tile.ByteKernel) {
	for _, k := range like {
		ks = append(ks, tile.ByteKernel{Bits: k.Bits, Run: func(s *tile.Slab) { add(2 * s.T * s.G * tile.SlabBytes) }})
	}
	return ks
}
