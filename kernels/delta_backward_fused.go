package kernels

import (
	"maps"

	"github.com/rooftune/rooftune/kernels/tile"
)

// The fused form of the delta rules' backward pass takes chunks of 16 tokens, which are one vector of AVX-512 and two of AVX2: tile.ChunkKernels does a
// chunk's whole forward step in one call, and its reverse step in two and one for each query head. A chunk's products with itself are
// then dense squares in registers and what is scaled, transposed or summed up is so on its way, where the form of products spends half its time on
// triangles, copies and calls.

// hasFused says whether the fused form can run a problem: with one decay a token and one key for erasing and writing, heads that are whole pairs of vectors
// wide, and calls that are short enough.
func hasFused(p tile.Problem, prim *tile.Primitives) bool {
	if p.Op != tile.DeltaRule || p.Dir != tile.Backward || prim.Chunk == nil || p.Decay == tile.DecayKey || p.Gates != "" {
		return false
	}
	s := p.Shape
	group := max(1, s.Hq/max(1, s.Hkv))
	return s.Dk%32 == 0 && s.Dv%32 == 0 && s.Dk > 0 && s.Dv > 0 && 2*tile.ChunkTokens*s.Dk*s.Dv*(group+2) <= 2*maxCallFlops
}

// fusedWork is one worker's scratch of the fused form, beside what both forms have.
type fusedWork struct {
	call                    tile.DeltaChunk
	keys, rows              []float32 // of a chunk: turned queries of each head, then keys; rows of the state's update
	x, turnedO, turnedX     []float32
	gradQ, gradK            []float32 // turned
	terms, beta, room, ones []float32
	q, k, v, o              []float32 // of a last chunk that is not whole: rows, with zeros after them, and
	gradQRows, gradKRows    []float32 // gradients
	gradVRows               []float32
}

// fuse completes a new call in the fused form.
func (a *deltaBackward) fuse(cfg tile.Config) *deltaBackward {
	const n = tile.ChunkTokens
	s := a.problem.Shape
	a.fused, a.chunk, a.ld = true, n, n
	a.stream, a.prefetch = cfg["stream"] == 1, cfg["ahead"] == 1
	a.plan()
	chunks, size := (s.T+n-1)/n, s.Dk*s.Dv
	for range a.workers {
		w := &deltaBackwardWork{
			headGates: a.newHeadGates(),
			states:    aligned((chunks + 1) * size), z: aligned(chunks * n * s.Dv), triangles: aligned(chunks * n * n), r: aligned(size), terms: make([]float64, s.T),
			fused: fusedWork{
				keys: aligned((a.group + 1) * n * s.Dk), rows: aligned((a.group + 1) * n * s.Dv), x: aligned(n * s.Dv), turnedO: aligned(n * s.Dv), turnedX: aligned(n * s.Dv),
				gradQ: aligned(n * s.Dk), gradK: aligned(n * s.Dk), terms: aligned(n), beta: aligned(n), room: aligned(tile.ChunkRoom), ones: aligned(n),
				q: aligned(n * s.Dk), k: aligned(n * s.Dk), v: aligned(n * s.Dv), o: aligned(n * s.Dv),
				gradQRows: aligned(n * s.Dk), gradKRows: aligned(n * s.Dk), gradVRows: aligned(n * s.Dv),
			},
		}
		for i := range w.fused.ones {
			w.fused.ones[i] = 1
		}
		a.work = append(a.work, w)
	}
	return a
}

// padGates makes a last chunk's missing tokens change nothing.
func (a *deltaBackward) padGates(w *deltaBackwardWork, tokens int) {
	for i := tokens; i < roundUp(tokens, a.chunk); i++ {
		w.g[i], w.beta[i] = 1, 0
	}
}

