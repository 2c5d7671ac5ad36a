//go:build arm64 && !noasm

package asm

import "github.com/rooftune/rooftune/kernels/tile"

// The recurrence of the delta rules on NEON is made of the products, the substitution and the copies of this table: what is bound by multiply-adds is theirs. A block of
// tokens over a panel of columns takes these steps, each one call, with d the block's decay, C the block's record, and u solved for in place:
//
//	u = RowV v - Beta d (E S)
//	u = the solution of (I + Beta C) u
//	O = RowO (d Q S + C' u)
//	S = d S + Kᵀ u
const (
	deltaTokens  = 4
	deltaColumns = 16
)

// deltaShared are the tokens of a block where heads share the state.
var deltaShared = []int{deltaTokens, deltaTokens, deltaTokens, deltaTokens, deltaTokens, deltaTokens, deltaTokens}

// deltaWork is the room of a panel's block. Arguments of calls that point into it are local variables: stored in it, they would move it to the heap.
type deltaWork struct {
	u         [deltaTokens * deltaColumns]float32
	triangle  [deltaTokens * deltaTokens]float32 // of the products of erase keys or queries with keys
	row, beta [deltaTokens]float32
}

func deltaNEON(p *tile.Delta) {
	var w deltaWork
	for j := 0; j < p.N; j += deltaColumns {
		width := min(deltaColumns, p.N-j)
		for t := 0; t < p.T; {
			n := 1
			if p.C != nil && p.Block == deltaTokens && t%p.Block == 0 && t+p.Block <= p.T && undecayed(p, t+1, t+p.Block) {
				n = p.Block
			}
			w.tokens(p, t, n, j, width)
			t += n
		}
	}
}

// undecayed says whether no token from one to another decays the state.
func undecayed(p *tile.Delta, t, end int) bool {
	if p.Decay == nil {
		return true
	}
	for _, d := range p.Decay[t:end] {
		if d != 1 {
			return false
		}
	}
	return true
}

// tokens takes n tokens, one or a block, over a panel of columns from j on.
func (w *deltaWork) tokens(p *tile.Delta, t, n, j, width int) {
	decay := float32(1)
	if p.Decay != nil {
		decay = p.Decay[t]
	}
	if decay != 1 && (p.D != nil || decay == 0) { // a product would not read a state that it multiplies by 0
		w.scale(p, t, j, width, decay)
		decay = 1
	}
	if w.block(p, t, n, j, width, decay) {
		return
	}
	// A number that is not finite must not reach the tokens before it, which the block's triangle would multiply it by 0 for.
	for i := range n {
		w.block(p, t+i, 1, j, width, decay)
		decay = 1
	}
}

// scale decays the state of a panel by the decays of a token.
func (w *deltaWork) scale(p *tile.Delta, t, j, width int, decay float32) {
	if p.D != nil {
		pack := tile.Pack{Src: p.S[j:], Dst: p.S[j:], Row: p.D[t*p.LDD:], LDS: p.LDS, LDD: p.LDS, M: p.Dk, N: width}
		packNEON(&pack)
		return
	}
	for k := range p.Dk {
		row := p.S[k*p.LDS+j:][:width]
		for i := range row {
			row[i] *= decay
		}
	}
}

