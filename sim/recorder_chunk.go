package sim

import "github.com/rooftune/rooftune/kernels/tile"

// A chunkRecorder records the steps of a chunk as the products and transpositions that they are made of, in their order. Of a step that is one call, each is
// a call here.
type chunkRecorder struct{ *Recorder }

func (r *Recorder) chunk() *tile.ChunkKernels {
	if r.source.Chunk == nil {
		return nil
	}
	c := chunkRecorder{r}
	return &tile.ChunkKernels{Forward: c.forward, Begin: c.begin, Query: c.query, End: c.end}
}

const chunkTokens = tile.ChunkTokens

// channelRows are the rows of the register tiles whose columns are a chunk's tokens, updateTile is that of a state's update.
func (r chunkRecorder) channelRows() int {
	if r.source.ISA == tile.AVX512 {
		return 16
	}
	return 6
}

func (r chunkRecorder) updateTile() (rows, cols int) {
	if r.source.ISA == tile.AVX512 {
		return 8, 32
	}
	return 6, 16
}

// along records C += A B with B turned or a square, across with Aᵀ.
func (r chunkRecorder) along(a []float32, lda, m, k int, b, c []float32, beta float32) {
	r.nn(r.channelRows(), chunkTokens, &tile.Product{A: a, B: b, C: c, LDA: lda, LDB: chunkTokens, LDC: chunkTokens, M: m, N: chunkTokens, K: k, Beta: beta})
}

func (r chunkRecorder) across(a []float32, lda, m, k int, b, c []float32, beta float32) {
	r.tn(r.channelRows(), chunkTokens, &tile.Product{A: a, B: b, C: c, LDA: lda, LDB: chunkTokens, LDC: chunkTokens, M: m, N: chunkTokens, K: k, Beta: beta})
}

// turnTokens records rows of the tokens that become turned channels, turnChannels the way back.
func (r chunkRecorder) turnTokens(src []float32, lds int, dst []float32, width int) {
	r.turn(&tile.Turn{Src: src, Dst: dst, LDS: lds, LDD: chunkTokens, M: chunkTokens, N: width})
}

func (r chunkRecorder) turnChannels(src, dst []float32, ldd, width int, stream bool) {
	r.turnTo(&tile.Turn{Src: src, Dst: dst, LDS: chunkTokens, LDD: ldd, M: width, N: chunkTokens}, stored(stream))
}

// square is one of the room.
func (r chunkRecorder) square(p *tile.DeltaChunk, i int) []float32 {
	return p.Room[i*chunkTokens*chunkTokens:][:chunkTokens*chunkTokens]
}

func (r chunkRecorder) gates(p *tile.DeltaChunk) {
	r.decay(&tile.Decay{G: p.G, C: p.Room[4*chunkTokens*chunkTokens:], D: p.Room, LDD: chunkTokens, N: chunkTokens})
}

func (r chunkRecorder) update(p *tile.DeltaChunk, from, to, keys []float32, chunks int) {
	mr, nr := r.updateTile()
	for i := range chunks {
		r.nn(mr, nr, &tile.Product{A: keys[i*chunkTokens*p.Dk:], B: p.Rows[i*chunkTokens*p.Dv:], C: to, From: from, LDA: chunkTokens, LDB: p.Dv, LDC: p.Dv, M: p.Dk, N: p.Dv, K: chunkTokens, Beta: 1})
		from = to
	}
}

// rows records a product whose rows are the tokens, on tiles of the state's update.
func (r chunkRecorder) rows(a, b []float32, ldb, k int, c []float32, dv int, beta float32) {
	mr, nr := r.updateTile()
	r.tn(mr, nr, &tile.Product{A: a, B: b, C: c, LDA: chunkTokens, LDB: ldb, LDC: dv, M: chunkTokens, N: dv, K: k, Beta: beta})
}

