package tuner

import (
	"runtime"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
)

// Each primitive is timed for a window in each of some rounds, of which the fastest counts.
const (
	primitiveWindow = 3 * time.Millisecond
	primitiveRounds = 4
)

// fmaFlops are the flops whose time stands for the rate of multiply-adds.
const fmaFlops = 1e6

// MeasurePrimitives adds the times of single primitives to what was measured: about a quarter of a second an ISA.
func MeasurePrimitives(m *machine.Measured, isas []tile.ISA) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m.Primitives = nil
	for range primitiveRounds {
		next := 0
		add := func(p machine.Primitive) {
			if next == len(m.Primitives) {
				m.Primitives = append(m.Primitives, p)
			}
			m.Primitives[next].Ns = min(m.Primitives[next].Ns, p.Ns)
			next++
		}
		for _, isa := range isas {
			// The clock of these moments: a machine that is shared may have had another when its ceilings were measured.
			c, err := roofline.MeasureFlops(isa, 1, 2*primitiveWindow)
			if err != nil {
				return err
			}
			add(machine.Primitive{ISA: isa, Op: machine.PrimitiveFMA, Elements: fmaFlops, Ns: fmaFlops / c.Max * 1e9})
			times, err := kernels.MeasurePrimitives(isa, primitiveWindow)
			if err != nil {
				return err
			}
			for _, p := range times {
				add(p)
			}
		}
	}
	return nil
}
