package asm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/asm/guard"
	"github.com/rooftune/rooftune/kernels/tile"
)

// bfloats and bytes are random elements between guards.
func bfloats(t testing.TB, r *rand.Rand, n int, end bool) []uint16 {
	v := guard.Uint16s(t, n, end)
	for i := range v {
		v[i] = uint16(math.Float32bits(r.Float32()*2-1) >> 16)
	}
	return v
}

func bytes(t testing.TB, r *rand.Rand, n int, end bool) []int8 {
	v := guard.Int8s(t, n, end)
	for i := range v {
		v[i] = int8(r.IntN(256) - 128)
	}
	return v
}

func near(t testing.TB, what string, got, want []float32, terms int, scale float64) {
	t.Helper()
	for i, v := range got {
		if !(math.Abs(float64(v)-float64(want[i])) <= float64(terms+2)*0x1p-23*scale) {
			t.Fatalf("%s: element %d is %g, want %g", what, i, v, want[i])
		}
	}
}

func TestGatherNarrow(t *testing.T) {
	eachISA(t, func(t *testing.T, p *tile.Primitives) {
		edges(t, func(t *testing.T, end bool) {
			r := rand.New(rand.NewPCG(13, 14))
			const tableRows = 12
			for _, group := range []int{4, 8} {
				for count := range 28 {
					for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130} {
						ld, size := n+count%3, 0
						if n > 0 {
							size = (tableRows-1)*ld + n
						}
						rows := guard.Int32s(t, count, end)
						for i := range rows {
							rows[i] = int32(r.IntN(tableRows))
						}
						weight := guarded(t, between(r, count, -1, 1), end)
						start := between(r, n, -1, 1)
						half := &tile.GatherHalf{Table: bfloats(t, r, size, end), Rows: rows, Weight: weight, Out: guarded(t, start, end), LD: ld, N: n, Group: group, Ahead: count % 3 * group}
						want := *half
						want.Out = append([]float32(nil), start...)
						portable.GatherHalf(&want)
						p.GatherHalf(half)
						near(t, fmt.Sprintf("halves group=%d rows=%d n=%d", group, count, n), half.Out, want.Out, count, float64(count+1))
						narrow := &tile.GatherBytes{Table: bytes(t, r, size, end), Rows: rows, Weight: weight, Out: guarded(t, start, end), LD: ld, N: n, Group: group, Ahead: count % 3 * group}
						wantBytes := *narrow
						wantBytes.Out = append([]float32(nil), start...)
						portable.GatherBytes(&wantBytes)
						p.GatherBytes(narrow)
						near(t, fmt.Sprintf("bytes group=%d rows=%d n=%d", group, count, n), narrow.Out, wantBytes.Out, count, 128*float64(count+1))
					}
				}
			}
		})
	})
}

// slabCase makes a pass over random rows, with every array between guards.
func slabCase(t testing.TB, r *rand.Rand, tokens, g, width, size int, init, end bool) *tile.Slab {
	const rows = 5 // of a table
	s := &tile.Slab{T: tokens, G: g}
	s.Weight = guarded(t, between(r, tokens*g, 0, 1), end)
	s.Scale = guarded(t, between(r, tokens, 0, 1e-4), end)
	s.Y = guarded(t, between(r, tokens*width, -1, 1), end)
	if init {
		s.Init = guarded(t, between(r, width, -1, 1), end)
	}
	offset := guard.Int32s(t, tokens*g, end)
	for i := range offset {
		offset[i] = int32((i%max(g, 1)*rows + r.IntN(rows)) * width * size)
	}
	s.Offset = words32(offset)
	quant := guard.Int32s(t, tokens*g/4*2, end)
	for i := range quant {
		quant[i] = int32(r.Uint32())
	}
	s.Quant = words32(quant)
	s.Next = make([]byte, 64*r.IntN(40))
	s.Pace = r.IntN(900)
	return s
}

func words32(v []int32) []uint32 {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&v[0])), len(v))
}

func TestSlab(t *testing.T) { eachISA(t, checkSlab) }

