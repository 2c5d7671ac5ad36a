package tile

// ChunkTokens is the number of tokens of a DeltaChunk: as many as a vector of AVX-512 has numbers.
const ChunkTokens = 16

// Squares of ChunkTokens x ChunkTokens and vectors of ChunkTokens in DeltaChunk.Room.
const (
	chunkSquares = 4
	chunkLanes   = 9
)

// ChunkRoom is the length of DeltaChunk.Room.
const ChunkRoom = (chunkSquares*ChunkTokens + chunkLanes) * ChunkTokens

// ChunkKernels take the backward pass of the delta rules through a chunk of ChunkTokens tokens, each step in one call: Forward for every chunk, from the first to
// the last, then from the last to the first Begin, Query for each query head of the state head, and End.
type ChunkKernels struct {
	Forward, Begin, Query, End func(*DeltaChunk)
}

// DeltaChunk holds the arguments of the steps of a chunk of n = ChunkTokens tokens of one state head. "Turned" is an array that has a channel's tokens side by
// side, KT[channel*n+token], so that a token is a lane of vectors; other arrays are rows of tokens with the leading dimensions given, and states are
// Dk x Dv. With d[i,j] the decay from token j to i, c[i] that from the state before the chunk, b = Beta and U = b Z:
//
//	Forward  M[i,j] = d[i,j] K[i].K[j] (j < i); Z, turned, the solution of Z[i] = V[i] - c[i] K[i] S - sum over j < i of M[i,j] b[j] Z[j];
//	         After[k,:] = c[n-1] S[k,:] + sum of d[n-1,j] K[j,k] U[j]
//	Begin    GradKT[:,j] = d[n-1,j] R U[j]; X[j] = d[n-1,j] Rᵀ K[j]; Terms = 0
//	Query    P[i,j] = Scale d[i,j] Q[i].K[j], DP[i,j] = Scale d[i,j] O[i].U[j] (j <= i); X[j] += sum of P[i,j] O[i]; GradKT[:,j] += sum of DP[i,j] Q[i];
//	         GradQ[i] = Scale c[i] S O[i] + sum of DP[i,j] K[j]; Terms[i] += Q[i].GradQ[i];
//	         QT = Q turned; QRows[i] = Scale c[i] O[i]
//	End      X solved, from the last token down: X[j] -= sum over i > j of M[i,j] Y[i], with Y = b X;
//	         N[i,j] = -d[i,j] Y[i].U[j] (j < i); GradBeta[i] = X[i].Z[i]; GradV = Y;
//	         E[i] = - c[i] S Y[i] + sum of N[i,j] K[j]; Terms[i] += K[i].E[i] - Y[i].Z[i], which is -Y[i].V[i];
//	         GradK[j] = GradKT[:,j] + E[j] + sum of N[i,j] K[i];
//	         R = c[n-1] R + the sum over the rows of Keys and Rows, which are all QT, then KT, and all QRows, then -c[i] Y[i]
//
// Dk and Dv are multiples of 32. Z and M, as Forward leaves them, and the same K, G and Beta go to the reverse steps. What a chunk lacks of n tokens are rows of zeros, with a
// factor of 1. With Stream set, gradients are stored past the caches, which asks for rows that are aligned to a line. While they work, Forward, and Begin to
// End together, may prefetch n rows of each of Ahead, of which Lines is even and the last is empty.
//
// Arrays must not overlap, but After may be S.
type DeltaChunk struct {
	Q, K, V, O          []float32
	GradQ, GradK, GradV []float32
	G, Beta             []float32 // n each: decay factors of the tokens
	S, After, R         []float32
	Z                   []float32 // turned
	M                   []float32 // n x n
	Keys, QT, KT        []float32 // turned
	Rows, QRows, YRows  []float32 // n rows a head and n, Dv apart
	X                   []float32 // n rows, Dv apart
	OT, XT              []float32 // O and the solved X turned
	GradQT, GradKT      []float32 // turned
	Terms, GradBeta     []float32 // n
	Room                []float32 // ChunkRoom, for the kernel's own use

	LDQ, LDK, LDV, LDO        int
	LDGradQ, LDGradK, LDGradV int
	Dk, Dv, Heads             int // Heads is the number of query heads of the state head
	Scale                     float32
	Stream                    bool
	Ahead                     [11]Prefetch
	Walk                      [5]uintptr // where the walk through Ahead is, for the kernel's own use
}
