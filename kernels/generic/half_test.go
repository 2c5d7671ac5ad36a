package generic

import (
	"math"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Conversions against their definition in float64: every number widens to what it is, halfway between two neighbours goes to the even
// one, and a hair beside it to the nearer.
func TestHalfByDefinition(t *testing.T) {
	p := Primitives()
	for _, bf16 := range []bool{true, false} {
		fractions, least, infinite := 10, -24, uint16(0x7c00)
		if bf16 {
			fractions, least, infinite = 7, -133, 0x7f80
		}
		value := func(b uint16) float64 {
			exponent, fraction := int(b>>fractions), float64(b&(1<<fractions-1))
			if exponent == 0 {
				return math.Ldexp(fraction, least)
			}
			return math.Ldexp(fraction+float64(int(1)<<fractions), least+exponent-1)
		}
		for b := uint16(0); b < infinite; b++ {
			middle := float32((value(b) + value(b+1)) / 2)
			for _, c := range []struct {
				x    float32
				want uint16
			}{
				{float32(value(b)), b}, {middle, b + b&1},
				{math.Nextafter32(middle, 0), b}, {math.Nextafter32(middle, math.MaxFloat32), b + 1},
			} {
				for _, sign := range []uint16{0, 0x8000} {
					x := math.Float32frombits(math.Float32bits(c.x) | uint32(sign)<<16)
					var got [1]uint16
					var back [1]float32
					p.Narrow(&tile.Narrow{Src: []float32{x}, Dst: got[:], M: 1, N: 1, BFloat16: bf16})
					p.Widen(&tile.Widen{Src: []uint16{b | sign}, Dst: back[:], M: 1, N: 1, BFloat16: bf16})
					if got[0] != c.want|sign {
						t.Fatalf("bfloat16 %v: %g gives %#04x, want %#04x", bf16, x, got[0], c.want|sign)
					}
					if math.Abs(float64(back[0])) != value(b) || math.Signbit(float64(back[0])) != (sign != 0) {
						t.Fatalf("bfloat16 %v: %#04x gives %g, want %g", bf16, b|sign, back[0], value(b))
					}
				}
			}
		}
	}
}
