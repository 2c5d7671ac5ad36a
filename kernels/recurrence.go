package kernels

import (
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// recurrence is a prepared call of linear-attention or delta-rule in its register-blocked form: a few tokens at a time sweep
// a panel of state columns, which is read and written once for all of them. It executes the useful flops and little
// else (delta.go has what the delta rules have besides). Tokens go chunk by chunk: the chunk's queries and keys are copied side by side, since rows of
// memory that lie a power of two apart share few sets of the first level, then each panel walks the chunk.
//
// The states are kept as panels [column/cols][dk][cols] while a call walks many tokens, the last of as many columns as are left.
type recurrence struct {
	attentionArgs
	prim            *tile.Primitives
	run             func(*tile.Delta) // takes its Recur alone where there is no delta rule
	delta           bool
	block, cols     int // tokens and columns of a sweep
	chunk           int
	copies          int // 1: of keys, 2: of queries too
	stream          bool
	ahead           int // see upcoming.go
	headOuter       bool
	group           int // query heads of a state head
	callTokens      int // of one primitive call
	panels          int // of a state head
	split           int // units that a state head's panels are cut into
	units, workers  int
	inPlace         bool              // the states stay where the caller has them
	steps           func(*tile.Steps) // of several states together, or nil
	work            []*recurrenceWork
	factor          []float32 // exp(headDecay)
	states, scratch []float32 // panels; states of a caller who wants none
	stateSize       int       // of a state head's panels
	norms           []float32 // sums of keys of each unit
}

// recurrenceWork is one worker's scratch, kept between calls.
type recurrenceWork struct {
	q, k, g, decay, rowV, rowO []float32
	scale                      []float32 // rowO without decay per head
	den, ones                  []float32 // of the normaliser
	mapped                     []float32 // features of a chunk's queries, then keys
	mapping                    mapping
	decode                     decodeWork
	activation                 activation
	room                       []float32 // of gates that are computed
	wide, v, o                 []float32 // a chunk's 16-bit queries and keys as float32; its values and outputs
	convert                    converter
	factors, d                 []float32 // per key, of a chunk, and those of its blocks
	fold                       tile.Fold
	delta                      deltaWork
	call                       tile.Delta
	pack                       tile.Pack
	rows                       rowWork
	exp                        tile.Exp
}

// decodeTokens is how many tokens a call may have for its states to be updated where they are.
const decodeTokens = 8

func newRecurrence(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *recurrence {
	s := p.Shape
	a := &recurrence{
		prim: prim, delta: p.Op == tile.DeltaRule, cols: cfg["cols"],
		copies: cfg["copy"], stream: cfg["stream"] == 1, ahead: cfg["ahead"], headOuter: cfg["order"] == 1,
		group: max(1, s.Hq/s.Hkv), inPlace: s.T <= decodeTokens && p.StateDType == "", panels: (s.Dv + cfg["cols"] - 1) / cfg["cols"],
	}
	reads := a.group
	if a.delta {
		kernel, _ := tile.FindBlock(prim.Delta, cfg["block"], cfg["cols"])
		a.run, a.block = kernel.Run, kernel.Block(a.group)
		reads++
	} else {
		kernel, _ := tile.FindBlock(prim.Recur, cfg["block"], cfg["cols"])
		a.run, a.block = func(c *tile.Delta) { kernel.Run(&c.Recur) }, kernel.Block(a.group)
	}
	a.chunk = min(max(a.block, cfg["chunk"]/a.block*a.block), max(1, s.T))
	if a.inPlace { // the state's rows are whole, so a decode step reads them in one go
		a.cols = max(a.cols, min(s.Dv, maxCallFlops/(2*(1+reads)*s.Dk)/a.cols*a.cols))
		a.panels = (s.Dv + a.cols - 1) / a.cols
	}
	a.callTokens = max(1, maxCallFlops/(2*(1+reads)*s.Dk*a.cols)/a.block) * a.block
	a.split, a.units, a.workers = planUnits(p, tokenFlops(s), a.panels)
	a.factor = make([]float32, s.Hkv)
	a.steps = a.stepKernel(s)
	for range a.workers {
		w := &recurrenceWork{
			g: aligned(a.chunk), decay: aligned(a.chunk), rowV: aligned(a.chunk), rowO: aligned(a.chunk * a.group), scale: aligned(a.chunk * a.group),
		}
		if p.Decay == tile.DecayKey {
			w.factors, w.d = aligned(a.chunk*s.Dk), aligned(a.chunk*s.Dk)
		}
		if a.copies > 0 || p.Decay == tile.DecayKey || p.Gates != "" {
			w.q, w.k = aligned(a.chunk*a.group*s.Dk), aligned(a.chunk*s.Dk)
		}
		if a.delta {
			w.delta = newDeltaWork(p, a.chunk, a.block, a.group)
		}
		w.convert.prim = prim
		if s.T == 1 {
			a.newDecodeWork(w, p)
		}
		if p.DType != tile.Float32 {
			w.wide, w.v, w.o = aligned(a.chunk*(a.group+1)*s.Dk), aligned(a.chunk*s.Dv), aligned(a.chunk*a.group*s.Dv)
		}
		if p.Gates != "" && w.v == nil {
			w.v = aligned(a.chunk * s.Dv)
		}
		if tile.FrontHas(p.Front, tile.FrontSiLU) {
			w.activation = activation{value: aligned(a.chunk * s.Dv), ones: slices.Repeat([]float32{1}, a.chunk)}
		}
		if tile.FrontHas(p.Front, tile.FrontGates) {
			w.room = aligned(max(a.chunk, s.Dk))
		}
		if p.FeatureMap != tile.MapNone || w.activation.ones != nil {
			w.mapped = aligned(a.chunk * (a.group + 1) * s.Dk)
		}
		if p.Normalize {
			w.den, w.ones = aligned(a.chunk*a.group*normColumns), aligned(a.chunk*normColumns)
			for i := range w.ones {
				w.ones[i] = 1
			}
		}
		a.work = append(a.work, w)
	}
	if p.Normalize {
		a.norms = aligned(a.units * s.Dk * normColumns)
	}
	if !a.inPlace {
		a.stateSize = s.Dk * paddedColumns(s.Dv, a.cols)
		a.states = aligned(s.B * s.Hkv * a.stateSize)
	}
	return a
}

// set points the call at checked arguments of its problem.
func (a *recurrence) set(args attentionArgs) {
	a.attentionArgs = args
	args.fixedFactors(a.factor)
	if a.inPlace {
		a.state = stateOr(args.state, &a.scratch, args.problem.Shape)
	}
	for _, w := range a.work {
		for i := range w.scale {
			w.scale[i] = a.scale
		}
	}
}

// release drops the caller's arrays.
func (a *recurrence) release() {
	a.attentionArgs = attentionArgs{}
	for _, w := range a.work {
		w.call, w.decode.call, w.pack, w.exp, w.fold = tile.Delta{}, tile.Steps{}, tile.Pack{}, tile.Exp{}, tile.Fold{}
		w.mapping, w.activation.conv = mapping{}, tile.Conv{}
		w.rows.release()
		w.convert.release()
	}
}

func (a *recurrence) parts() int { return a.workers }

// part walks one worker's share of the units.
func (a *recurrence) part(i int) {
	w, s := a.work[i], a.problem.Shape
	a.eachItem(i, a.workers, s.B, s.Hkv*a.split, func(first, last int) { a.walk(w, first, last) })
}

func (a *recurrence) walk(w *recurrenceWork, first, last int) {
	w.delta.rows = deltaRows{}
	if a.normalize || !a.inPlace || !same(a.past, a.state) {
		for u := first; u < last; u++ {
			a.load(w, a.unit(u))
			a.loadNorm(u)
		}
	}
	if a.decodes() {
		a.decode(w, first, last)
		return
	}
	a.eachStep(a.unit(first).b, first, last, a.chunk, a.headOuter, func(u, t, n int) { a.step(w, u, t, n, first, last) })
	for i := first; i < last; i++ {
		u := a.unit(i)
		if dk := a.problem.Shape.Dk; len(a.norm) > 0 && u.p0 == 0 {
			for k := range dk {
				a.norm[u.head*dk+k] = a.norms[(i*dk+k)*normColumns]
			}
		}
		if !a.inPlace {
			a.store(w, u, a.state, a.bits.state, u.head)
		}
	}
}

// panelUnit is a state head and a range of its panels.
type panelUnit struct {
	b, h, head int
	p0, p1     int
}

func (a *recurrence) unit(u int) panelUnit {
	hkv := a.problem.Shape.Hkv
	if a.split == 1 { // with fewer divisions: there are many units to a decode step
		return panelUnit{b: u / hkv, h: u % hkv, head: u, p1: a.panels}
	}
	head, part := u/a.split, u%a.split
	return panelUnit{b: head / hkv, h: head % hkv, head: head, p0: part * a.panels / a.split, p1: (part + 1) * a.panels / a.split}
}

// panel gives the state of a panel, its leading dimension, and its first column and number of columns.
func (a *recurrence) panel(u panelUnit, p int) (state []float32, ld, j, width int) {
	s := a.problem.Shape
	if a.inPlace {
		j, at := p*a.cols, u.head*s.Dk*s.Dv
		return a.state[at+j : at+s.Dk*s.Dv], s.Dv, j, min(a.cols, s.Dv-j)
	}
	panel, j, width := statePanel(a.states[u.head*a.stateSize:], p, a.cols, s.Dk, s.Dv)
	return panel.rows, panel.ld, j, width
}

// statePanel gives the panel p of a state of some rows and columns, with its first column and number of columns.
func statePanel(states []float32, p, cols, rows, columns int) (panel operand, j, width int) {
	j = p * cols
	width = min(cols, columns-j)
	ld := paddedColumns(width, cols)
	return operand{states[j*rows : (j+ld)*rows], ld}, j, width
}

// paddedColumns is how many columns panels of some number of columns have room for. Rows of one that is not whole end with a line, since a load of a
// vector that overlaps a masked store of the row before waits for it: d=40 took six times as long.
func paddedColumns(columns, cols int) int {
	return roundUp(columns, min(cols, cacheLine/4))
}

// columns gives a unit's first column and their number.
func (a *recurrence) columns(u panelUnit) (j, width int) {
	j = u.p0 * a.cols
	return j, min(a.problem.Shape.Dv, u.p1*a.cols) - j
}

// part is the rest of an array from a place, nil if there is no array.
func part(v []float32, from int) []float32 {
	if v == nil {
		return nil
	}
	return v[from:]
}

// load sets a unit's state to the past state.
func (a *recurrence) load(w *recurrenceWork, u panelUnit) {
	s := a.problem.Shape
	if a.inPlace && same(a.past, a.state) {
		return
	}
	for p := u.p0; p < u.p1; p++ {
		state, ld, j, width := a.panel(u, p)
		at := u.head*s.Dk*s.Dv + j
		switch {
		case a.bits.past != nil:
			w.convert.toFloat32(a.problem.StateDType, state, ld, a.bits.past[at:], s.Dv, s.Dk, width)
		case a.past != nil:
			a.copyRows(w, state, ld, a.past[at:], s.Dv, s.Dk, width)
		default:
			for i := range s.Dk {
				clear(state[i*ld:][:width])
			}
		}
	}
}

// store copies a unit's part of its head's state to one of the caller's states of either type, if there are any.
func (a *recurrence) store(w *recurrenceWork, u panelUnit, to []float32, bits []uint16, head int) {
	s := a.problem.Shape
	for p := u.p0; p < u.p1; p++ {
		state, ld, j, width := a.panel(u, p)
		at := head*s.Dk*s.Dv + j
		switch {
		case bits != nil:
			w.convert.fromFloat32(a.problem.StateDType, bits[at:], s.Dv, state, ld, s.Dk, width)
		case to != nil:
			a.copyRows(w, to[at:], s.Dv, state, ld, s.Dk, width)
		}
	}
}

func (a *recurrence) copyRows(w *recurrenceWork, dst []float32, ldd int, src []float32, lds int, n, width int) {
	copyRows(a.prim, &w.pack, dst, ldd, src, lds, nil, n, width)
}

// step walks one chunk of n tokens of a unit from token t; first and last are the units that are walked together.
func (a *recurrence) step(w *recurrenceWork, ui, t, n, first, last int) {
	s, u := a.problem.Shape, a.unit(ui)
	row, _ := a.span(u.b)
	row += t
	hq, _ := a.queryHeads(u.h)
	ldq, ldk, ldv, ldo := s.Hq*s.Dk, a.keyHeads*s.Dk, s.Hkv*s.Dv, a.outputHeads()*s.Dv

	a.gates(w, u, row, n)
	query, lq := part(a.query, row*ldq+hq*s.Dk), ldq
	key, lk := part(a.key, row*ldk+a.keyHead(u.h)*s.Dk), ldk
	value, lv := part(a.value, row*ldv+u.h*s.Dv), ldv
	output, lo, headO := part(a.output, row*ldo+u.h*a.group*s.Dv), ldo, s.Dv
	if a.halves() {
		wide := a.group * s.Dk
		w.convert.toFloat32(a.problem.DType, w.wide, wide, a.bits.query[row*ldq+hq*s.Dk:], ldq, n, wide)
		query, lq = w.wide, wide
		w.convert.toFloat32(a.problem.DType, w.wide[n*wide:], s.Dk, a.bits.key[row*ldk+a.keyHead(u.h)*s.Dk:], ldk, n, s.Dk)
		key, lk = w.wide[n*wide:], s.Dk
		j, width := a.columns(u)
		w.convert.toFloat32(a.problem.DType, w.v[j:], s.Dv, a.bits.value[row*ldv+u.h*s.Dv+j:], ldv, n, width)
		value, lv = w.v, s.Dv
		output, lo = w.o, a.group*s.Dv
	}
	if a.hasSiLU() {
		wide, act := a.group*s.Dk, &w.activation
		act.run(a.prim, w.mapped, wide, query, lq, n, wide)
		act.run(a.prim, w.mapped[n*wide:], s.Dk, key, lk, n, s.Dk)
		query, lq, key, lk = w.mapped, wide, w.mapped[n*wide:], s.Dk
		j, width := a.columns(u)
		act.run(a.prim, act.value[j:], s.Dv, value[j:], lv, n, width)
		value, lv = act.value, s.Dv
	}
	if wide := a.group * s.Dk; a.featureMap != tile.MapNone {
		for h := range a.group {
			mapRows(a.prim, a.featureMap, a.mapEps, &w.mapping, w.mapped[h*s.Dk:], wide, query[h*s.Dk:], lq, n, s.Dk)
		}
		mapRows(a.prim, a.featureMap, a.mapEps, &w.mapping, w.mapped[n*wide:], s.Dk, key, lk, n, s.Dk)
		query, lq, key, lk = w.mapped, wide, w.mapped[n*wide:], s.Dk
	}
	again := a.delta && a.rowsAgain(w, u, row, n)
	switch {
	case a.problem.Decay == tile.DecayKey:
		a.foldKeys(w, u, row, n, query, lq, key, lk)
		query, lq, key, lk = w.q, a.group*s.Dk, w.k, s.Dk
	case a.halves() || w.mapped != nil: // copied already
	case a.copies > 1:
		wide := a.group * s.Dk
		if !again {
			a.copyRows(w, w.q, wide, query, ldq, n, wide)
		}
		query, lq = w.q, wide
		fallthrough
	case a.copies > 0:
		if !again {
			a.copyRows(w, w.k, s.Dk, key, ldk, n, s.Dk)
		}
		key, lk = w.k, s.Dk
	}
	if a.problem.Gates != "" {
		a.gatesApart(w, u, row, n, &key, &lk, &value, &lv)
	}
	if a.delta && !again {
		a.couple(w, query, lq, key, lk, n)
	}
	var next upcoming
	if a.ahead > 0 {
		next = a.next(ui, t, n, first, last)
	}
	gates := tile.Recur{RowO: w.scale}
	switch a.problem.Decay {
	case tile.DecayNone:
	case tile.DecayKey:
		gates.Decay, gates.D, gates.LDD = w.decay, w.d, s.Dk
	default:
		gates.Decay, gates.RowV, gates.RowO = w.decay, w.rowV, w.rowO
	}
	if a.delta {
		gates.RowV = w.rowV
	}
	if a.statistics != nil && u.p0 == 0 {
		a.statistics.countChunk(n, a.block, gates.Decay, a.delta && w.delta.bad)
	}
	if a.normalize {
		a.divide(w, &gates, a.norms[ui*s.Dk*normColumns:(ui+1)*s.Dk*normColumns], query, lq, key, lk, n)
	}
	j0, columns := a.columns(u)
	for p := u.p0; p < u.p1; p++ {
		state, ld, j, width := a.panel(u, p)
		for i := 0; i < n; i += a.callTokens {
			w.call = tile.Delta{}
			r := &w.call.Recur
			r.Q, r.LDQ, r.HeadQ, r.K, r.LDK = query[i*lq:], lq, s.Dk, key[i*lk:], lk
			r.V, r.LDV, r.O, r.LDO, r.HeadO = value[i*lv+j:], lv, output[i*lo+j:], lo, headO
			r.S, r.LDS = state, ld
			setGates(r, &gates, i, a.group)
			r.T, r.Heads, r.Dk, r.N, r.Stream = min(a.callTokens, n-i), a.group, s.Dk, width, a.stream && !a.halves()
			if a.ahead > 0 {
				r.Prefetch = next.share(columnShare{j - j0, j + width - j0, columns}, i)
			}
			if a.delta {
				a.setDelta(w, i)
			}
			a.run(&w.call)
		}
	}
	if a.halves() {
		for h := range a.group {
			j, width := a.columns(u)
			w.convert.fromFloat32(a.problem.DType, a.bits.output[row*ldo+(u.h*a.group+h)*s.Dv+j:], ldo, w.o[h*s.Dv+j:], lo, n, width)
		}
	}
	if place, ok := a.kept(u.b, s.B, t+n); ok {
		a.store(w, u, a.keptStates, a.bits.kept, place*s.Hkv+u.h)
	}
}

// setGates gives a call the gates of a chunk from token i on.
func setGates(r, gates *tile.Recur, i, group int) {
	if gates.Decay != nil {
		r.Decay = gates.Decay[i:]
	}
	if gates.D != nil {
		r.D, r.LDD = gates.D[i*gates.LDD:], gates.LDD
	}
	if gates.RowV != nil {
		r.RowV = gates.RowV[i:]
	}
	r.RowO = gates.RowO[i*group:]
}

// normColumns is how many equal columns the sum of keys has. One is enough, but the recurrence sweeps a column no faster than a vector, and slower
// with a mask: 27.6 µs for 64 tokens of d=128 where all 128 columns of the state take 36.9.
const normColumns = 16

// divide sums up the keys as the state does, with columns of ones as values, and divides the chunk's row factors by what the queries
// read of it.
func (a *recurrence) divide(w *recurrenceWork, gates *tile.Recur, norm, query []float32, lq int, key []float32, lk, n int) {
	dk := a.problem.Shape.Dk
	for i := 0; i < n; i += a.callTokens {
		r := &w.call.Recur
		*r = tile.Recur{
			Q: query[i*lq:], LDQ: lq, HeadQ: dk, K: key[i*lk:], LDK: lk, V: w.ones, LDV: normColumns,
			O: w.den[i*a.group*normColumns:], LDO: a.group * normColumns, HeadO: normColumns,
			S: norm, LDS: normColumns, T: min(a.callTokens, n-i), Heads: a.group, Dk: dk, N: normColumns,
		}
		setGates(r, gates, i, a.group)
		a.run(&w.call)
	}
	for i, row := range gates.RowO[:n*a.group] {
		w.rowO[i] = row / (w.den[i*normColumns] + a.normEps)
	}
	gates.RowO = w.rowO
}

// loadNorm sets a unit's sum of keys to the past one.
func (a *recurrence) loadNorm(ui int) {
	if !a.normalize {
		return
	}
	dk := a.problem.Shape.Dk
	norm := a.norms[ui*dk*normColumns : (ui+1)*dk*normColumns]
	clear(norm)
	if len(a.pastNorm) > 0 {
		past := a.pastNorm[a.unit(ui).head*dk:]
		for i := range norm {
			norm[i] = past[i/normColumns]
		}
	}
}

// gates fills a chunk's decays and row factors.
func (a *recurrence) gates(w *recurrenceWork, u panelUnit, row, n int) {
	s := a.problem.Shape
	if a.delta {
		a.betas(w, u, row, n)
	}
	switch decay := a.problem.Decay; {
	case decay == tile.DecayNone || decay == tile.DecayKey:
		return
	case decay == tile.DecayHead && (a.bits.decay != nil || a.hasGates()):
		if a.bits.decay != nil {
			w.convert.toFloat32(a.problem.DType, w.g, 1, a.bits.decay[row*s.Hkv+u.h:], s.Hkv, n, 1)
		} else {
			for i := range n {
				w.g[i] = a.decay[(row+i)*s.Hkv+u.h]
			}
		}
		if a.hasGates() {
			a.headGates(a.prim, &w.exp, w.room, w.g[:n], u.h)
		}
		w.exp = tile.Exp{Src: w.g, Dst: w.g, Stride: 1, N: n, Scale: 1}
		a.prim.Exp(&w.exp)
	default:
		a.decayFactors(a.prim, &w.exp, w.g, a.factor, row, u.h, n)
	}
	foldDecay(w.g[:n], a.block, a.scale, w.decay, w.rowV, w.rowO)
	perHead(w.rowO, n, a.group)
	if a.delta {
		for i, b := range w.delta.write[:n] {
			w.rowV[i] *= b
		}
	}
}

func (a *recurrence) share() (units, perBatch, workers, chunk int, headOuter bool) {
	return (a.units + a.workers - 1) / a.workers, len(a.factor) * a.split, a.workers, a.chunk, a.headOuter
}

func (a *recurrence) walkSteps(units int, trip func()) {
	if a.decodes() {
		a.decode(a.work[0], 0, units)
		trip()
		return
	}
	for t := 0; t < a.problem.Shape.T; t += a.chunk {
		for u := range units {
			a.step(a.work[0], u, t, a.cut(0, t, a.chunk), 0, units)
		}
		trip()
	}
}

func (a *recurrence) scratchBuffers() map[string][]float32 {
	w := a.work[0]
	return map[string][]float32{
		"q": w.q, "k": w.k, "g": w.g, "decays": w.decay, "row v": w.rowV, "row o": w.rowO, "scale": w.scale, "factors": w.factors, "d": w.d, "den": w.den, "ones": w.ones, "mapped": w.mapped, "wide": w.wide, "v": w.v, "o": w.o, "norms": a.norms, "map factor": w.mapping.factor[:], "panels": a.states,
		"decode factors": w.decode.factors, "decode room": w.decode.room, "factor": a.factor,
		"activated": w.activation.value, "taps": w.activation.ones, "room": w.room,
		"erase": w.delta.erase, "beta chunk": w.delta.beta, "couples": w.delta.c,
	}
}