// fusedChunk points the call at n tokens from token t.
func (a *deltaBackward) fusedChunk(w *deltaBackwardWork, u, t, n int) *tile.DeltaChunk {
	whole := a.chunk
	s, h, f := a.problem.Shape, u%a.problem.Shape.Hkv, &w.fused
	c := &f.call
	c.K, c.LDK = a.fusedRows(w, f.k, a.key, u, t, n, a.keyHeads, a.keyHead(h), s.Dk)
	c.G, c.Beta = f.ones, w.beta[t:][:whole]
	if a.scalarDecay() {
		c.G = w.g[t:][:whole]
	}
	c.S, c.Z, c.M = a.state(w, t), w.z[t*s.Dv:][:whole*s.Dv], w.triangles[t*whole:][:whole*whole]
	c.Keys, c.Rows, c.X, c.OT, c.XT, c.GradQT, c.GradKT = f.keys, f.rows, f.x, f.turnedO, f.turnedX, f.gradQ, f.gradK
	c.KT, c.YRows = f.keys[a.group*whole*s.Dk:], f.rows[a.group*whole*s.Dv:]
	c.Terms, c.GradBeta, c.Room = f.terms, f.beta, f.room
	c.Dk, c.Dv, c.Heads, c.Scale = s.Dk, s.Dv, a.group, a.scale
	return c
}

// fusedRows gives a head's rows of n tokens from token t on: the caller's, or copies with rows of zeros where there are fewer than a chunk has.
func (a *deltaBackward) fusedRows(w *deltaBackwardWork, room, v []float32, u, t, n, heads, head, width int) ([]float32, int) {
	rows, ld := a.rows(v, u, t, heads, head, width)
	if n == a.chunk {
		return rows, ld
	}
	a.copyRows(w, room, width, rows, ld, nil, n, width)
	clear(room[n*width:])
	return room, width
}

// fusedGradient gives the rows that n tokens' gradients are written to: the caller's, or room where there are fewer than a chunk has.
func (a *deltaBackward) fusedGradient(room, v []float32, u, t, n, heads, head, width int) ([]float32, int) {
	if n < a.chunk {
		return room, width
	}
	return a.rows(v, u, t, heads, head, width)
}

// keep copies a last chunk's gradients to the caller's rows.
func (a *deltaBackward) keep(w *deltaBackwardWork, room, v []float32, u, t, n, heads, head, width int) {
	if n < a.chunk {
		rows, ld := a.rows(v, u, t, heads, head, width)
		a.copyRows(w, rows, ld, room, width, nil, n, width)
	}
}

// fusedAhead collects what a call may prefetch.
type fusedAhead struct {
	call *tile.DeltaChunk
	n    int
}

// rows names a chunk's rows of some width, if there is room for their name: the last must stay empty.
func (l *fusedAhead) rows(rows []float32, ld, width int) {
	if l.n < len(l.call.Ahead)-1 {
		l.call.Ahead[l.n] = tile.Prefetch{Rows: rows, LD: ld, Lines: width / (cacheLine / 4)}
		l.n++
	}
}

// whole names an array, which lies side by side.
func (l *fusedAhead) whole(v []float32) {
	row := len(v) / tile.ChunkTokens
	l.rows(v, row, row)
}

// end says that there is no more.
func (l *fusedAhead) end() { clear(l.call.Ahead[l.n:]) }

// fusedForward is forwardStep for n tokens from token t.
func (a *deltaBackward) fusedForward(w *deltaBackwardWork, u, t, n int) {
	s, h, c := a.problem.Shape, u%a.problem.Shape.Hkv, a.fusedChunk(w, u, t, n)
	_, tokens := a.span(u / s.Hkv)
	c.V, c.LDV = a.fusedRows(w, w.fused.v, a.value, u, t, n, s.Hkv, h, s.Dv)
	c.After = a.state(w, t+n)
	next := fusedAhead{call: c}
	if after := t + a.chunk; a.prefetch && after+a.chunk <= tokens {
		keys, ldk := a.rows(a.key, u, after, a.keyHeads, a.keyHead(h), s.Dk)
		values, ldv := a.rows(a.value, u, after, s.Hkv, h, s.Dv)
		next.rows(keys, ldk, s.Dk)
		next.rows(values, ldv, s.Dv)
		next.whole(a.state(w, after+a.chunk))
	}
	next.end()
	a.prim.Chunk.Forward(c)
}

