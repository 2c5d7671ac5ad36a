package tile

// Fold holds the arguments of folding the per-key decay of a block of M tokens into copies of its N keys wide key and query
// rows, so that tile.Recur walks the block without a decay inside. G[i*LDG+k] are decay factors, not logarithms; token i has the
// key row K[i*LDK:] and the query rows Q[i*LDQ+h*HeadQ:]. With w = 1 for every key:
//
//	for i := M-1; i >= 0; i-- {
//	    KOut[i,k] = K[i,k] * w[k]
//	    QOut[i,h,k] = Q[i,h,k] / w[k]
//	    w[k] *= G[i,k]
//	}
//	D[k] = w[k]
//
// A state that takes the decay D at the block's first token and then the folded keys is, at every token, the state times w, and the
// state itself at the end. Unsafe is set to true if a factor after the first is not in (0, 1], or if the product of those is below
// 2^-32 for some key; what was written is then of no use, though inside the blocks given. Else it is set to false. The outputs must
// not overlap the inputs.
type Fold struct {
	G, K, Q, KOut, QOut, D                         []float32
	LDG, LDK, LDQ, HeadQ, LDKOut, LDQOut, HeadQOut int
	M, N, Heads                                    int // M at least 1
	Unsafe                                         bool
}
