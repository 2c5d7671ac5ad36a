package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

func widen(p *tile.Widen) {
	of := fromFloat16
	if p.BFloat16 {
		of = fromBFloat16
	}
	for i := range p.M {
		if p.N == 0 {
			return
		}
		src := p.Src[i*p.LDS:][:p.N]
		dst := p.Dst[i*p.LDD:][:len(src)]
		for j, b := range src {
			dst[j] = of(b)
		}
	}
}

func narrow(p *tile.Narrow) {
	to := toFloat16
	if p.BFloat16 {
		to = toBFloat16
	}
	for i := range p.M {
		if p.N == 0 {
			return
		}
		src := p.Src[i*p.LDS:][:p.N]
		dst := p.Dst[i*p.LDD:][:len(src)]
		for j, x := range src {
			dst[j] = to(x)
		}
	}
}

// fromBFloat16 fills up the upper half of a float32.
func fromBFloat16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// toBFloat16 rounds to the upper half of a float32. The carry of rounding runs into the exponent and, from the
// largest numbers, to Inf, as it should.
func toBFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 1<<6
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// fromFloat16 widens 5 bits of exponent and 10 of fraction. A denormal is its fraction in units of 2^-24.
func fromFloat16(b uint16) float32 {
	sign, exponent, fraction := uint32(b>>15)<<31, uint32(b>>10&31), uint32(b&1023)
	switch exponent {
	case 0:
		return math.Float32frombits(math.Float32bits(float32(fraction)*0x1p-24) | sign)
	case 31:
		bits := sign | 0xff<<23 | fraction<<13
		if fraction != 0 {
			bits |= 1 << 22 // quiet
		}
		return math.Float32frombits(bits)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// toFloat16 rounds by integers where the result is normal. Where it is denormal, adding a number whose last
// place is 2^-24 lets the addition round.
func toFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	sign, magnitude := uint16(b>>16)&0x8000, b&^(1<<31)
	switch {
	case magnitude > 0xff<<23:
		return sign | 0x7e00 | uint16(magnitude>>13)&1023
	case magnitude >= 0x477ff000: // 65520 and above round to 2^16
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2^-14
		const half = 0.5 // its last place is 2^-24
		return sign | uint16(math.Float32bits(math.Float32frombits(magnitude)+half)-math.Float32bits(half))
	}
	return sign | uint16((magnitude-(127-15)<<23+0xfff+magnitude>>13&1)>>13)
}
