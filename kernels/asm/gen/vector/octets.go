package main

import (
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	octetsX    = int(unsafe.Offsetof(tile.Octets{}.X))
	octetsCode = int(unsafe.Offsetof(tile.Octets{}.Code))
	octetsP    = int(unsafe.Offsetof(tile.Octets{}.P))
	octetsNorm = int(unsafe.Offsetof(tile.Octets{}.Norm))
	octetsN    = int(unsafe.Offsetof(tile.Octets{}.N))
)

// factorConstants are what factor works with.
type factorConstants struct {
	powers, scale, least, magic, second, first, one, sign reg.VecPhysical
	third                                                 operand.Mem
}

// factorTable writes the numbers of factorConstants, the third first.
func (g *generator) factorTable() operand.Mem {
	const fraction = 23 // bits of a float32
	powers := make([]uint32, g.Lanes)
	for j := range powers {
		powers[j] = math.Float32bits(float32(math.Exp2(float64(j) / float64(g.Lanes))))
		if !g.Wide() { // an exponent is added with these last bits below it
			powers[j] -= uint32(j) << (fraction - g.laneBits())
		}
	}
	var words []uint32
	a := math.Pow(math.Ln2/float64(2*g.Lanes), 2)
	for _, x := range []float64{
		math.Pow(math.Ln2, 3) * (1.0/6 + a/96), math.Pow(math.Ln2, 2) * (0.5 + a*(math.Sqrt2-1)/12), math.Ln2 * (1 - a*a/384),
		2 / math.Ln2, -126, math.Ldexp(1.5, fraction-g.laneBits()), 1, math.Copysign(0, -1),
	} {
		words = append(words, slices.Repeat([]uint32{math.Float32bits(float32(x))}, g.Lanes)...)
	}
	return g.table("octetsFactor", append(words, powers...))
}

// laneBits is the logarithm of the lanes.
func (g *generator) laneBits() int { return bits.TrailingZeros(uint(g.Lanes)) }

// factor gives 1+exp(-2|x|) of t = 2x/ln2, which it changes. With n+j/lanes next to -|t|, the exponential is 2ⁿ, times 2^(j/lanes) by a look-up in a
// vector, times 2^f, f being what is left, 1/(2 lanes) at most: the series of exp(z), z = f ln2, to z³, with z⁴ and z⁵ made even over the range by the
// powers below them, 1 being kept. It is off by (ln2/(2 lanes))⁴/140, 2.5e-8 with 8 lanes, in a factor of at least 1.
func (g *generator) factor(t, k, f, to reg.VecPhysical, c *factorConstants) {
	g.VORPS(c.sign, t, t)
	if g.Wide() {
		// Exponents of any size and -Inf come out as powers of 0.
		g.VADDPS(c.magic, t, k) // j in the last bits
		g.VREDUCEPS(operand.U8(g.laneBits()<<4|8), t, f)
		g.VSUBPS(f, t, t)
		g.VPERMPS(c.powers, k, k)
		g.VSCALEFPS(t, k, k)
	} else {
		g.VMAXPS(t, c.least, t) // NaN is handed on
		g.VADDPS(c.magic, t, k)
		g.VSUBPS(c.magic, k, f)
		g.VSUBPS(f, t, f)
		g.VPERMPS(c.powers, k, to)
		g.VPSLLD(operand.U8(23-g.laneBits()), k, k)
		g.VPADDD(to, k, k)
	}
	g.VMOVUPS(c.third, to)
	for _, r := range []reg.VecPhysical{c.second, c.first, c.one} {
		g.VFMADD213PS(r, f, to)
	}
	g.VFMADD213PS(c.one, k, to)
}

