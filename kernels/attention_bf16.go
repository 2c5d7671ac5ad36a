package kernels

import (
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// pairAttention is a prepared call of linear-attention or delta-rule with bfloat16 products: the chunk form of attention, its
// operands rounded to bfloat16 and its sums and states in float32. With c, D and L the decays and the triangle of a chunk as there, a chunk of n tokens takes
//
//	U = V, or beta V + [-beta c K, -L] [S; U]   delta rules, in blocks of tokens (delta_bf16.go)
//	P = scale D (Q Kᵀ)                          rounded to bfloat16 after the factors
//	O = [scale c Q, P] [S; U]                   one product
//	S = c_n S + (d_n K)ᵀ U                      c_n S in float32
//
// where O and U read S rounded. Operands are pairs along the summed dimension: those over keys lie side by side in a row of Q or K, those over tokens
// are made of two rows. States are kept as panels of columns, and a chunk takes its steps on S panel by panel: one is rounded to pairs, with its columns of U
// below, where the first-level cache holds them, and is still there when it is updated. A copy of S in pairs that stays for the next chunk costs as many bytes
// of the second level, and room for half of S in it.
//
// A panel of a chunk that holds anything beyond the finite bfloat16 is walked token by token in float32.
type pairAttention struct {
	attentionArgs
	prim          *tile.Primitives
	nn, tn        func(*tile.PairProduct)
	chunk, panel  int
	headOuter     bool
	stream, ahead bool
	isDelta       bool
	group         int // query heads of a state head
	keys          int // pairs of keys
	ld            int // of the decays and of P
	width         int // columns of the widest unit
	split         int // units that a state head's columns are cut into
	units         int // B * Hkv * split
	workers       int
	work          []*pairWork
	factor        []float32 // exp(headDecay)
	states        []float32 // of each unit, in panels
}

// pairWork is one worker's scratch, kept between calls.
type pairWork struct {
	q, k, turned, across    []uint32 // chunk's queries and keys, keys turned, keys as pairs of tokens
	left, right             []uint32 // factors of O: those of a group's query heads, and of a panel
	delta                   pairDelta
	solve                   tile.Solve
	p, d, lower             []float32
	g, c, rowO, scale, ones []float32
	product                 tile.PairProduct
	pack                    tile.PairPack
	turn                    tile.PairTurn
	copying                 tile.Pack
	decay                   tile.Decay
	exp                     tile.Exp
	tokens                  tile.Delta
}

// pairBlock is the side that tile.PairTurn's blocks have.
const pairBlock = 16

func newPairAttention(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *pairAttention {
	s := p.Shape
	nn, _ := tile.FindPair(prim.Pair.NN, cfg["mr"], cfg["nr"])
	tn, _ := tile.FindPair(prim.Pair.TN, cfg["mr"], cfg["nr"])
	a := &pairAttention{
		prim: prim, nn: nn.Run, tn: tn.Run, headOuter: cfg["order"] == 1, stream: cfg["stream"] == 1, ahead: cfg["ahead"] == 1, isDelta: p.Op == tile.DeltaRule,
		group: max(1, s.Hq/s.Hkv), keys: (s.Dk + 1) / 2, chunk: max(1, min(cfg["chunk"], s.T)), factor: make([]float32, s.Hkv),
	}
	a.ld = roundUp(a.chunk, pairBlock)
	a.split, a.units, a.workers = planUnits(p, tokenFlops(s), max(1, s.Dv/nn.NR))
	for u := range a.split {
		_, j0, j1 := columnUnit(s, a.split, u)
		a.width = max(a.width, roundUp(j1-j0, cacheLine/4))
	}
	a.panel = min(roundUp(cfg["panel"], cacheLine/4), a.width)
	a.states = aligned(a.units * s.Dk * a.width)
	for range a.workers {
		deep := roundUp(a.keys, pairBlock)
		w := &pairWork{
			q: alignedPairs(a.chunk * a.keys), k: alignedPairs(a.ld * deep), turned: alignedPairs(deep * a.ld),
			across: alignedPairs(a.ld / 2 * s.Dk), left: alignedPairs(a.group * a.chunk * a.depth()), right: alignedPairs(a.depth() * a.panel),
			p: aligned(a.chunk * a.ld), d: aligned(a.chunk * a.ld), lower: aligned(a.chunk * a.ld),
			g: aligned(a.chunk), c: aligned(a.chunk), rowO: aligned(a.chunk), scale: aligned(max(a.chunk, a.group)), ones: aligned(a.chunk),
		}
		if a.isDelta {
			w.delta = newPairDelta(a.chunk, a.depth(), a.panel)
		}
		for i := range a.chunk {
			w.c[i], w.ones[i] = 1, 1 // recording tables leave c alone
			for j := range i + 1 {
				w.lower[i*a.ld+j] = 1
			}
		}
		a.work = append(a.work, w)
	}
	return a
}

// depth is the most pairs that a sum of O has: over keys and over a chunk's tokens.
func (a *pairAttention) depth() int { return a.keys + a.ld/2 }

// alignedPairs is aligned for pairs.
func alignedPairs(n int) []uint32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&aligned(n)[0])), n)
}