// aheadReverse names what the chunk from token t on reads, in the order in which it does.
func (a *deltaBackward) aheadReverse(w *deltaBackwardWork, c *tile.DeltaChunk, u, t int) {
	s, h := a.problem.Shape, u%a.problem.Shape.Hkv
	next := fusedAhead{call: c}
	if a.prefetch && t >= 0 {
		keys, ldk := a.rows(a.key, u, t, a.keyHeads, a.keyHead(h), s.Dk)
		next.rows(keys, ldk, s.Dk)
		next.whole(w.z[t*s.Dv:][:a.chunk*s.Dv])
		first, _ := a.queryHeads(h)
		for g := range a.group {
			queries, ldq := a.rows(a.query, u, t, s.Hq, first+g, s.Dk)
			outs, ldo := a.rows(a.gradOutput, u, t, a.outputHeads(), h*a.group+g, s.Dv)
			next.rows(queries, ldq, s.Dk)
			next.rows(outs, ldo, s.Dv)
			if g == 0 {
				next.whole(a.state(w, t))
			}
		}
	}
	next.end()
}

// fusedReverse is reverseStep for n tokens from token t.
func (a *deltaBackward) fusedReverse(w *deltaBackwardWork, u, t, n int) {
	whole := a.chunk
	s, h, f, c := a.problem.Shape, u%a.problem.Shape.Hkv, &w.fused, a.fusedChunk(w, u, t, n)
	first, _ := a.queryHeads(h)
	a.aheadReverse(w, c, u, t-whole)
	c.R = w.r
	a.prim.Chunk.Begin(c)
	for g := range a.group {
		c.Q, c.LDQ = a.fusedRows(w, f.q, a.query, u, t, n, s.Hq, first+g, s.Dk)
		c.O, c.LDO = a.fusedRows(w, f.o, a.gradOutput, u, t, n, a.outputHeads(), h*a.group+g, s.Dv)
		c.GradQ, c.LDGradQ = a.fusedGradient(f.gradQRows, a.gradQuery, u, t, n, a.outputHeads(), h*a.group+g, s.Dk)
		c.QT, c.QRows = f.keys[g*whole*s.Dk:], f.rows[g*whole*s.Dv:]
		c.Stream = a.stream && alignedRows(c.GradQ, c.LDGradQ)
		a.prim.Chunk.Query(c)
		a.keep(w, f.gradQRows, a.gradQuery, u, t, n, a.outputHeads(), h*a.group+g, s.Dk)
	}
	c.GradK, c.LDGradK = a.fusedGradient(f.gradKRows, a.gradKey, u, t, n, s.Hkv, h, s.Dk)
	c.GradV, c.LDGradV = a.fusedGradient(f.gradVRows, a.gradValue, u, t, n, s.Hkv, h, s.Dv)
	c.Stream = a.stream && alignedRows(c.GradK, c.LDGradK) && alignedRows(c.GradV, c.LDGradV)
	a.prim.Chunk.End(c)
	a.keep(w, f.gradKRows, a.gradKey, u, t, n, s.Hkv, h, s.Dk)
	a.keep(w, f.gradVRows, a.gradValue, u, t, n, s.Hkv, h, s.Dv)
	copy(a.beta[u*s.T+t:], f.beta[:n])
	for i, x := range f.terms[:n] {
		w.terms[t+i] = float64(x)
	}
}

// buffers names the arrays for a recording.
func (f *fusedWork) buffers(to map[string][]float32) {
	maps.Copy(to, map[string][]float32{
		"turned keys": f.keys, "update rows": f.rows, "x rows": f.x, "turned do": f.turnedO, "turned x": f.turnedX, "turned dq": f.gradQ, "turned dk": f.gradK,
		"terms": f.terms, "beta gradients": f.beta, "room": f.room, "no decay": f.ones,
		"padded q": f.q, "padded k": f.k, "padded v": f.v, "padded do": f.o, "padded dq": f.gradQRows, "padded dk": f.gradKRows, "padded dv": f.gradVRows,
	})
}
