package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// HashGradients are what a hash layer's backward pass writes. An absent tensor is not computed.
type HashGradients struct {
	Input  Tensor // (N, d)
	Tables Tensor // (K, 2^Tau, h), zero where no token's code points
	Bias   Tensor // (h)
}

// Backward computes the gradients of sum(gradOutput . output), gradOutput being (N, h). Codes have no gradient; an input that is zero has
// none either. Every gradient is a sum in the tokens' order, whatever the number of workers. It returns an *ArgumentError that
// names the argument if one is wrong, before anything is written.
func (o *HashLayer) Backward(grads *HashGradients, gradOutput Tensor, in *HashInputs) error {
	args, err := o.checkBackward(grads, gradOutput, in)
	if err != nil {
		return err
	}
	return o.runHash(args)
}

func (o *HashLayer) checkBackward(grads *HashGradients, gradOutput Tensor, in *HashInputs) (a hashArgs, err error) {
	if grads == nil {
		return a, refuse("grads", "non-nil", "nil")
	}
	if a, err = o.checkInputs(in); err != nil {
		return a, err
	}
	if a.problem.DType != tile.Float32 {
		return a, refuse("tables", "float32 for gradients", "%s", a.problem.DType)
	}
	a.problem.Dir = tile.Backward
	s := a.problem.Shape
	if err := checkTensor("grad_output", "(N,h)", gradOutput, s.N, s.H); err != nil {
		return a, err
	}
	a.gradOutput = gradOutput.Data
	k := (s.D-1)/s.Tau + 1
	for _, g := range []struct {
		name, layout string
		t            Tensor
		to           *[]float32
		shape        []int
	}{
		{"grad_input", "(N,d)", grads.Input, &a.gradInput, []int{s.N, s.D}},
		{"grad_tables", "(K,2^tau,h)", grads.Tables, &a.gradTables, []int{k, 1 << s.Tau, s.H}},
		{"grad_bias", "(h)", grads.Bias, &a.gradBias, []int{s.H}},
	} {
		if !g.t.present() {
			continue
		}
		if err := checkTensor(g.name, g.layout, g.t, g.shape...); err != nil {
			return a, err
		}
		*g.to = g.t.Data
	}
	written := []struct {
		name string
		data []float32
	}{{"grad_input", a.gradInput}, {"grad_tables", a.gradTables}, {"grad_bias", a.gradBias}}
	for i, w := range written {
		for _, r := range []struct {
			name string
			data []float32
		}{{"input", a.input}, {"tables", a.tables}, {"grad_output", a.gradOutput}} {
			if overlaps(w.data, r.data) {
				return a, refuse(w.name, "apart from "+r.name, "overlapping memory")
			}
		}
		for _, other := range written[:i] {
			if overlaps(w.data, other.data) {
				return a, refuse(w.name, "apart from "+other.name, "overlapping memory")
			}
		}
	}
	return a, nil
}

// hashBackward computes gradients table by table: the tokens of a table are sorted by code, stably, and each row of the table meets
// its tokens' output gradients once, for its own gradient and for theirs. A table belongs to one worker, so nothing is added to by two.
type hashBackward struct {
	hashArgs
	prim    *tile.Primitives
	nt      func(*tile.Product)
	k       int
	group   int // rows side by side
	chunk   int // tables hashed together
	workers int
	work    []*hashBackwardWork
	ones    []float32
	every   []int32 // 0, 1, 2, ...
}

type hashBackwardWork struct {
	hasher  *hasher
	hashed  hashed
	dw      []float32 // (N, chunk)
	start   []int32   // 2^tau+1: where a code's tokens start in order
	order   []int32   // tokens by code
	weight  []float32 // of these
	e       []float32 // exp(-2|z|) of one token's chunk
	exp     tile.Exp
	gather  tile.Gather
	product tile.Product
}

