package tile

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Config holds the tunable values of an op by name. A driver reads it once
// when a call is prepared, never per tile.
type Config map[string]int

// String gives "chunk=64,mr=8,nr=32": sorted by name, the form that --config
// reads and that keys journals.
func (c Config) String() string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(c)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + strconv.Itoa(c[k]))
	}
	return b.String()
}

// Names lists the tunables, sorted: "chunk/mr/nr". With Values it makes short columns of tables.
func (c Config) Names() string { return strings.Join(slices.Sorted(maps.Keys(c)), "/") }

// Values gives the values in the order of Names: "64/8/32".
func (c Config) Values() string {
	var values []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		values = append(values, strconv.Itoa(c[k]))
	}
	return strings.Join(values, "/")
}

// Param is one tunable of an op: its name, the values worth trying in
// ascending order, and one line on what it decides.
type Param struct {
	Name   string
	Values []int
	Doc    string
	// When names a tunable that comes earlier and the value of it that this one goes with: a config has it then and
	// else lacks it. Empty for one that every config has.
	When      string
	WhenValue int
}

// Active says whether a config whose earlier tunables are set has this one.
func (p Param) Active(c Config) bool { return p.When == "" || c[p.When] == p.WhenValue }

// Candidate is what the tuner measures: an ISA and a config.
type Candidate struct {
	ISA    ISA    `json:"isa"`
	Config Config `json:"config"`
}

// String gives "avx512 chunk=64,mr=8,nr=32".
func (c Candidate) String() string { return string(c.ISA) + " " + c.Config.String() }
