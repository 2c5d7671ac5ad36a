package kernels

import (
	"math"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// What is walked token by token because of its numbers is counted, and nothing else is.
func TestStatistics(t *testing.T) {
	s := tile.Shape{B: 2, T: 64, Hq: 2, Hkv: 2, Dk: 16, Dv: 16}
	all := int64(s.B * s.T * s.Hkv)
	fill := func(v []float32, x float32) {
		for i := range v {
			v[i] = x
		}
	}
	for name, x := range map[string]struct {
		rule        int
		spoil       func(a *attentionArgs)
		least, most int64
	}{
		"as usual":         {gatedDelta, func(*attentionArgs) {}, 0, 0},
		"as usual per key": {7, func(*attentionArgs) {}, 0, 0},
		"strong decay":     {gatedDelta, func(a *attentionArgs) { fill(a.decay, -20) }, all, all},
		"strong per key":   {7, func(a *attentionArgs) { fill(a.decay, -20) }, all, all},
		"growth":           {gatedDelta, func(a *attentionArgs) { fill(a.decay, 0.1) }, all, all},
		"large keys":       {4, func(a *attentionArgs) { fill(a.key, 1e30); fill(a.value, 0); fill(a.past, 0) }, all, all},
		"one NaN":          {4, func(a *attentionArgs) { a.key[5] = float32(math.NaN()) }, 1, all / 4},
	} {
		t.Run(name, func(t *testing.T) {
			eachISA(t, func(t *testing.T, isa tile.ISA) {
				p := attentionProblem(x.rule, 2, s)
				c, err := NewCase(p, 1)
				if err != nil {
					t.Fatal(err)
				}
				x.spoil(&c.attention)
				prim, _ := primitives(isa)
				if blocks(p, prim)[0][0] == 1 {
					t.Skip("token by token is all that the recurrence has")
				}
				cfg := Complete(p, isa, tile.Config{"form": formRecurrence, "chunk": 16})
				var counts Statistics
				c.attention.statistics = &counts
				y, err := c.Prepare(tile.Candidate{ISA: isa, Config: cfg})
				if err != nil {
					t.Fatal(err)
				}
				y.Run()
				if got := counts.Tokens.Load(); got != all {
					t.Errorf("%d tokens, want %d", got, all)
				}
				// Blocks do not always divide a chunk: what is left goes one at a time whatever its numbers, and is not counted.
				if got := counts.Single.Load(); got < x.least*3/4 || got > x.most {
					t.Errorf("%d tokens one at a time, want %d to %d", got, x.least, x.most)
				}
			})
		})
	}
}

// The chunk form walks chunks that are not finite again, the backward pass runs of one token where decay is strong.
func TestStatisticsOfChunks(t *testing.T) {
	s := tile.Shape{B: 1, T: 64, Hq: 1, Hkv: 1, Dk: 16, Dv: 16}
	run := func(p tile.Problem, cfg tile.Config, spoil func(a *attentionArgs)) int64 {
		c, err := NewCase(p, 1)
		if err != nil {
			t.Fatal(err)
		}
		spoil(&c.attention)
		var counts Statistics
		c.attention.statistics = &counts
		y, err := c.Prepare(tile.Candidate{ISA: tile.Generic, Config: Complete(p, tile.Generic, cfg)})
		if err != nil {
			t.Fatal(err)
		}
		y.Run()
		if got := counts.Tokens.Load(); got != int64(s.T) {
			t.Errorf("%s: %d tokens, want %d", p, got, s.T)
		}
		return counts.Single.Load()
	}
	p := attentionProblem(gatedDelta, 1, s)
	if got := run(p, tile.Config{"form": formChunk, "chunk": 16}, func(a *attentionArgs) { a.key[16*20] = float32(math.Inf(1)) }); got < 16 {
		t.Errorf("%d tokens of a chunk with Inf one at a time", got)
	}
	back := deltaBackwardProblem(3, 1, s)
	if got := run(back, nil, func(a *attentionArgs) {
		for i := range a.decay {
			a.decay[i] = -30
		}
	}); got != int64(s.T) {
		t.Errorf("%d tokens of a backward pass under strong decay one at a time, want %d", got, s.T)
	}
}
