package kernels

import (
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

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
// The triangle of X is solved from its last row to the first (tile.Substitute gives Z and U, X and Y at once). The decay's gradient is a
// sum over later tokens, dg_t = dg_(t+1) + q_t . dq_t - v_t . dv_t, that begins with <S, R> after the last one: a factor on the state
// before token t scales what all later tokens read of it, their values left out.
//
// A product with a transposed state is slow, a product with the state itself is not: so dQ and dK are found transposed, as S dOᵀ, S Yᵀ and R Uᵀ, from
// transposed copies of the chunk's rows, which are much smaller. A chunk's queries lie above its keys, and dO above Y, so that
// one product does for all of them. Gradients are made in rows that lie side by side and then stored past the caches; what the next chunk reads is prefetched
// row by row while products run.
//
// Where keys that erase differ from those that write, E in place of K, M is D (E Kᵀ), c K S is c E S, and dK falls into the gradients of both: dE = - c Y Sᵀ + N K,
// and the rest. They differ where gates are apart (gates_apart_backward.go), and where a decay per key is folded into the keys and queries of a run of
// tokens (delta_backward_key.go), which is then a chunk without decay.
//
// Chunks of 16 tokens can also be taken in one call a step (delta_backward_fused.go).
//
// A state head is one unit, whose chunks are walked forward and then back.
type deltaBackward struct {
	attentionArgs
	prim       *tile.Primitives
	fused      bool
	stream     bool // gradients are stored past the caches
	prefetch   bool // what comes next is prefetched
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
	scales     []float32 // row factors of a chunk: the scale, and
	minus      []float32 // -1
}

// deltaBackwardWork is one worker's scratch, kept between calls.
type deltaBackwardWork struct {
	headGates
	states          []float32 // before each chunk, and after the last
	z               []float32 // of all tokens
	triangles       []float32 // M of all chunks
	r               []float32 // gradient of the state
	rows            []float32 // of a chunk: the queries of each head, then the keys that erase
	k               []float32 // those keys
	write           []float32 // keys that write; k where they are the same
	outs            []float32 // of a chunk: scale c dO of each query head, then -c Y
	products        []float32 // of a chunk: dP of each query head, then N
	outsT, uT       []float32 // transposed
	gradT           []float32 // of a chunk, transposed: dQ of each head, then the erase and the write keys'
	u, x, y         []float32 // x is dU before it is solved
	out             []float32
	gradQ, gradK    []float32 // of a chunk; with decay per key of each query head, then the erase keys
	gradE           []float32 // of the erase keys, where those are others
	p               []float32 // P
	c, d            []float32 // decays of a chunk
	row, rowQ, rowK []float32
	rowD            []float32
	terms           []float64 // of the decay's gradient
	key             deltaKeyWork
	fused           fusedWork
	product         tile.Product
	substitute      tile.Substitute
	pack            tile.Pack
	turned          tile.Turn
	dots            tile.Dots
	decay           tile.Decay
	exp             tile.Exp
}

// headGates are the gates of a worker's state heads: of the one at hand the decay factors and betas of all tokens, and of the heads from firstGate on
// what they are made of, a row each.
type headGates struct {
	g, beta       []float32
	betas, decays []float32
	firstGate     int
}

func newDeltaBackward(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *deltaBackward {
	s := p.Shape
	a := &deltaBackward{prim: prim, group: max(1, s.Hq/s.Hkv)}
	a.problem = p
	if hasFused(p, prim) && cfg["form"] == formFused {
		return a.fuse(cfg)
	}
	a.chunk, a.triangle = max(1, min(cfg["chunk"], s.T)), max(1, 16/cfg["mr"])*cfg["mr"]
	a.sides, a.apart = a.group+1, p.Decay == tile.DecayKey || p.Gates == tile.GatesApart
	if a.apart {
		a.sides++
	}
	a.ld, a.lds = roundUp(a.chunk, cacheLine/4), roundUp(a.sides*a.chunk, cacheLine/4)
	a.nn, a.nt, a.tn = productTiles(prim, cfg)
	a.plan()
	a.scales, a.minus = aligned(a.chunk), slices.Repeat([]float32{-1}, a.chunk)
	n, chunks, size := a.chunk, (s.T+a.chunk-1)/a.chunk, s.Dk*s.Dv
	for range a.workers {
		w := &deltaBackwardWork{
			headGates: a.newHeadGates(),
			states:    aligned((chunks + 1) * size), z: aligned(s.T * s.Dv), triangles: aligned(s.T * a.ld), r: aligned(size),
			rows: aligned((a.group + 1) * n * s.Dk), outs: aligned((a.group + 1) * n * s.Dv), products: aligned((a.group + 1) * n * a.ld),
			outsT: aligned(s.Dv * a.lds), uT: aligned(s.Dv * a.ld), gradT: aligned(s.Dk * a.lds),
			u: aligned(n * s.Dv), x: aligned(n * s.Dv), y: aligned(n * s.Dv), out: aligned(n * s.Dv), gradK: aligned(n * s.Dk),
			p: aligned(n * a.ld), c: aligned(n), d: aligned(n * a.ld),
			row: aligned(n), rowQ: aligned(n), rowK: aligned(n), rowD: aligned(n), terms: make([]float64, s.T),
		}
		if a.apart {
			w.write = aligned(n * s.Dk)
		}
		if p.Decay == tile.DecayKey {
			w.key, w.gradQ = newDeltaKeyWork(n, s), aligned((a.group+1)*n*s.Dk)
		} else {
			w.gradQ = aligned(n * s.Dk)
			if a.apart {
				w.gradE = aligned(n * s.Dk)
			}
		}
		for i := range w.c { // a table that only counts or records leaves them as they are
			w.c[i] = 1
		}
		a.work = append(a.work, w)
	}
	return a
}

// plan shares the state heads among workers, and makes what these share.
func (a *deltaBackward) plan() {
	s := a.problem.Shape
	_, units, workers := planUnits(a.problem, float64(4*max(s.Hq, s.Hkv)+12*s.Hkv)*float64(s.Dk)*float64(s.Dv), 1)
	a.workers, a.factor, a.beta = workers, make([]float32, s.Hkv), aligned(units*s.T)
}

// newHeadGates makes room for the gates of a worker's share, if the heads' sequences are alike.
func (a *deltaBackward) newHeadGates() headGates {
	units, perItem, _, _, _ := a.share()
	gates := headGates{g: aligned(a.gateRow()), betas: aligned(min(perItem, units) * a.gateRow())}
	if a.problem.Decay == tile.DecayHead {
		gates.decays = aligned(len(gates.betas))
	}
	return gates
}

// set points the call at checked arguments of its problem.
func (a *deltaBackward) set(args attentionArgs) {
	a.attentionArgs = args
	args.fixedFactors(a.factor)
	for i := range a.scales {
		a.scales[i] = a.scale
	}
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
		w.product, w.pack, w.turned, w.dots, w.exp, w.key.fold, w.key.trail = tile.Product{}, tile.Pack{}, tile.Turn{}, tile.Dots{}, tile.Exp{}, tile.Fold{}, tile.Trail{}
		w.fused.call = tile.DeltaChunk{}
	}
}

func (a *deltaBackward) parts() int { return a.workers }

// part walks one worker's share of the units.
func (a *deltaBackward) part(i int) {
	w, s := a.work[i], a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv, func(first, last int) {
		a.turnGates(w, first, last)
		for u := first; u < last; u++ {
			a.walk(w, u)
		}
	})
}

