package generic

import "github.com/rooftune/rooftune/kernels/tile"

// Chunk takes the steps of tile.DeltaChunk one after the other, each in the order in which its comment has it.
var Chunk = tile.ChunkKernels{Forward: chunkForward, Begin: chunkBegin, Query: chunkQuery, End: chunkEnd}

const tokens = tile.ChunkTokens

// A chunkRoom is what DeltaChunk.Room holds here.
type chunkRoom struct {
	d        []float32 // decays from token to token
	p, dp, n []float32 // of a query head, or of the keys
	c        []float32 // decays from the state before the chunk
}

func roomOf(p *tile.DeltaChunk) chunkRoom {
	const square = tokens * tokens
	r := p.Room
	return chunkRoom{d: r[:square], p: r[square:][:square], dp: r[2*square:][:square], n: r[3*square:][:square], c: r[4*square:][:tokens]}
}

func (r chunkRoom) decays(g []float32) {
	product := float32(1)
	for i := range tokens {
		product *= g[i]
		r.c[i] = product
		for j := range tokens {
			switch {
			case j > i:
				r.d[i*tokens+j] = 0
			case j == i:
				r.d[i*tokens+j] = 1
			default:
				r.d[i*tokens+j] = r.d[(i-1)*tokens+j] * g[i]
			}
		}
	}
}

// turnRows sets dst to the turned rows of a chunk.
func turnRows(dst, src []float32, ld, width int) {
	for i := range tokens {
		for c := range width {
			dst[c*tokens+i] = src[i*ld+c]
		}
	}
}

// turnedDot is the dot product of a token in one turned array with a token in another.
func turnedDot(a []float32, i int, b []float32, j, width int) float32 {
	var sum float32
	for c := range width {
		sum += a[c*tokens+i] * b[c*tokens+j]
	}
	return sum
}

func chunkForward(p *tile.DeltaChunk) {
	r := roomOf(p)
	r.decays(p.G)
	turnRows(p.KT, p.K, p.LDK, p.Dk)
	for i := range tokens {
		for j := range tokens {
			p.M[i*tokens+j] = 0
			if j < i {
				p.M[i*tokens+j] = turnedDot(p.KT, i, p.KT, j, p.Dk) * r.d[i*tokens+j]
			}
		}
		for e := range p.Dv {
			var erased float32
			for k := range p.Dk {
				erased += p.KT[k*tokens+i] * p.S[k*p.Dv+e]
			}
			z := p.V[i*p.LDV+e] - r.c[i]*erased
			for j := range i {
				z -= p.M[i*tokens+j] * p.Beta[j] * p.Z[e*tokens+j]
			}
			p.Z[e*tokens+i] = z
			p.Rows[i*p.Dv+e] = z * p.Beta[i] * r.d[(tokens-1)*tokens+i]
		}
	}
	updateState(p.After, p.S, r.c[tokens-1], p.KT, p.Rows, 1, p)
}

// updateState sets a state to another, decayed, and the products of so many chunks of turned keys and rows.
func updateState(to, from []float32, decay float32, keys, rows []float32, chunks int, p *tile.DeltaChunk) {
	for k := range p.Dk {
		after := to[k*p.Dv:][:p.Dv]
		for e, s := range from[k*p.Dv:][:p.Dv] {
			after[e] = decay * s
		}
		for i := range chunks * tokens {
			key := keys[(i/tokens*p.Dk+k)*tokens+i%tokens]
			for e, x := range rows[i*p.Dv:][:p.Dv] {
				after[e] += key * x
			}
		}
	}
}

func chunkBegin(p *tile.DeltaChunk) {
	r := roomOf(p)
	r.decays(p.G)
	turnRows(p.KT, p.K, p.LDK, p.Dk)
	for i := range tokens {
		d := r.d[(tokens-1)*tokens+i]
		p.Terms[i] = 0
		for k := range p.Dk {
			var sum float32
			for e := range p.Dv {
				sum += p.R[k*p.Dv+e] * p.Z[e*tokens+i]
			}
			p.GradKT[k*tokens+i] = sum * p.Beta[i] * d
		}
		for e := range p.Dv {
			var sum float32
			for k := range p.Dk {
				sum += p.R[k*p.Dv+e] * p.KT[k*tokens+i]
			}
			p.X[i*p.Dv+e] = sum * d
		}
	}
}

