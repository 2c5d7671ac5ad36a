package tile

// BlockKernel is a recurrence in blocks of Tokens tokens against a panel of
// NR state columns: a state row is read and written once a block.
type BlockKernel[Arguments any] struct {
	Tokens, NR int
	Shared     []int // tokens of a block where 2, 3 and so on heads share the state
	Run        func(*Arguments)
}

// RecurKernel is the recurrence of linear attention.
type RecurKernel = BlockKernel[Recur]

// Block is how many tokens a block has where some heads share the state.
func (k BlockKernel[Arguments]) Block(heads int) int {
	switch {
	case heads <= 1:
		return k.Tokens
	case heads-2 < len(k.Shared):
		return k.Shared[heads-2]
	}
	return 1
}

// FindBlock returns the kernel with this block.
func FindBlock[Arguments any](ks []BlockKernel[Arguments], tokens, nr int) (BlockKernel[Arguments], bool) {
	for _, k := range ks {
		if k.Tokens == tokens && k.NR == nr {
			return k, true
		}
	}
	return BlockKernel[Arguments]{}, false
}

// Recur holds the arguments of the recurrence of linear attention over T tokens and N columns of a state S
// (S[k*LDS+j], Dk x N). Matrices are row-major with the given leading dimensions in elements; a token
// has Heads queries, Q[t*LDQ+h*HeadQ+k], and as many output rows, O[t*LDO+h*HeadO+j], a key K[t*LDK+k] and a value
// V[t*LDV+j]. With t = i, or t = T-1-i if Reverse is set:
//
//	for i := range T {
//	    if Decay[i] != 1 { S[k,:] *= Decay[i], or D[i*LDD+k] if D is not nil }
//	    S[k,:] += K[t,k] * (RowV[i] * V[t,:])
//	    O[t,h,:] = RowO[i*Heads+h] * Q[t,h,:] S      (O += if Accumulate)
//	}
//
// Heads is at least 1. A nil Decay, RowV or RowO is all ones. A token sees its own update. A block of tokens with a decay inside is
// walked token by token, so a caller makes it fast by folding the decay of a run of tokens into
// RowV and RowO: S is then the state times a factor that is made good by a Decay now and then.
//
// S, O and the inputs must not overlap. Stream asks for non-temporal stores of O where it is aligned to a
// vector and not accumulated. Prefetch names memory that will be read soon: token i of the call asks for
// the first Lines cache lines of row i of each.
type Recur struct {
	Q, K, V, O, S, D             []float32
	Decay, RowV, RowO            []float32
	LDQ, LDK, LDV, LDO, LDS, LDD int
	HeadQ, HeadO                 int
	T, Heads, Dk, N              int
	Reverse, Accumulate, Stream  bool
	Prefetch                     [3]Prefetch
}

// Prefetch is a block of rows, LD elements apart, of which the first Lines lines of 64 bytes will be read. Nothing
// beyond Rows is used to check it: a prefetch never faults.
type Prefetch struct {
	Rows  []float32
	LD    int
	Lines int
}
