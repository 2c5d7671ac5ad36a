package main

import (
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	recurQ          = int(unsafe.Offsetof(tile.Recur{}.Q))
	recurK          = int(unsafe.Offsetof(tile.Recur{}.K))
	recurV          = int(unsafe.Offsetof(tile.Recur{}.V))
	recurO          = int(unsafe.Offsetof(tile.Recur{}.O))
	recurS          = int(unsafe.Offsetof(tile.Recur{}.S))
	recurD          = int(unsafe.Offsetof(tile.Recur{}.D))
	recurDecay      = int(unsafe.Offsetof(tile.Recur{}.Decay))
	recurRowV       = int(unsafe.Offsetof(tile.Recur{}.RowV))
	recurRowO       = int(unsafe.Offsetof(tile.Recur{}.RowO))
	recurLDQ        = int(unsafe.Offsetof(tile.Recur{}.LDQ))
	recurLDK        = int(unsafe.Offsetof(tile.Recur{}.LDK))
	recurLDV        = int(unsafe.Offsetof(tile.Recur{}.LDV))
	recurLDO        = int(unsafe.Offsetof(tile.Recur{}.LDO))
	recurLDS        = int(unsafe.Offsetof(tile.Recur{}.LDS))
	recurLDD        = int(unsafe.Offsetof(tile.Recur{}.LDD))
	recurHeadQ      = int(unsafe.Offsetof(tile.Recur{}.HeadQ))
	recurHeadO      = int(unsafe.Offsetof(tile.Recur{}.HeadO))
	recurT          = int(unsafe.Offsetof(tile.Recur{}.T))
	recurHeads      = int(unsafe.Offsetof(tile.Recur{}.Heads))
	recurDk         = int(unsafe.Offsetof(tile.Recur{}.Dk))
	recurN          = int(unsafe.Offsetof(tile.Recur{}.N))
	recurReverse    = int(unsafe.Offsetof(tile.Recur{}.Reverse))
	recurAccumulate = int(unsafe.Offsetof(tile.Recur{}.Accumulate))
	recurPrefetch   = int(unsafe.Offsetof(tile.Recur{}.Prefetch))

	prefetchSize  = int(unsafe.Sizeof(tile.Prefetch{}))
	prefetchRows  = int(unsafe.Offsetof(tile.Prefetch{}.Rows))
	prefetchLD    = int(unsafe.Offsetof(tile.Prefetch{}.LD))
	prefetchLines = int(unsafe.Offsetof(tile.Prefetch{}.Lines))
	prefetches    = len(tile.Recur{}.Prefetch)
)

// The registers of the recurrence. A block has a pointer to each token's key and query.
const (
	tokenK R = 1 // the next token's key, query, value and output row, the latter two at the panel's column
	tokenQ R = 2
	tokenV R = 3
	tokenO R = 4
	walked R = 5 // tokens done
	column R = 6
	panelS R = 7 // the panel's state
	stepS  R = 8 // bytes from one of its rows to the next
	rowS   R = 9
	nextS  R = 10 // the row after
	twoS   R = 11
	left   R = 12 // rows to do
	decays R = 13 // the token's factors of the rows, or one for all
	decayK R = 14 // bytes from one to the next
	tmp1   R = 15
	tmp2   R = 16
	tmp3   R = 17

	rowIndex    = tmp1 // of the key and query in a sweep that reads them one by one
	nextIndex   = tmp2
	head      R = 19 // in the walk of one token
	headQ     R = 20
	headO     R = 21
	rowO      R = 22
	loopK     R = 23 // in the walk of one token
	query0    R = 24 // to 26 and 17 in the walk of one token
)

// A tokenBlock is how many tokens are walked together, each with so many heads.
type tokenBlock struct{ tokens, heads int }

// pointers is how many keys and queries a block has.
func (b tokenBlock) pointers() int { return b.tokens * (1 + b.heads) }

// spills says whether the pointers to them take the registers of the next tokens' rows, which wait in memory meanwhile.
func (b tokenBlock) spills() bool { return b.pointers() > len(rowPointers) }

var (
	rowPointers  = []R{19, 20, 21, 22, 23, 24, 25, 26}
	tokenRows    = []R{tokenK, tokenQ, tokenV, tokenO}
	headPointers = []R{query0, 25, 26, tmp3} // the queries of one token's heads
)