// octets takes as many octets at a time as a vector has lanes: of each vector the signs, and 1+exp(-2|x|); then a tree of shuffles and products turns
// eight vectors of factors into one of their products. Only whole groups are done.
func (g *generator) octets() {
	numbers := g.factorTable()
	nibbles := g.table("octetsNibbles", nibbles())
	var order operand.Mem
	if g.Wide() {
		order = g.table("octetsOrder", []uint32{0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15})
	}
	p := g.TileFunction("octets", "Octets", "takes codes, products and sums of octets as tile.Octets says, of as many as whole vectors of results hold.")
	field := func(offset int) operand.Mem { return operand.Mem{Base: p, Disp: offset} }
	t, k, f, other := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3]
	acc := g.Vec[4:8]
	zero, places := g.Vec[len(g.Vec)-1], g.Vec[len(g.Vec)-2] // of AVX-512

	count := g.Quad(field(octetsN))
	src, codes, products, norms := g.Quad(field(octetsX)), g.Quad(field(octetsCode)), g.Quad(field(octetsP)), g.Quad(field(octetsNorm))
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JL(emit.Ref("done"))
	address := g.GP64()
	g.LEAQ(numbers, address)
	c := &factorConstants{third: operand.Mem{Base: address}}
	for i, r := range []*reg.VecPhysical{&c.second, &c.first, &c.scale, &c.least, &c.magic, &c.one, &c.sign, &c.powers} {
		*r = g.Vec[8+i]
		g.VMOVUPS(operand.Mem{Base: address, Disp: 4 * g.Lanes * (1 + i)}, *r)
	}
	if g.Wide() {
		where := g.GP64()
		g.LEAQ(order, where)
		g.VMOVUPS(operand.Mem{Base: where}, places)
		g.Zero(zero)
	}
	reversal := g.GP64()
	g.LEAQ(nibbles, reversal)

	// tree combines eight leaves, leaf by leaf so that few registers are live, into the first of acc.
	tree := func(leaf func(i int, to reg.VecPhysical), combine func(a, b, to reg.VecPhysical)) {
		shuffled := func(a, b reg.VecPhysical) {
			g.VSHUFPS(operand.U8(0x88), b, a, other)
			g.VSHUFPS(operand.U8(0xdd), b, a, a)
			combine(other, a, a)
		}
		quarter := func(first int, a []reg.VecPhysical) {
			leaf(first, a[0])
			leaf(first+1, a[1])
			shuffled(a[0], a[1])
			leaf(first+2, a[1])
			leaf(first+3, a[2])
			shuffled(a[1], a[2])
			shuffled(a[0], a[1])
		}
		quarter(0, acc)
		quarter(4, acc[1:])
		if g.Wide() {
			g.VSHUFF32X4(operand.U8(0x88), acc[1], acc[0], other)
			g.VSHUFF32X4(operand.U8(0xdd), acc[1], acc[0], acc[0])
			combine(other, acc[0], acc[0])
			g.VPERMPS(acc[0], places, acc[0])
			return
		}
		g.VPERM2F128(operand.U8(0x20), acc[1], acc[0], other)
		g.VPERM2F128(operand.U8(0x31), acc[1], acc[0], acc[0])
		combine(other, acc[0], acc[0])
	}
	vector := func(i int) operand.Mem { return operand.Mem{Base: src, Disp: 4 * g.Lanes * i} }
	signs := g.GP64()
	words := []reg.GPVirtual{g.GP64()} // the signs of eight octets each
	if g.Wide() {
		words = append(words, g.GP64())
	}

	g.Label("group")
	tree(func(i int, to reg.VecPhysical) {
		g.VMULPS(vector(i), c.scale, t)
		if g.Wide() {
			g.VCMPPS(operand.U8(greaterEqual), zero, t, reg.K1)
			g.KMOVW(reg.K1, signs.As32())
		} else {
			g.VXORPS(f, f, f)
			g.VCMPPS(operand.U8(greaterEqual), f, t, f)
			g.VMOVMSKPS(f, signs.As32())
		}
		each := 8 / len(words) // vectors of a word
		if word := words[i/each]; i%each == 0 {
			g.MOVQ(signs, word)
		} else {
			g.SHLQ(operand.U8(g.Lanes*(i%each)), signs)
			g.ORQ(signs, word)
		}
		g.factor(t, k, f, to, c)
	}, func(a, b, to reg.VecPhysical) { g.VMULPS(a, b, to) })
	g.VDIVPS(acc[0], c.one, acc[0])
	g.VMOVUPS(acc[0], operand.Mem{Base: products})
	g.VMOVQ(words[0], t.AsX())
	if g.Wide() {
		g.VPINSRQ(operand.U8(1), words[1], t.AsX(), t.AsX())
	}
	g.reverseBits(t.AsX(), k.AsX(), f.AsX(), reversal)
	g.VPMOVZXBD(t.AsX(), t)
	g.VMOVUPS(t, operand.Mem{Base: codes})
	skip := g.NewLabel("nonorm")
	g.CMPQ(field(octetsNorm+8), operand.U8(0))
	g.JE(emit.Ref(skip))
	tree(func(i int, to reg.VecPhysical) {
		g.VMOVUPS(vector(i), to)
		g.VANDNPS(to, c.sign, to)
	}, func(a, b, to reg.VecPhysical) { g.VADDPS(a, b, to) })
	g.VMOVUPS(acc[0], operand.Mem{Base: norms})
	g.ADDQ(operand.U8(4*g.Lanes), norms)
	g.Label(skip)
	g.ADDQ(operand.U32(32*g.Lanes), src)
	g.ADDQ(operand.U8(4*g.Lanes), codes)
	g.ADDQ(operand.U8(4*g.Lanes), products)
	g.SUBQ(operand.U8(g.Lanes), count)
	g.JGE(emit.Ref("group"))
	g.Label("done")
	g.Done()
}

// nibbles are, 16 bytes each, what is kept of a byte's lower half, and that half's bits in reverse, in the upper half and in the lower one.
func nibbles() (words []uint32) {
	for _, of := range []func(i int) uint32{
		func(int) uint32 { return 15 },
		func(i int) uint32 { return uint32(bits.Reverse8(uint8(i))) },
		func(i int) uint32 { return uint32(bits.Reverse8(uint8(i))) >> 4 },
	} {
		for i := 0; i < 16; i += 4 {
			words = append(words, of(i)|of(i+1)<<8|of(i+2)<<16|of(i+3)<<24)
		}
	}
	return words
}

// reverseBits reverses the bits of each byte of x, with the table of nibbles: the first element's sign is a code's most significant bit.
func (g *generator) reverseBits(x, upper, from reg.Register, table reg.GPVirtual) {
	at := func(i int) operand.Mem { return operand.Mem{Base: table, Disp: 16 * i} }
	g.VPSRLW(operand.U8(4), x, upper)
	g.VPAND(at(0), x, x)
	g.VPAND(at(0), upper, upper)
	g.VMOVDQU(at(1), from)
	g.VPSHUFB(x, from, x)
	g.VMOVDQU(at(2), from)
	g.VPSHUFB(upper, from, upper)
	g.VPOR(upper, x, x)
}
