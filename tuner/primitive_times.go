package tuner

import (
	"runtime"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// primitiveWindow is how long each primitive is timed.
const primitiveWindow = 4 * time.Millisecond

// MeasurePrimitives adds the times of single primitives to what was measured: about a tenth of a second an ISA.
func MeasurePrimitives(m *machine.Measured, isas []tile.ISA) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m.Primitives = nil
	for _, isa := range isas {
		times, err := kernels.MeasurePrimitives(isa, primitiveWindow)
		if err != nil {
			return err
		}
		m.Primitives = append(m.Primitives, times...)
	}
	return nil
}
