package generic

import "github.com/rooftune/rooftune/kernels/tile"

// A tileFunc computes one full register tile of a product without its
// scaling: acc[r*nr+c] is the sum over k < depth for row i+r and column j+c.
type tileFunc func(p *tile.Product, i, j, depth int, acc *[maxTile]float32)

// maxTile is the number of elements of the largest register tile.
const maxTile = 16

// nn returns C = Beta C + diag(Row) A B on mr x nr tiles.
func nn(mr, nr int, full tileFunc) tile.ProductKernel {
	run := func(p *tile.Product) {
		var acc [maxTile]float32
		for i := 0; i < p.M; i += mr {
			rows := min(mr, p.M-i)
			// A tile's rows share the terms before the diagonal of its
			// first row; the few after it belong to single rows.
			depth := p.K
			if p.Lower {
				depth = min(p.K, i+1)
			}
			for j := 0; j < p.N; j += nr {
				cols := min(nr, p.N-j)
				if rows == mr && cols == nr {
					full(p, i, j, depth, &acc)
				} else {
					edgeNN(p, i, j, rows, cols, nr, depth, &acc)
				}
				if p.Lower {
					for r := 1; r < rows; r++ {
						for k := depth; k < min(p.K, i+r+1); k++ {
							a := p.A[(i+r)*p.LDA+k]
							b := p.B[k*p.LDB+j:][:cols]
							for c, v := range b {
								acc[r*nr+c] += a * v
							}
						}
					}
				}
				for r := range rows {
					store(p, i+r, j, acc[r*nr:][:cols])
				}
			}
		}
	}
	return tile.ProductKernel{MR: mr, NR: nr, Run: run}
}

// tn returns C = Beta C + diag(Row) Aᵀ B on mr x nr tiles.
func tn(mr, nr int, full tileFunc) tile.ProductKernel {
	run := func(p *tile.Product) {
		var acc [maxTile]float32
		for i := 0; i < p.M; i += mr {
			rows := min(mr, p.M-i)
			for j := 0; j < p.N; j += nr {
				cols := min(nr, p.N-j)
				if rows == mr && cols == nr {
					full(p, i, j, p.K, &acc)
				} else {
					edgeTN(p, i, j, rows, cols, nr, &acc)
				}
				for r := range rows {
					store(p, i+r, j, acc[r*nr:][:cols])
				}
			}
		}
	}
	return tile.ProductKernel{MR: mr, NR: nr, Run: run}
}

// nt returns C = Beta C + diag(Row) (Mask . A Bᵀ) on mr x nr tiles.
func nt(mr, nr int, full tileFunc) tile.ProductKernel {
	run := func(p *tile.Product) {
		var acc [maxTile]float32
		for i := 0; i < p.M; i += mr {
			rows := min(mr, p.M-i)
			for j := 0; j < p.N; j += nr {
				cols := min(nr, p.N-j)
				switch {
				case p.Lower && j > i+rows-1-p.Strict: // all above the diagonal
				case rows == mr && cols == nr:
					full(p, i, j, p.K, &acc)
				default:
					edgeNT(p, i, j, rows, cols, nr, &acc)
				}
				for r := range rows {
					kept := cols
					if p.Lower {
						kept = min(max(i+r-p.Strict-j+1, 0), cols)
					}
					if kept > 0 {
						sums := acc[r*nr:][:kept]
						if p.Mask != nil {
							m := p.Mask[(i+r)*p.LDM+j:][:kept]
							for c, v := range m {
								sums[c] *= v
							}
						}
						store(p, i+r, j, sums)
					}
					if p.Beta == 0 {
						clear(p.C[(i+r)*p.LDC+j:][kept:cols])
					}
				}
			}
		}
	}
	return tile.ProductKernel{MR: mr, NR: nr, Run: run}
}

// store writes one row of a tile.
func store(p *tile.Product, i, j int, acc []float32) {
	scale := float32(1)
	if p.Row != nil {
		scale = p.Row[i]
	}
	c := p.C[i*p.LDC+j:][:len(acc)]
	if p.Beta == 0 {
		for k, v := range acc {
			c[k] = scale * v
		}
		return
	}
	from := c
	if p.From != nil {
		from = p.From[i*p.LDC+j:][:len(acc)]
	}
	for k, v := range acc {
		c[k] = p.Beta*from[k] + scale*v
	}
}

// edgeNN computes a tile that the matrix cuts short.
func edgeNN(p *tile.Product, i, j, rows, cols, nr, depth int, acc *[maxTile]float32) {
	clear(acc[:])
	for r := range rows {
		dst := acc[r*nr:][:cols]
		for k := range depth {
			a := p.A[(i+r)*p.LDA+k]
			b := p.B[k*p.LDB+j:][:len(dst)]
			for c := range dst {
				dst[c] += a * b[c]
			}
		}
	}
}

// edgeTN computes a tile that the matrix cuts short.
func edgeTN(p *tile.Product, i, j, rows, cols, nr int, acc *[maxTile]float32) {
	clear(acc[:])
	for k := range p.K {
		a := p.A[k*p.LDA+i:][:rows]
		b := p.B[k*p.LDB+j:][:cols]
		for r, v := range a {
			dst := acc[r*nr:][:len(b)]
			for c := range dst {
				dst[c] += v * b[c]
			}
		}
	}
}

// edgeNT computes a tile that the matrix cuts short.
func edgeNT(p *tile.Product, i, j, rows, cols, nr int, acc *[maxTile]float32) {
	clear(acc[:])
	if p.K == 0 {
		return
	}
	for r := range rows {
		a := p.A[(i+r)*p.LDA:][:p.K]
		for c := range cols {
			b := p.B[(j+c)*p.LDB:][:len(a)]
			sum := float32(0)
			for k, v := range a {
				sum += v * b[k]
			}
			acc[r*nr+c] = sum
		}
	}
}