// set points the call at checked arguments of its problem.
func (a *pairAttention) set(args attentionArgs) {
	a.attentionArgs = args
	args.fixedFactors(a.factor)
	for _, w := range a.work {
		for i := range w.scale {
			w.scale[i] = a.scale
		}
	}
}

// release drops the caller's arrays.
func (a *pairAttention) release() {
	a.attentionArgs = attentionArgs{}
	for _, w := range a.work {
		w.product, w.pack, w.copying, w.exp, w.tokens = tile.PairProduct{}, tile.PairPack{}, tile.Pack{}, tile.Exp{}, tile.Delta{}
	}
}

func (a *pairAttention) parts() int { return a.workers }

// part walks one worker's share of the units.
func (a *pairAttention) part(i int) {
	w, s := a.work[i], a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv*a.split, func(first, last int) { a.walk(w, first, last) })
}

func (a *pairAttention) walk(w *pairWork, first, last int) {
	for u := first; u < last; u++ {
		a.load(w, u)
	}
	a.eachStep(a.unit(first).b, first, last, a.chunk, a.headOuter, func(u, t, n int) { a.step(w, u, t, n, first, last) })
	w.product = tile.PairProduct{Stream: a.stream}
	a.nn(&w.product)
	for u := first; u < last; u++ {
		a.store(w, u, a.state, a.unit(u).head)
	}
}

// pairUnit is a state head and a range of its value columns.
type pairUnit struct {
	b, h, head int
	j0, width  int
	state      []float32
}

func (a *pairAttention) unit(i int) pairUnit {
	s := a.problem.Shape
	head, j0, j1 := columnUnit(s, a.split, i)
	size := s.Dk * a.width
	return pairUnit{b: head / s.Hkv, h: head % s.Hkv, head: head, j0: j0, width: j1 - j0, state: a.states[i*size:][:size]}
}

// at gives a panel of a unit's state, cols wide, from column j.
func (a *pairAttention) at(u pairUnit, j int) (state []float32, cols int) {
	return u.state[j*a.problem.Shape.Dk:], min(a.panel, u.width-j)
}

// load sets a unit's state to the past state.
func (a *pairAttention) load(w *pairWork, i int) {
	s, u := a.problem.Shape, a.unit(i)
	if a.past == nil {
		clear(u.state)
	}
	for j := 0; j < u.width && a.past != nil; j += a.panel {
		state, cols := a.at(u, j)
		copyRows(a.prim, &w.copying, state, cols, a.past[u.head*s.Dk*s.Dv+u.j0+j:], s.Dv, nil, s.Dk, cols)
	}
}

// store copies a unit's columns of the state to one of the caller's states, if there are any.
func (a *pairAttention) store(w *pairWork, i int, to []float32, head int) {
	s, u := a.problem.Shape, a.unit(i)
	for j := 0; j < u.width && to != nil; j += a.panel {
		state, cols := a.at(u, j)
		copyRows(a.prim, &w.copying, to[head*s.Dk*s.Dv+u.j0+j:], s.Dv, state, cols, nil, s.Dk, cols)
	}
}

