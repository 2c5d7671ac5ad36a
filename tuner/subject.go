package tuner

import (
	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Subject is what the tuner tunes. The library's ops are the real one
// (see library.go); tests plant wrong, slow, noisy and impossible ones.
type Subject interface {
	// Params lists the tunables of a problem on an ISA, each with its values in ascending order.
	Params(p tile.Problem, isa tile.ISA) ([]tile.Param, error)
	// CheckConfig returns nil if the candidate satisfies the op's constraints and can run here.
	CheckConfig(p tile.Problem, c tile.Candidate) error
	// Default is the config that is used without a profile.
	Default(p tile.Problem, isa tile.ISA) tile.Config
	// SourceHash is the hash of the sources of an op's kernels for an ISA.
	SourceHash(op string, isa tile.ISA) string

	// Roof is the fastest time that the ceilings allow.
	Roof(p tile.Problem, isa tile.ISA) (Roof, error)
	// RemeasureRoof measures the ceilings that decide the roof again, keeps the
	// higher of old and new, and returns the roof under them.
	RemeasureRoof(p tile.Problem, isa tile.ISA) (Roof, error)
	// Measured returns the ceilings with all that RemeasureRoof raised; false if there are none.
	Measured() (machine.Measured, bool)
	// Predict simulates a candidate. It may be called by several goroutines at once.
	Predict(p tile.Problem, c tile.Candidate) (Prediction, error)
	// Verify runs a candidate against the oracle: it is right if maxError <= bound.
	Verify(p tile.Problem, c tile.Candidate, seed uint64) (maxError, bound float64, err error)
	// Open generates a problem's inputs, which all its candidates share.
	Open(p tile.Problem, seed uint64) (Case, error)
}

// Case is a problem with its inputs and outputs.
type Case interface {
	Prepare(c tile.Candidate) (Call, error)
}

// Call is a candidate ready to run on a case.
type Call interface {
	Run() error
	ExecutedFlops() (int64, error)
	Close()
}

// Roof is the fastest time that the ceilings allow a problem.
type Roof struct {
	Ns      float64
	BoundBy string
	Flops   int64            // useful
	Bytes   map[string]int64 // a level, at least
	Spread  float64          // relative spread of the ceiling that decides: a roof is only beaten by more than this
}

// beatenBy reports whether a time is impossible under the roof.
func (r Roof) beatenBy(ns float64) bool { return ns < r.Ns/(1+r.Spread) }

// Prediction is what the simulator says of a candidate.
type Prediction struct {
	Ns      float64
	LowerNs float64 // sound: no run of this candidate is faster; 0 if unknown
	BoundBy string
	Bytes   map[string]int64 // a level
}
