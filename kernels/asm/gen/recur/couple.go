package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	argBlock     = int(unsafe.Offsetof(noDelta.Block))
	argNonFinite = int(unsafe.Offsetof(noDelta.NonFinite))
)

// couple writes the products of keys and queries of all blocks that kernels have: the vectors of all a block's rows are loaded once for
// all products, whose sums are then added up together.
func (g *generator) couple(blocks []block) {
	g.TileFunction("couple", "Delta", "is Couple of tile.Delta.")
	g.frame = frame{}
	for _, m := range []*operand.Mem{&g.frame.q, &g.frame.k, &g.frame.e, &g.frame.ldq, &g.frame.ldk, &g.frame.c, &g.frame.left} {
		*m = g.AllocLocal(8)
	}
	for _, m := range []struct {
		field int
		to    operand.Mem
	}{{argQ, g.frame.q}, {argK, g.frame.k}, {argE, g.frame.e}, {argC, g.frame.c}, {argT, g.frame.left}} {
		v := g.from(g.field(m.field))
		g.to(m.to, v)
	}
	e, k := g.from(g.frame.e), g.from(g.frame.k)
	g.TESTQ(e, e)
	g.CMOVQEQ(k, e)
	g.to(g.frame.e, e)
	ldq, ldk := g.Bytes(g.field(argLDQ)), g.Bytes(g.field(argLDK))
	g.to(g.frame.ldq, ldq)
	g.to(g.frame.ldk, ldk)
	bad := g.Vec[0]
	g.Zero(bad)
	written := map[[2]int]bool{}
	for _, b := range blocks {
		for heads := 1; heads <= 1+len(b.shared); heads++ {
			if kind := [2]int{b.of(heads), heads}; written[kind] {
				continue
			} else {
				written[kind] = true
			}
			others := g.NewLabel("others")
			g.CMPQ(g.field(argHeads), operand.U8(heads))
			g.JNE(emit.Ref(others))
			g.CMPQ(g.field(argBlock), operand.U8(b.of(heads)))
			g.JNE(emit.Ref(others))
			g.coupleBlocks(bad, b.of(heads), heads)
			g.JMP(emit.Ref("end"))
			g.Label(others)
		}
	}
	g.Label("end")
	// What is not a number differs from itself.
	found := g.GP32()
	if g.Wide() {
		g.VCMPPS(operand.U8(3), bad, bad, reg.K1)
		g.KMOVW(reg.K1, found)
	} else {
		g.VCMPPS(operand.U8(3), bad, bad, bad)
		g.VMOVMSKPS(bad, found)
	}
	g.TESTL(found, found)
	g.SETNE(g.field(argNonFinite))
	g.Done()
}

// coupleBlocks takes all whole blocks of one kind, and adds not-a-numbers to bad where a product is not finite.
func (g *generator) coupleBlocks(bad reg.VecPhysical, tokens, heads int) {
	free := g.Vec[1:]
	take := func(n int) []reg.VecPhysical {
		t := free[:n:n]
		free = free[n:]
		return t
	}
	products := tile.Products(tokens, heads)
	sums, keys, x := g.sums(take, products), take(tokens), take(1)[0]

	next, end := g.NewLabel("block"), g.NewLabel("blocks")
	g.Label(next)
	g.CMPQ(g.frame.left, operand.U8(tokens))
	g.JL(emit.Ref(end))
	for _, v := range sums.all {
		g.Zero(v)
	}
	k, e, ldk, left := g.from(g.frame.k), g.from(g.frame.e), g.from(g.frame.ldk), g.from(g.field(argDk))
	key := g.rows(k, ldk, tokens)
	erase := func(i, disp int) operand.Mem {
		m := key(i, disp)
		m.Base = e
		return m
	}
	query, moved := g.queries(tokens, heads)
	vector := func(tail emit.Tail) {
		for j, v := range keys {
			tail.Load(key(j, 0), v)
		}
		at := 0
		add := func(m operand.Mem, n int) {
			if n == 0 {
				return
			}
			tail.Load(m, x)
			for _, v := range keys[:n] {
				g.VFMADD231PS(v, x, sums.of(at))
				at++
			}
		}
		for i := range tokens {
			add(erase(i, 0), i)
			for h := range heads {
				add(query(i, h, 0), i+1)
			}
		}
	}
	loop, ragged, summed := g.NewLabel("loop"), g.NewLabel("ragged"), g.NewLabel("summed")
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JL(emit.Ref(ragged))
	g.Label(loop)
	vector(g.Full())
	for _, p := range append(moved, k, e) {
		g.ADDQ(operand.U8(g.vectorBytes()), p)
	}
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JGE(emit.Ref(loop))
	g.Label(ragged)
	g.ADDQ(operand.U8(g.Lanes), left)
	g.JZ(emit.Ref(summed))
	vector(g.mask(left))
	g.Label(summed)

	c := g.from(g.frame.c)
	for i, v := range sums.add(g, keys) {
		g.VMOVUPS(v, operand.Mem{Base: c, Disp: i * g.vectorBytes()})
		g.VSUBPS(v, v, v)
		g.VADDPS(v, bad, bad)
	}
	g.ADDQ(operand.U32(4*tile.Record(tokens, heads)), c)
	g.to(g.frame.c, c)
	g.skip(g.frame.q, g.frame.ldq, tokens)
	g.skip(g.frame.k, g.frame.ldk, tokens)
	g.skip(g.frame.e, g.frame.ldk, tokens)
	g.SUBQ(operand.U8(tokens), g.frame.left)
	g.JMP(emit.Ref(next))
	g.Label(end)
}