func (a *deltaBackward) walk(w *deltaBackwardWork, u int) {
	_, tokens := a.span(u / a.problem.Shape.Hkv)
	a.begin(w, u)
	a.gates(w, u)
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

// turnGates puts the betas and the decays of some state heads of a batch item side by side, head by head: heads that lie beside each other read the same
// cache lines.
func (a *deltaBackward) turnGates(w *deltaBackwardWork, first, last int) {
	s := a.problem.Shape
	row, tokens := a.span(first / s.Hkv)
	ld := a.gateRow()
	w.firstGate = first
	w.betas = grown(w.betas, (last-first)*ld)
	if a.betaHeads == s.Hkv {
		transpose(a.prim, &w.turned, w.betas, ld, a.attentionArgs.beta[row*s.Hkv+first%s.Hkv:], s.Hkv, nil, tokens, last-first)
	} else {
		for u := first; u < last; u++ {
			beta := w.betas[(u-first)*ld:]
			for i := range tokens {
				beta[i] = a.attentionArgs.beta[(row+i)*a.betaHeads+u%s.Hkv%a.betaHeads]
			}
		}
	}
	if a.problem.Decay == tile.DecayHead {
		w.decays = grown(w.decays, (last-first)*ld)
		transpose(a.prim, &w.turned, w.decays, ld, a.attentionArgs.decay[row*s.Hkv+first%s.Hkv:], s.Hkv, nil, tokens, last-first)
	}
}

// gateRow is the distance of heads in what turnGates makes: whole chunks.
func (a *deltaBackward) gateRow() int { return roundUp(a.problem.Shape.T, a.chunk) }

// gates finds the betas of a state head's tokens, and their decay factors.
func (a *deltaBackward) gates(w *deltaBackwardWork, u int) {
	row, tokens := a.span(u / a.problem.Shape.Hkv)
	at := (u - w.firstGate) * a.gateRow()
	w.beta = w.betas[at:][:a.gateRow()]
	if a.problem.Decay == tile.DecayHead {
		const call = 1 << 13 // short enough
		for i := 0; i < tokens; i += call {
			w.exp = tile.Exp{Src: w.decays[at+i:], Dst: w.g[i:], Stride: 1, N: min(call, tokens-i), Scale: 1}
			a.prim.Exp(&w.exp)
		}
	} else {
		a.decayFactors(a.prim, &w.exp, w.g, a.factor, row, u%a.problem.Shape.Hkv, tokens)
	}
	if a.fused {
		a.padGates(w, tokens)
	}
}

// chunkRows finds the decays of n tokens from token t and the row factors that are made of them, and copies the tokens' keys.
func (a *deltaBackward) chunkRows(w *deltaBackwardWork, u, t, n int) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	if a.scalarDecay() {
		w.decay = tile.Decay{G: w.g[t:], C: w.c, D: w.d, LDD: a.ld, N: n}
		a.prim.Decay(&w.decay)
	}
	for i := range n {
		d := float32(1)
		if a.scalarDecay() {
			d = w.d[(n-1)*a.ld+i]
		}
		w.rowD[i], w.rowK[i], w.rowQ[i] = d, -w.c[i], a.scale*w.c[i]
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

// forwardStep finds Z and M for a chunk and the state after it.
func (a *deltaBackward) forwardStep(w *deltaBackwardWork, u, t int) {
	_, tokens := a.span(u / a.problem.Shape.Hkv)
	n := min(a.chunk, tokens-t)
	if a.statistics != nil {
		a.statistics.Tokens.Add(int64(n))
	}
	state, after := a.state(w, t), a.state(w, t+n)
	if a.fused {
		a.fusedForward(w, u, t, n)
		return
	}
	if a.problem.Decay == tile.DecayKey {
		for _, r := range a.runs(w, u, t, n, true) {
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
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	a.chunkRows(w, u, t, n)
	if a.problem.Decay == tile.DecayKey {
		a.scaleKeys(w, after, state)
		state = after
	}
	z, m := w.z[t*s.Dv:], w.triangles[t*a.ld:]
	value, ldv := a.rows(a.value, u, t, s.Hkv, h, s.Dv)
	a.copyRows(w, z, s.Dv, value, ldv, nil, n, s.Dv)
	a.masked(w, operand{m, a.ld}, operand{w.k, s.Dk}, operand{w.write, s.Dk}, nil, n, s.Dk, 1)
	p := w.multiply(operand{z, s.Dv}, operand{w.k, s.Dk}, operand{state, s.Dv}, n, s.Dv, s.Dk)
	p.Row, p.Beta = w.rowK, 1
	a.ahead(&p.Ahead[0], a.key, u, t+n, a.keyHeads, a.keyHead(h), 1, s.Dk)
	a.ahead(&p.Ahead[1], a.value, u, t+n, s.Hkv, h, 1, s.Dv)
	w.full(a.nn, false)
	a.solve(w, tile.Substitute{L: m, X: z, Y: w.u, Row: w.beta[t:], N: n})
	if a.scalarDecay() {
		a.copyRows(w, w.u, s.Dv, w.u, s.Dv, w.rowD, n, s.Dv)
	}
	p = w.multiply(operand{after, s.Dv}, operand{w.write, s.Dk}, operand{w.u, s.Dv}, s.Dk, s.Dv, n)
	if p.Beta = w.c[n-1]; !same(after, state) {
		p.From = state
	}
	a.aheadState(&p.Ahead[0], w, t+2*a.chunk)
	w.full(a.tn, true)
}

// masked sets c to the lower triangle of x yᵀ times the chunk's decays and row factors, the diagonal left out if strict is 1. A checked config keeps
// triangles short enough for one call.
func (a *deltaBackward) masked(w *deltaBackwardWork, c, x, y operand, row []float32, n, depth, strict int) {
	p := w.multiply(c, x, y, n, n, depth)
	p.Row, p.Mask, p.LDM, p.Lower, p.Strict = row, a.mask(w), a.ld, true, strict
	a.nt(p)
}

// addLower prepares the product that adds a chunk's lower triangle x times y to c.
func (a *deltaBackward) addLower(w *deltaBackwardWork, c, x, y operand, n, width int) *tile.Product {
	p := w.multiply(c, x, y, n, width, n)
	p.Beta, p.Lower = 1, true
	return p
}

// solve runs a substitution over value columns side by side.
func (a *deltaBackward) solve(w *deltaBackwardWork, p tile.Substitute) {
	p.LDL, p.LDX, p.LDY, p.W = a.ld, a.problem.Shape.Dv, a.problem.Shape.Dv, a.problem.Shape.Dv
	w.substitute = p
	a.prim.Substitute(&w.substitute)
}

// reverseStep finds the gradients of a chunk, and takes R back to the state before it. Rows that lie a power of two apart share few sets of the
// first level, so what a chunk reads and adds to lies side by side.
func (a *deltaBackward) reverseStep(w *deltaBackwardWork, u, t int) {
	_, tokens := a.span(u / a.problem.Shape.Hkv)
	n := min(a.chunk, tokens-t)
	if a.fused {
		a.fusedReverse(w, u, t, n)
		return
	}
	if a.problem.Decay == tile.DecayKey {
		runs := a.runs(w, u, t, n, false)
		a.runStates(w, u, t, runs)
		for i := len(runs) - 1; i >= 0; i-- {
			w.key.from = runs[i].lo
			a.reverseRun(w, u, t+runs[i].lo, runs[i].hi-runs[i].lo, a.runState(w, t, i))
		}
		return
	}
	a.reverseRun(w, u, t, n, a.state(w, t))
}

// reverseRun is reverseStep for n tokens from token t, with the state before them.
func (a *deltaBackward) reverseRun(w *deltaBackwardWork, u, t, n int, state []float32) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	a.chunkRows(w, u, t, n)
	perKey := a.problem.Decay == tile.DecayKey
	if perKey {
		a.scaleKeys(w, w.key.state, state)
		state = w.key.state
		w.gradE = w.gradQ[a.group*n*s.Dk:][:n*s.Dk]
	}
	z, before := w.z[t*s.Dv:], t-a.chunk
	a.copyRows(w, w.u, s.Dv, z, s.Dv, w.beta[t:], n, s.Dv)
	p := w.multiply(operand{w.x, s.Dv}, operand{w.write, s.Dk}, operand{w.r, s.Dv}, n, s.Dv, s.Dk)
	p.Row = w.rowD
	a.ahead(&p.Ahead[0], a.key, u, before, a.keyHeads, a.keyHead(h), 1, s.Dk)
	a.ahead(&p.Ahead[1], a.value, u, before, s.Hkv, h, 1, s.Dv)
	w.full(a.nn, false)
	for g := range a.group {
		a.reverseQuery(w, u, t, n, g)
	}
	a.solve(w, tile.Substitute{L: w.triangles[t*a.ld:], X: w.x, Y: w.y, Row: w.beta[t:], N: n, Transposed: true})
	gradValue, ldv := a.rows(a.gradValue, u, t, s.Hkv, h, s.Dv)
	streamRows(a.prim, &w.pack, gradValue, ldv, w.y, s.Dv, n, s.Dv)
	queries := a.group * n
	a.copyRows(w, w.outs[queries*s.Dv:], s.Dv, w.y, s.Dv, w.rowK, n, s.Dv)
	own := operand{w.products[queries*a.ld:], a.ld}
	a.masked(w, own, operand{w.y, s.Dv}, operand{w.u, s.Dv}, a.minus, n, s.Dv, 1)
	a.sums(w, u, t, n)

	// dQ and the parts of dK: first what the states have of them, then what the chunk's tokens have.
	erase, write := w.gradT[queries:], w.gradT[queries:]
	beta := float32(1)
	if a.apart {
		write, beta = w.gradT[queries+n:], 0
	}
	a.transpose(w, w.outsT, a.lds, w.outs, s.Dv, nil, queries+n, s.Dv)
	a.transpose(w, w.uT, a.ld, w.u, s.Dv, w.rowD, n, s.Dv)
	w.multiply(operand{w.gradT, a.lds}, operand{state, s.Dv}, operand{w.outsT, a.lds}, s.Dk, queries+n, s.Dv)
	w.full(a.nn, false)
	p = w.multiply(operand{write, a.lds}, operand{w.r, s.Dv}, operand{w.uT, a.ld}, s.Dk, n, s.Dv)
	p.Beta = beta
	w.full(a.nn, false)
	p = w.multiply(operand{write, a.lds}, operand{w.rows, s.Dk}, operand{w.products, a.ld}, s.Dk, n, queries+n)
	p.Beta = 1
	w.full(a.tn, true)
	p = w.multiply(operand{w.r, s.Dv}, operand{w.rows, s.Dk}, operand{w.outs, s.Dv}, s.Dk, s.Dv, queries+n)
	p.Beta = w.c[n-1]
	a.aheadState(&p.Ahead[0], w, before)
	w.full(a.tn, true)
	for g := range a.group {
		a.gradientOfQuery(w, u, t, n, g)
	}
	a.transpose(w, w.gradK, s.Dk, write, a.lds, nil, s.Dk, n)
	gradErase := w.gradK
	if a.apart {
		gradErase = w.gradE
		a.transpose(w, gradErase, s.Dk, erase, a.lds, nil, s.Dk, n)
	}
	p = a.addLower(w, operand{gradErase, s.Dk}, own, operand{w.write, s.Dk}, n, s.Dk)
	aheadRow(&p.Ahead[0], w.z, before, s.Dv)
	aheadRow(&p.Ahead[1], w.triangles, before, a.ld)
	a.nn(p)
	if perKey {
		a.unfold(w, u, t, n)
		a.scaleKeys(w, w.r, w.r)
	}
	switch {
	case a.erase != nil:
		to, lde := a.rows(a.gradErase, u, t, s.Hkv, h, s.Dk)
		streamRows(a.prim, &w.pack, to, lde, w.gradE, s.Dk, n, s.Dk)
	case a.apart:
		for i, x := range w.gradE[:n*s.Dk] {
			w.gradK[i] += x
		}
	}
	gradKey, ldk := a.rows(a.gradKey, u, t, s.Hkv, h, s.Dk)
	streamRows(a.prim, &w.pack, gradKey, ldk, w.gradK, s.Dk, n, s.Dk)
}

// reverseQuery does what query head g of a state head adds to dU, and finds its dP.
func (a *deltaBackward) reverseQuery(w *deltaBackwardWork, u, t, n, g int) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	first, _ := a.queryHeads(h)
	query, ldq := a.rows(a.query, u, t, s.Hq, first+g, s.Dk)
	out, ldo := a.rows(a.gradOutput, u, t, a.outputHeads(), h*a.group+g, s.Dv)
	q := w.rows[g*n*s.Dk:][:n*s.Dk]
	a.copyRows(w, q, s.Dk, query, ldq, nil, n, s.Dk)
	a.copyRows(w, w.out, s.Dv, out, ldo, nil, n, s.Dv)
	a.copyRows(w, w.outs[g*n*s.Dv:], s.Dv, w.out, s.Dv, w.rowQ, n, s.Dv)
	if a.problem.Decay == tile.DecayKey {
		a.times(w, q, w.key.inverse)
	}
	a.masked(w, operand{w.p, a.ld}, operand{q, s.Dk}, operand{w.write, s.Dk}, a.scales, n, s.Dk, 0)
	w.multiply(operand{w.x, s.Dv}, operand{w.p, a.ld}, operand{w.out, s.Dv}, n, s.Dv, n).Beta = 1
	w.upper(a.tn, a.triangle)
	a.masked(w, operand{w.products[g*n*a.ld:], a.ld}, operand{w.out, s.Dv}, operand{w.u, s.Dv}, a.scales, n, s.Dv, 0)
}

// gradientOfQuery ends the gradient of query head g of a state head.
func (a *deltaBackward) gradientOfQuery(w *deltaBackwardWork, u, t, n, g int) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	first, _ := a.queryHeads(h)
	perKey, to := a.problem.Decay == tile.DecayKey, w.gradQ
	if perKey {
		to = w.gradQ[g*n*s.Dk:]
	}
	a.transpose(w, to, s.Dk, w.gradT[g*n:], a.lds, nil, s.Dk, n)
	p := a.addLower(w, operand{to, s.Dk}, operand{w.products[g*n*a.ld:], a.ld}, operand{w.write, s.Dk}, n, s.Dk)
	a.ahead(&p.Ahead[0], a.query, u, t-a.chunk, s.Hq, first+g, 1, s.Dk)
	a.ahead(&p.Ahead[1], a.gradOutput, u, t-a.chunk, a.outputHeads(), h*a.group+g, 1, s.Dv)
	a.nn(p)
	if perKey {
		return // until the decay's gradient has been taken
	}
	if a.gradDecay != nil {
		a.rowDots(w, w.row, operand{w.rows[g*n*s.Dk:], s.Dk}, operand{w.gradQ, s.Dk}, n, s.Dk)
		for i, x := range w.row[:n] {
			w.terms[t+i] += float64(x)
		}
	}
	a.storeQuery(w, u, t, n, g, to)
}

// storeQuery hands the gradient of query head g of a state head to the caller.
func (a *deltaBackward) storeQuery(w *deltaBackwardWork, u, t, n, g int, from []float32) {
	s := a.problem.Shape
	grad, ldq := a.rows(a.gradQuery, u, t, a.outputHeads(), u%s.Hkv*a.group+g, s.Dk)
	streamRows(a.prim, &w.pack, grad, ldq, from, s.Dk, n, s.Dk)
}

// sums takes the dot products of a chunk's value rows: the gradient of beta, and those terms of the decay's.
func (a *deltaBackward) sums(w *deltaBackwardWork, u, t, n int) {
	s := a.problem.Shape
	a.rowDots(w, a.beta[u*s.T+t:], operand{w.x, s.Dv}, operand{w.z[t*s.Dv:], s.Dv}, n, s.Dv)
	if a.gradDecay == nil || a.problem.Decay == tile.DecayKey {
		return
	}
	value, ldv := a.rows(a.value, u, t, s.Hkv, u%s.Hkv, s.Dv)
	a.rowDots(w, w.row, operand{w.y, s.Dv}, operand{value, ldv}, n, s.Dv)
	for i, x := range w.row[:n] {
		w.terms[t+i] = -float64(x)
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

// walkSteps takes a chunk forward and back in one trip, where a call takes all chunks forward first. Gates, which a head has made at once, are in
// its first trip, so what stands for a longer sequence lacks the rest of them.
func (a *deltaBackward) walkSteps(units int, trip func()) {
	a.turnGates(a.work[0], 0, units)
	for t := 0; t < a.problem.Shape.T; t += a.chunk {
		for u := range units {
			if t == 0 {
				a.gates(a.work[0], u)
			}
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
		"u": w.u, "x": w.x, "y": w.y, "out": w.out, "p": w.p, "g": w.g, "c": w.c, "d": w.d, "betas": w.betas, "decays": w.decays, "row": w.row, "row q": w.rowQ,
		"row k": w.rowK, "row d": w.rowD, "beta gradient": a.beta, "dq": w.gradQ, "dk": w.gradK, "scales": a.scales, "minus": a.minus,
		"factors": w.key.factors, "w": w.key.w, "1/w": w.key.inverse, "run decay": w.key.decay, "decayed state": w.key.state, "large": w.key.large, "scrap": w.key.scrap,
		"ones": w.key.ones, "own query gradients": a.shared.ownQuery, "own key gradients": a.shared.ownKey,
	}
	if a.apart {
		buffers["write keys"] = w.write
	}
	if a.apart && a.problem.Decay != tile.DecayKey {
		buffers["de"] = w.gradE
	}
	w.fused.buffers(buffers)
	return buffers
}
