package tuner

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	minBatch   = 100 * time.Microsecond // a timed batch is at least this long
	maxRuns    = 1 << 24                // of a batch
	driftLimit = 1.2                    // a canary off its usual time by this factor voids the block
)

// clock is the machine as the meter sees it. Tests have one that stands still.
type clock interface {
	Now() time.Time
	// Canary runs a fixed arithmetic loop of some 20 µs that touches no memory.
	Canary()
	// Quiet makes the goroutine ready for timing (its own thread, no garbage collection) until the returned function is called.
	Quiet() func()
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

//lint:ignore U1000 written so that the canary is not optimised away
var canarySink uint64

func (wallClock) Canary() {
	x := uint64(88172645463325252)
	for range 10_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	canarySink = x
}

func (wallClock) Quiet() func() {
	runtime.LockOSThread()
	percent := debug.SetGCPercent(-1)
	return func() {
		debug.SetGCPercent(percent)
		runtime.UnlockOSThread()
	}
}

var errNoTime = errors.New("measured no time or less: refused")

// meter times calls and watches the canary.
type meter struct {
	clock    clock
	canaries []float64 // the last ones, for what is usual
	voided   int       // blocks
	blocks   int
}

// run times n runs of a call and returns the time of one in nanoseconds.
func (m *meter) run(c Call, n int) (float64, error) {
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

// calibrate warms a call up and returns how many runs make a batch, with the
// time of the last trial in nanoseconds a run.
func (m *meter) calibrate(c Call) (runs int, ns float64, err error) {
	cold := true // the first run of a short call touches its buffers and code first: it says little
	for n := 1; n <= maxRuns; {
		ns, err = m.run(c, n)
		switch {
		case errors.Is(err, errNoTime):
			n *= 16
			continue
		case err != nil:
			return 0, 0, err
		}
		if total := ns * float64(n); total >= float64(minBatch) && !(cold && total < 10*float64(minBatch)) {
			return n, ns, nil
		}
		if !cold {
			n = max(2*n, int(math.Ceil(1.1*float64(minBatch)/ns)))
		}
		cold = false
	}
	return 0, 0, fmt.Errorf("%d runs in less than %v: %w", maxRuns, minBatch, errNoTime)
}

// canary times the fixed loop and reports whether the machine runs as usual.
func (m *meter) canary() bool {
	start := m.clock.Now()
	m.clock.Canary()
	t := max(float64(m.clock.Now().Sub(start)), 1)
	m.canaries = append(m.canaries, t)
	if len(m.canaries) > 101 {
		m.canaries = m.canaries[1:]
	}
	if len(m.canaries) < 5 {
		return true // nothing is usual yet
	}
	r := t / median(m.canaries)
	return r < driftLimit && r > 1/driftLimit
}

// batched is a call with the number of its runs in a batch.
type batched struct {
	Call
	runs int
}

// block times one batch of each call in the given order, with a canary before and
// after. It returns nanoseconds a run by position in calls, and false if the machine drifted: then the times mean nothing.
func (m *meter) block(calls []batched, order []int) ([]float64, bool, error) {
	m.blocks++
	ns := make([]float64, len(calls))
	good := m.canary()
	for _, i := range order {
		t, err := m.run(calls[i].Call, calls[i].runs)
		if err != nil {
			return nil, false, err
		}
		ns[i] = t
	}
	good = m.canary() && good
	if !good {
		m.voided++
	}
	return ns, good, nil
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
