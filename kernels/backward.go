package kernels

import (
	"slices"
	"sync/atomic"

	"github.com/rooftune/rooftune/kernels/tile"
)

// backward is a prepared backward call of linear-attention: the recurrence of the forward pass, run three times with the roles
// of its operands changed. S is the state, R its gradient, which goes from the last token to the first:
//
//	dq_t = scale S_t do_t      state Sᵀ (dv x dk), keys V, values K, queries dO, forward
//	dk_t = R_t v_t             state Rᵀ (dv x dk), keys dO, values scale Q, queries V, in reverse
//	dv_t = R_tᵀ k_t            state R (dk x dv), keys Q, values scale dO, queries K, in reverse
//
// R_t takes the decay of token t+1. Each query head of a group has an R of its own, since the recurrence reads its state at every
// update; dk, dv and the past state's gradient are sums over the group. A unit walks its chunks forward for dq, then backward for dk
// and dv. The states are kept as panels [column/cols][rows][cols]. backward_options.go has the normaliser, feature maps and shared heads.
type backward struct {
	attentionArgs
	prim                  *tile.Primitives
	run                   func(*tile.Recur)
	block, cols           int // tokens and columns of a sweep
	chunk                 int
	copies                int // 1: of what is taken number by number and updates a state, 2: of what reads it too
	stream                bool
	ahead                 int // see upcoming.go
	headOuter             bool
	group                 int // query heads of a state head
	keyPanels, valPanels  int // of a state head's dk and dv columns
	split, units, workers int // see recurrence
	work                  []*backwardWork
	factor                []float32 // exp(headDecay)
	states                []float32 // of each state head: group of Sᵀ or Rᵀ, group of R
	keySize, valSize      int       // of one of each
	perUnit               []backwardUnit
	norms                 []float32 // of each unit
	heads                 []backwardHead
	terms                 []float64 // decay per head: of each unit's place in its head and each token, q·dq - k·dk over the unit's keys
	quotients             quotients
	shared                sharedGradients
}

// backwardUnit is what a unit keeps from chunk to chunk.
type backwardUnit struct {
	sum []float64 // decay per key: the gradient's running sum
	end float64   // decay per head: <S_T, dS_T> over the unit's keys
	// norm is the normaliser's column: the sum of keys z in the forward sweep, its gradient in the reverse one.
	norm []float32
}

// backwardHead is what the units of a state head share.
type backwardHead struct {
	open atomic.Int32 // units that are not done
}

// backwardWork is one worker's scratch, kept between calls.
type backwardWork struct {
	q, k, v, o            []float32 // copies of a chunk
	g, decay, rowV, rowO  []float32
	scale                 []float32
	c, foldedQ, foldedK   []float32 // decay per key: see backward_key.go
	ones, row             []float32 // dk each, of the past state's rows
	norms                 []float32 // n x dk: of the normaliser, see sumKeys and addNorms
	grads                 chunkGradients
	rows                  rowWork
	large, scrap          []float32 // see large
	direct, directR, grad []float64 // see direct
	directQ, directK      []float32
	recur                 tile.Recur
	pack                  tile.Pack
	trail                 tile.Trail
	exp                   tile.Exp
	fold                  tile.Fold
	mapping               mapping
}

