package generic

import "github.com/rooftune/rooftune/kernels/tile"

// gather adds weighted rows, group by group. What is left over when the rows
// do not divide is done in smaller groups.
func gather(p *tile.Gather) {
	if p.N == 0 {
		return
	}
	group := p.Group
	switch group {
	case 1, 2, 4, 8:
	default:
		group = 4
	}
	rows, weight := p.Rows, p.Weight[:len(p.Rows)]
	for len(rows) > 0 {
		for group > len(rows) {
			group /= 2
		}
		switch group {
		case 8:
			gather8(p, rows, weight)
		case 4:
			gather4(p, rows, weight)
		case 2:
			gather2(p, rows, weight)
		case 1:
			gather1(p, rows, weight)
		}
		rows, weight = rows[group:], weight[group:]
	}
}

func row(p *tile.Gather, index int32) []float32 {
	return p.Table[int(index)*p.LD:][:p.N]
}

func gather1(p *tile.Gather, rows []int32, w []float32) {
	out := p.Out[:p.N]
	w0 := w[0]
	r0 := row(p, rows[0])[:len(out)]
	for c := range out {
		out[c] += w0 * r0[c]
	}
}

func gather2(p *tile.Gather, rows []int32, w []float32) {
	out := p.Out[:p.N]
	w0, w1 := w[0], w[1]
	r0, r1 := row(p, rows[0])[:len(out)], row(p, rows[1])[:len(out)]
	for c := range out {
		out[c] = out[c] + w0*r0[c] + w1*r1[c]
	}
}

func gather4(p *tile.Gather, rows []int32, w []float32) {
	out := p.Out[:p.N]
	w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
	r0, r1 := row(p, rows[0])[:len(out)], row(p, rows[1])[:len(out)]
	r2, r3 := row(p, rows[2])[:len(out)], row(p, rows[3])[:len(out)]
	for c := range out {
		out[c] = out[c] + w0*r0[c] + w1*r1[c] + w2*r2[c] + w3*r3[c]
	}
}

func gather8(p *tile.Gather, rows []int32, w []float32) {
	out := p.Out[:p.N]
	w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
	w4, w5, w6, w7 := w[4], w[5], w[6], w[7]
	r0, r1 := row(p, rows[0])[:len(out)], row(p, rows[1])[:len(out)]
	r2, r3 := row(p, rows[2])[:len(out)], row(p, rows[3])[:len(out)]
	r4, r5 := row(p, rows[4])[:len(out)], row(p, rows[5])[:len(out)]
	r6, r7 := row(p, rows[6])[:len(out)], row(p, rows[7])[:len(out)]
	for c := range out {
		out[c] = out[c] + w0*r0[c] + w1*r1[c] + w2*r2[c] + w3*r3[c] +
			w4*r4[c] + w5*r5[c] + w6*r6[c] + w7*r7[c]
	}
}
