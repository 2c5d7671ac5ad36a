package tile

// Substitute holds the arguments of a substitution whose rows are scaled once they are solved: (I + L diag(Row)) X = R and Y = diag(Row) X, with L strictly
// lower triangular N x N (entries on and above the diagonal are not used), X, first R, and Y both N x W:
//
//	for i := range N {
//	    for j := range i { X[i,:] -= L[i*LDL+j] * Y[j,:] }
//	    Y[i,:] = Row[i] * X[i,:]
//	}
//
// With Transposed set the triangle is Lᵀ, solved from the last row up:
//
//	for i := N-1; i >= 0; i-- {
//	    for j := i+1; j < N; j++ { X[i,:] -= L[j*LDL+i] * Y[j,:] }
//	    Y[i,:] = Row[i] * X[i,:]
//	}
//
// X and Y must not overlap.
type Substitute struct {
	L, X, Y, Row  []float32
	LDL, LDX, LDY int
	N, W          int
	Transposed    bool
}
