package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// hashRows is a prepared call: hash a block of tokens, then add their table
// rows, a range of tables and of columns at a time.
type hashRows struct {
	hashArgs
	prim    *tile.Primitives
	k       int
	group   int // rows side by side
	ahead   int // rows ahead that are prefetched
	cols    int // columns of one pass
	pass    int // tables of one pass over a block of tokens: all of them is token-major
	block   int // tokens hashed at a time
	workers int
	byToken bool // workers split tokens, else columns
	work    []*hashWork
}

type hashWork struct {
	hasher  *hasher
	hashed  hashed
	rows    []int32   // of the tables
	weights []float32 // of these: hashed.weight, or scaled
	scaled  []float32 // with the scales of int8 rows
	gather  tile.Gather
	half    tile.GatherHalf
	bytes   tile.GatherBytes
}

// hashBlock is the number of tokens hashed at a time: codes and weights of a block stay in L1 or L2.
const hashBlock = 64

// maxCallBytes bounds the bytes that one gather call reads, at the slow pace of DRAM.
const maxCallBytes = 1 << 20

func newHashRows(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *hashRows {
	s := p.Shape
	a := &hashRows{
		prim: prim, k: (s.D + s.Tau - 1) / s.Tau, group: cfg["group"], ahead: cfg["ahead"] * cfg["group"],
		cols: min(cfg["cols"], s.H), block: max(1, min(hashBlock, s.N)),
	}
	a.pass = min(cfg["tables"], a.k)
	lines := (s.H + cacheLine/4 - 1) / (cacheLine / 4)
	threads := worthwhile(p.Threads, 4*float64(s.N)*float64(a.k)*float64(s.H)/minWorkerBytes)
	a.byToken = s.N >= threads
	if a.byToken {
		a.workers = max(1, min(threads, s.N))
	} else {
		a.workers = max(1, min(threads, lines))
	}
	for range a.workers {
		m := a.block * a.k
		w := &hashWork{hasher: newHasher(p, prim, m), rows: make([]int32, m)}
		if p.DType == tile.Int8 {
			w.scaled = aligned(m)
		}
		a.work = append(a.work, w)
	}
	return a
}

func (a *hashRows) parts() int { return a.workers }

func (a *hashRows) part(i int) {
	s := a.problem.Shape
	t0, t1, j0, j1 := 0, s.N, 0, s.H
	if a.byToken {
		t0, t1 = i*s.N/a.workers, (i+1)*s.N/a.workers
	} else {
		lines := (s.H + cacheLine/4 - 1) / (cacheLine / 4)
		j0 = min(s.H, i*lines/a.workers*(cacheLine/4))
		j1 = min(s.H, (i+1)*lines/a.workers*(cacheLine/4))
	}
	w := a.work[i]
	for t := t0; t < t1; t += a.block {
		a.tokens(w, t, min(a.block, t1-t), j0, j1, a.byToken || i == 0)
	}
}

// tokens computes columns j0 to j1 of n tokens from token t. publish says whether this worker gives the caller its codes.
func (a *hashRows) tokens(w *hashWork, t, n, j0, j1 int, publish bool) {
	a.hash(w, t, n, publish)
	for j := j0; j < j1; j += a.cols {
		a.gather(w, t, n, j, min(a.cols, j1-j))
	}
}

// hash fills table rows and weights of n tokens from token t, and the caller's if it wants them.
func (a *hashRows) hash(w *hashWork, t, n int, publish bool) {
	a.codesOf(w.hasher, &w.hashed, t, n, a.k)
	if publish && a.codes != nil {
		copy(a.codes[t*a.k:], w.hashed.code[:n*a.k])
	}
	if publish && a.weights != nil {
		copy(a.weights[t*a.k:], w.hashed.weight[:n*a.k])
	}
	w.weights = w.hashed.weight
	if w.scaled != nil {
		w.weights = w.scaled
	}
	tau, code := a.problem.Shape.Tau, w.hashed.code
	for i := range n {
		rows := w.rows[i*a.k:][:a.k]
		for k, c := range code[i*a.k:][:len(rows)] {
			rows[k] = int32(k<<tau) | c
		}
		if scales := a.prepared.scales; scales != nil {
			for k, row := range rows {
				w.weights[i*a.k+k] = w.hashed.weight[i*a.k+k] * scales[row]
			}
		}
	}
}

func (a *hashRows) gather(w *hashWork, t, n, j, cols int) {
	s := a.problem.Shape
	for i := range n {
		out := a.output[(t+i)*s.H+j:][:cols]
		if a.bias != nil {
			copy(out, a.bias[j:])
		} else {
			clear(out)
		}
	}
	rows := max(8, maxCallBytes/4/cols)
	for k := 0; k < a.k; k += a.pass {
		end := min(a.k, k+a.pass)
		for i := range n {
			for r := k; r < end; r += rows {
				at := i*a.k + r
				m := min(rows, end-r)
				index, weight, out := w.rows[at:at+m], w.weights[at:at+m], a.output[(t+i)*s.H+j:][:cols]
				switch rows := &a.prepared.rows; a.problem.DType {
				case tile.BFloat16:
					w.half = tile.GatherHalf{Table: rows.halves[j:], Rows: index, Weight: weight, Out: out, LD: s.H, N: cols, Group: a.group, Ahead: a.ahead}
					a.prim.GatherHalf(&w.half)
				case tile.Int8:
					w.bytes = tile.GatherBytes{Table: rows.bytes[j:], Rows: index, Weight: weight, Out: out, LD: s.H, N: cols, Group: a.group, Ahead: a.ahead}
					a.prim.GatherBytes(&w.bytes)
				default:
					w.gather = tile.Gather{Table: rows.floats[j:], Rows: index, Weight: weight, Out: out, LD: s.H, N: cols, Group: a.group}
					a.prim.Gather(&w.gather)
				}
			}
		}
	}
}
