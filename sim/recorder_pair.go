package sim

import "github.com/rooftune/rooftune/kernels/tile"

// pairPrimitives records bfloat16 products. They take half the time of float32 ones, so their flops are recorded as half as many: a
// device's rate for bfloat16 counts in Roof, not in the simulated time.
func (r *Recorder) pairPrimitives() *tile.PairPrimitives {
	kernels := func(like []tile.PairKernel, turned bool) []tile.PairKernel {
		var out []tile.PairKernel
		for _, k := range like {
			out = append(out, tile.PairKernel{MR: k.MR, NR: k.NR, Run: func(p *tile.PairProduct) { r.pairProduct(k, p, turned) }})
		}
		return out
	}
	return &tile.PairPrimitives{
		NN: kernels(r.source.Pair.NN, false), TN: kernels(r.source.Pair.TN, true), Pack: r.pairPack, Turn: r.pairTurn,
	}
}

// pairProduct records the order in which the kernels go: column panels outermost.
func (r *Recorder) pairProduct(k tile.PairKernel, p *tile.PairProduct, turned bool) {
	op := Op{Name: "pair nn", MR: k.MR, NR: k.NR, M: p.M, N: p.N, K: p.K, Accumulate: p.Beta != 0}
	if turned {
		op.Name = "pair tn"
	}
	for j := 0; j < p.N; j += k.NR {
		cols, deepest := min(k.NR, p.N-j), 0
		for i := 0; i < p.M; i += k.MR {
			rows, depth := min(k.MR, p.M-i), p.K
			if p.Lower {
				depth = min(depth, p.Lead+(i+rows+1)/2)
			}
			deepest = max(deepest, depth)
			if !turned {
				touchElements(r, &op, "A", p.A, block{i, 0, rows, depth, p.LDA}, Read)
			}
			op.product(rows, cols, depth)
		}
		if turned {
			touchElements(r, &op, "A", p.A, block{0, 0, p.K, p.M, p.LDA}, Read)
		}
		touchElements(r, &op, "B", p.B, block{0, j, deepest, cols, p.LDB}, Read)
		mode := Write
		if p.Beta != 0 {
			mode = Update
		}
		r.touch(&op, "C", p.C, block{0, j, p.M, cols, p.LDC}, mode)
	}
	r.row(&op, p.Row, p.M, (p.N+k.NR-1)/k.NR)
	r.done(op)
}

func (r *Recorder) pairPack(p *tile.PairPack) {
	op := Op{Name: "pair pack", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 4*op.Elements, 2*op.Elements
	r.touch(&op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
	if p.Mask != nil {
		op.LoadBytes += 4 * op.Elements
		r.touch(&op, "Mask", p.Mask, block{0, 0, p.M, p.N, p.LDM}, Read)
	}
	to := block{0, 0, p.M, (p.N + 1) / 2, p.LDD}
	if p.Across {
		to = block{0, 0, (p.M + 1) / 2, p.N, p.LDD}
	}
	touchElements(r, &op, "Dst", p.Dst, to, Write)
	r.row(&op, p.Row, p.M, 1)
	p.NonFinite = false
	r.done(op)
}

func (r *Recorder) pairTurn(p *tile.PairTurn) {
	op := Op{Name: "pair turn", M: p.M, N: p.N, Elements: int64(p.M) * int64(p.N)}
	op.LoadBytes, op.StoreBytes = 4*op.Elements, 4*op.Elements
	touchElements(r, &op, "Src", p.Src, block{0, 0, p.M, p.N, p.LDS}, Read)
	touchElements(r, &op, "Dst", p.Dst, block{0, 0, p.N, p.M, p.LDD}, Write)
	r.done(op)
}
