package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// solveBlock is how many tokens' updates are solved for in float32 at a time. What blocks before them gave is subtracted as a product of pairs.
const solveBlock = 16

// pairDelta is what a worker of pairAttention needs besides for a delta rule, of one chunk.
type pairDelta struct {
	left        []uint32  // factors of the updates: keys, then products of keys, both with the erasing gates
	l           []float32 // the products inside blocks, solveBlock wide
	u           []float32 // updates of a panel
	beta        []float32
	erase, rowL []float32 // -beta c and -beta
}

func newPairDelta(chunk, depth, panel int) pairDelta {
	return pairDelta{
		left: alignedPairs(chunk * depth), l: aligned(chunk * solveBlock), u: aligned(chunk * panel),
		beta: aligned(chunk), erase: aligned(chunk), rowL: aligned(chunk),
	}
}

// betas fills the gates of a chunk, whose decays are there, and says whether they are finite.
func (a *pairAttention) betas(w *pairWork, u pairUnit, row, n int, c []float32) bool {
	sum := float32(0)
	for i := range n {
		b := a.beta[(row+i)*a.betaHeads+u.h%a.betaHeads]
		w.delta.beta[i], w.delta.erase[i], w.delta.rowL[i] = b, -b*c[i], -b
		sum += b * 0
	}
	return sum == 0
}

// couple makes the left factors of the updates of n tokens, whose keys are rounded and turned.
func (a *pairAttention) couple(w *pairWork, key []float32, ldk int, mask []float32, n int) bool {
	lda := a.depth()
	if !a.round(w, w.delta.left, lda, key, ldk, w.delta.erase, n, a.problem.Shape.Dk, false) {
		return false
	}
	a.products(w, w.k, roundUp(a.keys, pairBlock), nil, n)
	for i := range n {
		at := i*a.ld + i/solveBlock*solveBlock
		p, b := w.p[at:at+i%solveBlock], w.delta.beta[i]
		l, d := w.delta.l[i*solveBlock:][:len(p)], mask[at:][:len(p)]
		for j, x := range p {
			l[j] = b * d[j] * x
		}
		w.p[i*a.ld+i] = 0
	}
	w.pack = tile.PairPack{Src: w.p, Row: w.delta.rowL, Mask: mask, Dst: w.delta.left[a.keys:], LDS: a.ld, LDM: a.ld, LDD: lda, M: n, N: n}
	a.prim.Pair.Pack(&w.pack)
	return !w.pack.NonFinite
}

// updates solves for the updates of n tokens on a panel whose state lies rounded in w.right, and puts them, rounded, below it. It returns false if it meets anything
// that is not finite.
func (a *pairAttention) updates(w *pairWork, value []float32, ldv, n, cols int) bool {
	lda, x := a.depth(), w.delta.u
	if !copyRows(a.prim, &w.copying, x, cols, value, ldv, w.delta.beta, n, cols) {
		return false
	}
	for i := 0; i < n; i += solveBlock {
		m := min(solveBlock, n-i)
		w.product = tile.PairProduct{A: w.delta.left[i*lda:], B: w.right, C: x[i*cols:], LDA: lda, LDB: cols, LDC: cols, M: m, N: cols, K: a.keys + i/2, Beta: 1}
		a.nn(&w.product)
		w.solve = tile.Solve{L: w.delta.l[i*solveBlock:], X: x[i*cols:], LDL: solveBlock, LDX: cols, N: m, W: cols}
		a.prim.Solve(&w.solve)
		if !a.round(w, w.right[(a.keys+i/2)*cols:], cols, x[i*cols:], cols, nil, m, cols, true) {
			return false
		}
	}
	return true
}
