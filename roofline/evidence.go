package roofline

import (
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Evidence is what a run measured beside the answers that a profile keeps.
type Evidence struct {
	Created  time.Time // when the run began
	Strategy string
	Seed     uint64
	Trials   []Trial
}

// Trial is one candidate that was measured.
type Trial struct {
	Problem     tile.Problem
	ISA         tile.ISA
	Config      tile.Config
	MedianNs    float64
	SimulatedNs float64 // 0 if the simulator could not say
	Verdict     string
}
