package kernels

import (
	"math"

	"github.com/rooftune/rooftune/kernels/tile"
)

// HashLayer computes MemoryFormer's memory layer (Ding et al. 2024, section 3): each input row is cut
// in K = ceil(d/Tau) sub-vectors z_k (the last padded with zeros), whose signs give a code (bit = z >= 0, the first
// element the most significant), and
//
//	output = bias + sum_k w_k tables[k, code_k, :]
//
// with w_k = prod_i 1/(1+exp(-2|z_ki|)) in the paper's weighting and |z_k|_1
// times that in the released code's. Values may be used by many goroutines at once.
type HashLayer struct {
	Tau       int    // bits of a code, 1 to 16
	Weighting string // tile.WeightingPaper (also "") or tile.WeightingReleased
	Threads   int    // workers, 0 for all that this process may use
	// Candidate runs this ISA and config in place of the selected ones; nil leaves the choice to the library.
	Candidate *tile.Candidate
}

// HashInputs are the arrays of a hash layer.
type HashInputs struct {
	Input  Tensor // (N, d)
	Tables Tensor // (K, 2^Tau, h)
	Bias   Tensor // (h), optional
}

// HashOutputs are what a hash layer writes. Codes and Weights are (N, K), or nil where they are not wanted.
type HashOutputs struct {
	Output  Tensor // (N, h)
	Codes   []int32
	Weights []float32
}

// maxTau keeps a table's rows few enough for an int32 index with any practical K.
const maxTau = 16

type hashArgs struct {
	problem             tile.Problem
	input, tables, bias []float32
	output, weights     []float32
	codes               []int32
}

// Forward computes the layer. It returns an *ArgumentError that names the argument if one is wrong, before
// anything is written.
func (o *HashLayer) Forward(out *HashOutputs, in *HashInputs) error {
	args, err := o.check(out, in)
	if err != nil {
		return err
	}
	r, err := resolveGiven(args.problem, o.Candidate)
	if err != nil {
		return err
	}
	c := r.take()
	defer r.give(c)
	args.problem = r.choice.Problem // with its thread count
	c.hash.set(args)
	c.run()
	return nil
}

func (o *HashLayer) check(out *HashOutputs, in *HashInputs) (a hashArgs, err error) {
	if in == nil {
		return a, refuse("in", "non-nil", "nil")
	}
	if out == nil {
		return a, refuse("out", "non-nil", "nil")
	}
	if o.Tau < 1 || o.Tau > maxTau {
		return a, refuse("Tau", "1 to 16", "%d", o.Tau)
	}
	if o.Threads < 0 {
		return a, refuse("Threads", "0 (all) or positive", "%d", o.Threads)
	}
	weighting := o.Weighting
	if weighting == "" {
		weighting = tile.WeightingPaper
	}
	if weighting != tile.WeightingPaper && weighting != tile.WeightingReleased {
		return a, refuse("Weighting", `"paper" or "released"`, "%q", o.Weighting)
	}
	if len(in.Input.Shape) != 2 {
		return a, refuse("input", "rank 2, (N,d)", "rank %d, shape %v", len(in.Input.Shape), in.Input.Shape)
	}
	n, d := in.Input.Shape[0], in.Input.Shape[1]
	if d <= 0 {
		return a, refuse("input", "at least 1 wide, (N,d)", "shape %v", in.Input.Shape)
	}
	if len(in.Tables.Shape) != 3 {
		return a, refuse("tables", "rank 3, (K,2^tau,h)", "rank %d, shape %v", len(in.Tables.Shape), in.Tables.Shape)
	}
	k, h := (d-1)/o.Tau+1, in.Tables.Shape[2]
	if h <= 0 {
		return a, refuse("tables", "at least 1 wide, (K,2^tau,h)", "shape %v", in.Tables.Shape)
	}
	if k > math.MaxInt32>>o.Tau {
		return a, refuse("input", "narrow enough for 2^31 table rows", "width %d with tau %d", d, o.Tau)
	}
	if err := checkTensor("input", "(N,d)", in.Input, n, d); err != nil {
		return a, err
	}
	if err := checkTensor("tables", "(K,2^tau,h) with K = ceil(d/tau)", in.Tables, k, 1<<o.Tau, h); err != nil {
		return a, err
	}
	if err := checkTensor("output", "(N,h)", out.Output, n, h); err != nil {
		return a, err
	}
	if in.Bias.present() {
		if err := checkTensor("bias", "(h)", in.Bias, h); err != nil {
			return a, err
		}
	}
	if out.Codes != nil && len(out.Codes) != n*k {
		return a, refuse("codes", "(N,K) or nil", "%d elements for N %d, K %d", len(out.Codes), n, k)
	}
	if out.Weights != nil && len(out.Weights) != n*k {
		return a, refuse("weights", "(N,K) or nil", "%d elements for N %d, K %d", len(out.Weights), n, k)
	}
	a = hashArgs{
		problem: tile.Problem{Op: tile.HashLayer, Shape: tile.Shape{N: n, D: d, H: h, Tau: o.Tau}, DType: "float32",
			Dir: "fwd", Threads: o.Threads, Weighting: weighting},
		input: in.Input.Data, tables: in.Tables.Data, bias: in.Bias.Data,
		output: out.Output.Data, weights: out.Weights, codes: out.Codes,
	}
	return a, a.checkAliases()
}