// round rounds n rows of some width to pairs, in calls that are short enough, and says whether all are finite.
func (a *pairAttention) round(w *pairWork, dst []uint32, ldd int, src []float32, lds int, row []float32, n, width int, across bool) bool {
	rows, finite := max(2, maxCallFlops/8/max(1, width)&^1), true
	for i := 0; i < n; i += rows {
		to := i
		if across {
			to = i / 2
		}
		w.pack = tile.PairPack{Src: src[i*lds:], Dst: dst[to*ldd:], LDS: lds, LDD: ldd, M: min(rows, n-i), N: width, Across: across}
		if row != nil {
			w.pack.Row = row[i:]
		}
		a.prim.Pair.Pack(&w.pack)
		finite = finite && !w.pack.NonFinite
	}
	return finite
}

// step takes the n tokens from token t of a unit; first and last are the units that are walked together.
func (a *pairAttention) step(w *pairWork, i, t, n, first, last int) {
	s, u := a.problem.Shape, a.unit(i)
	row, _ := a.span(u.b)
	row += t
	var next upcoming
	if a.ahead {
		next = a.next(i, t, n, first, last)
	}
	finite := a.gates(w, u, row, n) && a.factors(w, u, row, n)
	for j := 0; j < u.width; j += a.panel {
		whole := finite && a.sweep(w, u, row, n, j, &next)
		if !whole {
			a.walkTokens(w, u, row, n, j)
		}
		if a.statistics != nil && u.j0+j == 0 {
			a.statistics.Tokens.Add(int64(n))
			if !whole {
				a.statistics.Single.Add(int64(n))
			}
		}
	}
	if !finite {
		clear(w.p) // what lies above the diagonal is multiplied by 0
	}
	if place, ok := a.kept(u.b, s.B, t+n); ok {
		a.store(w, i, a.keptStates, place*s.Hkv+u.h)
	}
}

// factors rounds the keys of n tokens from a row of memory and makes the left factors of their outputs. It returns false if it meets anything that is
// not finite.
func (a *pairAttention) factors(w *pairWork, u pairUnit, row, n int) bool {
	s := a.problem.Shape
	ldq, ldk := s.Hq*s.Dk, a.keyHeads*s.Dk
	key, deep, lda := a.key[row*ldk+a.keyHead(u.h)*s.Dk:], roundUp(a.keys, pairBlock), a.depth()
	mask, last := w.lower, w.ones
	if a.problem.Decay != tile.DecayNone {
		mask, last = w.d, w.d[(n-1)*a.ld:]
	}
	if !a.round(w, w.k, deep, key, ldk, nil, n, s.Dk, false) || !a.round(w, w.across, s.Dk, key, ldk, last, n, s.Dk, true) {
		return false
	}
	w.turn = tile.PairTurn{Src: w.k, Dst: w.turned, LDS: deep, LDD: a.ld, M: roundUp(n, pairBlock), N: deep}
	a.prim.Pair.Turn(&w.turn)
	if a.isDelta && !a.couple(w, key, ldk, mask, n) {
		return false
	}
	head, group := a.queryHeads(u.h)
	for g := range group {
		query, factor := a.query[row*ldq+(head+g)*s.Dk:], w.left[g*a.chunk*lda:]
		if !a.round(w, factor, lda, query, ldq, w.rowO, n, s.Dk, false) {
			return false
		}
		left, ldl, scale := factor, lda, []float32(nil)
		if a.problem.Decay != tile.DecayNone {
			left, ldl, scale = w.q, a.keys, w.scale
			if !a.round(w, w.q, a.keys, query, ldq, nil, n, s.Dk, false) {
				return false
			}
		}
		a.products(w, left, ldl, scale, n)
		w.pack = tile.PairPack{Src: w.p, Mask: mask, Dst: factor[a.keys:], LDS: a.ld, LDM: a.ld, LDD: lda, M: n, N: n}
		a.prim.Pair.Pack(&w.pack)
		if w.pack.NonFinite {
			return false
		}
	}
	return true
}

// products are those of a chunk's n keys, turned, with rows of pairs, each times its factor (1 where row is nil), over the lower triangle of w.p.
func (a *pairAttention) products(w *pairWork, left []uint32, ldl int, row []float32, n int) {
	const rows = 32
	for i := 0; i < n; i += rows {
		m := min(rows, n-i)
		w.product = tile.PairProduct{A: left[i*ldl:], B: w.turned, C: w.p[i*a.ld:], Row: row, LDA: ldl, LDB: a.ld, LDC: a.ld, M: m, N: i + m, K: a.keys}
		a.nn(&w.product)
	}
}

