package tuner

import (
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Space lists what a run searches: the library's configs of a problem on an ISA that satisfy the constraints.
func Space(p tile.Problem, isa tile.ISA) ([]tile.Config, error) { return space(librarySpace{}, p, isa) }

// librarySpace is the library as far as its search spaces go.
type librarySpace struct{ Subject }

func (librarySpace) Params(p tile.Problem, isa tile.ISA) ([]tile.Param, error) {
	return kernels.Params(p, isa)
}

func (librarySpace) CheckConfig(p tile.Problem, c tile.Candidate) error {
	return kernels.CheckConfig(p, c)
}
