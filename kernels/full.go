package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// full is a prepared call of linear attention that is not causal: every token reads the state of all tokens. The first
// pass adds up S += Kᵀ V chunk by chunk, the second multiplies O = scale Q S.
type full struct {
	attentionArgs
	prim           *tile.Primitives
	nn, tn         func(*tile.Product)
	chunk, panel   int
	headOuter      bool
	heads          int // Hkv
	split          int // units that a state head's value columns are cut into
	units, workers int
	work           []*fullWork
	scratch, norms []float32 // states of a caller who wants none; sums of keys
}

type fullWork struct {
	q, k, den, scale, ones []float32
	product                tile.Product
	mapping                mapping
}

func newFull(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *full {
	s := p.Shape
	nn, _, tn := productTiles(prim, cfg)
	a := &full{prim: prim, heads: s.Hkv, nn: nn, tn: tn, chunk: max(1, min(cfg["chunk"], s.T)), headOuter: cfg["order"] == 1}
	a.panel = callPanel(min(cfg["panel"], s.Dv), a.chunk, s.Dk)
	a.split, a.units, a.workers = planUnits(p, tokenFlops(s), max(1, s.Dv/cfg["nr"]))
	for range a.workers {
		w := &fullWork{q: aligned(a.chunk * s.Dk), k: aligned(a.chunk * s.Dk), den: aligned(a.chunk), scale: aligned(a.chunk), ones: aligned(a.chunk)}
		for i := range w.ones {
			w.ones[i] = 1
		}
		a.work = append(a.work, w)
	}
	a.norms = aligned(a.units * s.Dk)
	return a
}

func (a *full) set(args attentionArgs) {
	a.attentionArgs = args
	a.state = stateOr(args.state, &a.scratch, args.problem.Shape)
}

func (a *full) release() { a.attentionArgs = attentionArgs{} }

func (a *full) parts() int { return a.workers }

func (a *full) part(i int) {
	w, s := a.work[i], a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv*a.split, func(first, last int) { a.walk(w, first, last) })
}

func (a *full) walk(w *fullWork, first, last int) {
	for i := range w.scale {
		w.scale[i] = a.scale
	}
	for u := first; u < last; u++ {
		a.begin(u)
	}
	b := a.unit(first).b
	a.eachStep(b, first, last, a.chunk, a.headOuter, func(u, t, n int) { a.add(w, u, t, n) })
	a.eachStep(b, first, last, a.chunk, a.headOuter, func(u, t, n int) { a.read(w, u, t, n) })
	for i := first; i < last; i++ {
		if u, s := a.unit(i), a.problem.Shape; u.j0 == 0 && len(a.norm) > 0 {
			copy(a.norm[(u.b*s.Hkv+u.h)*s.Dk:][:s.Dk], u.norm)
		}
	}
}

// fullUnit is a state head and a range of its value columns.
type fullUnit struct {
	b, h, j0, j1 int
	state, norm  []float32
}

func (a *full) unit(u int) fullUnit {
	s := a.problem.Shape
	head, j0, j1 := columnUnit(s, a.split, u)
	return fullUnit{head / s.Hkv, head % s.Hkv, j0, j1, a.state[head*s.Dk*s.Dv+j0 : (head+1)*s.Dk*s.Dv], a.norms[u*s.Dk : (u+1)*s.Dk]}
}

// begin sets a unit's state and sum of keys to the past ones.
func (a *full) begin(ui int) {
	s, u := a.problem.Shape, a.unit(ui)
	head := u.b*s.Hkv + u.h
	for i := range s.Dk {
		row := u.state[i*s.Dv:][:u.j1-u.j0]
		switch {
		case a.past == nil:
			clear(row)
		case !same(a.past, a.state):
			copy(row, a.past[(head*s.Dk+i)*s.Dv+u.j0:])
		}
	}
	clear(u.norm)
	if len(a.pastNorm) > 0 {
		copy(u.norm, a.pastNorm[head*s.Dk:])
	}
}