func chunkQuery(p *tile.DeltaChunk) {
	r := roomOf(p)
	turnRows(p.QT, p.Q, p.LDQ, p.Dk)
	turnRows(p.OT, p.O, p.LDO, p.Dv)
	for i := range tokens {
		for e := range p.Dv {
			p.QRows[i*p.Dv+e] = p.Scale * r.c[i] * p.O[i*p.LDO+e]
		}
		for j := range tokens {
			at := i*tokens + j
			r.p[at], r.dp[at] = 0, 0
			if j <= i {
				r.p[at] = p.Scale * r.d[at] * turnedDot(p.QT, i, p.KT, j, p.Dk)
				r.dp[at] = p.Scale * p.Beta[j] * r.d[at] * turnedDot(p.OT, i, p.Z, j, p.Dv)
			}
		}
	}
	for i := range tokens {
		for j := range i + 1 {
			for e := range p.Dv {
				p.X[j*p.Dv+e] += r.p[i*tokens+j] * p.OT[e*tokens+i]
			}
			for k := range p.Dk {
				p.GradKT[k*tokens+j] += r.dp[i*tokens+j] * p.QT[k*tokens+i]
			}
		}
		for k := range p.Dk {
			var grad float32
			for e, x := range p.S[k*p.Dv:][:p.Dv] {
				grad += x * p.OT[e*tokens+i]
			}
			grad *= p.Scale * r.c[i]
			for j := range i + 1 {
				grad += r.dp[i*tokens+j] * p.KT[k*tokens+j]
			}
			p.GradQT[k*tokens+i] = grad
			p.GradQ[i*p.LDGradQ+k] = grad
			p.Terms[i] += p.QT[k*tokens+i] * grad
		}
	}
}

func chunkEnd(p *tile.DeltaChunk) {
	r := roomOf(p)
	for j := tokens - 1; j >= 0; j-- {
		p.GradBeta[j] = 0
		for e := range p.Dv {
			x := p.X[j*p.Dv+e]
			for i := j + 1; i < tokens; i++ {
				x -= p.M[i*tokens+j] * p.Beta[i] * p.XT[e*tokens+i]
			}
			y := p.Beta[j] * x
			p.XT[e*tokens+j] = x
			p.GradV[j*p.LDGradV+e] = y
			p.YRows[j*p.Dv+e] = -r.c[j] * y
			p.GradBeta[j] += x * p.Z[e*tokens+j]
		}
	}
	for i := range tokens {
		for j := range tokens {
			r.n[i*tokens+j] = 0
			if j < i {
				r.n[i*tokens+j] = -p.Beta[i] * p.Beta[j] * r.d[i*tokens+j] * turnedDot(p.XT, i, p.Z, j, p.Dv)
			}
		}
	}
	for j := range tokens {
		p.Terms[j] -= p.Beta[j] * p.GradBeta[j]
		for k := range p.Dk {
			var erase float32
			for e := range p.Dv {
				erase -= r.c[j] * p.Beta[j] * p.S[k*p.Dv+e] * p.XT[e*tokens+j]
			}
			grad := p.GradKT[k*tokens+j]
			for i := range tokens {
				erase += r.n[j*tokens+i] * p.KT[k*tokens+i]
				grad += r.n[i*tokens+j] * p.KT[k*tokens+i]
			}
			p.Terms[j] += p.KT[k*tokens+j] * erase
			grad += erase
			p.GradKT[k*tokens+j] = grad
			p.GradK[j*p.LDGradK+k] = grad
		}
	}
	updateState(p.R, p.R, r.c[tokens-1], p.Keys, p.Rows, p.Heads+1, p)
}
