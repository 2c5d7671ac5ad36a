package sim

// lightningForward is the forward launch of Lightning Attention-2: grid (B*H, dv/bv). A block keeps its
// dk x bv part of the state in registers, and a trip takes a chunk:
//
//	O = (Q Kᵀ . M) V + decay Q S;  S = decay S + (decay K)ᵀ V
//
// Q, K and their product are read and computed again by each of the dv/bv blocks of a head.
func lightningForward(b *gpuBuilder) {
	q, k := b.array("q", Input, int64(b.dk)), b.array("k", Input, int64(b.dk))
	v, o := b.array("v", Input, int64(b.dv)), b.array("o", Output, int64(b.dv))
	c := b.c
	b.launch("forward", b.heads*int64(b.nv), 2*c*b.dk+c*b.bv, b.dk*b.bv, b.dk*b.bv+c*c+c*b.bv, Loop{Trips: float64(b.chunks), Ops: []Op{
		b.product("q kᵀ", c, c, b.dk, true, false, b.tileOf(q, c, b.dk, Read, b.nv), b.tileOf(k, c, b.dk, Read, b.nv)),
		element("mask", c*c),
		b.product("p v", c, b.bv, c, true, true, b.tileOf(v, c, b.bv, Read, 1)),
		b.operand("state", b.dk, b.bv),
		b.product("q s", c, b.bv, b.dk, false, false),
		element("decay", c*b.bv+c*b.dk+b.dk*b.bv, b.tileOf(o, c, b.bv, Write, 1)),
		b.product("kᵀ v", b.dk, b.bv, c, false, false),
	}})
}

// lightningBackward has two launches. "intra", grid (B*H, T/chunk), takes what stays within a chunk:
//
//	dQ = (dO Vᵀ . M) K;  dK = (dO Vᵀ . M)ᵀ Q;  dV = (Q Kᵀ . M)ᵀ dO
//
// "inter", grid (B*H), goes forward over half chunks with the state S for dQ, and back with its gradient R for dK and dV, adding to
// what intra wrote.
func lightningBackward(b *gpuBuilder) {
	q, k, v := b.array("q", Input, int64(b.dk)), b.array("k", Input, int64(b.dk)), b.array("v", Input, int64(b.dv))
	do := b.array("do", Input, int64(b.dv))
	dq, dk, dv := b.array("dq", Output, int64(b.dk)), b.array("dk", Output, int64(b.dk)), b.array("dv", Output, int64(b.dv))
	c, wk, wv := b.c, b.dk, b.dv
	b.launch("intra", b.heads*b.chunks, 2*c*wk+2*c*wv, 0, 2*c*c+c*max(wk, wv), Loop{Trips: 1, Ops: []Op{
		b.product("do vᵀ", c, c, wv, true, false, b.tileOf(do, c, wv, Read, 1), b.tileOf(v, c, wv, Read, 1)),
		element("mask", c*c),
		b.product("ds k", c, wk, c, true, true, b.tileOf(k, c, wk, Read, 1), b.tileOf(dq, c, wk, Write, 1)),
		b.product("dsᵀ q", c, wk, c, false, true, b.tileOf(q, c, wk, Read, 1), b.tileOf(dk, c, wk, Write, 1)),
		b.product("q kᵀ", c, c, wk, true, false),
		element("mask", c*c),
		b.product("pᵀ do", c, wv, c, true, true, b.tileOf(dv, c, wv, Write, 1)),
	}})
	// The published kernel walks halves of the block, at least 16 rows.
	half := max(16, c/2)
	trips := float64((int64(b.shape.T) + int64(half) - 1) / int64(half))
	b.launch("inter", b.heads, 2*half*wk+2*half*wv, wk*wv, wk*wv+half*max(wk, wv),
		Loop{Trips: trips, Ops: []Op{
			b.operand("state", wk, wv),
			b.product("do sᵀ", half, wk, wv, true, false, b.tileOf(do, half, wv, Read, 1), b.tileOf(dq, half, wk, Update, 1)),
			b.product("kᵀ v", wk, wv, half, true, false, b.tileOf(k, half, wk, Read, 1), b.tileOf(v, half, wv, Read, 1)),
			element("decay", wk*wv+half*(wk+wv)),
		}},
		Loop{Trips: trips, Ops: []Op{
			b.operand("state gradient", wk, wv),
			b.product("v rᵀ", half, wk, wv, true, false, b.tileOf(v, half, wv, Read, 1), b.tileOf(dk, half, wk, Update, 1)),
			b.product("k r", half, wv, wk, false, false, b.tileOf(k, half, wk, Read, 1), b.tileOf(dv, half, wv, Update, 1)),
			b.product("qᵀ do", wk, wv, half, true, false, b.tileOf(q, half, wk, Read, 1), b.tileOf(do, half, wv, Read, 1)),
			element("decay", wk*wv+half*(wk+2*wv)),
		}},
	)
}
