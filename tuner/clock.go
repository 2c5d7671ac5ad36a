package tuner

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
)

// clock is the machine as the meter sees it. Tests have one that stands still.
type clock interface {
	Now() time.Time
	// Canary runs a fixed arithmetic loop of some 20 µs that touches no memory.
	Canary()
	// Stream reads a fixed amount of memory that was not read for long: some 100 µs.
	Stream()
	// Pressure says what others have taken of the CPUs so far.
	Pressure() pressure
	// Quiet makes the goroutine ready for timing calls of so many threads (no garbage collection; one thread has a CPU of its own) until
	// the returned function is called.
	Quiet(threads int) func()
}

// pressure is what others have taken of the CPUs; 0 where unknown.
type pressure struct {
	waitedNs   int64  // time that this process's threads were ready to run and another's had the CPU
	steal      uint64 // ticks that the hypervisor took of all CPUs
	stealKnown bool
}

// A stealTick is Linux's USER_HZ.
const stealTick = 10 * time.Millisecond

// taken is the time that others took between two looks.
func (p pressure) taken(before pressure) time.Duration {
	return time.Duration(p.waitedNs-before.waitedNs) + time.Duration(p.steal-before.steal)*stealTick
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

//lint:ignore U1000 written so that the canaries are not optimised away
var canarySink uint64

// canaryRounds of three shifts and three exclusive-ors, each waiting for the one before: on most CPUs six cycles a round.
const (
	canaryRounds = 10_000
	canaryCycles = 6 * canaryRounds
)

func (wallClock) Canary() {
	x := uint64(88172645463325252)
	for range canaryRounds {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	canarySink = x
}

const (
	streamBytes = 64 << 20 // walked round and round, so that a piece has left the caches of most machines when its turn comes again
	streamPiece = 1 << 20
)

// streams is the memory that Stream walks; one run uses it at a time.
var streams = sync.OnceValue(func() *struct {
	words []uint64
	at    int
} {
	s := &struct {
		words []uint64
		at    int
	}{words: make([]uint64, streamBytes/8)}
	for i := 0; i < len(s.words); i += 512 {
		s.words[i] = uint64(i) // a page of its own, not the shared one of zeros
	}
	return s
})

func (wallClock) Stream() {
	s := streams()
	piece := s.words[s.at : s.at+streamPiece/8]
	if s.at += streamPiece / 8; s.at >= len(s.words) {
		s.at = 0
	}
	var sum uint64
	for i := 0; i+7 < len(piece); i += 8 { // a word of every line
		sum += piece[i]
	}
	canarySink = sum
}

func (wallClock) Pressure() (p pressure) {
	p.waitedNs, _ = machine.Waited()
	p.steal, _, p.stealKnown = machine.StealTicks()
	return p
}

// Quiet pins one thread to the CPU that it runs on, the system's own choice of an idle one. A call with workers is left to the scheduler,
// as in the programs that use the library: a goroutine on a locked thread hands over to another thread whenever it sleeps until its workers are done,
// and the three then share two CPUs (20 % of the time of blocks was lost so, 6 % without).
func (wallClock) Quiet(threads int) func() {
	release := func() {}
	if threads == 1 {
		runtime.LockOSThread()
		release = runtime.UnlockOSThread
		if cpu := machine.CurrentCPU(); cpu >= 0 {
			if unpin, err := machine.Pin(cpu); err == nil {
				release = func() {
					unpin()
					runtime.UnlockOSThread()
				}
			}
		}
	}
	percent := debug.SetGCPercent(-1)
	return func() {
		debug.SetGCPercent(percent)
		release()
	}
}
