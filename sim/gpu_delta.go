package sim

// deltaArrays are the buffers of the staged delta rule.
type deltaArrays struct {
	q, k, v, beta    int
	a                int // inverse of the chunk's triangular matrix, in the dtype
	w, u, states, un int
}

func (b *gpuBuilder) deltaInputs() (x deltaArrays) {
	x.q, x.k = b.array("q", Input, int64(b.dk)), b.array("k", Input, int64(b.dk))
	x.v, x.beta = b.array("v", Input, int64(b.dv)), b.array("beta", Input, 1)
	return x
}

// deltaForward is chunk_delta_rule of flash-linear-attention: with B = diag(beta) per chunk
//
//	kkt    L = strict lower (B K Kᵀ)
//	solve  A = (I + L)⁻¹
//	wy     W = A B K, U = A B V
//	state  Un = U - W S;  S += Kᵀ Un     chunk after chunk, grid (B*H, dv/bv); S and Un are written
//	output O = Q S + (Q Kᵀ . M) Un
func deltaForward(b *gpuBuilder) {
	x := b.deltaInputs()
	o := b.array("o", Output, int64(b.dv))
	c := b.c
	l := b.sized("l", Scratch, b.heads*b.chunks*int64(c)*int64(c)*4)
	x.a = b.sized("a", Scratch, b.heads*b.chunks*int64(c)*int64(c)*b.size)
	all := b.heads * b.chunks
	b.launch("kkt", all, c*b.bk, 0, c*c,
		Loop{Trips: float64(b.nk), Ops: []Op{b.product("k kᵀ", c, c, b.bk, true, false, b.tileOf(x.k, c, b.bk, Read, 1))}},
		Loop{Trips: 1, Ops: []Op{element("beta, mask", 2*c*c, b.tileOf(x.beta, c, 1, Read, 1), wide(l, c, c, Write))}},
	)
	b.launch("solve", all, 0, 2*c*c, 2*c*c, Loop{Trips: 1, Ops: b.solveSteps(l, x.a)})
	b.wy(&x)
	b.stateSweep(&x)
	b.launch("output", all*int64(b.nv), 2*c*b.bk+b.bk*b.bv, c*b.bv, c*b.bv+c*c,
		Loop{Trips: float64(b.nk), Ops: []Op{
			b.product("q s", c, b.bv, b.bk, true, false, b.tileOf(x.q, c, b.bk, Read, b.nv), b.tileOf(x.states, b.bk, b.bv, Read, 1)),
			b.product("q kᵀ", c, c, b.bk, false, false, b.tileOf(x.k, c, b.bk, Read, b.nv)),
		}},
		Loop{Trips: 1, Ops: []Op{
			element("mask, scale", c*c+c*b.bv),
			b.product("p un", c, b.bv, c, true, true, b.tileOf(x.un, c, b.bv, Read, 1), b.tileOf(o, c, b.bv, Write, 1)),
		}},
	)
}

// solveSteps inverts a unit lower triangular matrix: diagonal blocks of 16 row by row,
// then doubled by products of blocks until they span the chunk.
func (b *gpuBuilder) solveSteps(from, to int) []Op {
	const block = 16
	// One row waits for the one before; 16 rows take about four times a product's chain (doubtful).
	rows := Op{Name: "substitute", Chain: 4, Elements: int64(b.c) * block * block, Touches: []Touch{wide(from, b.c, b.c, Read)}}
	ops := []Op{rows}
	for n := block; n < b.c; n *= 2 {
		pairs := b.c / (2 * n)
		for step := range 2 { // -A22 L21 A11
			op := b.product("merge", n, n, n, true, step == 1)
			op.Flops *= int64(pairs)
			op.LoadBytes *= int64(pairs)
			ops = append(ops, op)
		}
	}
	return append(ops, element("store", b.c*b.c, b.tileOf(to, b.c, b.c, Write, 1)))
}