func checkSlab(t *testing.T, p *tile.Primitives) {
	edges(t, func(t *testing.T, end bool) {
		r := rand.New(rand.NewPCG(15, 16))
		const rows = 5
		for _, g := range []int{0, 1, 2, 3, 4, 5, 8, 12, 16, 17} {
			for tokens := range 5 {
				for _, init := range []bool{false, true} {
					what := fmt.Sprintf("G=%d T=%d init=%v", g, tokens, init)
					run := func(name string, s *tile.Slab, portable, run func(*tile.Slab), scale float64) {
						t.Helper()
						width := len(s.Y) / max(tokens, 1)
						if out := tokens > 0 && r.IntN(2) == 0; out {
							s.LDO = width + 16*r.IntN(3)
							s.Out = guarded(t, between(r, (tokens-1)*s.LDO+width, -1, 1), end)
						}
						want := *s
						want.Y, want.Out = append([]float32(nil), s.Y...), append([]float32(nil), s.Out...)
						portable(&want)
						run(s)
						near(t, name+" "+what, s.Y, want.Y, g, scale)
						near(t, name+" out "+what, s.Out, want.Out, g, scale)
					}
					s := slabCase(t, r, tokens, g, tile.SlabFloats, 4, init, end)
					s.Floats = guarded(t, between(r, g*rows*tile.SlabFloats, -1, 1), end)
					run("floats", s, portable.SlabFloats, p.SlabFloats, float64(g+1))
					s = slabCase(t, r, tokens, g, tile.SlabHalves, 2, init, end)
					s.Halves = bfloats(t, r, g*rows*tile.SlabHalves, end)
					run("halves", s, portable.SlabHalves, p.SlabHalves, float64(g+1))
					for i, k := range p.SlabBytes {
						if k.Bits > 0 && g%4 != 0 {
							continue
						}
						s = slabCase(t, r, tokens, g, tile.SlabBytes, 1, init, end)
						s.Bytes = bytes(t, r, g*rows*tile.SlabBytes, end)
						if portable.SlabBytes[i].Bits != k.Bits {
							t.Fatalf("kernel %d takes %d bits", i, k.Bits)
						}
						scale := 128 * float64(g+1)
						if k.Bits == 16 {
							scale = 128 * 65536 * 1e-4 * float64(g+1)
						}
						run(fmt.Sprintf("bytes of %d bits", k.Bits), s, portable.SlabBytes[i].Run, k.Run, scale)
					}
				}
			}
		}
	})
}

// Sums of integer products are exact, the largest too.
func TestSlabExactIntegers(t *testing.T) { eachISA(t, checkExactIntegers) }

func checkExactIntegers(t *testing.T, p *tile.Primitives) {
	r := rand.New(rand.NewPCG(17, 18))
	const tokens, rows = 3, 2
	for _, g := range []int{4, 8, 64} {
		for i, k := range p.SlabBytes {
			if k.Bits == 0 {
				continue
			}
			for _, of := range []struct {
				bytes  func() int8
				weight func() uint32
			}{
				{func() int8 { return -128 }, func() uint32 { return math.MaxUint32 }},
				{func() int8 { return 127 }, func() uint32 { return math.MaxUint32 }},
				{func() int8 { return -128 }, func() uint32 { return 0x80808080 * r.Uint32N(2) }},
				{func() int8 { return int8(r.IntN(256) - 128) }, r.Uint32},
			} {
				s := &tile.Slab{T: tokens, G: g, Bytes: make([]int8, g*rows*tile.SlabBytes), Offset: make([]uint32, tokens*g), Quant: make([]uint32, tokens*g/2)}
				s.Scale, s.Y = []float32{1, 0.5, 2}, make([]float32, tokens*tile.SlabBytes)
				for i := range s.Bytes {
					s.Bytes[i] = of.bytes()
				}
				for i := range s.Offset {
					s.Offset[i] = uint32((i%g*rows + r.IntN(rows)) * tile.SlabBytes)
				}
				for i := range s.Quant {
					s.Quant[i] = of.weight()
				}
				want := *s
				want.Y = make([]float32, len(s.Y))
				portable.SlabBytes[i].Run(&want)
				k.Run(s)
				for i, y := range s.Y {
					if y != want.Y[i] {
						t.Fatalf("G=%d, %d bits: Y[%d] = %g, want %g", g, k.Bits, i, y, want.Y[i])
					}
				}
			}
		}
	}
}