// blocksOf are the blocks of a kernel: the first for one head, then one for each number of heads that share the state
// and have registers for more than one token.
func blocksOf(t registerTile) []tokenBlock {
	blocks := []tokenBlock{{t.rows, 1}}
	if t.cols == 8 {
		blocks = append(blocks, tokenBlock{4, 2}, tokenBlock{2, 3}, tokenBlock{2, 4})
	}
	return blocks
}

// A sweep is what the registers of a pass over the state hold.
type sweep struct {
	tokens int
	heads  int // that read after each token's update
	width  width
	value  [][]V  // v' of each token: RowV V
	acc    [][]V  // of each token's heads
	rows   [2][]V // of the state; the second is nil where one is done at a time
	k, q   []V    // keys and the heads' queries, of four rows or of one
	d      V      // decay
	quads  bool   // k, q and d hold four rows
}

// recur writes the recurrence in blocks of tokens against panels of columns.
//
// Every state row is loaded, takes each token's update and is read by it, and is stored: two multiply-adds a token
// and vector for a load and a store a vector. Keys and queries are elements of vectors, so nothing is broadcast. Two
// rows go side by side, as the updates of one are a chain.
func (f *file) recur(t registerTile) {
	name := fmt.Sprintf("recur%dx%dNEON", t.rows, t.cols)
	blocks, several := blocksOf(t), "several heads or "
	if len(blocks) > 1 {
		several = fmt.Sprintf("more than %d heads or ", blocks[len(blocks)-1].heads)
	}
	if slices.ContainsFunc(blocks, tokenBlock.spills) {
		f.frame = 8 * len(tokenRows)
	}
	f.tileFunction(name, "Recur", fmt.Sprintf("is the recurrence of tile.Recur in blocks of %d tokens against panels of %d columns. Blocks with", t.rows, t.cols),
		several+"a decay inside and what is left of the tokens are walked one by one. Stream is not used:",
		"arm64 cores find out by themselves that lines are written whole.")
	f.ins("MOVD ZR, %v", column)
	f.getBytes(recurLDS, stepS)
	// Tokens that are walked one by one take wider panels, where there are columns enough: a step of
	// decoding then reads whole cache lines of the state.
	panels := widths(t.cols / 4)
	var wide []width
	for _, w := range []width{{8, 4}, {4, 4}} {
		if !slices.Contains(panels, w) {
			wide = append(wide, w)
		}
	}
	for i, w := range append(wide[:len(wide):len(wide)], panels...) {
		single := i < len(wide)
		panel, next := f.newLabel("panel"), f.newLabel("narrower")
		f.label(panel)
		f.get(recurN, tmp1)
		f.ins("SUB %v, %v, %v", column, tmp1, tmp1)
		f.ins("CMP $%d, %v", w.columns(), tmp1)
		f.ins("BLT %s", next)
		if w.vectors == 8 { // heads together have no room for so many columns
			f.get(recurHeads, tmp1)
			f.ins("CMP $%d, %v", headsTogether, tmp1)
			f.ins("BGE %s", next)
		}
		together := blocks
		if w.columns() < t.cols {
			together = blocks[:1]
		}
		if single {
			together = nil
			alone := f.newLabel("alone")
			f.get(recurHeads, tmp1)
			f.get(recurT, tmp2)
			for _, b := range blocks {
				other := f.newLabel("heads")
				f.ins("CMP $%d, %v", b.heads, tmp1)
				f.ins("BNE %s", other)
				f.ins("CMP $%d, %v", b.tokens, tmp2)
				f.ins("BGE %s", next)
				f.ins("B %s", alone)
				f.label(other)
			}
			f.label(alone)
		}
		f.panel(together, w)
		f.ins("ADD $%d, %v, %v", w.columns(), column, column)
		f.ins("B %s", panel)
		f.label(next)
	}
	f.ins("RET")
}

// headsTogether is how many of a token's heads read the state in one pass.
const headsTogether = 4

