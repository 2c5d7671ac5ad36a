// Package profile reads, checks and writes profiles: one machine's tuned
// answers with the ceilings and the evidence behind them.
//
// A profile is read in this order, and refused at the first step that fails:
// its size, its syntax, its schema version (a newer one is refused by name),
// its checksum, the JSON schema in profile.schema.json, and what a schema
// cannot say (Validate). Nothing of a refused profile is used.
package profile

import (
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Schema is the version of the format that this package writes and the newest that it reads.
const Schema = 1

// Profile is one machine's tuned answers. Its JSON form is checked against
// the published schema, profile.schema.json. A parsed profile is not to be
// changed where several goroutines look things up in it.
type Profile struct {
	Schema int `json:"schema"`
	// Checksum is the SHA-256 of the document's canonical form without this field
	// (see Parse). Write fills it in.
	Checksum string           `json:"checksum"`
	Created  time.Time        `json:"created"`
	Go       string           `json:"go"`
	Machine  machine.Machine  `json:"machine"`
	Measured machine.Measured `json:"measured"`
	// Provenance is that of the last run; nil in profiles that other programs made.
	Provenance *Provenance `json:"provenance,omitempty"`
	Entries    []Entry     `json:"entries"`
	// Crossovers hold hash layers against dense ones. Look-ups do not read them.
	Crossovers []Crossover `json:"crossovers,omitempty"`

	// What look-ups need; nil until parsed.
	exact      map[key]int     // entry of each problem, ISA and state of the caches
	comparable map[group][]int // entries of each kind and ISA
	places     []place         // of the entries
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
	SimulatedNs      float64       `json:"simulated_ns,omitempty"` // 0 and absent if the simulator could not say
	DenseNs          float64       `json:"dense_ns,omitempty"`     // hash layers: a dense layer of these widths on DenseDriver, timed in turns with the winner; 0 and absent if unknown
	MaxError         float64       `json:"max_error"`
	ErrorBound       float64       `json:"error_bound"`
	TieSet           []tile.Config `json:"tie_set,omitempty"`      // configs that could not be told apart from the winner
	DetectableEffect float64       `json:"detectable_effect"`      // smallest relative difference this run could have seen
	Candidates       int           `json:"candidates"`             // measured for this problem and ISA
	Cold             bool          `json:"cold,omitempty"`         // timed on arrays that no cache holds; else again and again on the same arrays
	ChangesBits      bool          `json:"changes_bits,omitempty"` // its results differ in their last bits from those of the answer before
}

type key struct {
	problem tile.Problem
	isa     tile.ISA
	cold    bool
}

func keyOf(e *Entry) key { return key{e.Problem, e.ISA, e.Cold} }