func (b *gpuBuilder) wy(x *deltaArrays) {
	c := b.c
	x.w, x.u = b.array("w", Scratch, int64(b.dk)), b.array("u", Scratch, int64(b.dv))
	b.launch("wy", b.heads*b.chunks, c*max(b.bk, b.bv), c*c, c*max(b.bk, b.bv),
		Loop{Trips: 1, Ops: []Op{element("a", c*c, b.tileOf(x.a, c, c, Read, 1), b.tileOf(x.beta, c, 1, Read, 1))}},
		Loop{Trips: float64(b.nv), Ops: []Op{element("beta v", c*b.bv),
			b.product("a v", c, b.bv, c, true, false, b.tileOf(x.v, c, b.bv, Read, 1), b.tileOf(x.u, c, b.bv, Write, 1))}},
		Loop{Trips: float64(b.nk), Ops: []Op{element("beta k", c*b.bk),
			b.product("a k", c, b.bk, c, true, false, b.tileOf(x.k, c, b.bk, Read, 1), b.tileOf(x.w, c, b.bk, Write, 1))}},
	)
}

// stateSweep writes the state before each chunk and Un.
func (b *gpuBuilder) stateSweep(x *deltaArrays) {
	c := b.c
	x.states = b.sized("states", Scratch, b.heads*b.chunks*int64(b.dk)*int64(b.dv)*b.size)
	x.un = b.array("un", Scratch, int64(b.dv))
	b.launch("state", b.heads*int64(b.nv), 2*c*b.dk+c*b.bv, b.dk*b.bv+c*b.bv, b.dk*b.bv+c*b.bv, Loop{Trips: float64(b.chunks), Ops: []Op{
		{Name: "state", Elements: int64(b.dk) * int64(b.bv), StoreBytes: int64(b.dk) * int64(b.bv) * b.size, Touches: []Touch{b.tileOf(x.states, b.dk, b.bv, Write, 1)}},
		b.product("w s", c, b.bv, b.dk, true, false, b.tileOf(x.w, c, b.dk, Read, b.nv)),
		element("u - w s", c*b.bv, b.tileOf(x.u, c, b.bv, Read, 1), b.tileOf(x.un, c, b.bv, Write, 1)),
		b.operand("un", c, b.bv),
		b.product("kᵀ un", b.dk, b.bv, c, true, false, b.tileOf(x.k, c, b.dk, Read, b.nv)),
	}})
}