func newBackward(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *backward {
	s := p.Shape
	kernel, _ := tile.FindBlock(prim.Recur, cfg["block"], cfg["cols"])
	a := &backward{
		prim: prim, run: kernel.Run, block: kernel.Tokens, cols: kernel.NR,
		copies: cfg["copy"], stream: cfg["stream"] == 1, ahead: cfg["ahead"], headOuter: cfg["order"] == 1,
		group: max(1, s.Hq/s.Hkv), keyPanels: (s.Dk + kernel.NR - 1) / kernel.NR, valPanels: (s.Dv + kernel.NR - 1) / kernel.NR,
	}
	a.problem = p
	a.chunk = min(max(a.block, cfg["chunk"]/a.block*a.block), max(1, s.T))
	heads := s.B * s.Hkv
	perToken := float64(4*max(s.Hq, s.Hkv)+6*s.Hkv) * float64(s.Dk) * float64(s.Dv)
	most := min(a.keyPanels, a.valPanels)
	if wholeRows(p) {
		most = 1
	}
	a.split, a.units, a.workers = planUnits(p, perToken, most)
	a.factor = make([]float32, s.Hkv)
	for range a.workers {
		a.work = append(a.work, a.newWork())
	}
	a.keySize, a.valSize = s.Dv*paddedColumns(s.Dk, a.cols), s.Dk*paddedColumns(s.Dv, a.cols)
	a.states = aligned(heads * a.group * (a.keySize + a.valSize))
	a.heads = make([]backwardHead, heads)
	a.perUnit = make([]backwardUnit, a.units)
	if p.Normalize {
		a.norms = aligned(a.units * s.Dk)
	}
	for i := range a.perUnit {
		u := &a.perUnit[i]
		if p.Decay == tile.DecayKey {
			u.sum = make([]float64, roundUp(s.Dk, tile.TrailLanes))
		}
		if p.Normalize {
			u.norm = a.norms[i*s.Dk:][:s.Dk]
		}
	}
	return a
}

func (a *backward) newWork() *backwardWork {
	s, n := a.problem.Shape, a.chunk
	w := &backwardWork{decay: aligned(n), rowV: aligned(n), rowO: aligned(n * a.group), scale: aligned(n * a.group)}
	mapped := a.problem.FeatureMap != tile.MapNone
	if a.copies > 0 {
		w.v = aligned(n * s.Dv)
	}
	if a.copies > 0 || mapped {
		w.q = aligned(n * a.group * s.Dk)
	}
	if a.copies > 0 || a.problem.Normalize {
		w.o = aligned(n * a.group * s.Dv)
	}
	if a.copies > 1 || mapped {
		w.k = aligned(n * s.Dk)
	}
	if a.problem.Decay == tile.DecayKey {
		w.g, w.c, w.foldedQ, w.foldedK = aligned(n*s.Dk), aligned(n*s.Dk), aligned(n*a.group*s.Dk), aligned(n*s.Dk)
		w.large, w.scrap = slices.Repeat([]float32{largeFactor}, n), aligned(a.group*max(s.Dk, s.Dv))
	} else {
		w.g = aligned(n + 1)
	}
	if a.problem.Normalize {
		w.norms = aligned(n * s.Dk)
	}
	w.grads, w.rows = newChunkGradients(a.problem, n), newRowWork(n)
	w.ones, w.row = aligned(s.Dk), aligned(s.Dk)
	for i := range w.ones {
		w.ones[i] = 1
	}
	return w
}

// set points the call at checked arguments of its problem.
func (a *backward) set(args attentionArgs) {
	a.attentionArgs = args
	args.fixedFactors(a.factor)
	for _, w := range a.work {
		for i := range w.scale {
			w.scale[i] = a.scale
		}
	}
	for i := range a.heads {
		a.heads[i].open.Store(int32(a.split))
	}
	a.setOptions()
}

// args are the caller's arguments.
func (a *backward) args() attentionArgs {
	return a.shared.callers(a.attentionArgs)
}

// release drops the caller's arrays.
func (a *backward) release() {
	a.attentionArgs = attentionArgs{problem: a.problem}
	a.shared.release()
	for _, w := range a.work {
		w.recur, w.pack, w.trail, w.exp, w.fold, w.mapping = tile.Recur{}, tile.Pack{}, tile.Trail{}, tile.Exp{}, tile.Fold{}, mapping{}
		w.rows.release()
	}
}

func (a *backward) parts() int { return a.workers }

// part walks one worker's share of the units.
func (a *backward) part(i int) {
	w, s := a.work[i], a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv*a.split, func(first, last int) { a.walk(w, first, last) })
}

