package tile

// Trail holds the arguments of running sums over M rows of N columns, from the last row to the first: what a decay per key gets from the tokens after
// it. A row has Heads rows X[i*LDX+h*HeadX+j] and DX, and one row Y[i*LDY+j] and DY, laid out alike:
//
//	for i := M-1; i >= 0; i-- {
//	    Sum[j] += float64(X[i,0,j]*DX[i,0,j] + ... + X[i,Heads-1,j]*DX[i,Heads-1,j] - Y[i,j]*DY[i,j])
//	    Dst[i*LDD+j] = float32(Sum[j])
//	}
//
// The term is a float32, its sum in any order. Heads is at least 1. Sum has room for N rounded up to TrailLanes, of which those from N on may be read
// and written, but keep their values if these are finite. Nothing overlaps. Stream asks for non-temporal stores of whole vectors of Dst, where its rows are aligned to one.
type Trail struct {
	X, DX, Y, DY, Dst []float32
	Sum               []float64
	LDX, HeadX        int
	LDDX, HeadDX      int
	LDY, LDDY, LDD    int
	M, N, Heads       int
	Stream            bool
}

// TrailLanes is what the room for sums of Trail is a multiple of.
const TrailLanes = 16
