package main

import (
	"unsafe"

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

// fold takes two vectors of keys at a time from the last token to the first, then one, then key by key.
func (f *file) fold() {
	f.tileFunction("foldNEON", "Fold", "folds a block's per-key decay into its keys and queries, as tile.Fold says.")
	const (
		keys, at, factors, key, keyOut, query, queryOut R = 1, 2, 3, 4, 5, 6, 7
		ldg, ldk, ldkOut, ldq, ldqOut, headQ, headQOut  R = 8, 9, 10, 11, 12, 13, 14
		tokens, head, from, to, last, tmp               R = 15, 16, 17, 19, 20, 21
		one, zero, least, bad, ok, ones                 V = 16, 17, 18, 19, 20, 21
	)
	w, x, g, good := span(0, 2), span(2, 2), span(4, 2), span(6, 2)
	f.zero(bad)
	f.get(foldM, tokens)
	f.ins("CMP $0, %v", tokens)
	f.ins("BLE done")
	f.get(foldN, keys)
	f.ins("MOVD $0x3f800000, %v", tmp) // 1
	f.ins("VDUP %v, %s", tmp, one.S4())
	f.ins("MOVD $0x2f800000, %v", tmp) // 2^-32
	f.ins("VDUP %v, %s", tmp, least.S4())
	f.ins("MOVD $0xffffffff, %v", tmp)
	f.ins("VDUP %v, %s", tmp, ones.S4())
	f.zero(zero)
	for _, m := range []struct {
		offset int
		to     R
	}{{foldLDG, ldg}, {foldLDK, ldk}, {foldLDKOut, ldkOut}, {foldLDQ, ldq}, {foldLDQOut, ldqOut}, {foldHeadQ, headQ}, {foldHeadQOut, headQOut}} {
		f.getBytes(m.offset, m.to)
	}
	f.ins("MOVD ZR, %v", at)
	for _, width := range widths(2) {
		n := width.vectors
		again, end := f.newLabel("keys"), f.newLabel("narrower")
		f.label(again)
		f.ins("CMP $%d, %v", width.columns(), keys)
		f.ins("BLT %s", end)
		f.get(foldM, tokens)
		f.ins("SUB $1, %v, %v", tokens, last)
		for _, m := range []struct {
			array  int
			ld, to R
		}{{foldG, ldg, factors}, {foldK, ldk, key}, {foldKOut, ldkOut, keyOut}, {foldQ, ldq, query}, {foldQOut, ldqOut, queryOut}} {
			f.get(m.array, m.to)
			f.ins("ADD %v, %v, %v", at, m.to, m.to)
			f.ins("MADD %v, %v, %v, %v", last, m.to, m.ld, m.to)
		}
		for i := range n {
			f.copy(w[i], one)
			f.copy(good[i], ones)
		}
		token, heads, none, first := f.newLabel("token"), f.newLabel("heads"), f.newLabel("none"), f.newLabel("first")
		f.label(token)
		f.load(width, x[:n], key, 0)
		for i := range n {
			f.word(fmul(x[i], x[i], w[i]))
		}
		f.store(width, x[:n], keyOut, 0)
		f.get(foldHeads, head)
		f.ins("CMP $0, %v", head)
		f.ins("BLE %s", none)
		f.ins("MOVD %v, %v", query, from)
		f.ins("MOVD %v, %v", queryOut, to)
		f.label(heads)
		f.load(width, x[:n], from, 0)
		for i := range n {
			f.word(fdiv(x[i], x[i], w[i]))
		}
		f.store(width, x[:n], to, 0)
		f.ins("ADD %v, %v, %v", headQ, from, from)
		f.ins("ADD %v, %v, %v", headQOut, to, to)
		f.ins("SUBS $1, %v, %v", head, head)
		f.ins("BNE %s", heads)
		f.label(none)
		f.load(width, g[:n], factors, 0)
		for i := range n {
			f.word(fmul(w[i], w[i], g[i]))
		}
		f.ins("SUBS $1, %v, %v", tokens, tokens)
		f.ins("BEQ %s", first)
		for i := range n {
			for _, test := range []instruction{fcmgt(ok, g[i], zero), fcmge(ok, one, g[i]), fcmge(ok, w[i], least)} {
				f.word(test)
				f.ins("VAND %s, %s, %s", ok.B16(), good[i].B16(), good[i].B16())
			}
		}
		for _, m := range []struct{ by, at R }{{ldg, factors}, {ldk, key}, {ldkOut, keyOut}, {ldq, query}, {ldqOut, queryOut}} {
			f.ins("SUB %v, %v, %v", m.by, m.at, m.at)
		}
		f.ins("B %s", token)
		f.label(first)
		f.get(foldD, tmp)
		f.ins("ADD %v, %v, %v", at, tmp, tmp)
		f.store(width, w[:n], tmp, 0)
		for i := range n {
			f.ins("VEOR %s, %s, %s", ones.B16(), good[i].B16(), good[i].B16())
			if width.lanes == 1 {
				f.word(lane(good[i], good[i], 0)) // the other lanes do not count
			}
			f.ins("VORR %s, %s, %s", good[i].B16(), bad.B16(), bad.B16())
		}
		f.ins("ADD $%d, %v, %v", width.bytes(), at, at)
		f.ins("SUB $%d, %v, %v", width.columns(), keys, keys)
		f.ins("B %s", again)
		f.label(end)
	}
	f.label("done")
	f.ins("VMOV V%d.D[0], %v", uint(bad), from)
	f.ins("VMOV V%d.D[1], %v", uint(bad), to)
	f.ins("ORR %v, %v, %v", from, to, to)
	f.ins("CMP $0, %v", to)
	f.ins("CSET NE, %v", to)
	f.ins("MOVB %v, %d(%v)", to, foldUnsafe, p)
	f.ins("RET")
}
