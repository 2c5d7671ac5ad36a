package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// chunkGradients is where a worker keeps a chunk's gradients that are read or changed once the recurrences have written them: they are
// finished here, and then stored past the caches. A head's part of the caller's rows is short and those lie far apart, so that a store through the
// caches waits for its line: gradients took 60 % longer so.
type chunkGradients struct {
	query, key, value []float32 // n x group*dk, dk, dv
}

func newChunkGradients(p tile.Problem, n int) chunkGradients {
	s := p.Shape
	group := max(1, s.Hq/s.Hkv)
	altered := p.Normalize || p.FeatureMap != tile.MapNone
	g := chunkGradients{}
	if p.Decay == tile.DecayKey || altered {
		g.query = aligned(n * group * s.Dk)
	}
	if p.Decay == tile.DecayHead || p.Decay == tile.DecayKey || altered || group > 1 {
		g.key = aligned(n * s.Dk)
	}
	if group > 1 {
		g.value = aligned(n * s.Dv)
	}
	return g
}

// ownQueries says whether the forward sweep's gradients are finished in a worker's own rows.
func (a *backward) ownQueries() bool {
	return a.stream && (a.problem.Decay == tile.DecayKey || a.normalize)
}

// ownKeys says so of the gradients of keys.
func (a *backward) ownKeys() bool {
	return a.stream && (a.gradDecay != nil || a.problem.Decay == tile.DecayKey || a.altered() || a.group > 1)
}

// ownValues says so of the gradients of values.
func (a *backward) ownValues() bool { return a.stream && a.group > 1 }

// callersQueries, callersKeys and callersValues are a unit's part of the caller's gradients from a row on.
func (a *backward) callersQueries(u backwardPart, row int) operand {
	wide := a.outputHeads() * a.problem.Shape.Dk
	return operand{a.gradQuery[row*wide+u.h*a.group*a.problem.Shape.Dk:], wide}
}

func (a *backward) callersKeys(u backwardPart, row int) operand {
	s := a.problem.Shape
	return operand{a.gradKey[(row*s.Hkv+u.h)*s.Dk:], s.Hkv * s.Dk}
}

func (a *backward) callersValues(u backwardPart, row int) operand {
	s := a.problem.Shape
	return operand{a.gradValue[(row*s.Hkv+u.h)*s.Dv:], s.Hkv * s.Dv}
}

// queryGradients, keyGradients and valueGradients are where a chunk's gradients are written to first.
func (a *backward) queryGradients(w *backwardWork, u backwardPart, row int) operand {
	if a.ownQueries() {
		return operand{w.grads.query, a.group * a.problem.Shape.Dk}
	}
	return a.callersQueries(u, row)
}

func (a *backward) keyGradients(w *backwardWork, u backwardPart, row int) operand {
	if a.ownKeys() {
		return operand{w.grads.key, a.problem.Shape.Dk}
	}
	return a.callersKeys(u, row)
}

func (a *backward) valueGradients(w *backwardWork, u backwardPart, row int) operand {
	if a.ownValues() {
		return operand{w.grads.value, a.problem.Shape.Dv}
	}
	return a.callersValues(u, row)
}

// writeQueries hands finished gradients of queries to the caller, of a unit's keys.
func (a *backward) writeQueries(w *backwardWork, u backwardPart, row, n int, grad operand) {
	if !a.ownQueries() {
		return
	}
	j0, j1 := a.keys(u)
	for g := range a.group {
		at := g*a.problem.Shape.Dk + j0
		a.write(w, a.callersQueries(u, row), grad, at, j1-j0, n)
	}
}

// writeKeysAndValues does so with those of a chunk's keys and values.
func (a *backward) writeKeysAndValues(w *backwardWork, u backwardPart, c reverseChunk) {
	if j0, j1 := a.keys(u); a.ownKeys() {
		a.write(w, a.callersKeys(u, c.row), c.gradKey, j0, j1-j0, c.n)
	}
	if j0, j1 := a.values(u); a.ownValues() {
		a.write(w, a.callersValues(u, c.row), c.gradValue, j0, j1-j0, c.n)
	}
}

// write stores some columns of n rows past the caches.
func (a *backward) write(w *backwardWork, to, from operand, column, width, n int) {
	rows := max(1, maxCallFlops/4/width)
	for i := 0; i < n; i += rows {
		w.pack = tile.Pack{Src: from.from(i)[column:], LDS: from.ld, Dst: to.from(i)[column:], LDD: to.ld, M: min(rows, n-i), N: width, Stream: true}
		a.prim.Pack(&w.pack)
	}
}