// sweep takes n tokens from a row of memory on the panel of a unit from column j. It returns false, with the state untouched, if the panel's state or
// values are not finite.
func (a *pairAttention) sweep(w *pairWork, u pairUnit, row, n, j int, next *upcoming) bool {
	s := a.problem.Shape
	ldv, ldo, lda, tokens := s.Hkv*s.Dv, a.outputHeads()*s.Dv, a.depth(), (n+1)/2
	state, cols := a.at(u, j)
	values := w.right[a.keys*cols:]
	// The next block's lines are asked for in all calls of all panels alike: a burst of them waits for itself.
	update := min(max(32, roundUp(n, 8)), max(32, maxCallFlops/(2*cols*tokens)))
	calls := 1 + (s.Dk+update-1)/update
	part, parts := j/a.panel*calls, (u.width+a.panel-1)/a.panel*calls
	value := a.value[row*ldv+u.h*s.Dv+u.j0+j:]
	switch {
	case !a.round(w, w.right, cols, state, cols, nil, s.Dk, cols, true):
		return false
	case a.isDelta:
		if !a.updates(w, value, ldv, n, cols) {
			return false
		}
	case !a.round(w, values, cols, value, ldv, nil, n, cols, true):
		return false
	}
	_, group := a.queryHeads(u.h)
	for g := range group {
		output := a.output[row*ldo+(u.h*group+g)*s.Dv+u.j0+j:]
		stream := a.stream && alignedRows(output, ldo)
		short := max(32, maxCallFlops/(2*cols*lda)&^1)
		for i := 0; i < n; i += short {
			w.product = tile.PairProduct{
				A: w.left[(g*a.chunk+i)*lda:], B: w.right, C: output[i*ldo:], LDA: lda, LDB: cols, LDC: ldo, M: min(short, n-i), N: cols, K: a.keys + tokens,
				Lower: true, Lead: a.keys + i/2, Stream: stream,
			}
			if g == 0 {
				w.product.Ahead = next.slice(columnShare{part, part + 1, parts}, i)
			}
			a.nn(&w.product)
		}
	}
	decay := float32(1)
	if a.problem.Decay != tile.DecayNone {
		decay = w.c[n-1]
	}
	for i := 0; i < s.Dk; i += update {
		part++
		w.product = tile.PairProduct{
			A: w.across[i:], B: values, C: state[i*cols:], LDA: s.Dk, LDB: cols, LDC: cols, M: min(update, s.Dk-i), N: cols, K: tokens, Beta: decay,
			Ahead: next.slice(columnShare{part, part + 1, parts}, 0),
		}
		a.tn(&w.product)
	}
	return true
}

// gates fills a chunk's decays and the row factors of its outputs, and says whether they are finite.
func (a *pairAttention) gates(w *pairWork, u pairUnit, row, n int) bool {
	c, sum := w.ones, float32(0) // stays 0 unless something is not finite
	a.decayFactors(a.prim, &w.exp, w.g, a.factor, row, u.h, n)
	if a.problem.Decay != tile.DecayNone {
		c = w.c
		w.decay = tile.Decay{G: w.g, C: w.c, D: w.d, LDD: a.ld, N: n}
		a.prim.Decay(&w.decay)
		for _, g := range w.c[:n] {
			sum += g * 0
		}
		sum += w.d[(n-1)*a.ld] * 0
	}
	for i := range n {
		w.rowO[i] = a.scale * c[i]
	}
	return (!a.isDelta || a.betas(w, u, row, n, c)) && sum == 0
}

