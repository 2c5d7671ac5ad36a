package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// attention is a prepared call of linear-attention or delta-rule: the chunk
// form, walked through one table of primitives. A chunk of n tokens of one state head and a range of value columns
// takes these steps, P and L lower triangular, D the decay from column token to row token, c its first column
// times the first token's decay (all 1 without decay):
//
//	L = beta_i D (K Kᵀ), strictly lower        delta rules
//	U = V, or the solution of (I+L) U = beta (V - c K S)
//	P = scale D (Q Kᵀ)                          each query head
//	O = scale c Q S + P U                       each query head
//	S = c_n S + Kᵀ (d_n U)                      d_n the last row of D
//
// Products over a masked triangle would carry a NaN of a later token to an earlier one (0*NaN), so a chunk that holds
// anything non-finite is walked again one token at a time.
type attention struct {
	attentionArgs
	prim       *tile.Primitives
	nn, nt, tn func(*tile.Product)
	delta      bool
	chunk      int
	panel      int // value columns of one product call
	headOuter  bool
	ld         int // of P, L and D
	split      int // units that a state head's value columns are cut into
	heads      int // Hkv
	units      int // B * Hkv * split
	workers    int
	work       []*attentionWork
	factor     []float32 // exp(headDecay)
	scratch    []float32 // states, where the caller wants none
}

// attentionWork is one worker's scratch, kept between calls.
type attentionWork struct {
	k, u, p, l, d                 []float32
	g, c, beta, scale, rowO, rowU []float32
	ones, zeros                   []float32
	product                       tile.Product
	solve                         tile.Solve
	pack                          tile.Pack
	decay                         tile.Decay
	exp                           tile.Exp
}

// maxCallFlops bounds one primitive call to well under 100 µs on a slow core, since assembly cannot be preempted.
const maxCallFlops = 3 << 20