// panel walks all tokens against one panel of the state.
func (f *file) panel(blocks []tokenBlock, w width) {
	f.comment("%d columns", w.columns())
	next, one, end := f.newLabel("tokens"), f.newLabel("one"), f.newLabel("walked")
	f.get(recurS, panelS)
	f.ins("ADD %v<<2, %v, %v", column, panelS, panelS)
	f.get(recurK, tokenK)
	f.get(recurQ, tokenQ)
	f.get(recurV, tokenV)
	f.ins("ADD %v<<2, %v, %v", column, tokenV, tokenV)
	f.get(recurO, tokenO)
	f.ins("ADD %v<<2, %v, %v", column, tokenO, tokenO)
	forwards := f.newLabel("forwards")
	f.ins("MOVBU %d(%v), %v", recurReverse, p, tmp1)
	f.ins("CBZ %v, %s", tmp1, forwards)
	f.get(recurT, tmp1)
	f.ins("SUB $1, %v, %v", tmp1, tmp1)
	for _, m := range []struct {
		ld int
		at R
	}{{recurLDK, tokenK}, {recurLDQ, tokenQ}, {recurLDV, tokenV}, {recurLDO, tokenO}} {
		f.getBytes(m.ld, tmp2)
		f.ins("MADD %v, %v, %v, %v", tmp2, m.at, tmp1, m.at)
	}
	f.label(forwards)
	f.ins("MOVD ZR, %v", walked)

	f.label(next)
	f.get(recurT, tmp1)
	f.ins("SUBS %v, %v, %v", walked, tmp1, tmp1)
	f.ins("BLE %s", end)
	for _, b := range blocks {
		other := f.newLabel("heads")
		f.get(recurHeads, tmp2)
		f.ins("CMP $%d, %v", b.heads, tmp2)
		f.ins("BNE %s", other)
		f.ins("CMP $%d, %v", b.tokens, tmp1)
		f.ins("BLT %s", one)
		free := f.newLabel("undecayed")
		f.get(recurDecay, tmp1)
		f.ins("CBZ %v, %s", tmp1, free)
		f.ins("ADD %v<<2, %v, %v", walked, tmp1, tmp1)
		f.ins("MOVD $0x3f800000, %v", tmp3) // 1
		for i := 1; i < b.tokens; i++ {
			f.ins("MOVWU %d(%v), %v", 4*i, tmp1, tmp2)
			f.ins("CMP %v, %v", tmp3, tmp2)
			f.ins("BNE %s", one)
		}
		f.label(free)
		f.prefetch(b.tokens)
		f.tokenBlock(b, w)
		f.ins("B %s", next)
		f.label(other)
	}
	f.label(one)
	f.prefetch(1)
	f.token(w)
	f.ins("B %s", next)
	f.label(end)
}

// stride puts the signed bytes from one token's row to the next into a register.
func (f *file) stride(ld int, to R) {
	f.getBytes(ld, to)
	f.ins("MOVBU %d(%v), %v", recurReverse, p, tmp3)
	f.ins("CMP $0, %v", tmp3)
	f.ins("CSNEG EQ, %v, %v, %v", to, to, to)
}

// prefetch asks for the lines that the next tokens name, in the first panel only.
func (f *file) prefetch(tokens int) {
	end := f.newLabel("fetched")
	f.ins("CBNZ %v, %s", column, end)
	for i := range prefetches {
		at := recurPrefetch + i*prefetchSize
		skip := f.newLabel("skip")
		f.get(at+prefetchLines, tmp2)
		f.ins("CMP $0, %v", tmp2)
		f.ins("BLE %s", skip)
		f.getBytes(at+prefetchLD, tmp1)
		f.get(at+prefetchRows, tmp3)
		f.ins("MADD %v, %v, %v, %v", tmp1, tmp3, walked, tmp3)
		for t := range tokens {
			line := f.newLabel("line")
			f.ins("MOVD %v, %v", tmp3, rowPointers[0])
			f.ins("MOVD %v, %v", tmp2, rowPointers[1])
			f.label(line)
			f.ins("PRFM (%v), PLDL2KEEP", rowPointers[0])
			f.ins("ADD $64, %v, %v", rowPointers[0], rowPointers[0])
			f.ins("SUBS $1, %v, %v", rowPointers[1], rowPointers[1])
			f.ins("BNE %s", line)
			if t < tokens-1 {
				f.ins("ADD %v, %v, %v", tmp1, tmp3, tmp3)
			}
		}
		f.label(skip)
	}
	f.label(end)
}

