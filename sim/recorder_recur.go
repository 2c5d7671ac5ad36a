package sim

import "github.com/rooftune/rooftune/kernels/tile"

// recur records the order in which the kernels go: column panels outermost, in each the tokens block by block, a block sweeping
// the panel's rows once. The tokens of a block with a decay inside go one at a time. Of a prefetch the number of lines is recorded, not
// a touch: it moves a read, but adds none.
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
			mode := stored(p.Stream)
			if p.Accumulate {
				mode = Update
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
				if j == 0 {
					op.Decays++
				}
				if p.D != nil {
					r.touch(&op, "D", p.D, block{i, 0, 1, p.Dk, p.LDD}, Read)
				}
			}
			op.Flops += 2 * int64(p.Dk) * int64(cols) * int64(n) * int64(1+p.Heads)
			i += n
		}
	}
	op.Ahead = prefetched(p)
	r.rowFactors(&op, p)
	op.Singles = recurSingles(tokens, p)
	r.done(op)
}

// delta records a recurrence of the delta rules as recur does that of linear attention. Blocks lie at multiples of their size.
func (r *Recorder) delta(kernel tile.DeltaKernel, p *tile.Delta) {
	tokens, nr := kernel.Block(p.Heads), kernel.NR
	op := Op{Name: "delta", MR: tokens, NR: nr, M: p.T, N: p.N, K: p.Dk, Group: p.Heads}
	mode := stored(p.Stream)
	for j := 0; j < p.N; j += nr {
		cols := min(nr, p.N-j)
		op.Singles = 0
		for i := 0; i < p.T; i += tokens {
			n := min(tokens, p.T-i)
			sweeps := 1 // a block's updates are taken while the next block reads
			if n > 1 && (p.C == nil || recurBlock(tokens, &p.Recur, i) == 1) {
				sweeps = 2 * n
			}
			if n == 1 || sweeps > 1 {
				op.Singles += n
			} else {
				op.LoadBytes += 4 * int64(tile.Record(tokens, p.Heads))
				op.Flops += 2 * int64(tile.Products(tokens, p.Heads)) * int64(cols)
				r.touch(&op, "C", p.C, block{0, i / tokens * tile.Record(tokens, p.Heads), 1, tile.Record(tokens, p.Heads), len(p.C)}, Read)
			}
			r.touch(&op, "S", p.S, block{0, j, p.Dk, cols, p.LDS}, Update)
			r.touch(&op, "K", p.K, block{i, 0, n, p.Dk, p.LDK}, Read)
			if p.E != nil {
				r.touch(&op, "E", p.E, block{i, 0, n, p.Dk, p.LDK}, Read)
			}
			r.touch(&op, "V", p.V, block{i, j, n, cols, p.LDV}, Read)
			for h := range p.Heads {
				r.touch(&op, "Q", p.Q, block{i, h * p.HeadQ, n, p.Dk, p.LDQ}, Read)
				r.touch(&op, "O", p.O, block{i, h*p.HeadO + j, n, cols, p.LDO}, mode)
			}
			op.LoadBytes += 4 * int64(p.Dk) * int64(cols*sweeps+n*(2+p.Heads))
			op.StoreBytes += 4 * int64(cols) * int64(p.Dk*max(1, sweeps/2)+n*p.Heads)
			op.Flops += 2 * int64(p.Dk) * int64(cols) * int64(n) * int64(2+p.Heads)
			for t := i; t < i+n; t++ {
				if decays(&p.Recur, t) {
					op.Flops += int64(p.Dk) * int64(cols)
					if j == 0 {
						op.Decays++
					}
					if p.D != nil {
						r.touch(&op, "D", p.D, block{t, 0, 1, p.Dk, p.LDD}, Read)
					}
				}
			}
		}
	}
	op.Ahead = prefetched(&p.Recur)
	r.rowFactors(&op, &p.Recur)
	if p.Beta != nil {
		r.touch(&op, "Beta", p.Beta, block{0, 0, 1, p.T, p.T}, Read)
	}
	r.done(op)
}

