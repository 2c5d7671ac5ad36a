package kernels

import (
	"errors"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

func simulatedBest(p tile.Problem, m *machine.Machine, isas []tile.ISA) (tile.Candidate, float64, error) {
	return tile.Candidate{}, 0, errors.New("pending")
}
