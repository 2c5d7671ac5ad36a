package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// minFolded bounds the decay that is folded into a run of tokens: the state is smaller by as much until the run
// ends, so that numbers near 2^-126 would lose digits.
const minFolded = 0x1p-32

// foldDecay turns the decay factors g of a run of tokens into arguments of tile.Recur, so that its blocks of
// tokens need no decay inside: decay[i] is 1 but where a run of folded tokens begins, always at a multiple of block.
//
// In a run from token a to token e the recurrence keeps S' = w_i S, w_i being the product of the factors after token i up to e:
// S' takes the run's whole decay at token a at once, token i's value enters as w_i v, and what is read is divided by w_i. At the end of
// the run w is 1, so S' is the state again. rowV gets w, rowO scale/w. Only factors in (0, 1] are folded, and while w stays at or
// above minFolded; a block with others is walked token by token.
func foldDecay(g []float32, block int, scale float32, decay, rowV, rowO []float32) {
	n := len(g)
	decay, rowV, rowO = decay[:n], rowV[:n], rowO[:n]
	w, pending := float32(1), false // of the run that the block to come may extend
	for end := n; end > 0; {
		start := (end - 1) / block * block
		p, ok := w, true
		for i := end - 1; i > start; i-- {
			rowV[i], rowO[i], decay[i] = p, scale/p, 1
			p *= g[i]
			ok = ok && g[i] > 0 && g[i] <= 1
		}
		rowV[start], rowO[start], decay[start] = p, scale/p, 1
		if !ok || p < minFolded {
			if pending { // the run begins after this block, which may begin one of its own
				decay[end] = w
				w, pending = 1, false
				continue
			}
			for i := start; i < end; i++ {
				rowV[i], rowO[i], decay[i] = 1, scale, g[i]
			}
			end = start
			continue
		}
		w = p * g[start]
		pending = g[start] > 0 && g[start] <= 1 && w >= minFolded
		if !pending {
			decay[start], w = w, 1
		}
		end = start
	}
	if pending {
		decay[0] = w
	}
}

// perHead repeats the factor of each of n tokens for the heads of a group, in place.
func perHead(row []float32, n, group int) {
	for i := n - 1; i >= 0 && group > 1; i-- {
		for h := range group {
			row[i*group+h] = row[i]
		}
	}
}

// expRows sets dst to the exponentials of n rows of some width, side by side.
func expRows(prim *tile.Primitives, exp *tile.Exp, pack *tile.Pack, dst, src []float32, ld, n, width int) {
	copyRows(prim, pack, dst, width, src, ld, nil, n, width)
	exponentials(prim, exp, dst[:n*width])
}

// exponentials takes numbers to their exponentials. A call for each row of a chunk took as long as the folding of decays and more.
func exponentials(prim *tile.Primitives, exp *tile.Exp, x []float32) {
	const most = 1 << 14 // of a call
	for len(x) > 0 {
		n := min(most, len(x))
		*exp = tile.Exp{Src: x, Dst: x, Stride: 1, N: n, Scale: 1}
		prim.Exp(exp)
		x = x[n:]
	}
}