// values loads the values of the next tokens, scales them and clears the outputs.
func (f *file) values(s sweep) {
	if s.tokens > 1 {
		f.stride(recurLDV, tmp1)
	}
	f.ins("MOVD %v, %v", tokenV, tmp2)
	for i, v := range s.value {
		f.load(s.width, v, tmp2, 0)
		if i < s.tokens-1 {
			f.ins("ADD %v, %v, %v", tmp1, tmp2, tmp2)
		}
	}
	plain := f.newLabel("plain")
	f.get(recurRowV, tmp1)
	f.ins("CBZ %v, %s", tmp1, plain)
	f.ins("ADD %v<<2, %v, %v", walked, tmp1, tmp1)
	for i, value := range s.value {
		r := s.acc[i][0]
		f.ins("FMOVS %d(%v), %s", 4*i, tmp1, r.F())
		for _, v := range value {
			f.word(fmulElement(v, v, r, 0))
		}
	}
	f.label(plain)
	for _, a := range s.acc {
		f.zero(a...)
	}
}

// decayOf jumps to decayed if the next token decays the state, with decays and decayK set.
func (f *file) decayOf(decayed string) {
	plain, scalar := f.newLabel("undecayed"), f.newLabel("scalar")
	f.get(recurDecay, decays)
	f.ins("CBZ %v, %s", decays, plain)
	f.ins("ADD %v<<2, %v, %v", walked, decays, decays)
	f.ins("MOVWU (%v), %v", decays, tmp1)
	f.ins("MOVD $0x3f800000, %v", tmp2) // 1
	f.ins("CMP %v, %v", tmp2, tmp1)
	f.ins("BEQ %s", plain)
	f.ins("MOVD ZR, %v", decayK)
	f.get(recurD, tmp1)
	f.ins("CBZ %v, %s", tmp1, scalar)
	f.getBytes(recurLDD, tmp2)
	f.ins("MADD %v, %v, %v, %v", tmp2, tmp1, walked, decays)
	f.ins("MOVD $4, %v", decayK)
	f.label(scalar)
	f.ins("B %s", decayed)
	f.label(plain)
}

// tokenBlock walks the next tokens together.
func (f *file) tokenBlock(b tokenBlock, w width) {
	s := sweep{tokens: b.tokens, heads: b.heads, width: w}
	used := 0
	take := func(n int) []V {
		v := span(used, n)
		used += n
		return v
	}
	for range b.tokens {
		s.value = append(s.value, take(w.vectors))
	}
	for range b.tokens * b.heads {
		s.acc = append(s.acc, take(w.vectors))
	}
	s.rows = [2][]V{take(w.vectors), take(w.vectors)}
	if free := 32 - used; free > b.pointers() {
		s.quads = true
		s.k, s.q = take(b.tokens), take(b.tokens*b.heads)
		s.d = take(1)[0]
	} else {
		// No room for the keys and queries of several rows: they take turns in what is left.
		few, n := take(free), 0
		turn := func() V {
			n++
			return few[n%free]
		}
		for range b.tokens {
			s.k = append(s.k, turn())
			for range b.heads {
				s.q = append(s.q, turn())
			}
		}
		s.d = few[0]
	}
	f.comment("%d tokens, %d heads", b.tokens, b.heads)
	f.values(s)

	pool := append(rowPointers[:len(rowPointers):len(rowPointers)], tokenRows...)[:b.pointers()]
	keys, queries := pool[:b.tokens:b.tokens], pool[b.tokens:]
	if b.spills() {
		for i, r := range tokenRows {
			f.ins("MOVD %v, token-%d(SP)", r, 8*(i+1))
		}
	}
	f.stride(recurLDK, tmp1)
	f.stride(recurLDQ, tmp2)
	f.ins("MOVD %v, %v", tokenK, keys[0])
	f.ins("MOVD %v, %v", tokenQ, queries[0])
	f.pointers(keys, tmp1)
	if b.heads > 1 {
		f.getBytes(recurHeadQ, tmp3)
	}
	for t := range b.tokens {
		if t > 0 {
			f.ins("ADD %v, %v, %v", tmp2, queries[(t-1)*b.heads], queries[t*b.heads])
		}
		f.pointers(queries[t*b.heads:][:b.heads], tmp3)
	}
	f.start()
	decayed, out := f.newLabel("decayed"), f.newLabel("out")
	f.decayOf(decayed)
	f.sweepRows(s, keys, queries, false, true)
	f.ins("B %s", out)
	f.label(decayed)
	f.sweepRows(s, keys, queries, true, true)
	f.label(out)
	if b.spills() {
		for i, r := range tokenRows {
			f.ins("MOVD token-%d(SP), %v", 8*(i+1), r)
		}
	}

	plain := f.newLabel("plain")
	f.get(recurRowO, tmp1)
	f.ins("CBZ %v, %s", tmp1, plain)
	f.ins("MOVD $%d, %v", 4*b.heads, tmp2)
	f.ins("MADD %v, %v, %v, %v", tmp2, tmp1, walked, tmp1)
	for i, a := range s.acc {
		r := s.value[0][0]
		f.ins("FMOVS %d(%v), %s", 4*i, tmp1, r.F())
		for _, v := range a {
			f.word(fmulElement(v, v, r, 0))
		}
	}
	f.label(plain)
	f.stride(recurLDO, tmp1)
	if b.heads > 1 {
		f.getBytes(recurHeadO, tmp3)
	}
	// eachOutput does something with each head's outputs, at tmp2; rowS goes from token to token.
	eachOutput := func(do func(a []V)) {
		f.ins("MOVD %v, %v", tokenO, rowS)
		for t := range b.tokens {
			f.ins("MOVD %v, %v", rowS, tmp2)
			for h := range b.heads {
				do(s.acc[t*b.heads+h])
				if h < b.heads-1 {
					f.ins("ADD %v, %v, %v", tmp3, tmp2, tmp2)
				}
			}
			f.ins("ADD %v, %v, %v", tmp1, rowS, rowS)
		}
	}
	overwrite := f.newLabel("overwrite")
	f.ins("MOVBU %d(%v), %v", recurAccumulate, p, left)
	f.ins("CBZ %v, %s", left, overwrite)
	eachOutput(func(a []V) {
		f.load(w, s.value[0], tmp2, 0)
		for n, v := range a {
			f.word(fadd(v, v, s.value[0][n]))
		}
	})
	f.label(overwrite)
	eachOutput(func(a []V) { f.store(w, a, tmp2, 0) })
	f.ins("MOVD %v, %v", rowS, tokenO)
	f.advance(b.tokens, recurLDK, tokenK)
	f.advance(b.tokens, recurLDQ, tokenQ)
	f.advance(b.tokens, recurLDV, tokenV)
	f.ins("ADD $%d, %v, %v", b.tokens, walked, walked)
}

