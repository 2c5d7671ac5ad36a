package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// fullBackward is a prepared backward call of linear attention that is not causal. With S the state of all tokens, the passes over a
// head's chunks are
//
//	S = past + Kᵀ V
//	dQ = scale dO Sᵀ;  R = dS + scale Qᵀ dO      each query head
//	dK = V Rᵀ;  dV = K R
//
// and dPast = R. Both states are transposed once, so that all products are plain. The options are those of backward_options.go.
type fullBackward struct {
	attentionArgs
	prim           *tile.Primitives
	nn, tn         func(*tile.Product)
	chunk          int
	keyPanel       int // key columns of one product call
	valPanel       int // value columns likewise
	group          int // query heads of a state head
	units, workers int
	work           []*fullBackwardWork
	quotients      quotients
	shared         sharedGradients
}

type fullBackwardWork struct {
	state, turned          []float32 // S, then R; Sᵀ, then Rᵀ
	sum                    []float32 // Qᵀ dO
	norm, normSum          []float32 // of the normaliser
	q, k, out, scale, ones []float32
	product                tile.Product
	pack                   tile.Pack
	turn                   tile.Turn
	mapping                mapping
	rows                   rowWork
}

func newFullBackward(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *fullBackward {
	s := p.Shape
	a := &fullBackward{prim: prim, chunk: max(1, min(cfg["chunk"], s.T)), group: max(1, s.Hq/s.Hkv), units: s.B * s.Hkv}
	a.problem = p
	a.nn, _, a.tn = productTiles(prim, cfg)
	depth := max(s.Dk, s.Dv)
	a.keyPanel, a.valPanel = callPanel(min(cfg["panel"], s.Dk), a.chunk, depth), callPanel(min(cfg["panel"], s.Dv), a.chunk, depth)
	_, _, a.workers = planUnits(p, float64(4*max(s.Hq, s.Hkv)+6*s.Hkv)*float64(s.Dk)*float64(s.Dv), 1)
	for range a.workers {
		w := &fullBackwardWork{
			state: aligned(s.Dk * s.Dv), turned: aligned(s.Dk * s.Dv), sum: aligned(s.Dk * s.Dv),
			scale: aligned(a.chunk), ones: aligned(a.chunk), rows: newRowWork(a.chunk),
		}
		for i := range w.ones {
			w.ones[i] = 1
		}
		if p.FeatureMap != tile.MapNone {
			w.q, w.k = aligned(a.chunk*s.Dk), aligned(a.chunk*s.Dk)
		}
		if p.Normalize {
			w.norm, w.normSum, w.out = aligned(s.Dk), aligned(s.Dk), aligned(a.chunk*s.Dv)
		}
		a.work = append(a.work, w)
	}
	return a
}

func (a *fullBackward) set(args attentionArgs) {
	a.attentionArgs = args
	for _, w := range a.work {
		for i := range w.scale {
			w.scale[i] = a.scale
		}
	}
	if a.normalize {
		a.quotients.grow(a.rowsOf(a.problem.Shape.B), a.outputHeads())
	}
	a.shared.begin(a.prim, &a.attentionArgs, a.workers)
}

// args are the caller's arguments.
func (a *fullBackward) args() attentionArgs { return a.shared.callers(a.attentionArgs) }

// release drops the caller's arrays.
func (a *fullBackward) release() {
	a.attentionArgs = attentionArgs{problem: a.problem}
	a.shared.release()
	for _, w := range a.work {
		w.product, w.pack, w.mapping = tile.Product{}, tile.Pack{}, mapping{}
		w.rows.release()
	}
}

func (a *fullBackward) parts() int { return a.workers }

// after adds up the gradients of what heads share.
func (a *fullBackward) after() parallel { return &a.shared }

// part walks one worker's share of the state heads.
func (a *fullBackward) part(i int) {
	s := a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv, func(first, last int) {
		for u := first; u < last; u++ {
			a.head(a.work[i], u)
		}
	})
}

// fullChunk is n tokens of a state head from a row on.
type fullChunk struct{ h, row, n int }

// eachChunk calls f with each chunk of a state head's tokens.
func (a *fullBackward) eachChunk(u int, f func(c fullChunk)) {
	hkv := a.problem.Shape.Hkv
	row, tokens := a.span(u / hkv)
	for t := 0; t < tokens; t += a.chunk {
		f(fullChunk{u % hkv, row + t, min(a.chunk, tokens-t)})
	}
}

