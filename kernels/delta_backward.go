package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// deltaBackward is a prepared backward call of delta-rule in chunks (Yang et al. 2024, section 3, with the decay of Gated DeltaNet). With c, d and D
// the decays of a chunk as in attention, B = diag(beta), M = D (K Kᵀ) strictly lower and S the state before a chunk, the forward sweep finds
//
//	Z = the solution of (I + M B) Z = V - c K S          so that U = B Z
//	S = c_n S + (d K)ᵀ U
//
// and keeps Z, M and every S. The reverse sweep takes R, the gradient of the state after the chunk, from the last chunk to the first:
//
//	P  = scale D (Q Kᵀ);  dP = scale D (dO Uᵀ)           lower triangles, each query head
//	dQ = scale c dO Sᵀ + dP K                            each query head
//	dU = Pᵀ dO + d K R
//	X  = the solution of (I + Mᵀ B) X = dU;  Y = B X;  N = -D (Y Uᵀ), strictly lower
//	dV = Y;  dbeta = rows of X . Z
//	dK = d U Rᵀ - c Y Sᵀ + N K + Nᵀ K + dPᵀ Q
//	R  = c_n R + (scale c Q)ᵀ dO - (c K)ᵀ Y
//
// The triangle of X is solved from its last row to the first: its rows and columns are taken in reverse. The decay's gradient is a
// sum over later tokens, dg_t = dg_(t+1) + q_t . dq_t - v_t . dv_t, that begins with <S, R> after the last one: a factor on the state
// before token t scales what all later tokens read of it, their values left out.
//
// A product with a transposed state is slow, a product with the state itself is not: so dQ and dK are found transposed, as S dOᵀ, S Yᵀ and R Uᵀ, from
// transposed copies of the chunk's rows, which are much smaller. A chunk's queries lie above its keys, and dO above Y, so that
// one product does for all of them.
//
// Where keys that erase differ from those that write, E in place of K, M is D (E Kᵀ), c K S is c E S, and dK falls into the gradients of both: dE = - c Y Sᵀ + N K,
// and the rest. They differ where gates are apart (gates_apart_backward.go), and where a decay per key is folded into the keys and queries of a run of
// tokens (delta_backward_key.go), which is then a chunk without decay.
//
// A state head is one unit, whose chunks are walked forward and then back.
type deltaBackward struct {
	attentionArgs
	prim       *tile.Primitives
	nn, nt, tn func(*tile.Product)
	chunk, ld  int
	triangle   int  // rows of a product with an upper triangle
	group      int  // query heads of a state head
	apart      bool // erase and write keys differ
	sides, lds int  // query heads and key roles of a state head, and the distance of rows that hold a chunk of each
	workers    int
	work       []*deltaBackwardWork
	shared     sharedGradients
	factor     []float32 // exp(headDecay)
	beta       []float32 // gradient of each state head, (units, T)
}

// deltaBackwardWork is one worker's scratch, kept between calls.
type deltaBackwardWork struct {
	states          []float32 // before each chunk, and after the last
	z               []float32 // of all tokens
	triangles       []float32 // M of all chunks
	r               []float32 // gradient of the state
	rows            []float32 // of a chunk: the queries of each head, then the keys that erase
	k               []float32 // those keys
	write           []float32 // keys that write; k where they are the same
	outs            []float32 // of a chunk: scale c dO of each query head, then -c Y
	products        []float32 // of a chunk: dP of each query head, then N + Nᵀ, or N where keys differ
	outsT, uT       []float32 // transposed
	gradT           []float32 // of a chunk, transposed: dQ of each head, then the erase and the write keys'
	u, du, x, y     []float32
	out             []float32
	gradQ, gradK    []float32 // where a decay is folded in; of the write keys
	gradE           []float32 // of the erase keys
	m, p            []float32 // triangles
	g, c, d         []float32 // decays
	beta, ub        []float32
	row, rowQ, rowK []float32
	rowD            []float32
	terms           []float64 // of the decay's gradient
	key             deltaKeyWork
	product         tile.Product
	solve           tile.Solve
	pack            tile.Pack
	turned          tile.Turn
	dots            tile.Dots
	decay           tile.Decay
	exp             tile.Exp
}