// steps records decode steps state by state: a panel is swept once to be read, and once more, beside the next panel's reading, to be updated.
func (r *Recorder) steps(nr int, p *tile.Steps) {
	op := Op{Name: "steps", MR: 1, NR: nr, M: len(p.Units), N: p.N, K: p.Dk, Group: 1}
	factors := 1
	if p.KeyDecay {
		factors = p.Dk
	}
	rows := int64(p.Dk)
	for _, u := range p.Units {
		r.touch(&op, "Q", p.Q, block{0, u.Q, 1, p.Dk, 0}, Read)
		r.touch(&op, "K", p.K, block{0, u.K, 1, p.Dk, 0}, Read)
		r.touch(&op, "Decay", p.Decay, block{0, u.Decay, 1, factors, 0}, Read)
		r.touch(&op, "Room", p.Room, block{0, 0, 1, 2 * p.Dk, 0}, Update)
		r.touch(&op, "Beta", p.Beta, block{0, u.Beta, 1, 1, 0}, Read)
		r.touch(&op, "Scale", p.Scale, block{0, 0, 1, 1, 0}, Read)
		for j := 0; j < p.N; j += nr {
			r.touch(&op, "V", p.V, block{0, u.V + j, 1, nr, 0}, Read)
			r.touch(&op, "S", p.S[u.S:], block{0, j, p.Dk, nr, p.LDS}, Update)
			r.touch(&op, "O", p.O, block{0, u.O + j, 1, nr, 0}, Write)
			op.LoadBytes += 4 * rows * int64(2*nr+4)
			op.StoreBytes += 4 * rows * int64(nr)
		}
		op.Flops += 6 * rows * int64(p.N)
		if one := (tile.Recur{Decay: p.Decay[u.Decay:]}); decays(&one, 0) {
			op.Flops += rows * int64(p.N)
			op.Decays++
		}
	}
	p.Done = len(p.Units)
	r.done(op)
}

// couple records the products inside blocks.
func (r *Recorder) couple(p *tile.Delta) {
	blocks, products, record := p.T/p.Block, tile.Products(p.Block, p.Heads), tile.Record(p.Block, p.Heads)
	n := blocks * p.Block
	op := Op{Name: "couple", MR: p.Block, M: n, N: products, K: p.Dk, Group: p.Heads, Elements: int64(blocks) * int64(products) * int64(p.Dk)}
	op.Flops = 2 * op.Elements
	op.LoadBytes, op.StoreBytes = 4*int64(n)*int64(2+p.Heads)*int64(p.Dk), 4*int64(blocks)*int64(record)
	r.touch(&op, "K", p.K, block{0, 0, n, p.Dk, p.LDK}, Read)
	if p.E != nil {
		r.touch(&op, "E", p.E, block{0, 0, n, p.Dk, p.LDK}, Read)
	}
	for h := range p.Heads {
		r.touch(&op, "Q", p.Q, block{0, h * p.HeadQ, n, p.Dk, p.LDQ}, Read)
	}
	r.touch(&op, "C", p.C, block{0, 0, blocks, record, record}, Write)
	p.NonFinite = false
	r.done(op)
}

// prefetched counts the lines that a recurrence prefetches.
func prefetched(p *tile.Recur) (lines int) {
	for _, f := range p.Prefetch {
		lines += p.T * f.Lines
	}
	return lines
}

// rowFactors records the factors of the tokens. Where each row of the state has its own (D), those only say for which tokens, and may be a constant.
func (r *Recorder) rowFactors(op *Op, p *tile.Recur) {
	for _, f := range []struct {
		name   string
		values []float32
		n      int
	}{{"Decay", p.Decay, p.T}, {"RowV", p.RowV, p.T}, {"RowO", p.RowO, p.T * p.Heads}} {
		if f.values != nil && (f.name != "Decay" || p.D == nil) {
			r.touch(op, f.name, f.values, block{0, 0, 1, f.n, f.n}, Read)
		}
	}
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