// advance moves a pointer past some tokens.
func (f *file) advance(tokens, ld int, at R) {
	f.stride(ld, tmp1)
	if tokens&(tokens-1) == 0 {
		f.ins("ADD %v<<%d, %v, %v", tmp1, bits.TrailingZeros(uint(tokens)), at, at)
		return
	}
	f.ins("MOVD $%d, %v", tokens, tmp2)
	f.ins("MADD %v, %v, %v, %v", tmp1, at, tmp2, at)
}

// start sets the row pointers to the panel's first rows.
func (f *file) start() {
	f.ins("MOVD %v, %v", panelS, rowS)
	f.ins("ADD %v, %v, %v", stepS, rowS, nextS)
	f.ins("LSL $1, %v, %v", stepS, twoS)
	f.get(recurDk, left)
}

// sweepRows goes over the state's rows: two (or four) at a time, then one at a time.
func (f *file) sweepRows(s sweep, keys, queries []R, decay, update bool) {
	lanes := 4
	if !s.quads {
		lanes = 2
		f.ins("MOVD ZR, %v", rowIndex)
		f.ins("MOVD $1, %v", nextIndex)
	}
	again, rest, single, end := f.newLabel("rows"), f.newLabel("rest"), f.newLabel("row"), f.newLabel("end")
	f.ins("SUBS $%d, %v, %v", lanes, left, left)
	f.ins("BLT %s", rest)
	f.label(again)
	switch {
	case s.quads && s.rows[1] == nil:
		f.factorsOf(s, 4, keys, queries, decay, update)
		for u := range 4 {
			f.sweepPair(s, u, keys, queries, decay, update)
			f.ins("ADD %v, %v, %v", stepS, rowS, rowS)
		}
	case s.quads:
		f.factorsOf(s, 4, keys, queries, decay, update)
		f.sweepPair(s, 0, keys, queries, decay, update)
		f.sweepPair(s, 2, keys, queries, decay, update)
	default:
		f.sweepPair(s, 0, keys, queries, decay, update)
		f.ins("ADD $2, %v, %v", rowIndex, rowIndex)
		f.ins("ADD $2, %v, %v", nextIndex, nextIndex)
	}
	f.ins("SUBS $%d, %v, %v", lanes, left, left)
	f.ins("BGE %s", again)
	f.label(rest)
	f.ins("ADDS $%d, %v, %v", lanes, left, left)
	f.ins("BEQ %s", end)
	f.label(single)
	if s.quads {
		f.factorsOf(s, 1, keys, queries, decay, update)
	}
	one := s
	one.rows[1] = nil
	f.sweepPair(one, 0, keys, queries, decay, update)
	if !s.quads {
		f.ins("ADD $1, %v, %v", rowIndex, rowIndex)
	}
	f.ins("ADD %v, %v, %v", stepS, rowS, rowS)
	f.ins("SUBS $1, %v, %v", left, left)
	f.ins("BNE %s", single)
	f.label(end)
}