func newDeltaBackward(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *deltaBackward {
	s := p.Shape
	a := &deltaBackward{prim: prim, chunk: max(1, min(cfg["chunk"], s.T)), group: max(1, s.Hq/s.Hkv), triangle: max(1, 16/cfg["mr"]) * cfg["mr"]}
	a.problem = p
	a.sides, a.apart = a.group+1, p.Decay == tile.DecayKey || p.Gates == tile.GatesApart
	if a.apart {
		a.sides++
	}
	a.ld, a.lds = roundUp(a.chunk, cacheLine/4), roundUp(a.sides*a.chunk, cacheLine/4)
	a.nn, a.nt, a.tn = productTiles(prim, cfg)
	_, units, workers := planUnits(p, float64(4*max(s.Hq, s.Hkv)+12*s.Hkv)*float64(s.Dk)*float64(s.Dv), 1)
	a.workers, a.factor, a.beta = workers, make([]float32, s.Hkv), aligned(units*s.T)
	n, chunks, size := a.chunk, (s.T+a.chunk-1)/a.chunk, s.Dk*s.Dv
	for range a.workers {
		w := &deltaBackwardWork{
			states: aligned((chunks + 1) * size), z: aligned(s.T * s.Dv), triangles: aligned(s.T * a.ld), r: aligned(size),
			rows: aligned((a.group + 1) * n * s.Dk), outs: aligned((a.group + 1) * n * s.Dv), products: aligned((a.group + 1) * n * a.ld),
			outsT: aligned(s.Dv * a.lds), uT: aligned(s.Dv * a.ld), gradT: aligned(s.Dk * a.lds),
			u: aligned(n * s.Dv), du: aligned(n * s.Dv), x: aligned(n * s.Dv), y: aligned(n * s.Dv), ub: aligned(n), out: aligned(n * s.Dv),
			m: aligned(n * a.ld), p: aligned(n * a.ld), g: aligned(n), c: aligned(n), d: aligned(n * a.ld),
			beta: aligned(n), row: aligned(n), rowQ: aligned(n), rowK: aligned(n), rowD: aligned(n), terms: make([]float64, s.T),
		}
		if a.apart {
			w.write, w.gradK, w.gradE = aligned(n*s.Dk), aligned(n*s.Dk), aligned(n*s.Dk)
		}
		if p.Decay == tile.DecayKey {
			w.gradQ, w.key = aligned(n*s.Dk), newDeltaKeyWork(n, s)
		}
		for i := range w.c { // a table that only counts or records leaves them as they are
			w.c[i] = 1
		}
		a.work = append(a.work, w)
	}
	return a
}

// set points the call at checked arguments of its problem.
func (a *deltaBackward) set(args attentionArgs) {
	a.attentionArgs = args
	args.fixedFactors(a.factor)
	a.shared.begin(a.prim, &a.attentionArgs, a.workers)
}

// args are the caller's arguments.
func (a *deltaBackward) args() attentionArgs { return a.shared.callers(a.attentionArgs) }

// after adds up the gradients of queries and keys that state heads share.
func (a *deltaBackward) after() parallel { return &a.shared }

// release drops the caller's arrays.
func (a *deltaBackward) release() {
	a.attentionArgs = attentionArgs{problem: a.problem}
	a.shared.release()
	for _, w := range a.work {
		w.product, w.pack, w.turned, w.dots, w.exp, w.key.fold = tile.Product{}, tile.Pack{}, tile.Turn{}, tile.Dots{}, tile.Exp{}, tile.Fold{}
	}
}

func (a *deltaBackward) parts() int { return a.workers }

// part walks one worker's share of the units.
func (a *deltaBackward) part(i int) {
	w, s := a.work[i], a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv, func(first, last int) {
		for u := first; u < last; u++ {
			a.walk(w, u)
		}
	})
}