func (a *backward) walk(w *backwardWork, first, last int) {
	if a.headOuter {
		for u := first; u < last; u++ {
			a.sweeps(w, u, u+1)
		}
		return
	}
	a.sweeps(w, first, last)
}

// sweeps walks some units side by side: forward, then in reverse.
func (a *backward) sweeps(w *backwardWork, first, last int) {
	_, tokens := a.span(a.unit(first).b)
	for u := first; u < last; u++ {
		a.begin(a.unit(u))
	}
	for t := 0; t < tokens; t += a.chunk {
		for u := first; u < last; u++ {
			a.forwardStep(w, u, t, first, last)
		}
	}
	for u := first; u < last; u++ {
		a.turn(w, a.unit(u))
	}
	for t := lastChunk(tokens, a.chunk); t >= 0; t -= a.chunk {
		for u := first; u < last; u++ {
			a.reverseStep(w, u, t, first, last)
		}
	}
	for u := first; u < last; u++ {
		a.end(w, a.unit(u))
	}
}

// backwardPart is a unit: a state head with a range of the panels of its key columns, and one of its value columns.
type backwardPart struct {
	index, b, h, head int
	k0, k1, v0, v1    int
}

func (a *backward) unit(u int) backwardPart {
	head, part := u/a.split, u%a.split
	hkv := a.problem.Shape.Hkv
	return backwardPart{
		index: u, b: head / hkv, h: head % hkv, head: head,
		k0: part * a.keyPanels / a.split, k1: (part + 1) * a.keyPanels / a.split,
		v0: part * a.valPanels / a.split, v1: (part + 1) * a.valPanels / a.split,
	}
}

// keys is the range of a unit's key columns.
func (a *backward) keys(u backwardPart) (j0, j1 int) {
	return u.k0 * a.cols, min(u.k1*a.cols, a.problem.Shape.Dk)
}

// values is the range of a unit's value columns.
func (a *backward) values(u backwardPart) (j0, j1 int) {
	return u.v0 * a.cols, min(u.v1*a.cols, a.problem.Shape.Dv)
}

// keyPanel gives the panel p of Sᵀ or Rᵀ of query head g of a group, with its first column and number of columns.
func (a *backward) keyPanel(u backwardPart, g, p int) (state operand, j, width int) {
	s := a.problem.Shape
	at := u.head*a.group*(a.keySize+a.valSize) + g*a.keySize
	return statePanel(a.states[at:], p, a.cols, s.Dv, s.Dk)
}

// valPanel gives the panel p of R likewise.
func (a *backward) valPanel(u backwardPart, g, p int) (state operand, j, width int) {
	s := a.problem.Shape
	at := u.head*a.group*(a.keySize+a.valSize) + a.group*a.keySize + g*a.valSize
	return statePanel(a.states[at:], p, a.cols, s.Dk, s.Dv)
}

// begin sets Sᵀ to the past state.
func (a *backward) begin(u backwardPart) {
	a.loadKeys(u, 0, a.past)
	a.loadNorm(u, a.pastNorm)
}

// loadKeys sets the key panels of one query head to the transpose of a state of the caller's, or to zeros.
func (a *backward) loadKeys(u backwardPart, g int, from []float32) {
	s := a.problem.Shape
	for p := u.k0; p < u.k1; p++ {
		state, j, width := a.keyPanel(u, g, p)
		if from == nil {
			clear(state.rows)
			continue
		}
		for c := range width {
			for i, x := range from[(u.head*s.Dk+j+c)*s.Dv:][:s.Dv] {
				state.rows[i*state.ld+c] = x
			}
		}
	}
}

