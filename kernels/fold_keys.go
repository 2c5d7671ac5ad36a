package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// foldedBlocks is how many blocks of tokens are folded together, if their decay allows, since the state takes the decay of a run at its
// first token and a sweep that multiplies it is slower.
const foldedBlocks = 8

// foldKeys copies a chunk's keys and queries with their per-key decay folded in, over runs of several blocks; where a run's decay is
// too strong for that, block by block. A block whose decay is too strong too, or not a decay, is left as it is and walked token by token.
func (a *recurrence) foldKeys(w *recurrenceWork, u panelUnit, row, n int, query []float32, ldq int, key []float32, ldk int) {
	s := a.problem.Shape
	wide, ld := a.group*s.Dk, s.Hkv*s.Dk
	if from := row*ld + u.h*s.Dk; a.bits.decay != nil {
		w.convert.toFloat32(a.problem.DType, w.factors, s.Dk, a.bits.decay[from:], ld, n, s.Dk)
	} else {
		a.copyRows(w, w.factors, s.Dk, a.decay[from:], ld, n, s.Dk)
	}
	if a.hasGates() {
		for i := range n {
			a.keyGates(a.prim, &w.exp, w.room, w.factors[i*s.Dk:][:s.Dk], u.h)
		}
	}
	exponentials(a.prim, &w.exp, w.factors[:n*s.Dk])
	// A factor of the state other than 1: those of w.d are taken.
	const decays = 0
	long := foldedBlocks * a.block
	for i := 0; i < n; {
		m := min(long, n-i)
		safe := i%long == 0 && a.foldRun(w, i, m, query, ldq, key, ldk)
		if !safe && m > a.block || i%long != 0 {
			m = min(a.block, n-i)
			safe = a.foldRun(w, i, m, query, ldq, key, ldk)
		}
		for j := i; j < i+m; j++ {
			w.decay[j] = 1
			if j == i || !safe {
				w.decay[j] = decays
			}
		}
		if !safe {
			a.copyRows(w, w.q[i*wide:], wide, query[i*ldq:], ldq, m, wide)
			a.copyRows(w, w.k[i*s.Dk:], s.Dk, key[i*ldk:], ldk, m, s.Dk)
			if a.delta {
				a.copyRows(w, w.delta.erase[i*s.Dk:], s.Dk, key[i*ldk:], ldk, m, s.Dk)
			}
			copy(w.d[i*s.Dk:(i+m)*s.Dk], w.factors[i*s.Dk:])
		}
		i += m
	}
}

// foldRun folds m tokens of a chunk from token i on, and says whether their decay is one that can be.
func (a *recurrence) foldRun(w *recurrenceWork, i, m int, query []float32, ldq int, key []float32, ldk int) bool {
	s := a.problem.Shape
	wide := a.group * s.Dk
	w.fold = tile.Fold{
		G: w.factors[i*s.Dk:], LDG: s.Dk, K: key[i*ldk:], LDK: ldk, KOut: w.k[i*s.Dk:], LDKOut: s.Dk,
		Q: query[i*ldq:], LDQ: ldq, HeadQ: s.Dk, QOut: w.q[i*wide:], LDQOut: wide, HeadQOut: s.Dk,
		D: w.d[i*s.Dk:], M: m, N: s.Dk, Heads: a.group,
	}
	a.prim.Fold(&w.fold)
	safe := !w.fold.Unsafe
	if a.delta && safe { // a key reads the state as a query does
		f := &w.fold
		f.Q, f.LDQ, f.QOut, f.LDQOut, f.Heads = f.K, f.LDK, w.delta.erase[i*s.Dk:], s.Dk, 1
		a.prim.Fold(f)
	}
	return safe
}