func (a *hashArgs) checkAliases() error {
	for _, in := range []struct {
		name string
		data []float32
	}{{"input", a.input}, {"tables", a.tables}, {"bias", a.bias}} {
		if overlaps(a.output, in.data) {
			return refuse("output", "apart from "+in.name, "overlapping memory")
		}
		if overlaps(a.weights, in.data) {
			return refuse("weights", "apart from "+in.name, "overlapping memory")
		}
		if overlaps(a.codes, in.data) {
			return refuse("codes", "apart from "+in.name, "overlapping memory")
		}
	}
	if overlaps(a.output, a.weights) || overlaps(a.output, a.codes) || overlaps(a.codes, a.weights) {
		return refuse("output", "apart from codes and weights, and these from each other", "overlapping memory")
	}
	return nil
}

// hashLayer is a prepared call: hash a block of tokens, then add their table
// rows, a range of tables and of columns at a time.
type hashLayer struct {
	hashArgs
	prim    *tile.Primitives
	k       int
	group   int // rows side by side
	cols    int // columns of one pass
	pass    int // tables of one pass over a block of tokens: all of them is token-major
	block   int // tokens hashed at a time
	workers int
	byToken bool // workers split tokens, else columns
	work    []*hashWork
}

type hashWork struct {
	e       []float32 // exp(-2|z|)
	rows    []int32
	weights []float32
	exp     tile.Exp
	gather  tile.Gather
}

// hashBlock is the number of tokens hashed at a time: codes and weights of a block stay in L1 or L2.
const hashBlock = 64

// maxCallBytes bounds the bytes that one gather call reads, at the slow pace of DRAM.
const maxCallBytes = 1 << 20

func newHashLayer(p tile.Problem, prim *tile.Primitives, cfg tile.Config) *hashLayer {
	s := p.Shape
	a := &hashLayer{
		prim: prim, k: (s.D + s.Tau - 1) / s.Tau, group: cfg["group"],
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
		a.work = append(a.work, &hashWork{
			e: aligned(a.k * s.Tau), rows: make([]int32, a.block*a.k), weights: aligned(a.block * a.k),
		})
	}
	return a
}

func (a *hashLayer) set(args hashArgs) { a.hashArgs = args }
func (a *hashLayer) release()          { a.hashArgs = hashArgs{} }
func (a *hashLayer) parts() int        { return a.workers }

func (a *hashLayer) part(i int) {
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
func (a *hashLayer) tokens(w *hashWork, t, n, j0, j1 int, publish bool) {
	a.hash(w, t, n, publish)
	for j := j0; j < j1; j += a.cols {
		a.gather(w, t, n, j, min(a.cols, j1-j))
	}
}

// hash fills table rows and weights of n tokens from token t, and the caller's if it wants them.
func (a *hashLayer) hash(w *hashWork, t, n int, publish bool) {
	s := a.problem.Shape
	released := a.problem.Weighting == tile.WeightingReleased
	for i := range n {
		x := a.input[(t+i)*s.D:][:s.D]
		w.exp = tile.Exp{Src: x, Dst: w.e, Stride: 1, N: s.D, Scale: -2, Abs: true}
		a.prim.Exp(&w.exp)
		for pad := s.D; pad < a.k*s.Tau; pad++ {
			w.e[pad] = 1
		}
		rows, weights := w.rows[i*a.k:][:a.k], w.weights[i*a.k:][:a.k]
		for k := range rows {
			lo := k * s.Tau
			z := x[lo:min(lo+s.Tau, s.D)]
			code, norm := 0, float32(0)
			for _, v := range z {
				code <<= 1
				if v >= 0 {
					code |= 1
				}
				norm += float32(math.Abs(float64(v)))
			}
			for range s.Tau - len(z) {
				code = code<<1 | 1
			}
			d := float32(1)
			for _, e := range w.e[lo : lo+s.Tau] {
				d *= 1 + e
			}
			rows[k] = int32(k<<s.Tau | code)
			weights[k] = 1 / d
			if released {
				weights[k] *= norm
			}
			if publish && a.codes != nil {
				a.codes[(t+i)*a.k+k] = int32(code)
			}
		}
		if publish && a.weights != nil {
			copy(a.weights[(t+i)*a.k:], weights)
		}
	}
}

func (a *hashLayer) gather(w *hashWork, t, n, j, cols int) {
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
				w.gather = tile.Gather{
					Table: a.tables[j:], Rows: w.rows[at : at+m], Weight: w.weights[at : at+m],
					Out: a.output[(t+i)*s.H+j:][:cols], LD: s.H, N: cols, Group: a.group,
				}
				a.prim.Gather(&w.gather)
			}
		}
	}
}