// turn ends the forward sweep and sets R to the present state's gradient: that of the first query head, and zero for the others.
func (a *backward) turn(w *backwardWork, u backwardPart) {
	s := a.problem.Shape
	if a.gradDecay != nil {
		a.endTerm(u)
	}
	from := a.gradState
	for g := range a.group {
		a.loadKeys(u, g, from)
		for p := u.v0; p < u.v1; p++ {
			state, j, width := a.valPanel(u, g, p)
			if from == nil {
				clear(state.rows)
				continue
			}
			a.copyRows(w, state.rows, state.ld, from[u.head*s.Dk*s.Dv+j:], s.Dv, nil, s.Dk, width)
		}
		from = nil
	}
	a.loadNorm(u, a.gradNorm)
}

func (a *backward) copyRows(w *backwardWork, dst []float32, ldd int, src []float32, lds int, row []float32, n, width int) {
	copyRows(a.prim, &w.pack, dst, ldd, src, lds, row, n, width)
}

// callTokens is how many tokens one call of the recurrence may take, each with some reads of a state of so many rows.
func (a *backward) callTokens(reads, rows int) int {
	return max(1, maxCallFlops/(2*(1+reads)*rows*a.cols)/a.block) * a.block
}

// operand is an operand's rows of a chunk.
type operand struct {
	rows []float32
	ld   int
}

// from gives the rows from token i on.
func (o operand) from(i int) []float32 { return o.rows[i*o.ld:] }

// column is the operand from a column on.
func (o operand) column(j int) operand { return operand{o.rows[j:], o.ld} }

// after is the operand from token i on.
func (o operand) after(i int) operand { return operand{o.from(i), o.ld} }

// operand gives a chunk's rows of an array of so many heads, copied side by side if a place for the copies is given.
func (a *backward) operand(w *backwardWork, array []float32, row, heads, head, count, width, n int, to []float32) operand {
	ld := heads * width
	o := operand{array[row*ld+head*width:], ld}
	if to == nil {
		return o
	}
	a.copyRows(w, to, count*width, o.rows, ld, nil, n, count*width)
	return operand{to, count * width}
}

// forwardStep computes dq for one chunk of a unit from token t; first and last are the units that are walked together.
func (a *backward) forwardStep(w *backwardWork, ui, t, first, last int) {
	s, u := a.problem.Shape, a.unit(ui)
	row, tokens := a.span(u.b)
	row += t
	n := min(a.chunk, tokens-t)
	heads := a.outputHeads()
	var readCopy []float32
	if a.copies > 1 {
		readCopy = w.o
	}
	out := a.operand(w, a.gradOutput, row, heads, u.h*a.group, a.group, s.Dv, n, readCopy)
	value := a.operand(w, a.value, row, s.Hkv, u.h, 1, s.Dv, n, w.v)
	key := a.keyRows(w, u.h, row, n, nil)
	next := a.nextForward(ui, t, first, last)
	grad := a.queryGradients(w, u, row)
	if a.problem.Decay == tile.DecayKey {
		a.forwardKey(w, u, t, n, out, value, key, grad, next)
	} else {
		a.factors(w, u, t, n)
		if a.problem.Decay != tile.DecayNone {
			foldDecay(w.g[:n], a.block, a.scale, w.decay, w.rowV, w.rowO)
		}
		if a.normalize {
			a.sumKeys(w, u, n, key, operand{w.norms, s.Dk})
		}
		if a.problem.Decay != tile.DecayNone {
			perHead(w.rowO, n, a.group)
		}
		a.queries(w, u, n, out, value, key, grad, next)
	}
	if a.normalize {
		a.divide(w, u, row, n, grad)
	}
	a.writeQueries(w, u, row, n, grad)
}

