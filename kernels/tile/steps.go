package tile

// StepKernel takes decode steps against panels of NR state columns.
type StepKernel struct {
	NR  int
	Run func(*Steps)
}

// Steps holds the arguments of one token of a delta rule in each of several states, Dk x N (S[u.S+k*LDS+j]) and changed in place,
// N being a multiple of the kernel's NR. With d(k) = Decay[u.Decay], or Decay[u.Decay+k] if KeyDecay is set:
//
//	for _, u := range Units {
//	    S[k,:] *= d(k)
//	    w := Beta[u.Beta] * (V[u.V:] - K[u.K:] S)
//	    S[k,:] += K[u.K+k] * w
//	    O[u.O:] = Scale[0] * Q[u.Q:] S
//	}
//
// A kernel with panels updates one while it reads the next, which may be that of the next state: what the one waits for is hidden by the arithmetic of the
// other. It computes O as qᵀS + (k.q) w of the decayed state S, so it stops before a state of which k.q is not finite. Done is set to the number of
// states that were taken. Room, StepRoom(Dk) long, and One are for the kernel's own use.
//
// States and O must overlap neither each other nor the inputs.
type Steps struct {
	Q, K, V, O, S, Decay, Beta, Scale, Room []float32
	Units                                   []StepUnit
	LDS, Dk, N                              int
	KeyDecay                                bool
	Done                                    int
	One                                     Delta
}

// StepUnit says where a state and its token are in the arrays of Steps, in elements.
type StepUnit struct{ Q, K, V, O, S, Decay, Beta int }

// StepRoom is the length of Steps.Room.
func StepRoom(dk int) int { return 2 * ((dk + 15) / 16 * 16) }
