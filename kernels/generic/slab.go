package generic

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// GatherHalf is tile.GatherHalf. It is exported for assembly, which leaves to it the columns that fill no vector.
func GatherHalf(p *tile.GatherHalf) {
	if p.N == 0 {
		return
	}
	out := p.Out[:p.N]
	for r, index := range p.Rows {
		row, w := p.Table[int(index)*p.LD:][:len(out)], p.Weight[r]
		for c := range out {
			out[c] += w * math.Float32frombits(uint32(row[c])<<16)
		}
	}
}

// GatherBytes is tile.GatherBytes, exported likewise.
func GatherBytes(p *tile.GatherBytes) {
	if p.N == 0 {
		return
	}
	out := p.Out[:p.N]
	for r, index := range p.Rows {
		row, w := p.Table[int(index)*p.LD:][:len(out)], p.Weight[r]
		for c := range out {
			out[c] += w * float32(row[c])
		}
	}
}

// started gives a token's sums where they are to stand, as they begin.
func started(p *tile.Slab, t, width int) []float32 {
	y := p.Y[t*width:][:width]
	if len(p.Out) > 0 {
		out := p.Out[t*p.LDO:][:width]
		copy(out, y)
		y = out
	}
	if len(p.Init) > 0 {
		copy(y, p.Init[:width])
	}
	return y
}

func slabFloats(p *tile.Slab) {
	for t := range p.T {
		y := started(p, t, tile.SlabFloats)
		for g, offset := range p.Offset[t*p.G:][:p.G] {
			w := p.Weight[t*p.G+g]
			for c, x := range p.Floats[offset/4:][:len(y)] {
				y[c] += w * x
			}
		}
	}
}

func slabHalves(p *tile.Slab) {
	const half = tile.SlabHalves / 2
	for t := range p.T {
		y := started(p, t, tile.SlabHalves)
		for g, offset := range p.Offset[t*p.G:][:p.G] {
			w := p.Weight[t*p.G+g]
			row := p.Halves[offset/2:][:2*half]
			for i := range half {
				y[i] += w * math.Float32frombits(uint32(row[2*i])<<16)
				y[half+i] += w * math.Float32frombits(uint32(row[2*i+1])<<16)
			}
		}
	}
}

func slabBytes(p *tile.Slab) {
	for t := range p.T {
		y := started(p, t, tile.SlabBytes)
		for g, offset := range p.Offset[t*p.G:][:p.G] {
			w := p.Weight[t*p.G+g]
			for c, x := range p.Bytes[offset:][:len(y)] {
				y[c] += w * float32(x)
			}
		}
	}
}

func slabBytes16(p *tile.Slab) { slabIntegers(p, 16) }
func slabBytes8(p *tile.Slab)  { slabIntegers(p, 8) }

func slabIntegers(p *tile.Slab, bits int) {
	var sums [tile.SlabBytes]int32
	for t := range p.T {
		y := started(p, t, tile.SlabBytes)
		clear(sums[:])
		for g, offset := range p.Offset[t*p.G:][:p.G] {
			at, shift := (t*p.G+g)/4*2, 8*(g%4)
			q := int32(p.Quant[at] >> shift & 0xff)
			if bits == 16 {
				q = q<<8 | int32(p.Quant[at+1]>>shift&0xff)
			}
			for i, x := range p.Bytes[offset:][:tile.SlabBytes] {
				sums[tile.BytesPermuted(i)] += q * int32(x)
			}
		}
		for c, s := range sums {
			y[c] += p.Scale[t] * float32(s)
		}
	}
}