// queries runs the recurrence of dq over n tokens.
func (a *backward) queries(w *backwardWork, u backwardPart, n int, out, value, key, grad operand, next upcoming) {
	s := a.problem.Shape
	step := a.callTokens(a.group, s.Dv)
	j0, j1 := a.keys(u)
	for p := u.k0; p < u.k1; p++ {
		state, j, width := a.keyPanel(u, 0, p)
		for i := 0; i < n; i += step {
			r := &w.recur
			*r = tile.Recur{
				Q: out.from(i), LDQ: out.ld, HeadQ: s.Dv, K: value.from(i), LDK: value.ld, V: key.from(i)[j:], LDV: key.ld,
				O: grad.from(i)[j:], LDO: grad.ld, HeadO: s.Dk, S: state.rows, LDS: state.ld,
				T: min(step, n-i), Heads: a.group, Dk: s.Dv, N: width, Stream: a.stream && !a.ownQueries(), RowO: w.scale,
			}
			if a.scalarDecay() {
				r.Decay, r.RowV, r.RowO = w.decay[i:], w.rowV[i:], w.rowO[i*a.group:]
			}
			r.Prefetch = next.share(columnShare{j - j0, j + width - j0, j1 - j0}, i)
			a.run(r)
		}
	}
}

// factors fills g with the decay factors of n tokens from token t, and 1 for those after the last.
func (a *backward) factors(w *backwardWork, u backwardPart, t, n int) {
	for i := range n {
		w.g[i] = 1
	}
	row, tokens := a.span(u.b)
	if n = min(n, tokens-t); n <= 0 {
		return
	}
	a.decayFactors(a.prim, &w.exp, w.g, a.factor, row+t, u.h, n)
}

// reverseStep computes dk, dv and what the decay's gradient needs for one chunk of a unit from token t.
func (a *backward) reverseStep(w *backwardWork, ui, t, first, last int) {
	s, u := a.problem.Shape, a.unit(ui)
	row, tokens := a.span(u.b)
	row += t
	n := min(a.chunk, tokens-t)
	var valueCopy []float32
	if a.copies > 1 {
		valueCopy = w.v
	}
	c := reverseChunk{
		t: t, n: n, row: row,
		query: a.queryRows(w, u.h, row, n, w.q),
		key:   a.keyRows(w, u.h, row, n, w.k),
		value: a.operand(w, a.value, row, s.Hkv, u.h, 1, s.Dv, n, valueCopy),
		out:   a.outputs(w, u, row, n),
		next:  a.nextReverse(ui, t, first, last),

		gradKey: a.keyGradients(w, u, row), gradValue: a.valueGradients(w, u, row),
	}
	switch {
	case a.problem.Decay == tile.DecayKey:
		a.reverseKey(w, u, c)
	case a.scalarDecay():
		// In the order of the walk: the last token first, each with the factor of the token after it.
		a.factors(w, u, t+1, n)
		for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
			w.g[i], w.g[j] = w.g[j], w.g[i]
		}
		foldDecay(w.g[:n], a.block, 1, w.decay, w.rowV, w.rowO)
		for i := range n {
			w.rowV[i] *= a.scale
		}
		fallthrough
	default:
		a.keysAndValues(w, u, c, 0, n, c.query, c.key)
		if a.normalize {
			a.addNorms(w, u, c, 0, n, c.query)
		}
		if a.gradDecay != nil {
			a.headTerms(w, u, c)
		}
	}
	a.mapGradients(w, u, c)
	a.writeKeysAndValues(w, u, c)
}

// reverseChunk is a chunk of the reverse sweep: its operands and what comes after it.
type reverseChunk struct {
	t, n, row              int
	query, key, value, out operand
	gradKey, gradValue     operand
	next                   upcomingPair
}

