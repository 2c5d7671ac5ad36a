package kernels

import (
	"fmt"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Decode steps take heads together where the rule, the sharing of heads and the columns allow it, and one by one a head whose products of key and
// query overflow; either way each is right and counted once.
func TestDecode(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for i, s := range []tile.Shape{
			{B: 1, T: 1, Hq: 8, Hkv: 8, Dk: 64, Dv: 64}, {B: 3, T: 1, Hq: 3, Hkv: 3, Dk: 40, Dv: 96}, {B: 2, T: 1, Hq: 2, Hkv: 6, Dk: 33, Dv: 160}, {B: 1, T: 1, Hq: 4, Hkv: 2, Dk: 16, Dv: 64},
			{B: 1, T: 1, Hq: 2, Hkv: 2, Dk: 128, Dv: 128}, {B: 2, T: 1, Hq: 5, Hkv: 5, Dk: 7, Dv: 33}, {B: 1, T: 1, Hq: 9, Hkv: 9, Dk: 256, Dv: 256},
		} {
			for rule := range attentionRules {
				for _, huge := range []bool{false, true} {
					p := attentionProblem(rule, 1+(i+rule)%3, s)
					c, err := NewCase(p, uint64(i))
					if err != nil {
						t.Fatal(err)
					}
					if huge { // one head's key and query, whose product is infinite, find nothing to read or to write
						a := &c.attention
						h := s.Hkv / 2
						hq, _ := a.queryHeads(h)
						for k := range s.Dk {
							a.query[hq*s.Dk+k], a.key[a.keyHead(h)*s.Dk+k] = 1e20, 1e20
						}
						for h := range s.Hkv { // heads may share a key
							clear(a.value[h*s.Dv:][:s.Dv])
							clear(a.past[h*s.Dk*s.Dv:][:s.Dk*s.Dv])
						}
					}
					var counts Statistics
					c.attention.statistics = &counts
					t.Run(fmt.Sprintf("%s huge=%t", p, huge), func(t *testing.T) {
						compare(t, c, tile.Candidate{ISA: isa, Config: Complete(p, isa, tile.Config{"form": formRecurrence})})
					})
					if want := int64(s.B * s.Hkv); counts.Tokens.Load() != want {
						t.Errorf("%s: %d tokens counted, want %d", p, counts.Tokens.Load(), want)
					}
				}
			}
		}
	})
}