func (a *deltaBackward) walk(w *deltaBackwardWork, u int) {
	_, tokens := a.span(u / a.problem.Shape.Hkv)
	a.begin(w, u)
	for t := 0; t < tokens; t += a.chunk {
		a.forwardStep(w, u, t)
	}
	a.turn(w, u)
	for t := lastChunk(tokens, a.chunk); t >= 0; t -= a.chunk {
		a.reverseStep(w, u, t)
	}
	a.end(w, u)
}

// finish adds up the gradients of a beta that heads share, always in the same order.
func (a *deltaBackward) finish() {
	if a.gradBeta == nil {
		return
	}
	s := a.problem.Shape
	for b := range s.B {
		first, tokens := a.span(b)
		for t := range tokens {
			row := a.gradBeta[(first+t)*a.betaHeads:][:a.betaHeads]
			clear(row)
			for h := range s.Hkv {
				row[h%a.betaHeads] += a.beta[(b*s.Hkv+h)*s.T+t]
			}
		}
	}
}

// state is the state before a chunk that begins at token t.
func (a *deltaBackward) state(w *deltaBackwardWork, t int) []float32 {
	size := a.problem.Shape.Dk * a.problem.Shape.Dv
	return w.states[(t+a.chunk-1)/a.chunk*size:][:size]
}

func (a *deltaBackward) begin(w *deltaBackwardWork, u int) {
	first := a.state(w, 0)
	if a.past == nil {
		clear(first)
		return
	}
	copy(first, a.past[u*len(first):])
}

// turn sets R to the present state's gradient.
func (a *deltaBackward) turn(w *deltaBackwardWork, u int) {
	clear(w.key.sum)
	if a.gradState == nil {
		clear(w.r)
		return
	}
	copy(w.r, a.gradState[u*len(w.r):])
	a.endKeys(w, u)
}

// rows of a state head's tokens from t on in an array of so many heads, and the distance of rows.
func (a *deltaBackward) rows(v []float32, u, t, heads, head, width int) ([]float32, int) {
	row, _ := a.span(u / a.problem.Shape.Hkv)
	return v[((row+t)*heads+head)*width:], heads * width
}

// gates fills a chunk's decays, betas and the row factors that are made of them, and copies its keys.
func (a *deltaBackward) gates(w *deltaBackwardWork, u, t, n int) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	row, _ := a.span(u / s.Hkv)
	row += t
	for i := range n {
		w.beta[i] = a.attentionArgs.beta[(row+i)*a.betaHeads+h%a.betaHeads]
	}
	a.decayFactors(a.prim, &w.exp, w.g, a.factor, row, h, n)
	if a.scalarDecay() {
		w.decay = tile.Decay{G: w.g, C: w.c, D: w.d, LDD: a.ld, N: n}
		a.prim.Decay(&w.decay)
	}
	for i := range n {
		d := float32(1)
		if a.scalarDecay() {
			d = w.d[(n-1)*a.ld+i]
		}
		w.rowD[i], w.ub[i] = d, d*w.beta[i]
		w.rowK[i], w.rowQ[i] = -w.c[i], a.scale*w.c[i]
	}
	key, ldk := a.rows(a.key, u, t, a.keyHeads, a.keyHead(h), s.Dk)
	erase, lde := a.eraseRows(u, t)
	w.k = w.rows[a.group*n*s.Dk:][:n*s.Dk]
	a.copyRows(w, w.k, s.Dk, erase, lde, nil, n, s.Dk)
	if !a.apart {
		w.write = w.k
		return
	}
	a.copyRows(w, w.write, s.Dk, key, ldk, nil, n, s.Dk)
	if a.problem.Decay == tile.DecayKey {
		a.foldKeys(w, n)
	}
}

// eraseRows gives the keys that erase of a state head's tokens from t on, and the distance of rows.
func (a *deltaBackward) eraseRows(u, t int) ([]float32, int) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	if a.erase != nil {
		return a.rows(a.erase, u, t, s.Hkv, h, s.Dk)
	}
	return a.rows(a.key, u, t, a.keyHeads, a.keyHead(h), s.Dk)
}

