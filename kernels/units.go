package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// columnUnit gives the state head and the range of value columns of unit u, each head's columns being cut in split units. They are cut at whole
// cache lines, so that two workers never write one line.
func columnUnit(s tile.Shape, split, u int) (head, j0, j1 int) {
	const per = cacheLine / 4
	head, part := u/split, u%split
	lines := (s.Dv + per - 1) / per
	return head, min(s.Dv, part*lines/split*per), min(s.Dv, (part+1)*lines/split*per)
}