func (r chunkRecorder) forward(p *tile.DeltaChunk) {
	r.gates(p)
	r.turnTokens(p.K, p.LDK, p.KT, p.Dk)
	r.across(p.KT, chunkTokens, chunkTokens, p.Dk, p.KT, p.M, 0)
	r.solve(&tile.Solve{L: p.M, X: r.square(p, 1), LDL: chunkTokens, LDX: chunkTokens, N: chunkTokens, W: chunkTokens})
	r.rows(p.KT, p.S, p.Dv, p.Dk, p.X, p.Dv, 0)
	r.pass("V", p.V, p.LDV, p.Dv, Read)
	r.rows(r.square(p, 1), p.X, p.Dv, chunkTokens, p.Rows, p.Dv, 0)
	r.turnTokens(p.X, p.Dv, p.Z, p.Dv)
	r.update(p, p.S, p.After, p.KT, 1)
}

// pass records rows that a product adds on its way, or leaves.
func (r chunkRecorder) pass(what string, v []float32, ld, width int, mode Mode) {
	op := Op{Name: "pack", M: chunkTokens, N: width, Elements: int64(width) * chunkTokens}
	if mode == Read {
		op.LoadBytes = 4 * op.Elements
	} else {
		op.StoreBytes = 4 * op.Elements
	}
	r.touch(&op, what, v, block{0, 0, chunkTokens, width, ld}, mode)
	r.done(op)
}

func (r chunkRecorder) begin(p *tile.DeltaChunk) {
	r.gates(p)
	r.turnTokens(p.K, p.LDK, p.KT, p.Dk)
	r.along(p.R, p.Dv, p.Dk, p.Dv, p.Z, p.GradKT, 0)
	r.rows(p.KT, p.R, p.Dv, p.Dk, p.X, p.Dv, 0)
}

func (r chunkRecorder) query(p *tile.DeltaChunk) {
	r.turnTokens(p.Q, p.LDQ, p.QT, p.Dk)
	r.turnTokens(p.O, p.LDO, p.OT, p.Dv)
	r.pass("QRows", p.QRows, p.Dv, p.Dv, Write)
	r.across(p.QT, chunkTokens, chunkTokens, p.Dk, p.KT, r.square(p, 1), 0)
	r.rows(r.square(p, 1), p.O, p.LDO, chunkTokens, p.X, p.Dv, 1)
	r.across(p.OT, chunkTokens, chunkTokens, p.Dv, p.Z, r.square(p, 2), 0)
	r.turnTokens(r.square(p, 2), chunkTokens, r.square(p, 3), chunkTokens)
	r.along(p.S, p.Dv, p.Dk, p.Dv, p.OT, p.GradQT, 0)
	r.along(p.KT, chunkTokens, p.Dk, chunkTokens, r.square(p, 3), p.GradQT, 1)
	r.along(p.QT, chunkTokens, p.Dk, chunkTokens, r.square(p, 2), p.GradKT, 1)
	r.turnChannels(p.GradQT, p.GradQ, p.LDGradQ, p.Dk, p.Stream)
}

func (r chunkRecorder) end(p *tile.DeltaChunk) {
	r.solve(&tile.Solve{L: p.M, X: r.square(p, 1), LDL: chunkTokens, LDX: chunkTokens, N: chunkTokens, W: chunkTokens})
	r.rows(r.square(p, 1), p.X, p.Dv, chunkTokens, p.YRows, p.Dv, 0)
	r.pass("GradV", p.GradV, p.LDGradV, p.Dv, stored(p.Stream))
	r.turnTokens(p.X, p.Dv, p.XT, p.Dv)
	r.across(p.XT, chunkTokens, chunkTokens, p.Dv, p.Z, r.square(p, 2), 0)
	r.turnTokens(r.square(p, 2), chunkTokens, r.square(p, 3), chunkTokens)
	r.along(p.S, p.Dv, p.Dk, p.Dv, p.XT, p.GradKT, 1)
	r.along(p.KT, chunkTokens, p.Dk, chunkTokens, r.square(p, 3), p.GradKT, 1)
	r.turnChannels(p.GradKT, p.GradK, p.LDGradK, p.Dk, p.Stream)
	r.update(p, p.R, p.R, p.Keys, p.Heads+1)
}
