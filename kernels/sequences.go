package kernels

import (
	"math/bits"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// sequences says where the tokens of each batch item lie. Without offsets item b has the rows from b*T on; packed
// sequences are one batch item to the arrays, sequence b having rows offsets[b] up to offsets[b+1].
type sequences struct {
	tokens  int
	offsets []int
	keep    []int // numbers of rows after which the states are kept, ascending; of each item, or of all rows if packed
}

// span gives the first row and the number of tokens of a batch item.
func (s *sequences) span(b int) (row, tokens int) {
	if s.offsets == nil {
		return b * s.tokens, s.tokens
	}
	return s.offsets[b], s.offsets[b+1] - s.offsets[b]
}

// rowsOf is the number of rows of so many batch items.
func (s *sequences) rowsOf(batch int) int {
	if s.offsets == nil {
		return batch * s.tokens
	}
	return s.offsets[len(s.offsets)-1]
}

// cut is how many tokens from token t of a batch item a chunk may take: up to chunk, the item's end, or the next place where the
// state is kept.
func (s *sequences) cut(b, t, chunk int) int {
	row, tokens := s.span(b)
	n := min(chunk, tokens-t)
	if len(s.keep) > 0 {
		at := t
		if s.offsets != nil {
			at += row
		}
		if i, _ := slices.BinarySearch(s.keep, at+1); i < len(s.keep) {
			n = min(n, s.keep[i]-at)
		}
	}
	return n
}

// kept gives the place, among states of batch items, of the state after t tokens of an item if it is to be kept.
func (s *sequences) kept(b, batch, t int) (place int, ok bool) {
	if len(s.keep) == 0 {
		return 0, false
	}
	if s.offsets != nil {
		row, _ := s.span(b)
		return slices.BinarySearch(s.keep, row+t)
	}
	i, ok := slices.BinarySearch(s.keep, t)
	return i*batch + b, ok
}

// shareOf gives the units that one of some workers walks, each batch item having perItem of them: shares of about the same number of tokens.
func (s *sequences) shareOf(worker, workers, units, perItem int) (first, last int) {
	if s.offsets == nil {
		return worker * units / workers, (worker + 1) * units / workers
	}
	total := s.offsets[len(s.offsets)-1] * perItem
	place := func(worker int) int {
		if worker == workers {
			return units // sequences without tokens at the end too
		}
		before := 0 // units of whole sequences, the tokens of which are the worker's predecessors'
		want := worker * total / workers
		for b := range units / perItem {
			row, tokens := s.span(b)
			if row*perItem+tokens*perItem > want {
				return before + (want-row*perItem+tokens-1)/tokens
			}
			before += perItem
		}
		return units
	}
	if worker > 0 {
		first = place(worker)
	}
	return first, place(worker + 1)
}

// check refuses offsets that are not those of n rows, and places to keep that are not among them.
func (in *Inputs) checkSequences(s *tile.Shape, kept Tensor, rest ...int) (sequences, error) {
	q := sequences{tokens: s.T, offsets: in.Offsets, keep: in.Keep}
	batch := s.B
	if in.Offsets != nil {
		if s.B != 1 {
			return q, refuse("query", "one batch item where Offsets are given", "%d", s.B)
		}
		if len(in.Offsets) == 0 || in.Offsets[0] != 0 || in.Offsets[len(in.Offsets)-1] != s.T || !slices.IsSorted(in.Offsets) {
			return q, refuse("Offsets", "ascending from 0 to the number of tokens", "%d offsets for %d tokens", len(in.Offsets), s.T)
		}
		s.B, s.T = len(in.Offsets)-1, 0
		for b := range s.B {
			_, tokens := q.span(b)
			s.T = max(s.T, tokens)
		}
		batch = 1 // a place among all rows is one sequence's
	}
	for i, at := range in.Keep {
		if at < 1 || at > q.tokens || i > 0 && at <= in.Keep[i-1] {
			return q, refuse("Keep", "ascending from 1 to the number of tokens", "%d at place %d", at, i)
		}
	}
	if len(in.Keep) == 0 {
		if kept.present() {
			return q, refuse("kept_states", "absent without Keep", "given")
		}
		return q, nil
	}
	shape := append([]int{len(in.Keep), batch}, rest...)
	return q, checkStored("kept_states", "(len(Keep),B,Hkv,dk,dv), B=1 with Offsets", kept, shape...)
}

// alikePacked is the problem whose choice packed sequences take: counts rounded up to powers of two, so that a
// server's ever different batches are few problems.
func alikePacked(p tile.Problem) tile.Problem {
	up := func(n int) int {
		if n <= 1 {
			return n
		}
		return 1 << bits.Len(uint(n-1))
	}
	p.Shape.B, p.Shape.T = up(p.Shape.B), up(p.Shape.T)
	return p
}
