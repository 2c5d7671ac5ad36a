package generic

import "github.com/rooftune/rooftune/kernels/tile"

// decay builds each row of the decay matrix from the row above it.
func decay(p *tile.Decay) {
	product := float32(1)
	var above []float32
	for i, g := range p.G[:p.N] {
		product *= g
		p.C[i] = product
		row := p.D[i*p.LDD:][:p.N]
		for j, v := range above { // the i entries left of the diagonal
			row[j] = v * g
		}
		row[i] = 1
		clear(row[i+1:])
		above = row[:i+1]
	}
}
