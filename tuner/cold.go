package tuner

import (
	"fmt"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Cold caches: every run finds its arrays in memory. Where a run touches most of its arrays there are many copies of them, and each run
// takes those that were used longest ago; where it touches a small part, as a hash layer of few tokens does, other memory is walked before
// each run. Either way twice the last cache has been read since.

// coldCase is a problem whose arrays no cache holds when a run begins.
type coldCase struct {
	copies []*kernels.Case
	sweep  []uint64 // walked before each run; nil where the copies suffice
}

const (
	coldTimes   = 2        // the last cache
	maxCopies   = 256      // of arrays; where more would be needed, other memory is walked
	unknownLast = 64 << 20 // bytes of a last cache that is not reported
)

// lastCache is the size of the last cache, as reported or as measured.
func lastCache(m *machine.Machine, measured *machine.Measured) int {
	last := 0
	for _, c := range m.Caches {
		last = max(last, c.Bytes)
	}
	for _, p := range measured.Plateaus {
		last = max(last, p.Bytes)
	}
	if last == 0 {
		return unknownLast
	}
	return last
}

// openCold generates a problem's arrays as often as it takes.
func openCold(p tile.Problem, seed uint64, last int) (*coldCase, error) {
	c := &coldCase{}
	each := 4 * elements(p)
	n := int(float64(coldTimes*last)/each) + 2
	if sparse := p.Op == tile.HashLayer && p.Shape.N < 1<<min(p.Shape.Tau, 20); sparse || n > maxCopies { // most rows are not read
		n = 1
		each += float64(coldTimes * last)
		c.sweep = make([]uint64, coldTimes*last/8)
		for i := 0; i < len(c.sweep); i += 512 {
			c.sweep[i] = uint64(i)
		}
	}
	if free := machine.AvailableMemory(); free > 0 && float64(n)*each > float64(free)/2 {
		return nil, fmt.Errorf("cold caches need %.0f MB of arrays for %s, %d MB are free", float64(n)*each/1e6, p, free/1e6)
	}
	for range n {
		x, err := kernels.NewCase(p, seed)
		if err != nil {
			return nil, err
		}
		c.copies = append(c.copies, x)
	}
	return c, nil
}

func (c *coldCase) Prepare(candidate tile.Candidate) (Call, error) {
	x, err := c.copies[0].Prepare(candidate)
	if err != nil {
		return nil, err
	}
	return &coldCall{libraryCall{x}, c, 0}, nil
}

// coldCall moves on to other arrays before every run.
type coldCall struct {
	libraryCall
	on *coldCase
	at int
}

// Fresh is not timed.
func (c *coldCall) Fresh() {
	c.at = (c.at + 1) % len(c.on.copies)
	c.Call.On(c.on.copies[c.at])
	var sum uint64
	for i := 0; i+7 < len(c.on.sweep); i += 8 {
		sum += c.on.sweep[i]
	}
	canarySink = sum
}
