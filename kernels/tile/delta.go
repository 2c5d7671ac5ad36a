package tile

// DeltaKernel is the recurrence of the delta rules.
type DeltaKernel = BlockKernel[Delta]

// Delta holds the arguments of the recurrence of the delta rules over T tokens: those of Recur, of which Reverse and
// Accumulate must be false, with an erase key E[t*LDK+k] (the key K where E is nil) and a factor Beta (all ones where nil):
//
//	for t := range T {
//	    if Decay[t] != 1 { S[k,:] *= Decay[t], or D[t*LDD+k] if D is not nil }
//	    u := RowV[t] * V[t,:] - Beta[t] * E[t,:] S
//	    S[k,:] += K[t,k] * u
//	    O[t,h,:] = RowO[t*Heads+h] * Q[t,h,:] S
//	}
//
// A block of tokens reads the state as it is before the block, and then solves for its updates with the products of its
// keys and queries, which Couple prepares for all panels. Tokens are walked one at a time where C is nil, where a decay is other
// than 1 inside a block, and after the last whole block; blocks begin at multiples of their size, counted from the call's first token.
//
// Couple fills C for the tokens of a call of which Q, K, E, T, Heads, Dk and Block, the tokens of a block of a kernel of the same
// table with as many heads, are set, with a record for each whole block b of tokens from t = b*Block on:
//
//	c := C[b*Record(Block, Heads):]
//	for i := range Block {
//	    for j := range i { *c++ = E[t+i,:] . K[t+j,:] }
//	    for h := range Heads { for j := range i+1 { *c++ = Q[t+i,h,:] . K[t+j,:] } }
//	}
//
// What follows in a record is of no use. NonFinite is set to true if one of these is NaN or Inf, else to false: tokens must then be
// walked without C, since an infinite product would spoil a token with an update of 0.
type Delta struct {
	Recur
	E, Beta   []float32
	C         []float32
	Block     int
	NonFinite bool
}

// Products is how many products a block's record has.
func Products(tokens, heads int) int { return tokens*(tokens-1)/2 + heads*tokens*(tokens+1)/2 }

// Record is the length of a block's record in Delta.C: whole cache lines.
func Record(tokens, heads int) int {
	const line = 16
	return (Products(tokens, heads) + line - 1) / line * line
}
