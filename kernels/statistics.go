package kernels

import "sync/atomic"

// Statistics counts how the tokens of calls were walked, each once for every state head. A call adds to it.
type Statistics struct {
	Tokens atomic.Int64
	// Single are those that went one at a time because of their numbers, at the speed of a decode step: where a decay per key or inside a block is too strong to fold
	// (below 2^-32 over a block), grows or is not a number, and where products of keys and queries overflow.
	Single atomic.Int64
}

// countChunk counts n tokens of a recurrence's chunk, in blocks of some tokens: those with a decay inside are walked one by one.
func (s *Statistics) countChunk(n, block int, decay []float32, apart bool) {
	s.Tokens.Add(int64(n))
	switch {
	case block == 1: // nothing else is
		return
	case apart:
		s.Single.Add(int64(n))
		return
	case decay == nil:
		return
	}
	single := 0
	for i := 0; i+block <= n; i += block {
		for _, d := range decay[i+1 : i+block] {
			if d != 1 {
				single += block
				break
			}
		}
	}
	s.Single.Add(int64(single))
}