// head takes the three passes over a state head's tokens.
func (a *fullBackward) head(w *fullBackwardWork, u int) {
	a.begin(w, u)
	a.eachChunk(u, func(c fullChunk) { a.add(w, c) })
	a.turn(w)
	a.eachChunk(u, func(c fullChunk) { a.queries(w, c) })
	a.turnBack(w, u)
	a.eachChunk(u, func(c fullChunk) { a.keysAndValues(w, c) })
	if a.gradPast != nil {
		copy(a.gradPast[u*len(w.state):], w.state)
	}
	if a.gradPastNorm != nil {
		copy(a.gradPastNorm[u*len(w.norm):], w.norm)
	}
}

// begin sets S and the sum of keys to the past ones.
func (a *fullBackward) begin(w *fullBackwardWork, u int) {
	for _, x := range []struct{ to, past []float32 }{{w.state, a.past}, {w.norm, a.pastNorm}} {
		clear(x.to)
		if x.past != nil {
			copy(x.to, x.past[u*len(x.to):])
		}
	}
}

// features gives n rows of a head, or their feature map in dst.
func (a *fullBackward) features(w *fullBackwardWork, dst, array []float32, row, heads, head, n int) operand {
	dk := a.problem.Shape.Dk
	o := operand{array[(row*heads+head)*dk:], heads * dk}
	if a.featureMap == tile.MapNone {
		return o
	}
	mapRows(a.prim, a.featureMap, a.mapEps, &w.mapping, dst, dk, o.rows, o.ld, n, dk)
	return operand{dst, dk}
}

// addProduct adds Aᵀ B over n rows to a matrix of dk rows of some columns.
func (a *fullBackward) addProduct(w *fullBackwardWork, to []float32, x, y operand, n, columns int) {
	dk := a.problem.Shape.Dk
	panel := min(a.valPanel, columns)
	rows := max(1, maxCallFlops/(2*n*panel))
	for i := 0; i < dk; i += rows {
		for j := 0; j < columns; j += panel {
			w.product = tile.Product{A: x.rows[i:], B: y.rows[j:], C: to[i*columns+j:], LDA: x.ld, LDB: y.ld, LDC: columns,
				M: min(rows, dk-i), N: min(panel, columns-j), K: n, Beta: 1}
			a.tn(&w.product)
		}
	}
}

// multiply writes the product of n rows with a matrix, scaled by rows.
func (a *fullBackward) multiply(w *fullBackwardWork, to, x operand, matrix, scale []float32, n, depth, columns, panel int) {
	for j := 0; j < columns; j += panel {
		w.product = tile.Product{A: x.rows, B: matrix[j:], C: to.rows[j:], Row: scale, LDA: x.ld, LDB: columns, LDC: to.ld,
			M: n, N: min(panel, columns-j), K: depth}
		a.nn(&w.product)
	}
}

// add adds a chunk of tokens to S and the sum of keys.
func (a *fullBackward) add(w *fullBackwardWork, c fullChunk) {
	s := a.problem.Shape
	key := a.features(w, w.k, a.key, c.row, a.keyHeads, a.keyHead(c.h), c.n)
	a.addProduct(w, w.state, key, operand{a.value[(c.row*s.Hkv+c.h)*s.Dv:], s.Hkv * s.Dv}, c.n, s.Dv)
	if a.normalize {
		a.addProduct(w, w.norm, key, operand{w.ones, 1}, c.n, 1)
	}
}

// turn transposes S, and scales the sum of keys.
func (a *fullBackward) turn(w *fullBackwardWork) {
	s := a.problem.Shape
	transpose(a.prim, &w.turn, w.turned, s.Dk, w.state, s.Dv, nil, s.Dk, s.Dv)
	if a.normalize {
		copyRows(a.prim, &w.pack, w.norm, s.Dk, w.norm, s.Dk, w.scale, 1, s.Dk)
	}
	clear(w.sum)
	clear(w.normSum)
}

