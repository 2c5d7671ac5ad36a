package generic

import "github.com/rooftune/rooftune/kernels/tile"

// The register tiles of A·B, spelled out so that the compiler keeps the sums in
// registers and drops bounds checks.

func nn4x4(p *tile.Product, i, j, depth int, acc *[maxTile]float32) {
	var c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33 float32
	if depth == 0 {
		clear(acc[:])
		return
	}
	a0 := p.A[i*p.LDA:][:depth]
	a1 := p.A[(i+1)*p.LDA:][:len(a0)]
	a2 := p.A[(i+2)*p.LDA:][:len(a0)]
	a3 := p.A[(i+3)*p.LDA:][:len(a0)]
	at := j
	for k, x0 := range a0 {
		b := p.B[at:][:4:4]
		at += p.LDB
		x1, x2, x3 := a1[k], a2[k], a3[k]
		y0 := b[0]
		c00 += x0 * y0
		c10 += x1 * y0
		c20 += x2 * y0
		c30 += x3 * y0
		y1 := b[1]
		c01 += x0 * y1
		c11 += x1 * y1
		c21 += x2 * y1
		c31 += x3 * y1
		y2 := b[2]
		c02 += x0 * y2
		c12 += x1 * y2
		c22 += x2 * y2
		c32 += x3 * y2
		y3 := b[3]
		c03 += x0 * y3
		c13 += x1 * y3
		c23 += x2 * y3
		c33 += x3 * y3
	}
	acc[0], acc[1], acc[2], acc[3] = c00, c01, c02, c03
	acc[4], acc[5], acc[6], acc[7] = c10, c11, c12, c13
	acc[8], acc[9], acc[10], acc[11] = c20, c21, c22, c23
	acc[12], acc[13], acc[14], acc[15] = c30, c31, c32, c33
}

func nn2x4(p *tile.Product, i, j, depth int, acc *[maxTile]float32) {
	var c00, c01, c02, c03, c10, c11, c12, c13 float32
	if depth == 0 {
		clear(acc[:])
		return
	}
	a0 := p.A[i*p.LDA:][:depth]
	a1 := p.A[(i+1)*p.LDA:][:len(a0)]
	at := j
	for k, x0 := range a0 {
		b := p.B[at:][:4:4]
		at += p.LDB
		x1 := a1[k]
		y0 := b[0]
		c00 += x0 * y0
		c10 += x1 * y0
		y1 := b[1]
		c01 += x0 * y1
		c11 += x1 * y1
		y2 := b[2]
		c02 += x0 * y2
		c12 += x1 * y2
		y3 := b[3]
		c03 += x0 * y3
		c13 += x1 * y3
	}
	acc[0], acc[1], acc[2], acc[3] = c00, c01, c02, c03
	acc[4], acc[5], acc[6], acc[7] = c10, c11, c12, c13
}

func nn4x2(p *tile.Product, i, j, depth int, acc *[maxTile]float32) {
	var c00, c01, c10, c11, c20, c21, c30, c31 float32
	if depth == 0 {
		clear(acc[:])
		return
	}
	a0 := p.A[i*p.LDA:][:depth]
	a1 := p.A[(i+1)*p.LDA:][:len(a0)]
	a2 := p.A[(i+2)*p.LDA:][:len(a0)]
	a3 := p.A[(i+3)*p.LDA:][:len(a0)]
	at := j
	for k, x0 := range a0 {
		b := p.B[at:][:2:2]
		at += p.LDB
		x1, x2, x3 := a1[k], a2[k], a3[k]
		y0 := b[0]
		c00 += x0 * y0
		c10 += x1 * y0
		c20 += x2 * y0
		c30 += x3 * y0
		y1 := b[1]
		c01 += x0 * y1
		c11 += x1 * y1
		c21 += x2 * y1
		c31 += x3 * y1
	}
	acc[0], acc[1] = c00, c01
	acc[2], acc[3] = c10, c11
	acc[4], acc[5] = c20, c21
	acc[6], acc[7] = c30, c31
}