func (a *deltaBackward) scalarDecay() bool {
	return a.problem.Decay == tile.DecayFixed || a.problem.Decay == tile.DecayHead
}

func (a *deltaBackward) copyRows(w *deltaBackwardWork, dst []float32, ldd int, src []float32, lds int, row []float32, n, width int) {
	copyRows(a.prim, &w.pack, dst, ldd, src, lds, row, n, width)
}

// transpose sets dst to n rows of some width as columns, scaled by rows if row is given.
func (a *deltaBackward) transpose(w *deltaBackwardWork, dst []float32, ldd int, src []float32, lds int, row []float32, n, width int) {
	transpose(a.prim, &w.turned, dst, ldd, src, lds, row, n, width)
}

// mask is the chunk's decays, nil without.
func (a *deltaBackward) mask(w *deltaBackwardWork) []float32 {
	if !a.scalarDecay() {
		return nil
	}
	return w.d
}

// full runs a product of whole operands, in calls that are short enough.
func (a *deltaBackward) full(w *deltaBackwardWork, run func(*tile.Product), p tile.Product, transposed bool) {
	rows := max(1, maxCallFlops/(2*p.N*p.K))
	for i := 0; i < p.M; i += rows {
		w.product = p
		w.product.M = min(rows, p.M-i)
		if transposed {
			w.product.A = p.A[i:]
		} else {
			w.product.A = p.A[i*p.LDA:]
		}
		w.product.C = p.C[i*p.LDC:]
		if p.Row != nil {
			w.product.Row = p.Row[i:]
		}
		run(&w.product)
	}
}

// one runs a product of a triangle, which a checked config keeps short enough.
func (a *deltaBackward) one(w *deltaBackwardWork, run func(*tile.Product), p tile.Product) {
	w.product = p
	run(&w.product)
}

// upper adds Aᵀ B to C for a lower triangle A, whose transpose is zero left of the diagonal.
func (a *deltaBackward) upper(w *deltaBackwardWork, p tile.Product) {
	for i := 0; i < p.M; i += a.triangle {
		q := &w.product
		*q = p
		q.A, q.B, q.C = p.A[i*p.LDA+i:], p.B[i*p.LDB:], p.C[i*p.LDC:]
		q.M, q.K = min(a.triangle, p.M-i), p.K-i
		a.tn(q)
	}
}

// forwardStep finds Z and M for a chunk and the state after it.
func (a *deltaBackward) forwardStep(w *deltaBackwardWork, u, t int) {
	_, tokens := a.span(u / a.problem.Shape.Hkv)
	n := min(a.chunk, tokens-t)
	if a.statistics != nil {
		a.statistics.Tokens.Add(int64(n))
	}
	state, after := a.state(w, t), a.state(w, t+n)
	if a.problem.Decay == tile.DecayKey {
		for _, r := range a.runs(w, u, t, n) {
			if a.statistics != nil && n > 1 && r.hi-r.lo == 1 {
				a.statistics.Single.Add(1)
			}
			w.key.from = r.lo
			a.forwardRun(w, u, t+r.lo, r.hi-r.lo, state, after)
			state = after
		}
		return
	}
	a.forwardRun(w, u, t, n, state, after)
}

