// Package profile reads, checks and writes profiles: one machine's tuned
// answers with the ceilings and the evidence behind them.
package profile

import (
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Schema is the version of the format that this package writes and the newest that it reads.
const Schema = 1

// Profile is one machine's tuned answers. Its JSON form is checked against
// the published schema, profile.schema.json.
type Profile struct {
	Schema   int              `json:"schema"`
	Created  time.Time        `json:"created"`
	Go       string           `json:"go"`
	Machine  machine.Machine  `json:"machine"`
	Measured machine.Measured `json:"measured"`
	Entries  []Entry          `json:"entries"`
}

// Entry is the winner of one problem and ISA, with its evidence.
type Entry struct {
	Problem          tile.Problem  `json:"problem"`
	ISA              tile.ISA      `json:"isa"`
	Config           tile.Config   `json:"config"`
	SourceHash       string        `json:"source_hash"` // of the op's and ISA's kernel sources
	MedianNs         float64       `json:"median_ns"`
	MinNs            float64       `json:"min_ns"`
	MaxNs            float64       `json:"max_ns"`
	Samples          int           `json:"samples"`
	RoofNs           float64       `json:"roof_ns"`
	BoundBy          string        `json:"bound_by"`
	SimulatedNs      float64       `json:"simulated_ns"`
	MaxError         float64       `json:"max_error"`
	ErrorBound       float64       `json:"error_bound"`
	TieSet           []tile.Config `json:"tie_set,omitempty"` // configs that could not be told apart from the winner
	DetectableEffect float64       `json:"detectable_effect"` // smallest relative difference this run could have seen
	Candidates       int           `json:"candidates"`        // measured for this problem and ISA
}