// factorsOf loads the keys, queries and decays of the next rows.
func (f *file) factorsOf(s sweep, lanes int, keys, queries []R, decay, update bool) {
	if update {
		for i, k := range s.k {
			f.loadNext(lanes, k, keys[i])
		}
	}
	for i, q := range s.q {
		f.loadNext(lanes, q, queries[i])
	}
	if !decay {
		return
	}
	if lanes == 1 {
		f.ins("FMOVS (%v), %s", decays, s.d.F())
		f.ins("ADD %v, %v, %v", decayK, decays, decays)
		return
	}
	same, loaded := f.newLabel("same"), f.newLabel("loaded")
	f.ins("CBZ %v, %s", decayK, same)
	f.loadNext(4, s.d, decays)
	f.ins("B %s", loaded)
	f.label(same)
	f.ins("VLD1R (%v), [%s]", decays, s.d.S4())
	f.label(loaded)
}

// sweepPair takes two rows of the state (or one) through all tokens. They are elements u and u+1 of the keys,
// queries and decays, or the next ones in memory.
func (f *file) sweepPair(s sweep, u int, keys, queries []R, decay, update bool) {
	at := [2]R{rowS, nextS}
	index := func(row int) uint {
		if s.quads {
			return uint(u + row)
		}
		return 0
	}
	fetch := func(row int, v V, from R) {
		if !s.quads {
			f.ins("FMOVS (%v)(%v<<2), %s", from, [2]R{rowIndex, nextIndex}[row], v.F())
		}
	}
	for row, v := range s.rows {
		if v == nil {
			continue
		}
		f.load(s.width, v, at[row], 0)
		if decay {
			if !s.quads {
				f.ins("FMOVS (%v), %s", decays, s.d.F())
				f.ins("ADD %v, %v, %v", decayK, decays, decays)
			}
			for _, x := range v {
				f.word(fmulElement(x, x, s.d, index(row)))
			}
		}
	}
	for t := range s.tokens {
		for row, v := range s.rows {
			if v == nil || !update {
				continue
			}
			fetch(row, s.k[t], keys[t])
			for n, x := range v {
				f.word(fmlaElement(x, s.value[t][n], s.k[t], index(row)))
			}
		}
		for row, v := range s.rows {
			if v == nil {
				continue
			}
			for h := t * s.heads; h < (t+1)*s.heads; h++ {
				fetch(row, s.q[h], queries[h])
				for n, x := range v {
					f.word(fmlaElement(s.acc[h][n], x, s.q[h], index(row)))
				}
			}
		}
	}
	for row, v := range s.rows {
		if v != nil && update {
			f.store(s.width, v, at[row], 0)
		}
	}
	if s.rows[1] != nil {
		f.ins("ADD %v, %v, %v", twoS, rowS, rowS)
		f.ins("ADD %v, %v, %v", twoS, nextS, nextS)
	}
}