// deltaBackward recomputes W, U, the states and Un from the kept inverse, then with P = Q Kᵀ . M, dO and the gradient R of the state
//
//	dv local  dUn = Pᵀ dO
//	dstate    dUn += K R;  R += Qᵀ dO - Wᵀ dUn   chunk after chunk backwards; R and dUn are written
//	dqkw      dQ = dO Sᵀ + (dO Unᵀ . M) K;  dK = Un Rᵀ + (dO Unᵀ . M)ᵀ Q;  dW = -dUn Sᵀ
//	wy bwd    through W, U and the inverse to dK, dV and dbeta
func deltaBackward(b *gpuBuilder) {
	x := b.deltaInputs()
	c := b.c
	x.a = b.sized("a", Input, b.heads*b.chunks*int64(c)*int64(c)*b.size)
	do := b.array("do", Input, int64(b.dv))
	dq, dk := b.array("dq", Output, int64(b.dk)), b.array("dk", Output, int64(b.dk))
	dv, dbeta := b.array("dv", Output, int64(b.dv)), b.array("dbeta", Output, 1)
	b.wy(&x)
	b.stateSweep(&x)
	all := b.heads * b.chunks
	dun := b.array("dun", Scratch, int64(b.dv))
	dstates := b.sized("dstates", Scratch, b.heads*b.chunks*int64(b.dk)*int64(b.dv)*b.size)
	dw := b.array("dw", Scratch, int64(b.dk))
	b.launch("dv local", all, max(2*c*b.bk, c*b.bv), c*c, c*c+c*b.bv,
		Loop{Trips: float64(b.nk), Ops: []Op{b.product("k qᵀ", c, c, b.bk, true, false, b.tileOf(x.q, c, b.bk, Read, 1), b.tileOf(x.k, c, b.bk, Read, 1))}},
		Loop{Trips: 1, Ops: []Op{element("mask", c*c)}},
		Loop{Trips: float64(b.nv), Ops: []Op{b.product("pᵀ do", c, b.bv, c, true, false, b.tileOf(do, c, b.bv, Read, 1), b.tileOf(dun, c, b.bv, Write, 1))}},
	)
	b.launch("dstate", b.heads*int64(b.nv), 3*c*b.dk+2*c*b.bv, b.dk*b.bv, b.dk*b.bv+c*b.bv, Loop{Trips: float64(b.chunks), Ops: []Op{
		{Name: "state gradient", Elements: int64(b.dk) * int64(b.bv), StoreBytes: int64(b.dk) * int64(b.bv) * b.size, Touches: []Touch{b.tileOf(dstates, b.dk, b.bv, Write, 1)}},
		b.product("k r", c, b.bv, b.dk, true, false, b.tileOf(x.k, c, b.dk, Read, b.nv), b.tileOf(dun, c, b.bv, Update, 1)),
		b.product("qᵀ do", b.dk, b.bv, c, false, false, b.tileOf(x.q, c, b.dk, Read, b.nv), b.tileOf(do, c, b.bv, Read, 1)),
		b.operand("dun", c, b.bv),
		b.product("wᵀ dun", b.dk, b.bv, c, true, false, b.tileOf(x.w, c, b.dk, Read, b.nv)),
	}})
	b.launch("dqkw", all*int64(b.nk), 3*c*b.bv+2*b.bk*b.bv, c*c, 3*c*b.bk+c*c,
		Loop{Trips: float64(b.nv), Ops: []Op{
			b.product("do unᵀ", c, c, b.bv, true, false, b.tileOf(do, c, b.bv, Read, b.nk), b.tileOf(x.un, c, b.bv, Read, b.nk)),
			b.product("do sᵀ", c, b.bk, b.bv, false, false, b.tileOf(x.states, b.bk, b.bv, Read, 1)),
			b.product("un rᵀ", c, b.bk, b.bv, false, false, b.tileOf(dstates, b.bk, b.bv, Read, 1)),
			b.product("dun sᵀ", c, b.bk, b.bv, false, false, b.tileOf(dun, c, b.bv, Read, b.nk)),
		}},
		Loop{Trips: 1, Ops: []Op{
			element("mask, scale", c*c+2*c*b.bk),
			b.product("ds k", c, b.bk, c, true, true, b.tileOf(x.k, c, b.bk, Read, 1), b.tileOf(dq, c, b.bk, Write, 1)),
			b.product("dsᵀ q", c, b.bk, c, false, true, b.tileOf(x.q, c, b.bk, Read, 1), b.tileOf(dk, c, b.bk, Write, 1)),
			element("dw", c*b.bk, b.tileOf(dw, c, b.bk, Write, 1)),
		}},
	)
	b.launch("wy bwd", all, c*max(2*b.bk, 2*b.bv), 2*c*c, 2*c*c+c*max(b.bk, b.bv),
		Loop{Trips: 1, Ops: []Op{element("a", c*c, b.tileOf(x.a, c, c, Read, 1), b.tileOf(x.beta, c, 1, Read, 1), b.tileOf(dbeta, c, 1, Write, 1))}},
		Loop{Trips: float64(b.nv), Ops: []Op{
			b.product("du vᵀ", c, c, b.bv, true, false, b.tileOf(dun, c, b.bv, Read, 1), b.tileOf(x.v, c, b.bv, Read, 1)),
			b.product("aᵀ du", c, b.bv, c, false, false, b.tileOf(dv, c, b.bv, Write, 1)),
			element("beta", 3*c*b.bv),
		}},
		Loop{Trips: float64(b.nk), Ops: []Op{
			b.product("dw kᵀ", c, c, b.bk, true, false, b.tileOf(dw, c, b.bk, Read, 1), b.tileOf(x.k, c, b.bk, Read, 1)),
			b.product("aᵀ dw", c, b.bk, c, false, false, b.tileOf(dk, c, b.bk, Update, 1)),
			element("beta", 3*c*b.bk),
		}},
		Loop{Trips: 1, Ops: []Op{
			b.product("aᵀ da", c, c, c, true, false),
			b.product("aᵀ da aᵀ", c, c, c, true, false),
		}},
		Loop{Trips: float64(b.nk), Ops: []Op{
			b.product("dl k", c, b.bk, c, true, false, b.tileOf(x.k, c, b.bk, Read, 1)),
			b.product("dlᵀ k", c, b.bk, c, false, false, b.tileOf(dk, c, b.bk, Update, 1)),
			element("beta", 2*c*b.bk),
		}},
	)
}
