package kernels

import "github.com/rooftune/rooftune/kernels/tile"

// Values of the tunable ahead: what a chunk's sweeps prefetch.
const (
	aheadNext = 1 // what the next head of the chunk reads, or the first head of the next chunk
	aheadRows = 2 // the whole rows of the next chunk, a share in each sweep, in the order in which they lie in memory
)

// upcoming is what the next step will read.
type upcoming struct {
	rows  [4][]float32 // queries, keys, values, decays per key
	ld    [4]int
	lines [4]int // of a row; 0 where there are none

	columns int // of all heads that share the next chunk's whole rows; 0 where rows are those of one head
	before  int // of them, in this chunk
	tokens  int // of this chunk
}

// columnShare is what a panel sweeps of all the columns that share some prefetching: those from one to another.
type columnShare struct{ from, to, of int }

// part is a panel's part of a number of lines, the parts of all panels put end to end.
func (c columnShare) part(lines int) (first, count int) {
	first = c.from * lines / c.of
	return first, c.to*lines/c.of - first
}

// next says what comes after the chunk of some tokens from t of a unit.
func (a *recurrence) next(ui, t, tokens, first, last int) (n upcoming) {
	s := a.problem.Shape
	row, all := a.span(a.unit(ui).b)
	if a.ahead == aheadRows && !a.headOuter && a.problem.Decay != tile.DecayKey {
		a.nextRows(&n, ui, t, tokens)
		return n
	}
	switch {
	case !a.headOuter && ui+1 < last:
		ui++
	case !a.headOuter:
		ui, t = first, t+tokens
	case t+tokens < all:
		t += tokens
	default:
		ui, t = ui+1, 0
	}
	if ui >= last || t >= all {
		return n
	}
	u := a.unit(ui)
	row += t
	hq, _ := a.queryHeads(u.h)
	n.ld = [4]int{s.Hq * s.Dk, a.keyHeads * s.Dk, s.Hkv * s.Dv}
	at := [4]int{row*n.ld[0] + hq*s.Dk, row*n.ld[1] + a.keyHead(u.h)*s.Dk, row*n.ld[2] + u.h*s.Dv + u.p0*a.cols}
	arrays := 3
	if a.problem.Decay == tile.DecayKey {
		arrays, n.ld[3], at[3] = 4, s.Hkv*s.Dk, (row*s.Hkv+u.h)*s.Dk
	}
	per := cacheLine / 4
	for i, v := range [][]float32{a.query, a.key, a.value, a.decay}[:arrays] {
		n.rows[i] = part(v, at[i])
	}
	if a.halves() { // two to a float32
		per *= 2
		for i, v := range [][]uint16{a.bits.query, a.bits.key, a.bits.value, a.bits.decay}[:arrays] {
			if v == nil { // gates in float32
				continue
			}
			n.rows[i], n.ld[i] = asFloat32(v[at[i]:]), n.ld[i]/2
		}
	}
	n.lines = [4]int{(a.group*s.Dk + per - 1) / per, (s.Dk + per - 1) / per, (min(s.Dv, u.p1*a.cols) - u.p0*a.cols + per - 1) / per}
	if arrays > 3 {
		n.lines[3] = n.lines[1]
	}
	return n
}

// nextRows sets n to the whole rows of the next chunk. Hardware follows reads in the order of memory, and fetches what comes next by itself;
// of the short pieces of rows that one head reads it makes nothing. Workers with different heads fetch different rows for each other.
func (a *recurrence) nextRows(n *upcoming, ui, t, tokens int) {
	s, u := a.problem.Shape, a.unit(ui)
	row, all := a.span(u.b)
	if t += tokens; t >= all {
		return
	}
	row += t
	n.ld = [4]int{s.Hq * s.Dk, a.keyHeads * s.Dk, s.Hkv * s.Dv}
	n.columns, n.before, n.tokens = s.Hkv*s.Dv, u.h*s.Dv+u.p0*a.cols, tokens
	if !a.halves() {
		n.whole(0, a.query, row, n.ld[0])
		n.whole(1, a.key, row, n.ld[1])
		n.whole(2, a.value, row, n.ld[2])
	} else { // two to a float32
		for i, v := range [][]uint16{a.bits.query, a.bits.key, a.bits.value} {
			n.rows[i], n.ld[i] = asFloat32(v[row*n.ld[i]:]), n.ld[i]/2
		}
	}
}

// add names the rows of an array, count heads of some width from a head on.
func (n *upcoming) add(i int, array []float32, row, heads, head, count, width int) {
	const per = cacheLine / 4
	n.ld[i], n.rows[i], n.lines[i] = heads*width, array[row*heads*width+head*width:], (count*width+per-1)/per
}

// whole names the whole rows of an array.
func (n *upcoming) whole(i int, array []float32, row, ld int) {
	n.ld[i], n.rows[i] = ld, array[row*ld:]
}

// share is what a panel prefetches while it walks the tokens from i on: some lines of each row, as many as it has of the columns, or, of more arrays than a
// call prefetches, its part of all lines put end to end.
func (n upcoming) share(c columnShare, i int) (p [3]tile.Prefetch) {
	const per = cacheLine / 4
	if n.columns > 0 {
		width := c.to - c.from
		for x := range p {
			ld := roundUp((n.ld[x]*width+n.columns-1)/n.columns, per)
			if at := ((n.before+c.from)*n.tokens + i*width) * n.ld[x] / n.columns; at < len(n.rows[x]) {
				p[x] = tile.Prefetch{Rows: n.rows[x][at:], LD: ld, Lines: ld / per}
			}
		}
		return p
	}
	if n.lines[3] > 0 {
		return n.slice(c, i)
	}
	for x := range p {
		first, lines := c.part(n.lines[x])
		p[x] = n.fetch(x, first, lines, i)
	}
	return p
}

// slice is a panel's part of all arrays' lines of a row put end to end, from token i on.
func (n upcoming) slice(c columnShare, i int) (p [3]tile.Prefetch) {
	from, lines := c.part(n.lines[0] + n.lines[1] + n.lines[2] + n.lines[3])
	to := from + lines
	for x, slot, at := 0, 0, 0; x < len(n.lines) && slot < len(p); x++ {
		if first, last := max(from, at), min(to, at+n.lines[x]); first < last {
			p[slot] = n.fetch(x, first-at, last-first, i)
			slot++
		}
		at += n.lines[x]
	}
	return p
}

// fetch is some lines of each row of an array from token i on.
func (n upcoming) fetch(x, first, lines, i int) (p tile.Prefetch) {
	if lines = min(lines, n.lines[x]-first); lines > 0 && i*n.ld[x] < len(n.rows[x]) {
		p = tile.Prefetch{Rows: n.rows[x][min(i*n.ld[x]+first*cacheLine/4, len(n.rows[x])-1):], LD: n.ld[x], Lines: lines}
	}
	return p
}
