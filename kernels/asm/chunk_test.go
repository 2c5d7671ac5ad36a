package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// newChunk makes a random chunk of a state head, every array in guarded memory, rows with gaps where gaps is set. Keys are about as long as 1.
func newChunk(t testing.TB, r *rand.Rand, dk, dv, heads int, gaps, end bool) *tile.DeltaChunk {
	const n = tile.ChunkTokens
	gap := func(n int) int {
		if gaps {
			return n + 37
		}
		return n
	}
	dense := func(n int) []float32 { return guard.Float32s(t, n, end) }
	p := &tile.DeltaChunk{
		LDQ: gap(dk), LDK: gap(dk), LDV: gap(dv), LDO: gap(dv), LDGradQ: gap(dk), LDGradK: gap(dk), LDGradV: gap(dv), Dk: dk, Dv: dv, Heads: heads, Scale: 0.3,
		G: guarded(t, between(r, n, 0.5, 1), end), Beta: guarded(t, between(r, n, -0.5, 2), end),
		S: spread(t, r, dk, dv, dv, end), After: dense(dk * dv), R: spread(t, r, dk, dv, dv, end), Z: dense(n * dv), M: dense(n * n),
		Keys: dense((heads + 1) * n * dk), Rows: dense((heads + 1) * n * dv), X: dense(n * dv), OT: dense(n * dv), XT: dense(n * dv),
		GradQT: dense(n * dk), GradKT: dense(n * dk), Terms: dense(n), GradBeta: dense(n), Room: dense(tile.ChunkRoom),
	}
	p.K, p.V, p.GradK, p.GradV = spread(t, r, n, dk, p.LDK, end), spread(t, r, n, dv, p.LDV, end), spread(t, r, n, dk, p.LDGradK, end), spread(t, r, n, dv, p.LDGradV, end)
	for i, x := range p.K {
		if x != canary {
			p.K[i] = x * float32(math.Sqrt(3/float64(dk)))
		}
	}
	p.KT, p.YRows = p.Keys[heads*n*dk:], p.Rows[heads*n*dv:]
	return p
}

// queryOf points a chunk at one of its query heads.
func queryOf(t testing.TB, r *rand.Rand, p *tile.DeltaChunk, head int, end bool) {
	const n = tile.ChunkTokens
	p.Q, p.O, p.GradQ = spread(t, r, n, p.Dk, p.LDQ, end), spread(t, r, n, p.Dv, p.LDO, end), spread(t, r, n, p.Dk, p.LDGradQ, end)
	p.QT, p.QRows = p.Keys[head*n*p.Dk:][:n*p.Dk], p.Rows[head*n*p.Dv:][:n*p.Dv]
}

// Every step agrees with the portable one, from the same state, in all that it leaves for others, and touches nothing between rows.
func TestChunk(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		if p.Chunk == nil {
			t.Skip("this instruction set has no steps of chunks")
		}
		edges(t, func(t *testing.T, end bool) {
			for i, s := range []struct{ dk, dv, heads int }{{32, 32, 1}, {64, 64, 1}, {96, 64, 2}, {32, 128, 3}, {128, 128, 1}} {
				for _, gaps := range []bool{false, true} {
					checkChunk(t, p.Chunk, uint64(i), s.dk, s.dv, s.heads, gaps, end)
				}
			}
		})
	})
}

func checkChunk(t *testing.T, k *tile.ChunkKernels, seed uint64, dk, dv, heads int, gaps, end bool) {
	t.Helper()
	gr, wr := rand.New(rand.NewPCG(seed, 77)), rand.New(rand.NewPCG(seed, 77))
	got, want := newChunk(t, gr, dk, dv, heads, gaps, end), newChunk(t, wr, dk, dv, heads, gaps, end)
	check := func(step string) {
		t.Helper()
		compareChunks(t, fmt.Sprintf("dk=%d,dv=%d, %d heads, gaps=%v: %s", dk, dv, heads, gaps, step), got, want)
	}
	ahead := tile.Prefetch{Rows: got.S, LD: dv, Lines: 2 * (dv / 32)}
	got.Ahead[0], got.Ahead[1] = ahead, ahead
	k.Forward(got)
	generic.Chunk.Forward(want)
	check("forward")
	k.Begin(got)
	generic.Chunk.Begin(want)
	check("begin")
	for h := range heads {
		queryOf(t, gr, got, h, end)
		queryOf(t, wr, want, h, end)
		k.Query(got)
		generic.Chunk.Query(want)
		check(fmt.Sprint("query ", h))
	}
	k.End(got)
	generic.Chunk.End(want)
	check("end")
}

// compareChunks compares all that steps leave, each array by the largest number in it.
func compareChunks(t *testing.T, what string, got, want *tile.DeltaChunk) {
	t.Helper()
	for _, x := range []struct {
		name      string
		got, want []float32
	}{
		{"q", got.Q, want.Q}, {"k", got.K, want.K}, {"v", got.V, want.V}, {"o", got.O, want.O}, {"s", got.S, want.S}, {"g", got.G, want.G}, {"beta", got.Beta, want.Beta},
		{"z", got.Z, want.Z}, {"m", got.M, want.M}, {"after", got.After, want.After}, {"r", got.R, want.R}, {"keys", got.Keys, want.Keys}, {"rows", got.Rows, want.Rows},
		{"do turned", got.OT, want.OT}, {"x turned", got.XT, want.XT}, {"dq", got.GradQ, want.GradQ}, {"dk", got.GradK, want.GradK}, {"dv", got.GradV, want.GradV},
		{"dq turned", got.GradQT, want.GradQT}, {"dk turned", got.GradKT, want.GradKT}, {"terms", got.Terms, want.Terms}, {"beta's gradient", got.GradBeta, want.GradBeta},
	} {
		largest := 0.0
		for _, w := range x.want {
			if w != canary {
				largest = max(largest, math.Abs(float64(w)))
			}
		}
		for i, w := range x.want {
			if g := x.got[i]; (w == canary) != (g == canary) || !(math.Abs(float64(g)-float64(w)) <= 4e-6*largest) {
				t.Fatalf("%s: %s[%d] = %g, want %g, the largest being %g", what, x.name, i, g, w, largest)
			}
		}
	}
}

// A step of a model's head, in cache. Useful flops are those of the gradients: 16 dk dv a token.
func BenchmarkChunk(b *testing.B) {
	for _, p := range tables {
		if p.Chunk == nil {
			continue
		}
		k := p.Chunk
		for _, d := range []int{64, 128} {
			c := newChunk(b, rand.New(rand.NewPCG(1, 2)), d, d, 1, false, false)
			queryOf(b, rand.New(rand.NewPCG(3, 4)), c, 0, false)
			for _, step := range []struct {
				name  string
				steps []func(*tile.DeltaChunk)
				each  float64 // useful flops, dk dv
			}{
				{"forward", []func(*tile.DeltaChunk){k.Forward}, 4}, {"begin", []func(*tile.DeltaChunk){k.Begin}, 4}, {"query", []func(*tile.DeltaChunk){k.Query}, 2},
				{"end", []func(*tile.DeltaChunk){k.End}, 6}, {"all", []func(*tile.DeltaChunk){k.Forward, k.Begin, k.Query, k.End}, 16},
			} {
				b.Run(fmt.Sprintf("isa=%s/d=%d/step=%s", p.ISA, d, step.name), func(b *testing.B) {
					for b.Loop() {
						clear(c.R) // which would grow
						for _, run := range step.steps {
							run(c)
						}
					}
					b.ReportMetric(step.each*float64(d*d*tile.ChunkTokens)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
				})
			}
		}
	}
}
