package main

import (
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	foldG        = int(unsafe.Offsetof(tile.Fold{}.G))
	foldK        = int(unsafe.Offsetof(tile.Fold{}.K))
	foldQ        = int(unsafe.Offsetof(tile.Fold{}.Q))
	foldKOut     = int(unsafe.Offsetof(tile.Fold{}.KOut))
	foldQOut     = int(unsafe.Offsetof(tile.Fold{}.QOut))
	foldD        = int(unsafe.Offsetof(tile.Fold{}.D))
	foldLDG      = int(unsafe.Offsetof(tile.Fold{}.LDG))
	foldLDK      = int(unsafe.Offsetof(tile.Fold{}.LDK))
	foldLDQ      = int(unsafe.Offsetof(tile.Fold{}.LDQ))
	foldHeadQ    = int(unsafe.Offsetof(tile.Fold{}.HeadQ))
	foldLDKOut   = int(unsafe.Offsetof(tile.Fold{}.LDKOut))
	foldLDQOut   = int(unsafe.Offsetof(tile.Fold{}.LDQOut))
	foldHeadQOut = int(unsafe.Offsetof(tile.Fold{}.HeadQOut))
	foldM        = int(unsafe.Offsetof(tile.Fold{}.M))
	foldN        = int(unsafe.Offsetof(tile.Fold{}.N))
	foldHeads    = int(unsafe.Offsetof(tile.Fold{}.Heads))
	foldUnsafe   = int(unsafe.Offsetof(tile.Fold{}.Unsafe))
)

// Predicates of VCMPPS that are false of NaN.
const (
	lessEqual    = 18
	greaterEqual = 29
	greater      = 30
)

// notLessEqual is the predicate that is the opposite of lessEqual, and so true of NaN.
const notLessEqual = 22

// fold takes one vector of keys at a time from the last token to the first.
func (g *generator) fold() {
	g.TileFunction("fold", "Fold", "folds a block's per-key decay into its keys and queries, as tile.Fold says.")
	args := func() reg.GPVirtual {
		p := g.GP64()
		g.Load(g.Param("p"), p)
		return p
	}
	quad := func(offset int) reg.GPVirtual { return g.Quad(operand.Mem{Base: args(), Disp: offset}) }
	bytes := func(offset int) reg.GPVirtual { return g.Bytes(operand.Mem{Base: args(), Disp: offset}) }
	w, x, good, one, zero, least, factor, ok, mask := g.Vec[0], g.Vec[1], g.Vec[2], g.Vec[3], g.Vec[4], g.Vec[5], g.Vec[6], g.Vec[7], g.Vec[15]
	left, at, bad := g.AllocLocal(8), g.AllocLocal(8), g.AllocLocal(8)

	none := g.GP64()
	g.XORQ(none, none)
	g.MOVQ(none, at)
	g.MOVQ(none, bad)
	n := quad(foldN)
	g.MOVQ(n, left)
	g.CMPQ(quad(foldM), operand.U8(0))
	g.JLE(emit.Ref("done"))
	g.broadcast(1, one)
	g.Zero(zero)
	g.broadcast(1.0/(1<<32), least)

	vector := func(t emit.Tail) {
		start := func(array, rows, ld int) (p, stride reg.GPVirtual) { // the last token's row
			p, stride = quad(array), bytes(ld)
			last := quad(rows)
			g.DECQ(last)
			g.IMULQ(stride, last)
			g.ADDQ(last, p)
			g.ADDQ(at, p)
			return p, stride
		}
		factors, ldg := start(foldG, foldM, foldLDG)
		key, ldk := start(foldK, foldM, foldLDK)
		keyOut, ldkOut := start(foldKOut, foldM, foldLDKOut)
		query, _ := start(foldQ, foldM, foldLDQ)
		queryOut, _ := start(foldQOut, foldM, foldLDQOut)
		i := quad(foldM)
		g.VMOVAPS(one, w)
		if g.Wide() {
			all := g.GP32()
			g.MOVL(operand.U32(0xffff), all)
			g.KMOVW(all, reg.K4)
		} else {
			g.VCMPPS(operand.U8(greater), zero, one, good)
		}
		token, heads, first := g.NewLabel("token"), g.NewLabel("heads"), g.NewLabel("first")
		g.Label(token)
		t.Load(operand.Mem{Base: key}, x)
		g.VMULPS(x, w, x)
		t.Store(x, operand.Mem{Base: keyOut})
		h := quad(foldHeads)
		none := g.NewLabel("none")
		g.TESTQ(h, h)
		g.JLE(emit.Ref(none))
		from, to := g.GP64(), g.GP64()
		g.MOVQ(query, from)
		g.MOVQ(queryOut, to)
		g.Label(heads)
		t.Load(operand.Mem{Base: from}, x)
		g.VDIVPS(w, x, x)
		t.Store(x, operand.Mem{Base: to})
		step := bytes(foldHeadQ)
		g.ADDQ(step, from)
		step = bytes(foldHeadQOut)
		g.ADDQ(step, to)
		g.DECQ(h)
		g.JNZ(emit.Ref(heads))
		g.Label(none)
		t.Load(operand.Mem{Base: factors}, factor)
		g.VMULPS(factor, w, w)
		g.DECQ(i)
		g.JZ(emit.Ref(first))
		for _, c := range []struct {
			a, b      reg.VecPhysical
			predicate int
		}{{factor, zero, greater}, {factor, one, lessEqual}, {w, least, greaterEqual}} {
			if g.Wide() {
				g.VCMPPS(operand.U8(uint8(c.predicate)), c.b, c.a, reg.K2)
				g.KANDW(reg.K2, reg.K4, reg.K4)
			} else {
				g.VCMPPS(operand.U8(uint8(c.predicate)), c.b, c.a, ok)
				g.VANDPS(ok, good, good)
			}
		}
		g.SUBQ(ldg, factors)
		g.SUBQ(ldk, key)
		g.SUBQ(ldkOut, keyOut)
		g.SUBQ(bytes(foldLDQ), query)
		g.SUBQ(bytes(foldLDQOut), queryOut)
		g.JMP(emit.Ref(token))
		g.Label(first)
		d := quad(foldD)
		g.ADDQ(at, d)
		t.Store(w, operand.Mem{Base: d})
		// The lanes that count and are not good.
		found, counted := g.GP32(), g.GP32()
		if g.Wide() {
			g.KMOVW(reg.K4, found)
		} else {
			g.VMOVMSKPS(good, found)
		}
		g.NOTL(found)
		switch {
		case t.Mask() == nil:
			g.MOVL(operand.U32(1<<g.Lanes-1), counted)
		case g.Wide():
			g.KMOVW(reg.K1, counted)
		default:
			g.VMOVMSKPS(mask, counted)
		}
		g.ANDL(counted, found)
		g.ORQ(found.As64(), bad)
	}
	g.Label("vectors")
	g.CMPQ(left, operand.U8(g.Lanes))
	g.JL(emit.Ref("ragged"))
	vector(g.Full())
	g.ADDQ(operand.U8(4*g.Lanes), at)
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JMP(emit.Ref("vectors"))
	g.Label("ragged")
	rest := g.Quad(left)
	g.TESTQ(rest, rest)
	g.JLE(emit.Ref("done"))
	vector(g.NewTail(g.masks, rest, mask))
	g.Label("done")
	result := g.Quad(bad)
	p := args()
	g.TESTQ(result, result)
	g.SETNE(operand.Mem{Base: p, Disp: foldUnsafe})
	g.Done()
}