// forwardRun is forwardStep for n tokens from token t.
func (a *deltaBackward) forwardRun(w *deltaBackwardWork, u, t, n int, state, after []float32) {
	s := a.problem.Shape
	a.gates(w, u, t, n)
	if a.problem.Decay == tile.DecayKey {
		a.scaleKeys(w, after, state)
		state = after
	}
	z, m := w.z[t*s.Dv:], w.triangles[t*a.ld:]
	value, ldv := a.rows(a.value, u, t, s.Hkv, u%s.Hkv, s.Dv)
	a.copyRows(w, z, s.Dv, value, ldv, nil, n, s.Dv)
	a.one(w, a.nt, tile.Product{A: w.k, B: w.write, C: m, Mask: a.mask(w), LDA: s.Dk, LDB: s.Dk, LDC: a.ld, LDM: a.ld, M: n, N: n, K: s.Dk, Lower: true, Strict: 1})
	a.full(w, a.nn, tile.Product{A: w.k, B: state, C: z, Row: w.rowK, LDA: s.Dk, LDB: s.Dv, LDC: s.Dv, M: n, N: s.Dv, K: s.Dk, Beta: 1}, false)
	for i := range n {
		row, from := w.m[i*a.ld:][:n], m[i*a.ld:][:n]
		for j, x := range from[:i] {
			row[j] = x * w.beta[j]
		}
		clear(row[i:])
	}
	w.solve = tile.Solve{L: w.m, X: z, LDL: a.ld, LDX: s.Dv, N: n, W: s.Dv}
	a.prim.Solve(&w.solve)
	a.copyRows(w, w.u, s.Dv, z, s.Dv, w.ub, n, s.Dv)
	a.carry(w, after, state, n)
	a.full(w, a.tn, tile.Product{A: w.write, B: w.u, C: after, LDA: s.Dk, LDB: s.Dv, LDC: s.Dv, M: s.Dk, N: s.Dv, K: n, Beta: 1}, true)
}

// carry sets a state to the chunk's decay times another, which may be the same.
func (a *deltaBackward) carry(w *deltaBackwardWork, dst, src []float32, n int) {
	s := a.problem.Shape
	factor := w.c[n-1]
	if factor == 1 && same(dst, src) {
		return
	}
	for i := range n {
		w.row[i] = factor
	}
	for i := 0; i < s.Dk; i += n {
		a.copyRows(w, dst[i*s.Dv:], s.Dv, src[i*s.Dv:], s.Dv, w.row, min(n, s.Dk-i), s.Dv)
	}
}

// reverseStep finds the gradients of a chunk, and takes R back to the state before it. Rows that lie a power of two apart share few sets of the
// first level, so what a chunk reads and adds to lies side by side.
func (a *deltaBackward) reverseStep(w *deltaBackwardWork, u, t int) {
	_, tokens := a.span(u / a.problem.Shape.Hkv)
	n := min(a.chunk, tokens-t)
	if a.problem.Decay == tile.DecayKey {
		runs := a.runs(w, u, t, n)
		states := a.runStates(w, u, t, runs)
		for i := len(runs) - 1; i >= 0; i-- {
			w.key.from = runs[i].lo
			a.reverseRun(w, u, t+runs[i].lo, runs[i].hi-runs[i].lo, states(i))
		}
		return
	}
	a.reverseRun(w, u, t, n, a.state(w, t))
}

