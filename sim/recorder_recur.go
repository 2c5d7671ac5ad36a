package sim

import "github.com/rooftune/rooftune/kernels/tile"

// recur records the order in which the kernels go: column panels outermost, in each the tokens block by block, a block sweeping
// the panel's rows once. The tokens of a block with a decay inside go one at a time. A prefetch
// is not recorded: it moves a read, but adds none.
func (r *Recorder) recur(kernel tile.RecurKernel, p *tile.Recur) {
	tokens, nr := kernel.Block(p.Heads), kernel.NR
	op := Op{Name: "recur", MR: tokens, NR: nr, M: p.T, N: p.N, K: p.Dk, Group: p.Heads, Accumulate: p.Accumulate}
	for j := 0; j < p.N; j += nr {
		cols := min(nr, p.N-j)
		for i := 0; i < p.T; {
			n := recurBlock(tokens, p, i)
			t := i
			if p.Reverse {
				t = p.T - i - n
			}
			r.touch(&op, "S", p.S, block{0, j, p.Dk, cols, p.LDS}, Update)
			r.touch(&op, "K", p.K, block{t, 0, n, p.Dk, p.LDK}, Read)
			r.touch(&op, "V", p.V, block{t, j, n, cols, p.LDV}, Read)
			mode := Write
			switch {
			case p.Accumulate:
				mode = Update
			case p.Stream:
				mode = Stream
			}
			for h := range p.Heads {
				r.touch(&op, "Q", p.Q, block{t, h * p.HeadQ, n, p.Dk, p.LDQ}, Read)
				r.touch(&op, "O", p.O, block{t, h*p.HeadO + j, n, cols, p.LDO}, mode)
			}
			sweeps := 1
			if n == 1 {
				sweeps = (p.Heads + recurHeads - 1) / recurHeads
			}
			op.LoadBytes += 4 * int64(p.Dk) * int64(cols*sweeps+n*(1+p.Heads))
			op.StoreBytes += 4 * int64(cols) * int64(p.Dk+n*p.Heads)
			if decays(p, i) {
				op.Flops += int64(p.Dk) * int64(cols)
				if p.D != nil {
					r.touch(&op, "D", p.D, block{i, 0, 1, p.Dk, p.LDD}, Read)
				}
			}
			op.Flops += 2 * int64(p.Dk) * int64(cols) * int64(n) * int64(1+p.Heads)
			i += n
		}
	}
	for name, row := range map[string][]float32{"Decay": p.Decay, "RowV": p.RowV} {
		if row != nil {
			r.touch(&op, name, row, block{0, 0, 1, p.T, p.T}, Read)
		}
	}
	if p.RowO != nil {
		r.touch(&op, "RowO", p.RowO, block{0, 0, 1, p.T * p.Heads, p.T * p.Heads}, Read)
	}
	op.Singles = recurSingles(tokens, p)
	r.ops = append(r.ops, op)
}

// recurHeads is how many heads the walk of single tokens reads in one sweep.
const recurHeads = 4

func decays(p *tile.Recur, i int) bool { return i < len(p.Decay) && p.Decay[i] != 1 }

// recurBlock is how many tokens the kernels take together from token i on.
func recurBlock(tokens int, p *tile.Recur, i int) int {
	if p.T-i < tokens {
		return 1
	}
	for k := 1; k < tokens; k++ {
		if decays(p, i+k) {
			return 1
		}
	}
	return tokens
}

// recurSingles counts the tokens that are walked one at a time.
func recurSingles(tokens int, p *tile.Recur) (n int) {
	for i := 0; i < p.T; {
		b := recurBlock(tokens, p, i)
		if b == 1 {
			n++
		}
		i += b
	}
	return n
}
