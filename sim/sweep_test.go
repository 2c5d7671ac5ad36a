package sim

import (
	"math"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// A decode step reads and writes its state once, at the level that holds it.
func TestSweepOfDecode(t *testing.T) {
	d := &Device{Kind: KindCPU, Units: 1, ISA: tile.AVX2, Levels: []Level{
		{Name: "L1", Bytes: 32 << 10, MaxBytes: 32 << 10, ReadBps: 200e9, CopyBps: 200e9},
		{Name: "L2", Bytes: 1 << 20, MaxBytes: 1 << 20, ReadBps: 100e9, CopyBps: 80e9},
		{Name: "DRAM", ReadBps: 10e9, CopyBps: 20e9},
	}}
	for _, c := range []struct {
		heads int
		level string
		bps   float64
	}{{8, "L2", 80e9}, {64, "DRAM", 20e9}} {
		p := tile.Problem{Op: tile.LinearAttention, Rule: tile.RuleLinear, Decay: tile.DecayNone, DType: tile.Float32, Dir: tile.Forward, Threads: 1,
			Shape: tile.Shape{B: 1, T: 1, Hq: c.heads, Hkv: c.heads, Dk: 128, Dv: 128}}
		s, err := SweepOf(d, p)
		if err != nil {
			t.Fatal(err)
		}
		state, rows := int64(c.heads)*128*128*4, int64(c.heads)*4*128*4
		if s.Level != c.level || s.Bytes != 2*state+rows {
			t.Errorf("%d heads: %d bytes at %s, want %d at %s", c.heads, s.Bytes, s.Level, 2*state+rows, c.level)
		}
		if paired := 2 * float64(state) / c.bps * 1e9; s.Ns < paired || s.Ns > 1.05*paired {
			t.Errorf("%d heads: %.0f ns, want a little more than the %.0f of copying the state", c.heads, s.Ns, paired)
		}
	}
	if s, err := SweepOf(d, tile.Problem{Op: "no-op"}); err == nil {
		t.Errorf("an unknown op moves %v", s)
	}
	if s, _ := SweepOf(d, tile.Problem{Op: tile.LinearAttention, DType: tile.Float32, Shape: tile.Shape{B: 1, Hq: 1, Hkv: 1, Dk: 1, Dv: 1}}); math.IsNaN(s.Ns) {
		t.Error("NaN")
	}
}