// add adds a chunk of tokens to a unit's state and sum of keys.
func (a *full) add(w *fullWork, ui, t, n int) {
	s, u := a.problem.Shape, a.unit(ui)
	row, _ := a.span(u.b)
	ldk, ldv := a.keyHeads*s.Dk, s.Hkv*s.Dv
	key, lk := a.features(w, w.k, a.key[(row+t)*ldk+a.keyHead(u.h)*s.Dk:], ldk, n)
	rows := max(1, maxCallFlops/(2*n*a.panel))
	for i := 0; i < s.Dk; i += rows {
		m := min(rows, s.Dk-i)
		for j := u.j0; j < u.j1; j += a.panel {
			w.product = tile.Product{A: key[i:], B: a.value[(row+t)*ldv+u.h*s.Dv+j:], C: u.state[i*s.Dv+j-u.j0:], LDA: lk, LDB: ldv, LDC: s.Dv,
				M: m, N: min(a.panel, u.j1-j), K: n, Beta: 1}
			a.tn(&w.product)
		}
		if a.normalize {
			w.product = tile.Product{A: key[i:], B: w.ones, C: u.norm[i:], LDA: lk, LDB: 1, LDC: 1, M: m, N: 1, K: n, Beta: 1}
			a.tn(&w.product)
		}
	}
}

// read writes the output of a chunk of tokens.
func (a *full) read(w *fullWork, ui, t, n int) {
	s, u := a.problem.Shape, a.unit(ui)
	row, _ := a.span(u.b)
	first, group := a.queryHeads(u.h)
	ldq, ldo := s.Hq*s.Dk, a.outputHeads()*s.Dv
	for g := range group {
		query, lq := a.features(w, w.q, a.query[(row+t)*ldq+(first+g)*s.Dk:], ldq, n)
		scale := w.scale
		if a.normalize {
			w.product = tile.Product{A: query, B: u.norm, C: w.den, LDA: lq, LDB: 1, LDC: 1, M: n, N: 1, K: s.Dk}
			a.nn(&w.product)
			for i := range n {
				w.den[i] = a.scale / (a.scale*w.den[i] + a.normEps)
			}
			scale = w.den
		}
		for j := u.j0; j < u.j1; j += a.panel {
			w.product = tile.Product{A: query, B: u.state[j-u.j0:], C: a.output[(row+t)*ldo+(u.h*group+g)*s.Dv+j:], Row: scale,
				LDA: lq, LDB: s.Dv, LDC: ldo, M: n, N: min(a.panel, u.j1-j), K: s.Dk}
			a.nn(&w.product)
		}
	}
}

// features gives the feature map of n rows, written to dst, or the rows themselves where there is none.
func (a *full) features(w *fullWork, dst, src []float32, lds, n int) ([]float32, int) {
	if a.featureMap == tile.MapNone {
		return src, lds
	}
	dk := a.problem.Shape.Dk
	mapRows(a.prim, a.featureMap, a.mapEps, &w.mapping, dst, dk, src, lds, n, dk)
	return dst, dk
}

func (a *full) share() (units, perBatch, workers, chunk int, headOuter bool) {
	return (a.units + a.workers - 1) / a.workers, a.heads * a.split, a.workers, a.chunk, a.headOuter
}

// walkSteps takes both passes in each trip, as the simulator repeats a trip: the first pass does not leave the chunk in reach of
// the second then, but what each reads and writes is the same.
func (a *full) walkSteps(units int, trip func()) {
	w := a.work[0]
	for t := 0; t < a.problem.Shape.T; t += a.chunk {
		for _, step := range []func(*fullWork, int, int, int){a.add, a.read} {
			for u := range units {
				step(w, u, t, min(a.chunk, a.problem.Shape.T-t))
			}
		}
		trip()
	}
}

func (a *full) scratchBuffers() map[string][]float32 {
	w := a.work[0]
	return map[string][]float32{"q": w.q, "k": w.k, "den": w.den, "scale": w.scale, "ones": w.ones, "norms": a.norms, "map factor": w.mapping.factor[:]}
}