func newAttention(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *attention {
	s := p.Shape
	a := &attention{
		prim: prim, delta: p.Op == tile.DeltaRule,
		chunk: cfg["chunk"], panel: min(cfg["panel"], s.Dv), headOuter: cfg["order"] == 1,
	}
	a.nn, a.nt, a.tn = productTiles(prim, cfg)
	a.chunk = max(1, min(a.chunk, s.T))
	a.panel = callPanel(a.panel, a.chunk, s.Dk)
	a.ld = roundUp(a.chunk, cacheLine/4)
	a.heads = s.Hkv
	a.split, a.units, a.workers = planUnits(p, tokenFlops(s), max(1, s.Dv/cfg["nr"]))
	a.factor = make([]float32, s.Hkv)
	width := roundUp((s.Dv+a.split-1)/a.split, cacheLine/4)
	for range a.workers {
		a.work = append(a.work, newAttentionWork(a.chunk, a.ld, s.Dk, min(width, roundUp(s.Dv, cacheLine/4)), a.delta))
	}
	return a
}

func newAttentionWork(chunk, ld, dk, width int, delta bool) *attentionWork {
	w := &attentionWork{
		k: aligned(chunk * dk), u: aligned(chunk * width), p: aligned(chunk * ld), d: aligned(chunk * ld),
		g: aligned(chunk), c: aligned(chunk), beta: aligned(chunk), scale: aligned(chunk),
		rowO: aligned(chunk), rowU: aligned(chunk), ones: aligned(chunk), zeros: aligned(dk),
	}
	if delta {
		w.l = aligned(chunk * ld)
	}
	for i := range w.ones {
		// c too: tables that only count or record leave it as it is, and must see a decay that is not 0.
		w.ones[i], w.c[i] = 1, 1
	}
	return w
}

// callPanel narrows a panel until one product call of it is short enough.
func callPanel(panel, rows, depth int) int {
	const step = cacheLine / 4
	for panel > step && 2*rows*depth*panel > maxCallFlops {
		panel = roundUp(panel/2, step)
	}
	return panel
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// set points the call at checked arguments of its problem.
func (a *attention) set(args attentionArgs) {
	a.attentionArgs = args
	args.fixedFactors(a.factor)
	a.state = stateOr(args.state, &a.scratch, args.problem.Shape)
	for _, w := range a.work {
		for i := range w.scale {
			w.scale[i] = a.scale
		}
	}
}

// release drops the caller's arrays.
func (a *attention) release() { a.attentionArgs = attentionArgs{} }

func (a *attention) parts() int { return a.workers }

// part walks one worker's share of the units.
func (a *attention) part(i int) {
	w, s := a.work[i], a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv*a.split, func(first, last int) { a.walk(w, first, last) })
}

func (a *attention) walk(w *attentionWork, first, last int) {
	for u := first; u < last; u++ {
		a.initState(w, u)
	}
	a.eachStep(a.unit(first).b, first, last, a.chunk, a.headOuter, func(u, t, n int) { a.step(w, u, t, n) })
}

// unit is a state head and a range of its value columns.
type unit struct {
	b, h   int
	j0, j1 int
	state  []float32 // S from column j0
}

func (a *attention) unit(u int) unit {
	s := a.problem.Shape
	head, j0, j1 := columnUnit(s, a.split, u)
	return unit{b: head / s.Hkv, h: head % s.Hkv, j0: j0, j1: j1, state: a.state[head*s.Dk*s.Dv+j0 : (head+1)*s.Dk*s.Dv]}
}

func (a *attention) initState(w *attentionWork, ui int) {
	s, u := a.problem.Shape, a.unit(ui)
	if a.past == nil {
		for i := range s.Dk {
			clear(u.state[i*s.Dv:][:u.j1-u.j0])
		}
		return
	}
	if same(a.past, a.state) {
		return
	}
	past := a.past[(u.b*s.Hkv+u.h)*s.Dk*s.Dv+u.j0:]
	for i := range s.Dk {
		copy(u.state[i*s.Dv:][:u.j1-u.j0], past[i*s.Dv:])
	}
}

// step takes one chunk, again token by token if it held anything non-finite.
func (a *attention) step(w *attentionWork, ui, t, n int) {
	u := a.unit(ui)
	whole := a.block(w, u, t, n, n == 1)
	for i := 0; i < n && !whole; i++ {
		a.block(w, u, t+i, 1, true)
	}
	if a.statistics != nil && u.j0 == 0 {
		a.statistics.Tokens.Add(int64(n))
		if !whole {
			a.statistics.Single.Add(int64(n))
		}
	}
	if place, ok := a.kept(u.b, a.problem.Shape.B, t+n); ok {
		s := a.problem.Shape
		for i := range s.Dk {
			copy(a.keptStates[(place*s.Hkv+u.h)*s.Dk*s.Dv+i*s.Dv+u.j0:][:u.j1-u.j0], u.state[i*s.Dv:])
		}
	}
}

// block takes n tokens from token t. Unless forced it returns false, with the state untouched, if it meets a non-finite number.
func (a *attention) block(w *attentionWork, u unit, t, n int, forced bool) bool {
	s := a.problem.Shape
	row, _ := a.span(u.b)
	row += t
	width := u.j1 - u.j0
	ldk, ldv, ldq, ldo := a.keyHeads*s.Dk, s.Hkv*s.Dv, s.Hq*s.Dk, a.outputHeads()*s.Dv

	finite := a.gates(w, u, row, n)
	finite = a.copyBlock(w, w.k, s.Dk, a.key[row*ldk+a.keyHead(u.h)*s.Dk:], ldk, nil, n, s.Dk) && finite
	var beta []float32
	if a.delta {
		beta = w.beta
	}
	finite = a.copyBlock(w, w.u, width, a.value[row*ldv+u.h*s.Dv+u.j0:], ldv, beta, n, width) && finite
	if !finite && !forced {
		return false
	}
	mask := w.d
	if a.problem.Decay == tile.DecayNone {
		mask = nil
	}
	if a.delta {
		a.lower(w, w.l, w.k, s.Dk, mask, w.beta, n, 1)
		a.panels(width, func(j, cols int) {
			w.product = tile.Product{A: w.k, B: u.state[j:], C: w.u[j:], Row: w.rowU, LDA: s.Dk, LDB: s.Dv, LDC: width, M: n, N: cols, K: s.Dk, Beta: 1}
			a.nn(&w.product)
			w.solve = tile.Solve{L: w.l, X: w.u[j:], LDL: a.ld, LDX: width, N: n, W: cols}
			a.prim.Solve(&w.solve)
		})
	}
	first, group := a.queryHeads(u.h)
	for g := range group {
		query := a.query[row*ldq+(first+g)*s.Dk:]
		output := a.output[row*ldo+(u.h*group+g)*s.Dv+u.j0:]
		a.lower(w, w.p, query, ldq, mask, w.scale, n, 0)
		a.panels(width, func(j, cols int) {
			w.product = tile.Product{A: query, B: u.state[j:], C: output[j:], Row: w.rowO, LDA: ldq, LDB: s.Dv, LDC: ldo, M: n, N: cols, K: s.Dk}
			a.nn(&w.product)
			w.product = tile.Product{A: w.p, B: w.u[j:], C: output[j:], LDA: a.ld, LDB: width, LDC: ldo, M: n, N: cols, K: n, Beta: 1, Lower: true}
			a.nn(&w.product)
		})
	}
	if a.delta || mask != nil {
		var last []float32
		if mask != nil {
			last = w.d[(n-1)*a.ld:]
		}
		// U grows with a badly conditioned triangle: its overflow counts as non-finite too.
		if !a.copyBlock(w, w.u, width, w.u, width, last, n, width) && !forced {
			return false
		}
	}
	a.update(w, u, n, width)
	return true
}

// gates fills the decay factors and products, beta and the row scales, and says whether they are finite.
func (a *attention) gates(w *attentionWork, u unit, row, n int) bool {
	sum := float32(0) // stays 0 unless something is non-finite
	a.decayFactors(a.prim, &w.exp, w.g, a.factor, row, u.h, n)
	c := w.ones
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
	if a.delta {
		heads := a.betaHeads
		for i := range n {
			b := a.beta[(row+i)*heads+u.h%heads]
			w.beta[i], w.rowU[i] = b, -b*c[i]
			sum += b * 0
		}
	}
	return sum == 0
}

// copyBlock is copyRows with a worker's arguments.
func (a *attention) copyBlock(w *attentionWork, dst []float32, ldd int, src []float32, lds int, row []float32, n, width int) bool {
	return copyRows(a.prim, &w.pack, dst, ldd, src, lds, row, n, width)
}

// lower computes dst = diag(row) (mask . X Kᵀ) over the lower triangle.
func (a *attention) lower(w *attentionWork, dst, x []float32, ldx int, mask, row []float32, n, strict int) {
	dk := a.problem.Shape.Dk
	w.product = tile.Product{A: x, B: w.k, C: dst, Row: row, Mask: mask, LDA: ldx, LDB: dk, LDC: a.ld, LDM: a.ld, M: n, N: n, K: dk, Lower: true, Strict: strict}
	a.nt(&w.product)
}

func (a *attention) update(w *attentionWork, u unit, n, width int) {
	s := a.problem.Shape
	decay := float32(1)
	if a.problem.Decay != tile.DecayNone {
		decay = w.c[n-1]
	}
	rows := max(1, maxCallFlops/(2*n*a.panel))
	a.panels(width, func(j, cols int) {
		if decay == 0 {
			// Beta = 0 would not read S, and 0*Inf is NaN.
			a.copyBlock(w, u.state[j:], s.Dv, u.state[j:], s.Dv, w.zeros, s.Dk, cols)
		}
		for i := 0; i < s.Dk; i += rows {
			w.product = tile.Product{A: w.k[i:], B: w.u[j:], C: u.state[i*s.Dv+j:], LDA: s.Dk, LDB: width, LDC: s.Dv, M: min(rows, s.Dk-i), N: cols, K: n, Beta: decay}
			if decay == 0 {
				w.product.Beta = 1
			}
			a.tn(&w.product)
		}
	})
}

// panels calls f for each panel of columns.
func (a *attention) panels(width int, f func(j, cols int)) {
	for j := 0; j < width; j += a.panel {
		f(j, min(a.panel, width-j))
	}
}

func (a *attention) share() (units, perBatch, workers, chunk int, headOuter bool) {
	return (a.units + a.workers - 1) / a.workers, a.heads * a.split, a.workers, a.chunk, a.headOuter
}

func (a *attention) walkSteps(units int, trip func()) {
	tokens := a.problem.Shape.T
	for t := 0; t < tokens; t += a.chunk {
		for u := range units {
			a.step(a.work[0], u, t, min(a.chunk, tokens-t))
		}
		trip()
	}
}

func (a *attention) scratchBuffers() map[string][]float32 {
	w := a.work[0]
	return map[string][]float32{
		"k": w.k, "u": w.u, "p": w.p, "l": w.l, "d": w.d, "g": w.g, "c": w.c, "beta chunk": w.beta,
		"scale": w.scale, "row o": w.rowO, "row u": w.rowU, "ones": w.ones, "zeros": w.zeros,
	}
}