// keysAndValues runs the recurrences of dk and dv over the tokens from lo to hi of a chunk, with the queries that update R and the
// keys that read it given apart.
func (a *backward) keysAndValues(w *backwardWork, u backwardPart, c reverseChunk, lo, hi int, query, key operand) {
	s := a.problem.Shape
	k0, k1 := a.keys(u)
	v0, v1 := a.values(u)
	for g := range a.group {
		keys, values := g*(k1-k0)-k0, g*(v1-v0)-v0
		for p := u.k0; p < u.k1; p++ {
			state, j, width := a.keyPanel(u, g, p)
			a.reverse(w, tile.Recur{
				Q: c.value.rows, LDQ: c.value.ld, K: c.out.rows[g*s.Dv:], LDK: c.out.ld, V: query.rows[g*s.Dk+j:], LDV: query.ld,
				O: c.gradKey.rows[j:], LDO: c.gradKey.ld, S: state.rows, LDS: state.ld, Dk: s.Dv, N: width,
				Accumulate: g > 0, Stream: a.stream && !a.ownKeys(),
			}, lo, hi, c.next.first, columnShare{keys + j, keys + j + width, a.group * (k1 - k0)})
		}
		for p := u.v0; p < u.v1; p++ {
			state, j, width := a.valPanel(u, g, p)
			a.reverse(w, tile.Recur{
				Q: key.rows, LDQ: key.ld, K: query.rows[g*s.Dk:], LDK: query.ld, V: c.out.rows[g*s.Dv+j:], LDV: c.out.ld,
				O: c.gradValue.rows[j:], LDO: c.gradValue.ld, S: state.rows, LDS: state.ld, Dk: s.Dk, N: width,
				Accumulate: g > 0, Stream: a.stream && !a.ownValues(),
			}, lo, hi, c.next.second, columnShare{values + j, values + j + width, a.group * (v1 - v0)})
		}
	}
}

// reverse runs one of those recurrences over the tokens from lo to hi of a chunk, with its share of the prefetching.
func (a *backward) reverse(w *backwardWork, r tile.Recur, lo, hi int, next upcoming, share columnShare) {
	step := a.callTokens(1, r.Dk)
	for done := 0; done < hi-lo; done += step {
		m := min(step, hi-lo-done)
		i := hi - done - m // the first token of the call, the last that it walks
		w.recur = r
		x := &w.recur
		x.Q, x.K, x.V, x.O = r.Q[i*r.LDQ:], r.K[i*r.LDK:], r.V[i*r.LDV:], r.O[i*r.LDO:]
		x.T, x.Heads, x.Reverse, x.RowV = m, 1, true, w.scale
		if a.scalarDecay() {
			x.Decay, x.RowV, x.RowO = w.decay[done:], w.rowV[done:], w.rowO[done:]
		}
		x.Prefetch = next.share(share, i)
		a.run(x)
	}
}

// following is the unit and the chunk that are walked after this one, if any.
func (a *backward) following(ui, t, step, first, last int) (u backwardPart, row int, ok bool) {
	if ui++; ui == last || a.ahead == aheadRows {
		ui, t = first, t+step
	}
	begin, tokens := a.span(a.unit(first).b)
	if a.ahead == 0 || t < 0 || t >= tokens {
		return u, 0, false
	}
	return a.unit(ui), begin + t, true
}

// nextForward says what the next step of the forward sweep reads, or a share of all that the next chunk reads.
func (a *backward) nextForward(ui, t, first, last int) (n upcoming) {
	s, heads := a.problem.Shape, a.outputHeads()
	u, row, ok := a.following(ui, t, a.chunk, first, last)
	switch {
	case !ok:
	case a.ahead == aheadRows:
		n.whole(0, a.gradOutput, row, heads*s.Dv)
		n.whole(1, a.value, row, s.Hkv*s.Dv)
		n.whole(2, a.key, row, a.keyHeads*s.Dk)
		u = a.unit(ui)
		n.columns, n.before, n.tokens = s.Hkv*s.Dk, u.h*s.Dk+u.k0*a.cols, a.chunk
	default:
		n.add(0, a.gradOutput, row, heads, u.h*a.group, a.group, s.Dv)
		n.add(1, a.value, row, s.Hkv, u.h, 1, s.Dv)
		n.add(2, a.key, row, a.keyHeads, a.keyHead(u.h), 1, s.Dk)
		if a.problem.Decay == tile.DecayKey {
			n.add(3, a.decay, row, s.Hkv, u.h, 1, s.Dk)
		}
	}
	return n
}