// reverseRun is reverseStep for n tokens from token t, with the state before them.
func (a *deltaBackward) reverseRun(w *deltaBackwardWork, u, t, n int, state []float32) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	a.gates(w, u, t, n)
	perKey := a.problem.Decay == tile.DecayKey
	if perKey {
		a.scaleKeys(w, w.key.state, state)
		state = w.key.state
		clear(w.key.terms[:n*s.Dk])
	}
	z, mask := w.z[t*s.Dv:], a.mask(w)
	a.copyRows(w, w.u, s.Dv, z, s.Dv, w.beta, n, s.Dv)
	a.full(w, a.nn, tile.Product{A: w.write, B: w.r, C: w.du, Row: w.rowD, LDA: s.Dk, LDB: s.Dv, LDC: s.Dv, M: n, N: s.Dv, K: s.Dk}, false)
	for g := range a.group {
		a.reverseQuery(w, u, t, n, g)
	}
	a.solveReverse(w, t, n)
	a.copyRows(w, w.y, s.Dv, w.x, s.Dv, w.beta, n, s.Dv)
	gradValue, ldv := a.rows(a.gradValue, u, t, s.Hkv, h, s.Dv)
	a.copyRows(w, gradValue, ldv, w.y, s.Dv, nil, n, s.Dv)
	a.copyRows(w, w.outs[a.group*n*s.Dv:], s.Dv, w.y, s.Dv, w.rowK, n, s.Dv)
	a.pairs(w, n, mask)

	// dQ and the parts of dK: first what the states have of them, then what the chunk's tokens have.
	queries := a.group * n
	erase, write := w.gradT[queries:], w.gradT[queries:]
	if a.apart {
		write = w.gradT[queries+n:]
	}
	a.transpose(w, w.outsT, a.lds, w.outs, s.Dv, nil, queries+n, s.Dv)
	a.transpose(w, w.uT, a.ld, w.u, s.Dv, w.rowD, n, s.Dv)
	a.full(w, a.nn, tile.Product{A: state, B: w.outsT, C: w.gradT, LDA: s.Dv, LDB: a.lds, LDC: a.lds, M: s.Dk, N: queries + n, K: s.Dv}, false)
	beta := float32(1)
	if a.apart {
		beta = 0
	}
	a.full(w, a.nn, tile.Product{A: w.r, B: w.uT, C: write, LDA: s.Dv, LDB: a.ld, LDC: a.lds, M: s.Dk, N: n, K: s.Dv, Beta: beta}, false)
	a.full(w, a.tn, tile.Product{A: w.rows, B: w.products, C: write, LDA: s.Dk, LDB: a.ld, LDC: a.lds, M: s.Dk, N: n, K: queries + n, Beta: 1}, true)
	a.full(w, a.tn, tile.Product{A: w.rows, B: w.outs, C: w.r, LDA: s.Dk, LDB: s.Dv, LDC: s.Dv, M: s.Dk, N: s.Dv, K: queries + n, Beta: w.c[n-1]}, true)
	for g := range a.group {
		a.gradientOfQuery(w, u, t, n, g)
	}
	gradKey, ldk := a.rows(a.gradKey, u, t, s.Hkv, h, s.Dk)
	if !a.apart {
		a.transpose(w, gradKey, ldk, write, a.lds, nil, s.Dk, n)
		a.sums(w, u, t, n)
		return
	}
	a.transpose(w, w.gradK, s.Dk, write, a.lds, nil, s.Dk, n)
	a.transpose(w, w.gradE, s.Dk, erase, a.lds, nil, s.Dk, n)
	a.one(w, a.nn, tile.Product{A: w.products[queries*a.ld:], B: w.write, C: w.gradE, LDA: a.ld, LDB: s.Dk, LDC: s.Dk, M: n, N: s.Dk, K: n, Beta: 1, Lower: true})
	if perKey {
		a.unfoldKeys(w, u, t, n)
		a.scaleKeys(w, w.r, w.r)
	}
	if a.erase != nil {
		gradErase, lde := a.rows(a.gradErase, u, t, s.Hkv, h, s.Dk)
		a.copyRows(w, gradErase, lde, w.gradE, s.Dk, nil, n, s.Dk)
	} else {
		for i, x := range w.gradE[:n*s.Dk] {
			w.gradK[i] += x
		}
	}
	a.copyRows(w, gradKey, ldk, w.gradK, s.Dk, nil, n, s.Dk)
	a.sums(w, u, t, n)
}

// pairs finds N, and N + Nᵀ where a key both erases and writes.
func (a *deltaBackward) pairs(w *deltaBackwardWork, n int, mask []float32) {
	dv := a.problem.Shape.Dv
	for i := range n {
		w.row[i] = -1
	}
	to := w.products[a.group*n*a.ld:]
	a.one(w, a.nt, tile.Product{A: w.y, B: w.u, C: to, Mask: mask, Row: w.row, LDA: dv, LDB: dv, LDC: a.ld, LDM: a.ld, M: n, N: n, K: dv, Lower: true, Strict: 1})
	if a.apart {
		return
	}
	for i := range n {
		for j, x := range to[i*a.ld:][:i] {
			to[j*a.ld+i] = x
		}
	}
}