// productSums are registers whose lanes add up to a block's products.
type productSums struct {
	all   []reg.VecPhysical
	count int
	of    func(product int) reg.VecPhysical
}

// sums gives out the registers: with AVX-512 always sixteen, ordered so that their sums come out in order.
func (g *generator) sums(take func(int) []reg.VecPhysical, products int) productSums {
	if !g.Wide() {
		all := take(products)
		return productSums{all, products, func(p int) reg.VecPhysical { return all[p] }}
	}
	if products > 16 {
		panic("too many products for one vector")
	}
	all := take(16)
	return productSums{all, products, func(p int) reg.VecPhysical { return all[4*(p%4)+p/4] }}
}

// add adds up the lanes of each sum and returns vectors of the results in order.
func (s productSums) add(g *generator, free []reg.VecPhysical) []reg.VecPhysical {
	if g.Wide() {
		// Lanes of a pair of vectors, or of elements of four, are brought together and added: 45 operations in all.
		x := free[0]
		pair := func(a, b reg.VecPhysical, bring func(first bool, to reg.VecPhysical)) {
			bring(true, x)
			bring(false, a)
			g.VADDPS(x, a, a)
		}
		lanes := func(first, second uint8) func(a, b reg.VecPhysical) {
			return func(a, b reg.VecPhysical) {
				pair(a, b, func(one bool, to reg.VecPhysical) {
					if one {
						g.VSHUFF32X4(operand.U8(first), b, a, to)
					} else {
						g.VSHUFF32X4(operand.U8(second), b, a, to)
					}
				})
			}
		}
		halves, quarters := lanes(0x44, 0xee), lanes(0x88, 0xdd)
		v := s.all
		for i := 0; i < 16; i += 2 {
			halves(v[i], v[i+1])
		}
		for i := 0; i < 16; i += 4 {
			quarters(v[i], v[i+2])
		}
		for i := 0; i < 16; i += 8 {
			pair(v[i], v[i+4], func(one bool, to reg.VecPhysical) {
				if one {
					g.VUNPCKLPS(v[i+4], v[i], to)
				} else {
					g.VUNPCKHPS(v[i+4], v[i], to)
				}
			})
		}
		pair(v[0], v[8], func(one bool, to reg.VecPhysical) {
			if one {
				g.VUNPCKLPD(v[8], v[0], to)
			} else {
				g.VUNPCKHPD(v[8], v[0], to)
			}
		})
		return v[:1]
	}
	x, zero := free[0], free[1]
	g.Zero(zero)
	var results []reg.VecPhysical
	for from := 0; from < s.count; from += g.Lanes {
		v := make([]reg.VecPhysical, g.Lanes)
		for i := range v {
			v[i] = zero
			if from+i < s.count {
				v[i] = s.all[from+i]
			}
		}
		for n := len(v); n > 2; n /= 2 { // pairs of lanes; the sum takes the first vector's register
			for i := 0; i < n; i += 2 {
				if v[i] != zero {
					g.VHADDPS(v[i+1], v[i], v[i])
				}
				v[i/2] = v[i]
			}
		}
		g.VPERM2F128(operand.U8(0x20), v[1], v[0], x)
		g.VPERM2F128(operand.U8(0x31), v[1], v[0], v[0])
		g.VADDPS(x, v[0], v[0])
		results = append(results, v[0])
	}
	return results
}