// upcomingPair is what the next step of the reverse sweep reads, shared out to the panels of dk and to those of dv.
type upcomingPair struct{ first, second upcoming }

func (a *backward) nextReverse(ui, t, first, last int) (n upcomingPair) {
	s, heads := a.problem.Shape, a.outputHeads()
	u, row, ok := a.following(ui, t, -a.chunk, first, last)
	switch {
	case !ok:
	case a.ahead == aheadRows:
		n.first.whole(0, a.query, row, s.Hq*s.Dk)
		n.first.whole(1, a.gradOutput, row, heads*s.Dv)
		n.second.whole(0, a.key, row, a.keyHeads*s.Dk)
		n.second.whole(1, a.value, row, s.Hkv*s.Dv)
		if a.problem.Decay == tile.DecayKey {
			n.first.whole(2, a.decay, row, s.Hkv*s.Dk)
		}
		if a.gradDecay != nil {
			n.second.whole(2, a.gradQuery, row, heads*s.Dk)
		}
		u = a.unit(ui)
		n.first.columns, n.first.before, n.first.tokens = heads*s.Dk, (u.h*s.Dk+u.k0*a.cols)*a.group, a.chunk
		n.second.columns, n.second.before, n.second.tokens = heads*s.Dv, (u.h*s.Dv+u.v0*a.cols)*a.group, a.chunk
	default:
		hq, _ := a.queryHeads(u.h)
		n.first.add(0, a.query, row, s.Hq, hq, a.group, s.Dk)
		n.first.add(1, a.gradOutput, row, heads, u.h*a.group, a.group, s.Dv)
		if a.problem.Decay == tile.DecayKey {
			n.first.add(2, a.decay, row, s.Hkv, u.h, 1, s.Dk)
		}
		n.second.add(0, a.key, row, a.keyHeads, a.keyHead(u.h), 1, s.Dk)
		n.second.add(1, a.value, row, s.Hkv, u.h, 1, s.Dv)
		if a.gradDecay != nil {
			n.second.add(2, a.gradQuery, row, heads, u.h*a.group, a.group, s.Dk)
		}
	}
	return n
}

// end hands the gradients of the past state and of the decay to the caller.
func (a *backward) end(w *backwardWork, u backwardPart) {
	if a.gradPast != nil {
		a.storePast(w, u)
	}
	if a.gradPastNorm != nil {
		a.storeNorm(w, u)
	}
	if a.gradDecay != nil {
		a.endDecay(w, u)
	}
}

// storePast writes exp(g_0) R, summed over the query heads, over a unit's value columns.
func (a *backward) storePast(w *backwardWork, u backwardPart) {
	s := a.problem.Shape
	row := a.pastFactor(w, u)
	for p := u.v0; p < u.v1; p++ {
		for g := range a.group {
			state, j, width := a.valPanel(u, g, p)
			to := a.gradPast[u.head*s.Dk*s.Dv+j:]
			if g == 0 {
				a.copyRows(w, to, s.Dv, state.rows, state.ld, row, s.Dk, width)
				continue
			}
			w.rows.add(a.prim, operand{to, s.Dv}, nil, state, row, s.Dk, width)
		}
	}
}

// pastFactor is what each row of R is still to be multiplied by after the first token: per key, R has taken that token's decay.
func (a *backward) pastFactor(w *backwardWork, u backwardPart) []float32 {
	if _, tokens := a.span(u.b); !a.scalarDecay() || tokens == 0 {
		return w.ones
	}
	a.factors(w, u, 0, 1)
	for i := range w.row {
		w.row[i] = w.g[0]
	}
	return w.row
}