// reverseQuery does what query head g of a state head adds to dU, and finds its dP.
func (a *deltaBackward) reverseQuery(w *deltaBackwardWork, u, t, n, g int) {
	s, mask := a.problem.Shape, a.mask(w)
	h := u % s.Hkv
	first, _ := a.queryHeads(h)
	query, ldq := a.rows(a.query, u, t, s.Hq, first+g, s.Dk)
	out, ldo := a.rows(a.gradOutput, u, t, a.outputHeads(), h*a.group+g, s.Dv)
	q := w.rows[g*n*s.Dk:][:n*s.Dk]
	a.copyRows(w, q, s.Dk, query, ldq, nil, n, s.Dk)
	a.copyRows(w, w.out, s.Dv, out, ldo, nil, n, s.Dv)
	a.copyRows(w, w.outs[g*n*s.Dv:], s.Dv, w.out, s.Dv, w.rowQ, n, s.Dv)
	if a.problem.Decay == tile.DecayKey {
		multiply(q, w.key.inverse)
	}
	for i := range n {
		w.row[i] = a.scale
	}
	a.one(w, a.nt, tile.Product{A: q, B: w.write, C: w.p, Mask: mask, Row: w.row, LDA: s.Dk, LDB: s.Dk, LDC: a.ld, LDM: a.ld, M: n, N: n, K: s.Dk, Lower: true})
	a.upper(w, tile.Product{A: w.p, B: w.out, C: w.du, LDA: a.ld, LDB: s.Dv, LDC: s.Dv, M: n, N: s.Dv, K: n, Beta: 1})
	a.one(w, a.nt, tile.Product{A: w.out, B: w.u, C: w.products[g*n*a.ld:], Mask: mask, Row: w.row, LDA: s.Dv, LDB: s.Dv, LDC: a.ld, LDM: a.ld, M: n, N: n, K: s.Dv, Lower: true})
}

// gradientOfQuery ends the gradient of query head g of a state head.
func (a *deltaBackward) gradientOfQuery(w *deltaBackwardWork, u, t, n, g int) {
	s := a.problem.Shape
	grad, ldq := a.rows(a.gradQuery, u, t, a.outputHeads(), u%s.Hkv*a.group+g, s.Dk)
	to, ld := grad, ldq
	if a.problem.Decay == tile.DecayKey {
		to, ld = w.gradQ, s.Dk
	}
	a.transpose(w, to, ld, w.gradT[g*n:], a.lds, nil, s.Dk, n)
	a.one(w, a.nn, tile.Product{A: w.products[g*n*a.ld:], B: w.write, C: to, LDA: a.ld, LDB: s.Dk, LDC: ld, M: n, N: s.Dk, K: n, Beta: 1, Lower: true})
	if a.problem.Decay == tile.DecayKey {
		a.unfoldQueries(w, g, n)
		a.copyRows(w, grad, ldq, w.gradQ, s.Dk, nil, n, s.Dk)
	}
}

// solveReverse solves for X from dU. With the tokens in reverse the transposed triangle is a lower one.
func (a *deltaBackward) solveReverse(w *deltaBackwardWork, t, n int) {
	s := a.problem.Shape
	flip := func(dst, src []float32, width int) {
		for i := range n {
			copy(dst[i*width:][:width], src[(n-1-i)*width:][:width])
		}
	}
	m := w.triangles[t*a.ld:]
	for j := range n {
		row, beta := m[(n-1-j)*a.ld:][:n], w.beta[n-1-j]
		for i := j + 1; i < n; i++ {
			w.m[i*a.ld+j] = row[n-1-i] * beta
		}
		clear(w.m[j*a.ld+j:][:n-j])
	}
	flip(w.y, w.du, s.Dv)
	w.solve = tile.Solve{L: w.m, X: w.y, LDL: a.ld, LDX: s.Dv, N: n, W: s.Dv}
	a.prim.Solve(&w.solve)
	flip(w.x, w.y, s.Dv)
}