// token walks the next token alone: its first heads read the state as they update it, the others read it.
func (f *file) token(w width) {
	f.comment("one token")
	f.ins("MOVD %v, %v", tokenK, loopK)
	f.ins("MOVD %v, %v", tokenQ, headQ)
	f.ins("MOVD %v, %v", tokenO, headO)
	f.get(recurHeads, head)
	f.get(recurRowO, rowO)
	noFactors := f.newLabel("factors")
	f.ins("CBZ %v, %s", rowO, noFactors)
	f.ins("MUL %v, %v, %v", walked, head, tmp1)
	f.ins("ADD %v<<2, %v, %v", tmp1, rowO, rowO)
	f.label(noFactors)
	some := f.newLabel("some")
	f.ins("CBNZ %v, %s", head, some)
	f.ins("MOVD %v, %v", tokenK, headQ) // no query: what the key gives is not used
	f.label(some)
	few, rest, last, done := f.newLabel("few"), f.newLabel("rest"), f.newLabel("heads"), f.newLabel("done")
	one := f.tokenSweep(w, 1)
	if w.lanes == 4 && w.vectors <= 4 {
		f.ins("CMP $%d, %v", headsTogether, head)
		f.ins("BLT %s", few)
		several := f.tokenSweep(w, headsTogether)
		out, next := f.newLabel("out"), f.newLabel("heads")
		f.update(several, out)
		f.label(next)
		f.ins("CMP $%d, %v", headsTogether, head)
		f.ins("BLT %s", rest)
		f.readOnly(several)
		f.label(out)
		f.headsOut(several)
		f.ins("B %s", next)
		f.label(rest)
		f.ins("CBZ %v, %s", head, done)
		f.ins("B %s", last)
		f.label(few)
	}
	out := f.newLabel("out")
	f.update(one, out)
	f.label(last)
	f.readOnly(one)
	f.label(out)
	f.ins("CBZ %v, %s", head, done) // there was none
	f.headsOut(one)
	f.ins("CBNZ %v, %s", head, last)
	f.label(done)
	for _, m := range []struct {
		ld int
		at R
	}{{recurLDK, tokenK}, {recurLDQ, tokenQ}, {recurLDV, tokenV}, {recurLDO, tokenO}} {
		f.advance(1, m.ld, m.at)
	}
	f.ins("ADD $1, %v, %v", walked, walked)
}

// tokenSweep gives out the vector registers for one token and some of its heads.
func (f *file) tokenSweep(w width, heads int) sweep {
	s := sweep{tokens: 1, heads: heads, width: w, quads: true}
	used := 0
	take := func(n int) []V {
		v := span(used, n)
		used += n
		return v
	}
	s.value = [][]V{take(w.vectors)}
	for range heads {
		s.acc = append(s.acc, take(w.vectors))
	}
	s.k, s.q, s.d = take(1), take(heads), take(1)[0]
	s.rows[0] = take(w.vectors)
	if used+w.vectors <= 32 && w.vectors <= 4 { // else a row has chains enough
		s.rows[1] = take(w.vectors)
	}
	return s
}

// pointHeads points the queries of the next heads out.
func (f *file) pointHeads(s sweep) []R {
	q := headPointers[:s.heads]
	if s.heads > 1 {
		f.getBytes(recurHeadQ, tmp1)
	}
	f.ins("MOVD %v, %v", headQ, q[0])
	f.pointers(q, tmp1)
	return q
}

// update lets the next heads read the state as the token's update goes through it, and jumps to out.
func (f *file) update(s sweep, out string) {
	f.values(s)
	f.start()
	queries := f.pointHeads(s)
	decayed := f.newLabel("decayed")
	f.decayOf(decayed)
	f.sweepRows(s, []R{loopK}, queries, false, true)
	f.ins("B %s", out)
	f.label(decayed)
	f.sweepRows(s, []R{loopK}, queries, true, true)
	f.ins("B %s", out)
}

// readOnly lets the next heads read the state.
func (f *file) readOnly(s sweep) {
	for _, a := range s.acc {
		f.zero(a...)
	}
	f.start()
	f.sweepRows(s, []R{loopK}, f.pointHeads(s), false, false)
}

// headsOut stores what heads have read and goes on to the next ones.
func (f *file) headsOut(s sweep) {
	t := s.rows[0]
	for _, a := range s.acc {
		plain, overwrite := f.newLabel("plain"), f.newLabel("overwrite")
		f.ins("CBZ %v, %s", rowO, plain)
		f.loadNext(1, s.d, rowO)
		for _, v := range a {
			f.word(fmulElement(v, v, s.d, 0))
		}
		f.label(plain)
		f.ins("MOVBU %d(%v), %v", recurAccumulate, p, tmp1)
		f.ins("CBZ %v, %s", tmp1, overwrite)
		f.load(s.width, t, headO, 0)
		for n, v := range a {
			f.word(fadd(v, v, t[n]))
		}
		f.label(overwrite)
		f.store(s.width, a, headO, 0)
		f.getBytes(recurHeadO, tmp1)
		f.ins("ADD %v, %v, %v", tmp1, headO, headO)
	}
	f.getBytes(recurHeadQ, tmp1)
	for range s.heads {
		f.ins("ADD %v, %v, %v", tmp1, headQ, headQ)
	}
	f.ins("SUB $%d, %v, %v", s.heads, head, head)
}