// walkTokens takes n tokens in float32 on the panel from column j.
func (a *pairAttention) walkTokens(w *pairWork, u pairUnit, row, n, j int) {
	s := a.problem.Shape
	ldq, ldk, ldv, ldo := s.Hq*s.Dk, a.keyHeads*s.Dk, s.Hkv*s.Dv, a.outputHeads()*s.Dv
	head, group := a.queryHeads(u.h)
	state, cols := a.at(u, j)
	short := max(1, maxCallFlops/(2*(1+group)*s.Dk*cols))
	for i := 0; i < n; i += short {
		at, r := row+i, &w.tokens.Recur
		*r = tile.Recur{
			Q: a.query[at*ldq+head*s.Dk:], LDQ: ldq, HeadQ: s.Dk, K: a.key[at*ldk+a.keyHead(u.h)*s.Dk:], LDK: ldk,
			V: a.value[at*ldv+u.h*s.Dv+u.j0+j:], LDV: ldv, O: a.output[at*ldo+u.h*group*s.Dv+u.j0+j:], LDO: ldo, HeadO: s.Dv,
			S: state, LDS: cols, T: 1, Heads: group, Dk: s.Dk, N: cols,
		}
		m := min(short, n-i)
		if a.problem.Decay != tile.DecayNone {
			r.Decay = w.g[i:]
		}
		for x := range m { // one by one: a NaN of a later token must not reach an earlier one of its block
			r.RowO = w.scale
			if a.isDelta {
				w.tokens.Beta, r.RowV = w.delta.beta[i+x:], w.delta.beta[i+x:]
				a.prim.Delta[0].Run(&w.tokens)
			} else {
				a.prim.Recur[0].Run(r)
			}
			if x+1 < m {
				r.Q, r.K, r.V, r.O = r.Q[ldq:], r.K[ldk:], r.V[ldv:], r.O[ldo:]
				if r.Decay != nil {
					r.Decay = r.Decay[1:]
				}
			}
		}
	}
}

// next says what comes after the chunk of some tokens from t of a unit.
func (a *pairAttention) next(i, t, tokens, first, last int) (n upcoming) {
	s := a.problem.Shape
	row, all := a.span(a.unit(i).b)
	switch {
	case !a.headOuter && i+1 < last:
		i++
	case !a.headOuter:
		i, t = first, t+tokens
	case t+tokens < all:
		t += tokens
	default:
		i, t = i+1, 0
	}
	if i >= last || t >= all {
		return n
	}
	u := a.unit(i)
	row += t
	head, group := a.queryHeads(u.h)
	const per = cacheLine / 4
	n.ld = [4]int{s.Hq * s.Dk, a.keyHeads * s.Dk, s.Hkv * s.Dv}
	n.rows[0] = a.query[row*n.ld[0]+head*s.Dk:]
	n.rows[1] = a.key[row*n.ld[1]+a.keyHead(u.h)*s.Dk:]
	n.rows[2] = a.value[row*n.ld[2]+u.h*s.Dv+u.j0:]
	n.lines = [4]int{(group*s.Dk + per - 1) / per, (s.Dk + per - 1) / per, (u.width + per - 1) / per}
	return n
}

func (a *pairAttention) share() (units, perBatch, workers, chunk int, headOuter bool) {
	return (a.units + a.workers - 1) / a.workers, len(a.factor) * a.split, a.workers, a.chunk, a.headOuter
}

func (a *pairAttention) walkSteps(units int, trip func()) {
	for t := 0; t < a.problem.Shape.T; t += a.chunk {
		for u := range units {
			a.step(a.work[0], u, t, a.cut(0, t, a.chunk), 0, units)
		}
		trip()
	}
}

func (a *pairAttention) scratchBuffers() map[string][]float32 {
	w := a.work[0]
	shown := func(v []uint32) []float32 {
		if len(v) == 0 {
			return nil
		}
		return unsafe.Slice((*float32)(unsafe.Pointer(&v[0])), len(v))
	}
	return map[string][]float32{
		"q pairs": shown(w.q), "k pairs": shown(w.k), "k turned": shown(w.turned), "k across": shown(w.across), "left": shown(w.left), "right": shown(w.right), "p": w.p, "d": w.d,
		"erase pairs": shown(w.delta.left), "l": w.delta.l, "u": w.delta.u, "beta chunk": w.delta.beta, "row erase": w.delta.erase, "row l": w.delta.rowL,
		"lower": w.lower, "g": w.g, "c": w.c, "row o": w.rowO, "scale": w.scale, "ones": w.ones, "states": a.states,
	}
}