// sums takes the dot products of a chunk's rows: the gradient of beta, and the terms of the decay's.
func (a *deltaBackward) sums(w *deltaBackwardWork, u, t, n int) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	a.rowDots(w, a.beta[u*s.T+t:], operand{w.x, s.Dv}, operand{w.z[t*s.Dv:], s.Dv}, n, s.Dv)
	if a.gradDecay == nil || a.problem.Decay == tile.DecayKey {
		return
	}
	terms := w.terms[t : t+n]
	value, ldv := a.rows(a.value, u, t, s.Hkv, h, s.Dv)
	a.rowDots(w, w.row, operand{w.y, s.Dv}, operand{value, ldv}, n, s.Dv)
	for i := range terms {
		terms[i] = -float64(w.row[i])
	}
	for g := range a.group {
		grad, ldq := a.rows(a.gradQuery, u, t, a.outputHeads(), h*a.group+g, s.Dk)
		a.rowDots(w, w.row, operand{w.rows[g*n*s.Dk:], s.Dk}, operand{grad, ldq}, n, s.Dk)
		for i := range terms {
			terms[i] += float64(w.row[i])
		}
	}
}

// rowDots sets dst to the dot products of n rows of some width with as many others.
func (a *deltaBackward) rowDots(w *deltaBackwardWork, dst []float32, x, y operand, n, width int) {
	w.dots = tile.Dots{X: x.rows, Y: y.rows, Dst: dst, LDX: x.ld, LDY: y.ld, M: n, N: width}
	a.prim.Dots(&w.dots)
}

// end writes the gradients of the past state and the decay.
func (a *deltaBackward) end(w *deltaBackwardWork, u int) {
	s := a.problem.Shape
	row, tokens := a.span(u / s.Hkv)
	if a.gradPast != nil {
		copy(a.gradPast[u*len(w.r):][:len(w.r)], w.r)
	}
	if a.gradDecay == nil || tokens == 0 || a.problem.Decay == tile.DecayKey {
		return
	}
	sum := 0.0
	if a.gradState != nil {
		size := s.Dk * s.Dv
		sum = dot(a.state(w, tokens), a.gradState[u*size:][:size])
	}
	for t := tokens - 1; t >= 0; t-- {
		sum += w.terms[t]
		a.gradDecay[(row+t)*s.Hkv+u%s.Hkv] = float32(sum)
	}
}

func (a *deltaBackward) share() (units, perBatch, workers, chunk int, headOuter bool) {
	return (a.problem.Shape.B*a.problem.Shape.Hkv + a.workers - 1) / a.workers, a.problem.Shape.Hkv, a.workers, a.chunk, true
}

// walkSteps takes a chunk forward and back in one trip, where a call takes all chunks forward first.
func (a *deltaBackward) walkSteps(units int, trip func()) {
	for t := 0; t < a.problem.Shape.T; t += a.chunk {
		for u := range units {
			a.forwardStep(a.work[0], u, t)
			a.reverseStep(a.work[0], u, t)
		}
		trip()
	}
}

func (a *deltaBackward) scratchBuffers() map[string][]float32 {
	w := a.work[0]
	buffers := map[string][]float32{
		"states": w.states, "z": w.z, "triangles": w.triangles, "r": w.r, "q and k": w.rows, "do and y": w.outs, "dp and n": w.products, "do and y transposed": w.outsT, "u transposed": w.uT, "dq and dk transposed": w.gradT,
		"u": w.u, "du": w.du, "x": w.x, "y": w.y, "out": w.out, "m": w.m, "p": w.p, "g": w.g, "c": w.c, "d": w.d, "beta chunk": w.beta, "row": w.row, "row q": w.rowQ,
		"row k": w.rowK, "row d": w.rowD, "row u": w.ub, "beta gradient": a.beta,
		"factors": w.key.factors, "w": w.key.w, "1/w": w.key.inverse, "decay terms": w.key.terms, "run decay": w.key.decay, "decayed state": w.key.state, "large": w.key.large, "scrap": w.key.scrap,
		"ones": w.key.ones, "own query gradients": a.shared.ownQuery, "own key gradients": a.shared.ownKey,
	}
	if a.apart {
		buffers["write keys"], buffers["dq"], buffers["dk"], buffers["de"] = w.write, w.gradQ, w.gradK, w.gradE
	}
	return buffers
}
