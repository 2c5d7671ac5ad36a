package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// deltaWork is what a worker of the recurrence needs besides for a delta rule, of one chunk.
type deltaWork struct {
	beta  []float32
	write []float32 // factors of the values: beta, but where gates are apart
	erase []float32 // keys that read the state, where a decay per key is folded into the others
	c     []float32 // products of keys and queries inside blocks, for each block a record of tile.Delta
	apart bool      // tokens go one at a time
	bad   bool      // because not all of these are finite
	rows  deltaRows // of which the products are
}

// deltaRows names the keys and queries of a chunk.
type deltaRows struct{ row, tokens, key, query int }

func newDeltaWork(p tile.Problem, chunk, block, group int) deltaWork {
	w := deltaWork{beta: aligned(chunk)}
	w.write = w.beta
	if block > 1 {
		w.c = aligned(chunk / block * tile.Record(block, group))
	}
	if p.Decay == tile.DecayKey || p.Gates == tile.GatesApart {
		w.erase = aligned(chunk * p.Shape.Dk)
	}
	if p.Gates == tile.GatesApart {
		w.write = aligned(chunk)
	}
	return w
}

// rowsAgain says whether a chunk's keys and queries are those of the chunk before, as where state heads share them: their copies and
// products are then there.
func (a *recurrence) rowsAgain(w *recurrenceWork, u panelUnit, row, n int) bool {
	query, _ := a.queryHeads(u.h)
	rows := deltaRows{row, n, a.keyHead(u.h), query}
	again := rows == w.delta.rows && a.problem.Decay != tile.DecayKey && a.problem.Gates == ""
	w.delta.rows = rows
	return again
}

// betas fills a chunk's betas, which are the factors of its values where no decay is folded into those.
func (a *recurrence) betas(w *recurrenceWork, u panelUnit, row, n int) {
	if a.problem.Gates == tile.GatesApart {
		hkv := a.problem.Shape.Hkv
		for i := range n {
			w.delta.beta[i], w.delta.write[i] = 1, 1
			if a.eraseWidth == 1 {
				w.delta.beta[i] = a.beta[(row+i)*a.betaHeads+u.h%a.betaHeads]
			}
			if a.writeWidth == 1 {
				w.delta.write[i] = a.write[(row+i)*hkv+u.h]
			}
		}
		copy(w.rowV[:n], w.delta.write)
		return
	}
	heads := a.betaHeads
	at := row*heads + u.h%heads
	if a.bits.beta != nil {
		w.convert.toFloat32(a.problem.DType, w.delta.beta, 1, a.bits.beta[at:], heads, n, 1)
	} else {
		for i := range n {
			w.delta.beta[i] = a.beta[at+i*heads]
		}
	}
	if a.hasGates() {
		sigmoid(a.prim, &w.exp, w.delta.beta[:n], a.betaScale)
	}
	copy(w.rowV[:n], w.delta.beta)
}

// stepTokens is how many tokens at most are walked one at a time where the states stay in place: each is then a sweep over whole rows.
const stepTokens = 3

// eraseKeys are a chunk's keys that read the state, nil where those are the keys.
func (a *recurrence) eraseKeys(w *recurrenceWork) []float32 {
	if a.problem.Decay == tile.DecayKey || a.eraseWidth > 1 {
		return w.delta.erase
	}
	return nil
}

// couple prepares the products of a chunk's blocks, in calls that are short enough.
func (a *recurrence) couple(w *recurrenceWork, query []float32, lq int, key []float32, lk, n int) {
	w.delta.bad = false
	if w.delta.apart = a.block == 1 || a.inPlace && n <= stepTokens; w.delta.apart {
		return
	}
	dk := a.problem.Shape.Dk
	record := tile.Record(a.block, a.group)
	step := max(1, maxCallFlops/(2*dk*record)) * a.block
	for i := 0; i+a.block <= n; i += step {
		w.call = tile.Delta{
			Recur: tile.Recur{Q: query[i*lq:], LDQ: lq, HeadQ: dk, K: key[i*lk:], LDK: lk, T: min(step, n-i), Heads: a.group, Dk: dk},
			E:     part(a.eraseKeys(w), i*dk), C: w.delta.c[i/a.block*record:], Block: a.block,
		}
		a.prim.Couple(&w.call)
		w.delta.bad = w.delta.bad || w.call.NonFinite
	}
	w.delta.apart = w.delta.bad
}

// setDelta gives the worker's call what a delta rule has besides, of its chunk from token i on.
func (a *recurrence) setDelta(w *recurrenceWork, i int) {
	d := &w.call
	d.E, d.Beta, d.Block = part(a.eraseKeys(w), i*a.problem.Shape.Dk), w.delta.beta[i:], a.block
	if at := i / a.block * tile.Record(a.block, a.group); !w.delta.apart && at < len(w.delta.c) {
		d.C = w.delta.c[at:]
	}
}