// block is tokens with one decay for the whole state. It returns false, with nothing written, if several tokens' updates are not all finite.
func (w *deltaWork) block(p *tile.Delta, t, n, j, width int, decay float32) bool {
	erase := p.E
	if erase == nil {
		erase = p.K
	}
	pack := tile.Pack{Src: p.V[t*p.LDV+j:], Dst: w.u[:], LDS: p.LDV, LDD: deltaColumns, M: n, N: width}
	if p.RowV != nil {
		pack.Row = p.RowV[t:]
	}
	packNEON(&pack)
	for i := range n {
		w.beta[i] = 1
		if p.Beta != nil {
			w.beta[i] = p.Beta[t+i]
		}
		w.row[i] = -w.beta[i] * decay
	}
	product := tile.Product{A: erase[t*p.LDK:], B: p.S[j:], C: w.u[:], Row: w.row[:], LDA: p.LDK, LDB: p.LDS, LDC: deltaColumns, M: n, N: width, K: p.Dk, Beta: 1}
	productNN4x16NEON(&product)
	if n == 1 {
		w.update(p, t, n, j, width, decay)
		product = tile.Product{A: p.Q[t*p.LDQ:], B: p.S[j:], C: p.O[t*p.LDO+j:], LDA: p.HeadQ, LDB: p.LDS, LDC: p.HeadO, M: p.Heads, N: width, K: p.Dk}
		if p.RowO != nil {
			product.Row = p.RowO[t*p.Heads:]
		}
		productNN4x16NEON(&product)
		return true
	}
	c := p.C[t/n*tile.Record(n, p.Heads):]
	at := 0
	for i := range n {
		row := w.triangle[i*n:][:n]
		clear(row)
		for k := range i {
			row[k] = w.beta[i] * c[at+k]
		}
		at += i + p.Heads*(i+1)
	}
	solve := tile.Solve{L: w.triangle[:], X: w.u[:], LDL: n, LDX: deltaColumns, N: n, W: width}
	solveNEON(&solve)
	pack = tile.Pack{Src: w.u[:], Dst: w.u[:], LDS: deltaColumns, LDD: deltaColumns, M: n, N: width}
	if packNEON(&pack); pack.NonFinite {
		return false
	}
	for h := range p.Heads {
		at = 0
		for i := range n {
			scale := float32(1)
			if p.RowO != nil {
				scale = p.RowO[(t+i)*p.Heads+h]
			}
			w.row[i] = scale * decay
			row := w.triangle[i*n:][:n]
			clear(row)
			for k, x := range c[at+i+h*(i+1):][:i+1] {
				row[k] = scale * x
			}
			at += i + p.Heads*(i+1)
		}
		product = tile.Product{A: p.Q[t*p.LDQ+h*p.HeadQ:], B: p.S[j:], C: p.O[t*p.LDO+h*p.HeadO+j:], Row: w.row[:], LDA: p.LDQ, LDB: p.LDS, LDC: p.LDO, M: n, N: width, K: p.Dk}
		productNN4x16NEON(&product)
		product.A, product.B, product.LDA, product.LDB, product.K = w.triangle[:], w.u[:], n, deltaColumns, n
		product.Row, product.Beta = nil, 1
		productNN4x16NEON(&product)
	}
	w.update(p, t, n, j, width, decay)
	return true
}

// update adds what n tokens write to the state of a panel after its decay.
func (w *deltaWork) update(p *tile.Delta, t, n, j, width int, decay float32) {
	product := tile.Product{A: p.K[t*p.LDK:], B: w.u[:], C: p.S[j:], LDA: p.LDK, LDB: deltaColumns, LDC: p.LDS, M: p.Dk, N: width, K: n, Beta: decay}
	productTN4x16NEON(&product)
}

// coupleNEON is tile.Delta's Couple for blocks of deltaTokens: the products of a block's rows with its keys, of which the record takes the triangles.
func coupleNEON(p *tile.Delta) {
	var product tile.Product
	var square [deltaTokens * deltaTokens]float32
	erase, bad := p.E, float32(0)
	if erase == nil {
		erase = p.K
	}
	record := tile.Record(p.Block, p.Heads)
	for b := range p.T / p.Block {
		t, c := b*p.Block, p.C[b*record:]
		for h := -1; h < p.Heads; h++ {
			product = tile.Product{A: erase[t*p.LDK:], B: p.K[t*p.LDK:], C: square[:], LDA: p.LDK, LDB: p.LDK, LDC: p.Block, M: p.Block, N: p.Block, K: p.Dk, Lower: true, Strict: 1}
			if h >= 0 {
				product.A, product.LDA, product.Strict = p.Q[t*p.LDQ+h*p.HeadQ:], p.LDQ, 0
			}
			productNT4x4NEON(&product)
			at := 0
			for i := range p.Block {
				row, n := square[i*p.Block:], i
				to := c[at:]
				if h >= 0 {
					to, n = c[at+i+h*(i+1):], i+1
				}
				for k, x := range row[:n] {
					to[k] = x
					bad += x - x
				}
				at += i + p.Heads*(i+1)
			}
		}
	}
	p.NonFinite = bad != 0
}