func newHashBackward(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *hashBackward {
	s := p.Shape
	a := &hashBackward{prim: prim, nt: prim.NT[0].Run, k: (s.D-1)/s.Tau + 1, group: cfg["group"]}
	a.chunk = min(cfg["tables"], a.k)
	threads := worthwhile(p.Threads, (8*float64(s.N)*float64(a.k)+4*math.Ldexp(float64(a.k), s.Tau))*float64(s.H)/minWorkerBytes)
	a.workers = max(1, min(threads, a.k))
	a.ones, a.every = aligned(s.N), make([]int32, s.N)
	for i := range a.ones {
		a.ones[i], a.every[i] = 1, int32(i)
	}
	for range a.workers {
		m := s.N * a.chunk
		w := &hashBackwardWork{
			hasher: newHasher(p, prim, m), dw: aligned(m), start: make([]int32, 1<<s.Tau+1), order: make([]int32, s.N),
			weight: aligned(s.N), e: aligned(a.chunk * s.Tau),
			hashed: hashed{p: aligned(m), norm: aligned(m)},
		}
		a.work = append(a.work, w)
	}
	return a
}

func (a *hashBackward) parts() int { return a.workers }

func (a *hashBackward) part(i int) {
	w := a.work[i]
	a.bias(w, i)
	first, last := i*a.k/a.workers, (i+1)*a.k/a.workers
	for k := first; k < last; k += a.chunk {
		a.share(w, k, min(k+a.chunk, last))
	}
}

// bias sums this worker's columns of the output's gradient.
func (a *hashBackward) bias(w *hashBackwardWork, i int) {
	if a.gradBias == nil {
		return
	}
	s := a.problem.Shape
	const per = cacheLine / 4
	lines := (s.H + per - 1) / per
	j0, j1 := min(s.H, i*lines/a.workers*per), min(s.H, (i+1)*lines/a.workers*per)
	if j0 < j1 {
		a.sum(w, a.gradBias[j0:j1], a.every, a.ones, j0)
	}
}

// sum sets out to the weighted sum of some tokens' output gradients from column j on.
func (a *hashBackward) sum(w *hashBackwardWork, out []float32, tokens []int32, weight []float32, j int) {
	clear(out)
	rows := max(8, maxCallBytes/4/len(out))
	for i := 0; i < len(tokens); i += rows {
		n := min(rows, len(tokens)-i)
		w.gather = tile.Gather{Table: a.gradOutput[j:], Rows: tokens[i : i+n], Weight: weight[i : i+n], Out: out, LD: a.problem.Shape.H, N: len(out), Group: a.group}
		a.prim.Gather(&w.gather)
	}
}

// share computes the gradients of tables k0 to k1 and of the inputs that choose their rows.
func (a *hashBackward) share(w *hashBackwardWork, k0, k1 int) {
	if a.gradInput == nil && a.gradTables == nil {
		return
	}
	s, k := a.problem.Shape, k1-k0
	if s.N > 0 {
		w.hasher.rows(&w.hashed, a.input, s.N, k0, k1)
	}
	for c := range k {
		a.sortTokens(w, c, k)
		for code := range 1 << s.Tau {
			at := ((k0+c)<<s.Tau + code) * s.H
			first, last := w.start[code], w.start[code+1]
			tokens, weight := w.order[first:last], w.weight[first:last]
			if a.gradTables != nil {
				a.sum(w, a.gradTables[at:][:s.H], tokens, weight, 0)
			}
			if a.gradInput == nil {
				continue
			}
			for _, t := range tokens {
				w.product = tile.Product{A: a.tables[at:], B: a.gradOutput[int(t)*s.H:], C: w.dw[int(t)*k+c:], LDA: s.H, LDB: s.H, LDC: 1, M: 1, N: 1, K: s.H}
				a.nt(&w.product)
			}
		}
	}
	if a.gradInput != nil {
		a.inputs(w, k0, k1)
	}
}

// sortTokens orders the tokens by their code of table c of k, those of one code as they come.
func (a *hashBackward) sortTokens(w *hashBackwardWork, c, k int) {
	clear(w.start)
	n := a.problem.Shape.N
	for t := range n {
		w.start[w.hashed.code[t*k+c]+1]++
	}
	for i := range len(w.start) - 1 {
		w.start[i+1] += w.start[i]
	}
	for t := range n {
		code := w.hashed.code[t*k+c]
		at := w.start[code]
		w.order[at], w.weight[at] = int32(t), w.hashed.weight[t*k+c]
		w.start[code]++
	}
	copy(w.start[1:], w.start[:len(w.start)-1]) // each start has moved to its end
	w.start[0] = 0
}

// inputs turns the gradients of the weights of tables k0 to k1 into those of the inputs.
func (a *hashBackward) inputs(w *hashBackwardWork, k0, k1 int) {
	s, k := a.problem.Shape, k1-k0
	released := a.problem.Weighting == tile.WeightingReleased
	lo, hi := k0*s.Tau, min(k1*s.Tau, s.D)
	for t := range s.N {
		z, grad := a.input[t*s.D+lo:t*s.D+hi], a.gradInput[t*s.D+lo:t*s.D+hi]
		w.exp = tile.Exp{Src: z, Dst: w.e, Stride: 1, N: len(z), Scale: -2, Abs: true}
		a.prim.Exp(&w.exp)
		for c := range k {
			first, last := c*s.Tau, min((c+1)*s.Tau, len(z))
			dw, p, norm := w.dw[t*k+c], w.hashed.p[t*k+c], w.hashed.norm[t*k+c]
			for i := first; i < last; i++ {
				e := w.e[i]
				g := 2 * e / (1 + e)
				if released {
					g = 1 + norm*g
				}
				switch g *= p * dw; {
				case z[i] > 0:
					grad[i] = g
				case z[i] < 0:
					grad[i] = -g
				case z[i] == 0:
					grad[i] = g * 0
				default:
					grad[i] = z[i]
				}
			}
		}
	}
}
