package tuner

import (
	"runtime"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/tuner/stats"
)

// Each primitive is timed for a window in each of some rounds, of which the fastest counts. On a shared machine loops of loads were seen to
// take 1.9 times as long for tenths of a second, beside multiply-adds that took no longer: many short rounds with pauses find a quiet one.
const (
	primitiveWindow = time.Millisecond
	primitiveRounds = 20
	primitivePause  = 30 * time.Millisecond
)

// fmaFlops are the flops whose time stands for the rate of multiply-adds.
const fmaFlops = 1e6

// MeasurePrimitives adds the times of single primitives to what was measured: about a second and a half for two ISAs.
func MeasurePrimitives(m *machine.Measured, isas []tile.ISA) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m.Primitives = nil
	for round := range primitiveRounds {
		if round > 0 {
			time.Sleep(primitivePause)
		}
		next := 0
		add := func(p machine.Primitive) {
			if next == len(m.Primitives) {
				m.Primitives = append(m.Primitives, p)
			}
			m.Primitives[next].Ns = min(m.Primitives[next].Ns, p.Ns)
			next++
		}
		for _, isa := range isas {
			times, err := timePrimitives(isa)
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

// timePrimitives times an ISA's primitives once, beside the rate of multiply-adds of that moment: a machine that is shared may have had another
// clock when its ceilings were measured.
func timePrimitives(isa tile.ISA) ([]machine.Primitive, error) {
	c, err := roofline.MeasureFlops(isa, 1, 2*primitiveWindow)
	if err != nil {
		return nil, err
	}
	times, err := kernels.MeasurePrimitives(isa, primitiveWindow)
	if err != nil {
		return nil, err
	}
	return append([]machine.Primitive{{ISA: isa, Op: machine.PrimitiveFMA, Elements: fmaFlops, Ns: fmaFlops / c.Max * 1e9}}, times...), nil
}

// primitiveMedians are times of an ISA's primitives that were taken beside other measurements.
type primitiveMedians struct {
	isa   tile.ISA
	times [][]machine.Primitive
}

func (x *primitiveMedians) time() error {
	times, err := timePrimitives(x.isa)
	if err == nil {
		x.times = append(x.times, times)
	}
	return err
}

// medians gives each primitive's median.
func (x *primitiveMedians) medians() []machine.Primitive {
	out := slices.Clone(x.times[0])
	for i := range out {
		var ns []float64
		for _, times := range x.times {
			ns = append(ns, times[i].Ns)
		}
		out[i].Ns = stats.Median(ns)
	}
	return out
}

// setPrimitives replaces an ISA's primitives.
func (l *library) setPrimitives(isa tile.ISA, times []machine.Primitive) {
	l.mu.Lock()
	defer l.mu.Unlock()
	others := slices.DeleteFunc(slices.Clone(l.measured.Primitives), func(p machine.Primitive) bool { return p.ISA == isa })
	l.measured.Primitives = append(others, times...)
	clear(l.devices)
	clear(l.predictors)
}
