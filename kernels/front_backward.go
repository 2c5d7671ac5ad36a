package kernels

import (
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// frontBackward is a prepared backward call of delta-rule behind a front, an L2 norm or gates apart. The arrays that the rule itself takes are made for all tokens
// first, the rule's own backward pass runs on them, and its gradients are turned into those of the caller's arrays at last, all row by row. With s the
// sigmoid and y what is made of x:
//
//	SiLU:     dx = (y + s(x) (1 - y)) dy
//	L2 norm:  dx = (dy - y (y . dy)) / |x|
//	beta:     dx = BetaScale s(x) s(-x) dy
//	decay:    dx = -exp(decay_log) s(x + decay_bias) dy
//
// The gradient of decay_bias is the sum of the decay's over all tokens, that of decay_log the sum of y dy, in float64, always in the same order.
type frontBackward struct {
	*deltaBackward
	outer, inner                attentionArgs // the caller's, and the rule's
	query, key, value           []float32     // made
	beta, decay, erase          []float32
	gradDecay, gradErase        []float32 // of those
	raw                         []float32 // gradients of the caller's decays, where the bias's alone is wanted
	rates                       []float32 // -exp(decay_log) of each state head
	rowWork                     []*frontWork
	making, turning, parameters phase
	earlier                     []parallel // making
	phases                      shared
}

// frontRows is how many rows go through a front together: those of a few wide heads stay in the second level.
const frontRows = 8

// frontWork is one worker's scratch.
type frontWork struct {
	activation activation
	room, y    []float32 // of a row of gates
	bias       []float64 // sums over the tokens for one head
	mapping    mapping
	rows       rowWork
	exp        tile.Exp
}

// phase is work in parts that follow or precede a driver's own.
type phase struct {
	n   int
	run func(part int)
}

func (p *phase) parts() int { return p.n }
func (p *phase) part(i int) { p.run(i) }

// behindFront says whether the rule's arrays are made of the caller's.
func behindFront(p tile.Problem) bool {
	return p.Front != tile.FrontNone || p.FeatureMap != tile.MapNone || p.Gates != ""
}

func newFrontBackward(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *frontBackward {
	s := p.Shape
	f := &frontBackward{deltaBackward: newDeltaBackward(p, prim, cfg), rates: make([]float32, s.Hkv)}
	const flops = 64 // of a number both ways, or their time
	numbers := float64(s.B) * float64(s.T) * float64(s.Hq*s.Dk+s.Hkv*(s.Dk+s.Dv))
	n := worthwhile(p.Threads, flops*numbers/minWorkerFlops)
	f.making, f.turning = phase{n, f.makePart}, phase{n, f.turnPart}
	f.earlier = []parallel{&f.making}
	f.parameters = phase{min(n, s.Hkv), f.parameterPart}
	for range n {
		w := &frontWork{rows: newRowWork(frontRows * max(s.Hq, s.Hkv))}
		if tile.FrontHas(p.Front, tile.FrontSiLU) {
			w.activation = activation{value: aligned(frontRows * max(s.Hq, s.Hkv) * s.Dk), ones: slices.Repeat([]float32{1}, frontRows)}
		}
		if tile.FrontHas(p.Front, tile.FrontGates) {
			width := frontRows * s.Hkv // of betas, or of a row of decays
			if p.Decay == tile.DecayKey {
				width = max(width, s.Hkv*s.Dk)
			}
			w.room, w.y, w.bias = aligned(width), aligned(width), make([]float64, s.Dk)
		}
		f.rowWork = append(f.rowWork, w)
	}
	return f
}

// set points the call at checked arguments of its problem, and the rule's own pass at the arrays that are to be made.
func (f *frontBackward) set(args attentionArgs) {
	f.outer, f.inner = args, args
	in, s, rows := &f.inner, args.problem.Shape, args.rowsOf(args.problem.Shape.B)
	take := func(room *[]float32, n int) []float32 {
		*room = grown(*room, n)
		return (*room)[:n]
	}
	if args.hasSiLU() || args.featureMap != tile.MapNone {
		in.query, in.key = take(&f.query, len(args.query)), take(&f.key, len(args.key))
	}
	if args.hasSiLU() || args.write != nil {
		in.value = take(&f.value, len(args.value))
	}
	if args.hasGates() {
		in.beta = take(&f.beta, len(args.beta))
		if args.decay != nil {
			in.decay = take(&f.decay, len(args.decay))
			for h := range f.rates {
				f.rates[h] = args.decayRate(h)
			}
		}
		if args.gradDecay != nil || args.gradDecayLog != nil || args.gradDecayBias != nil {
			in.gradDecay = take(&f.gradDecay, len(args.decay))
			if args.gradDecay == nil {
				f.outer.gradDecay = take(&f.raw, len(args.decay))
			}
		}
	}
	if args.write != nil {
		in.erase, in.gradErase = take(&f.erase, rows*s.Hkv*s.Dk), take(&f.gradErase, rows*s.Hkv*s.Dk)
		in.beta, in.betaHeads, in.gradBeta = take(&f.beta, rows), 1, nil // the gates are in what they gate
		for i := range in.beta {
			in.beta[i] = 1
		}
	}
	in.problem.Front, in.problem.FeatureMap, in.featureMap = tile.FrontNone, tile.MapNone, tile.MapNone
	f.deltaBackward.set(*in)
}

// args are the caller's arguments.
func (f *frontBackward) args() attentionArgs { return f.outer }

// release drops the caller's arrays.
func (f *frontBackward) release() {
	f.deltaBackward.release()
	f.outer, f.inner = attentionArgs{}, attentionArgs{}
	for _, w := range f.rowWork {
		w.activation.conv, w.mapping, w.exp = tile.Conv{}, mapping{}, tile.Exp{}
		w.rows.release()
	}
}

// before makes the rule's arrays.
func (f *frontBackward) before() []parallel { return f.earlier }

// finish turns the rule's gradients into the caller's.
func (f *frontBackward) finish() {
	f.deltaBackward.finish()
	run(&f.turning, &f.phases)
	if f.outer.gradDecayLog != nil || f.outer.gradDecayBias != nil {
		run(&f.parameters, &f.phases)
	}
}

// eachBlock calls do with n rows from a row on, block by block of one worker's share of all rows.
func (f *frontBackward) eachBlock(i int, do func(row, n int)) {
	rows := f.outer.rowsOf(f.outer.problem.Shape.B)
	last := (i + 1) * rows / f.making.n
	for row := i * rows / f.making.n; row < last; row += frontRows {
		do(row, min(frontRows, last-row))
	}
}

func (f *frontBackward) makePart(i int) {
	w := f.rowWork[i]
	f.eachBlock(i, func(row, n int) { f.makeRows(w, row, n) })
}

func (f *frontBackward) turnPart(i int) {
	w := f.rowWork[i]
	f.eachBlock(i, func(row, n int) { f.turnRows(w, row, n) })
}

// makeRows makes n rows of the rule's arrays.
func (f *frontBackward) makeRows(w *frontWork, row, n int) {
	a, s := &f.outer, f.outer.problem.Shape
	if a.hasSiLU() || a.featureMap != tile.MapNone {
		f.makeFeatures(w, f.inner.query, a.query, row, n, s.Hq)
		f.makeFeatures(w, f.inner.key, a.key, row, n, a.keyHeads)
	}
	if a.hasSiLU() {
		width := s.Hkv * s.Dv
		w.activation.run(f.prim, f.inner.value[row*width:], width, a.value[row*width:], width, n, width)
	}
	if a.hasGates() {
		f.makeGates(w, row, n)
	}
	if a.write != nil {
		f.makeApart(row, n)
	}
}

// makeFeatures activates and norms n rows of queries or keys of some heads.
func (f *frontBackward) makeFeatures(w *frontWork, made, src []float32, row, n, heads int) {
	a, dk := &f.outer, f.outer.problem.Shape.Dk
	width := heads * dk
	x, y := src[row*width:], made[row*width:]
	if a.featureMap == tile.MapNone {
		w.activation.run(f.prim, y, width, x, width, n, width)
		return
	}
	mapRows(f.prim, a.featureMap, a.mapEps, &w.mapping, y, dk, f.activated(w, x, n, width), dk, n*heads, dk)
}

// activated gives n rows after SiLU, or as they are without it.
func (f *frontBackward) activated(w *frontWork, x []float32, n, width int) []float32 {
	if !f.outer.hasSiLU() {
		return x
	}
	w.activation.run(f.prim, w.activation.value, width, x, width, n, width)
	return w.activation.value
}

// makeGates makes the betas and log decays of n rows.
func (f *frontBackward) makeGates(w *frontWork, row, n int) {
	a, s := &f.outer, f.outer.problem.Shape
	beta := f.inner.beta[row*a.betaHeads:][:n*a.betaHeads]
	copy(beta, a.beta[row*a.betaHeads:])
	sigmoid(f.prim, &w.exp, beta, a.betaScale)
	if a.decay == nil {
		return
	}
	width := decayWidth(a.problem)
	for i := row; i < row+n; i++ {
		g := f.inner.decay[i*width:][:width]
		copy(g, a.decay[i*width:])
		if a.problem.Decay != tile.DecayKey {
			softplusDecay(f.prim, &w.exp, w.room, g, a.decayBias, 1)
			multiply(g, f.rates)
			continue
		}
		for h := range s.Hkv {
			a.keyGates(f.prim, &w.exp, w.room, g[h*s.Dk:][:s.Dk], h)
		}
	}
}

// turnRows turns n rows of the rule's gradients into the caller's.
func (f *frontBackward) turnRows(w *frontWork, row, n int) {
	a, s := &f.outer, f.outer.problem.Shape
	if a.write != nil {
		f.turnApart(row, n)
	}
	if a.hasSiLU() || a.featureMap != tile.MapNone {
		f.turnFeatures(w, a.gradQuery, f.inner.query, a.query, row, n, s.Hq)
		f.turnFeatures(w, a.gradKey, f.inner.key, a.key, row, n, a.keyHeads)
	}
	if a.hasSiLU() {
		at, size := row*s.Hkv*s.Dv, n*s.Hkv*s.Dv
		siluGradient(a.value[at:], f.inner.value[at:], a.gradValue[at:][:size])
	}
	if a.hasGates() {
		f.turnBetas(w, row, n)
		f.turnDecays(w, row, n)
	}
}

// turnFeatures is turnRows for the queries or keys of some heads.
func (f *frontBackward) turnFeatures(w *frontWork, grad, made, src []float32, row, n, heads int) {
	a, dk := &f.outer, f.outer.problem.Shape.Dk
	width := heads * dk
	x, y, g := src[row*width:], made[row*width:], grad[row*width:][:n*width]
	if a.featureMap != tile.MapNone {
		active := f.activated(w, x, n, width)
		mapGradients(f.prim, &w.rows, a.featureMap, a.mapEps, operand{active, dk}, operand{y, dk}, operand{g, dk}, n*heads, dk)
		y = active
	}
	if a.hasSiLU() {
		siluGradient(x, y, g)
	}
}

// siluGradient turns the gradient of y = SiLU(x) into that of x.
func siluGradient(x, y, grad []float32) {
	x, y = x[:len(grad)], y[:len(grad)]
	for i, v := range x {
		const small = 0x1p-64 // under which y may have lost digits, and the sigmoid is a half
		s := float32(0.5)
		if v > small || v < -small || v != v {
			s = y[i] / v
		}
		grad[i] *= y[i] + s*(1-y[i])
	}
}

// turnBetas is turnRows for betas.
func (f *frontBackward) turnBetas(w *frontWork, row, n int) {
	a := &f.outer
	if a.gradBeta == nil {
		return
	}
	size := n * a.betaHeads
	grad, t := a.gradBeta[row*a.betaHeads:][:size], w.room[:size]
	w.exp = tile.Exp{Src: a.beta[row*a.betaHeads:], Dst: t, Stride: 1, N: size, Scale: -1, Abs: true}
	f.prim.Exp(&w.exp)
	for i, x := range t {
		grad[i] *= a.betaScale * x / ((1 + x) * (1 + x))
	}
}

// turnDecays is turnRows for decays.
func (f *frontBackward) turnDecays(w *frontWork, row, n int) {
	a := &f.outer
	if f.inner.gradDecay == nil {
		return
	}
	width := decayWidth(a.problem)
	perHead := width / a.problem.Shape.Hkv
	y, t := w.y[:width], w.room[:width]
	for i := row; i < row+n; i++ {
		copy(y, a.decay[i*width:])
		for j, b := range a.decayBias {
			y[j] += b
		}
		w.exp = tile.Exp{Src: y, Dst: t, Stride: 1, N: width, Scale: -1, Abs: true}
		f.prim.Exp(&w.exp)
		from, to := f.inner.gradDecay[i*width:][:width], a.gradDecay[i*width:][:width]
		for j, x := range t {
			s := 1 / (1 + x)
			if y[j] < 0 {
				s *= x
			}
			to[j] = from[j] * s * f.rates[j/perHead]
		}
	}
}

// parameterPart adds up the gradients of one worker's share of the heads' parameters.
func (f *frontBackward) parameterPart(i int) {
	a, w, heads := &f.outer, f.rowWork[i], f.outer.problem.Shape.Hkv
	width, rows := decayWidth(a.problem), a.rowsOf(a.problem.Shape.B)
	perHead := width / heads
	for h := i * heads / f.parameters.n; h < (i+1)*heads/f.parameters.n; h++ {
		bias := w.bias[:perHead]
		clear(bias)
		log := 0.0
		for row := range rows {
			at := row*width + h*perHead
			log += dot(f.inner.decay[at:][:perHead], f.inner.gradDecay[at:])
			for j, x := range a.gradDecay[at:][:perHead] {
				bias[j] += float64(x)
			}
		}
		if a.gradDecayLog != nil {
			a.gradDecayLog[h] = float32(log)
		}
		if a.gradDecayBias != nil {
			for j, x := range bias {
				a.gradDecayBias[h*perHead+j] = float32(x)
			}
		}
	}
}

// walkSteps takes a share of the rows through the front both ways with each step.
func (f *frontBackward) walkSteps(units int, trip func()) {
	row, rows := 0, f.outer.rowsOf(1)
	perHead := max(1, f.chunk/f.outer.problem.Shape.Hkv) // a step is of one of the heads that share rows
	f.deltaBackward.walkSteps(units, func() {
		for end := min(rows, row+perHead); row < end; row += frontRows {
			f.makeRows(f.rowWork[0], row, min(frontRows, end-row))
			f.turnRows(f.rowWork[0], row, min(frontRows, end-row))
		}
		trip()
	})
}

func (f *frontBackward) scratchBuffers() map[string][]float32 {
	b, w := f.deltaBackward.scratchBuffers(), f.rowWork[0]
	for name, v := range map[string][]float32{
		"made query": f.query, "made key": f.key, "made value": f.value, "made beta": f.beta, "made decay": f.decay, "erase keys": f.erase,
		"decay gradients": f.gradDecay, "erase keys' gradients": f.gradErase, "activated": w.activation.value, "gate room": w.room, "gate rows": w.y,
		"taps": w.activation.ones, "map factor": w.mapping.factor[:], "row x": w.rows.x, "row y": w.rows.y,
	} {
		b[name] = v
	}
	return b
}