// queries finds the gradients of a chunk's queries, and adds what it gives R.
func (a *fullBackward) queries(w *fullBackwardWork, c fullChunk) {
	s, heads := a.problem.Shape, a.outputHeads()
	first, group := a.queryHeads(c.h)
	for g := range group {
		head := c.h*group + g
		query := a.features(w, w.q, a.query, c.row, s.Hq, first+g, c.n)
		out := operand{a.gradOutput[(c.row*heads+head)*s.Dv:], heads * s.Dv}
		grad := operand{a.gradQuery[(c.row*heads+head)*s.Dk:], heads * s.Dk}
		a.multiply(w, grad, out, w.turned, w.scale, c.n, s.Dv, s.Dk, a.keyPanel)
		if a.normalize {
			a.quotients.divide(a.prim, &w.rows, head, c.row, c.n, s.Dk, a.normEps, query, grad, operand{w.norm, 0})
			inverse, divisor := a.quotients.of(head, c.row)
			copyRows(a.prim, &w.pack, w.out, s.Dv, out.rows, out.ld, inverse, c.n, s.Dv)
			a.addProduct(w, w.normSum, query, operand{divisor, 1}, c.n, 1)
			out = operand{w.out, s.Dv}
		}
		a.addProduct(w, w.sum, query, out, c.n, s.Dv)
		if a.featureMap != tile.MapNone {
			raw := operand{a.query[(c.row*s.Hq+first+g)*s.Dk:], s.Hq * s.Dk}
			mapGradients(a.prim, &w.rows, a.featureMap, a.mapEps, raw, query, grad, c.n, s.Dk)
		}
	}
}

// turnBack makes R of the present state's gradient and the sum over queries, and transposes it; the normaliser's likewise.
func (a *fullBackward) turnBack(w *fullBackwardWork, u int) {
	s := a.problem.Shape
	for _, x := range []struct{ to, sum, from []float32 }{{w.state, w.sum, a.gradState}, {w.norm, w.normSum, a.gradNorm}} {
		clear(x.to)
		if x.from != nil {
			copy(x.to, x.from[u*len(x.to):])
		}
		const part = maxCallFlops / 4
		for at := 0; at < len(x.sum); at += part {
			w.rows.add(a.prim, operand{x.to[at:], 0}, nil, operand{x.sum[at:], 0}, w.scale, 1, min(part, len(x.sum)-at))
		}
	}
	transpose(a.prim, &w.turn, w.turned, s.Dk, w.state, s.Dv, nil, s.Dk, s.Dv)
}

// keysAndValues finds the gradients of a chunk's keys and values.
func (a *fullBackward) keysAndValues(w *fullBackwardWork, c fullChunk) {
	s := a.problem.Shape
	key := a.features(w, w.k, a.key, c.row, a.keyHeads, a.keyHead(c.h), c.n)
	value := operand{a.value[(c.row*s.Hkv+c.h)*s.Dv:], s.Hkv * s.Dv}
	grad := operand{a.gradKey[(c.row*s.Hkv+c.h)*s.Dk:], s.Hkv * s.Dk}
	a.multiply(w, grad, value, w.turned, nil, c.n, s.Dv, s.Dk, a.keyPanel)
	a.multiply(w, operand{a.gradValue[(c.row*s.Hkv+c.h)*s.Dv:], s.Hkv * s.Dv}, key, w.state, nil, c.n, s.Dk, s.Dv, a.valPanel)
	if !a.altered() {
		return
	}
	raw := operand{a.key[(c.row*a.keyHeads+a.keyHead(c.h))*s.Dk:], a.keyHeads * s.Dk}
	if a.normalize {
		w.rows.add(a.prim, grad, nil, operand{w.norm, 0}, nil, c.n, s.Dk)
	}
	if a.featureMap != tile.MapNone {
		mapGradients(a.prim, &w.rows, a.featureMap, a.mapEps, raw, key, grad, c.n, s.Dk)
	}
}

func (a *fullBackward) share() (units, perBatch, workers, chunk int, headOuter bool) {
	return (a.units + a.workers - 1) / a.workers, a.problem.Shape.Hkv, a.workers, a.chunk, true
}

// walkSteps takes all passes over a chunk in one trip, where a call takes all chunks in each pass.
func (a *fullBackward) walkSteps(units int, trip func()) {
	w := a.work[0]
	for t := 0; t < a.problem.Shape.T; t += a.chunk {
		for u := range units {
			c := fullChunk{u, t, min(a.chunk, a.problem.Shape.T-t)}
			a.add(w, c)
			a.queries(w, c)
			a.keysAndValues(w, c)
		}
		trip()
	}
}

func (a *fullBackward) scratchBuffers() map[string][]float32 {
	w := a.work[0]
	return map[string][]float32{
		"state": w.state, "turned": w.turned, "sum": w.sum, "norm": w.norm, "norm sum": w.normSum, "q": w.q, "k": w.k, "out": w.out,
		"scale": w.scale, "ones": w.ones, "row x": w.rows.x, "row y": w.rows.y, "inverse": a.quotients.inverse, "divisor": a.quotients.divisor, "map factor": w.mapping.factor[:],
		"own query gradients": a.shared.ownQuery, "own key gradients": a.shared.ownKey,
	}
}
