package tuner

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rooftune/rooftune/tuner/stats"
)

const (
	minBatch   = 100 * time.Microsecond // a timed batch is at least this long
	onlyBatch  = time.Millisecond       // and one whose time is reported this, of which the first runs after others' are a small part
	maxRuns    = 1 << 24                // of a batch
	driftLimit = 1.2                    // the arithmetic canary off its usual time by this factor voids the block
	flowLimit  = 1.6                    // and the memory canary by this one, which neighbours disturb more
	takenLimit = 0.05                   // and others with more than this share of its time
	warmLimit  = 2e6                    // ns: the first call of a block that takes less runs once untimed, before the canaries
	fewUsual   = 5                      // canaries before any is usual
	manyUsual  = 101                    // canaries that are kept
	batches    = 3                      // of each call in a block, the fastest of which counts
	coldLimit  = 250e6                  // ns: a first run that takes less is not taken for the time of the next
	blockLimit = 12e6                   // ns: a block that would take longer has fewer of them
	awake      = 4                      // runs at least in a batch of a call with workers, or as many as take onlyBatch: the first may have to wake them
)

var errNoTime = errors.New("measured no time or less: refused")

// meter times calls and watches the canaries.
type meter struct {
	clock  clock
	single bool // one batch of each call in a block: its times are reported, not compared
	// Canaries since watch, for a race's candidates decide what is in the caches and how fast the CPU is clocked: wide vectors slow it
	// down, and the canary before a block sees less of that than the one after.
	before, after struct{ arithmetic, memory usual }

	voided int // blocks
	blocks int
	taken  time.Duration // by others, in all blocks
	timed  time.Duration // all blocks
	cycles []float64     // arithmetic canaries of the whole run, for the clock's rate
}

// usual holds the last times of a canary.
type usual []float64

// strange adds a time and reports whether it is off the usual by more than a factor.
func (u *usual) strange(t time.Duration, limit float64) bool {
	x := max(float64(t), 1)
	*u = append(*u, x)
	if len(*u) > manyUsual {
		*u = (*u)[1:]
	}
	if len(*u) < fewUsual {
		return false // nothing is usual yet
	}
	r := x / stats.Median(*u)
	return r > limit || r < 1/limit
}

// watch begins a race: what is usual is learnt anew.
func (m *meter) watch() {
	m.before.arithmetic, m.before.memory, m.after.arithmetic, m.after.memory = nil, nil, nil, nil
}

// run times n runs of a call and returns the time of one in nanoseconds.
func (m *meter) run(c Call, n int) (float64, error) {
	if f, ok := c.(fresher); ok {
		return m.runFresh(c, f, n)
	}
	start := m.clock.Now()
	for range n {
		if err := c.Run(); err != nil {
			return 0, err
		}
	}
	t := m.clock.Now().Sub(start)
	if t <= 0 {
		return 0, errNoTime
	}
	return float64(t) / float64(n), nil
}

// fresher is a call that is to be prepared before every run, untimed: on arrays that no cache holds.
type fresher interface{ Fresh() }

// runFresh times n runs one by one.
func (m *meter) runFresh(c Call, f fresher, n int) (float64, error) {
	var t time.Duration
	for range n {
		f.Fresh()
		start := m.clock.Now()
		if err := c.Run(); err != nil {
			return 0, err
		}
		one := m.clock.Now().Sub(start)
		if one <= 0 {
			return 0, errNoTime
		}
		t += one
	}
	return float64(t) / float64(n), nil
}

// calibrate warms a call of some threads up and returns how many runs make a batch, with the
// time of the last trial in nanoseconds a run.
func (m *meter) calibrate(c Call, threads int) (runs int, ns float64, err error) {
	least := minBatch
	if m.single {
		least = onlyBatch
	}
	cold := true // the first run touches buffers and code first: it says little, unless it is long
	for n := 1; n <= maxRuns; {
		ns, err = m.run(c, n)
		switch {
		case errors.Is(err, errNoTime):
			n *= 16
			continue
		case err != nil:
			return 0, 0, err
		}
		if total := ns * float64(n); total >= float64(least) && !(cold && total < coldLimit) {
			if threads > 1 {
				n = max(n, min(awake, int(math.Ceil(float64(onlyBatch)/ns))))
			}
			return n, ns, nil
		}
		if !cold {
			n = max(2*n, int(math.Ceil(1.1*float64(least)/ns)))
		}
		cold = false
	}
	return 0, 0, fmt.Errorf("%d runs in less than %v: %w", maxRuns, least, errNoTime)
}

// batched is a call with the number of its runs in a batch.
type batched struct {
	Call
	runs int
	ns   float64 // of one run, as calibrated
	wall float64 // the same with what comes before a run, untimed
}

// block times batches of each call in the given order and back, with canaries before and after. It returns nanoseconds a run by position
// in calls, of each call's fastest batch: what disturbs one batch in a few only ever makes it slower. It returns false if the machine
// drifted or others had the CPUs: then the times mean nothing.
func (m *meter) block(calls []batched, order []int) ([]float64, bool, error) {
	m.blocks++
	pressure := m.clock.Pressure()
	start := m.clock.Now()
	stream := func() time.Duration {
		t := m.clock.Now()
		m.clock.Stream()
		return m.clock.Now().Sub(t)
	}
	count := func() time.Duration {
		t := m.clock.Now()
		m.clock.Canary()
		d := m.clock.Now().Sub(t)
		if m.cycles = append(m.cycles, max(float64(d), 1)); len(m.cycles) > 10*manyUsual {
			m.cycles = m.cycles[1:]
		}
		return d
	}
	strange := m.before.memory.strange(stream(), flowLimit)
	if first := calls[order[0]]; first.ns > 0 && first.ns < warmLimit {
		if _, err := m.run(first.Call, 1); err != nil && !errors.Is(err, errNoTime) {
			return nil, false, err
		}
	}
	strange = m.before.arithmetic.strange(count(), driftLimit) || strange

	repeats, _ := plan(calls)
	if m.single {
		repeats = 1
	}
	best := make([]float64, len(calls))
	for k := range repeats * len(order) {
		at := k % len(order)
		if k/len(order)%2 == 1 {
			at = len(order) - 1 - at
		}
		i := order[at]
		t, err := m.run(calls[i].Call, calls[i].runs)
		if err != nil {
			return nil, false, err
		}
		if best[i] == 0 || t < best[i] {
			best[i] = t
		}
	}

	strange = m.after.arithmetic.strange(count(), driftLimit) || strange
	strange = m.after.memory.strange(stream(), flowLimit) || strange
	wall := m.clock.Now().Sub(start)
	taken := m.clock.Pressure().taken(pressure)
	m.timed, m.taken = m.timed+wall, m.taken+taken
	good := !strange && taken <= time.Duration(takenLimit*float64(wall))
	if !good {
		m.voided++
	}
	return best, good, nil
}

// plan is how many batches each call has in a block, and how long the block takes.
func plan(calls []batched) (repeats int, takes time.Duration) {
	total := 0.0
	for _, c := range calls {
		total += max(c.ns, c.wall) * float64(c.runs)
	}
	if total <= 0 {
		return batches, 0
	}
	repeats = max(1, min(batches, int(blockLimit/total)))
	return repeats, time.Duration(total * float64(repeats))
}

// rotation is row k of a cyclic order of n, forwards and backwards in turn, so that
// every call has every place and both neighbours.
func rotation(n, k int) []int {
	order := make([]int, n)
	for i := range order {
		j := (i + k/2) % n
		if k%2 == 1 {
			j = n - 1 - j
		}
		order[i] = j
	}
	return order
}
