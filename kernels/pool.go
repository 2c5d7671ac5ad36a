package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
)

// parallel is work cut into parts that may run side by side.
type parallel interface {
	parts() int
	part(i int)
}

// A worker is woken only for as much work as takes several times a wake-up, some 20 µs.
const (
	minWorkerFlops = 2 << 20
	minWorkerBytes = 512 << 10 // of table rows
)

// worthwhile is how many workers a call wakes that may have so many threads, shares being its work in units of the least
// that a worker is woken for.
func worthwhile(threads int, shares float64) int {
	return max(1, int(min(float64(threads), shares)))
}

// The pool's workers are started when a call first needs them, wait on a
// channel between calls and are shared by all calls. A part never waits for another part, and a call does itself what no worker has
// begun, so that workers that are busy, or asleep, cost it no more than their help.
var pool struct {
	sync.RWMutex // held for reading by the calls that use the workers
	grow         sync.Mutex
	workers      int
	tasks        chan task
	places       [][]int     // where workers run, nil for anywhere; see placement.go
	queues       []chan task // of each placed worker
}

// Waking a parked worker takes tens of microseconds where the processor sleeps meanwhile, and 100 to 170 in a virtual machine. So a worker
// looks for more work for a while before it parks: for as long as it last worked, between briefly and long, and for long if it got that work
// within that time, or came too late for it. A call whose last parts run elsewhere looks for long, as their end is near.
const (
	briefly = 50 * time.Microsecond
	long    = time.Millisecond
)

// linger returns when there is nothing more to wait for, or patience ends. It gives way each time it looks: to other threads, and to other goroutines but where
// its own may be locked to a thread, as those of calls from C are, for that thread would go to sleep each time.
func linger(patience time.Duration, locked bool, waiting func() bool) {
	for since := time.Now(); waiting() && time.Since(since) < patience; {
		if !locked {
			runtime.Gosched()
		}
		machine.GiveWay()
	}
}

// waitingTasks is how many tasks may wait for workers.
const waitingTasks = 64

// task asks a worker to help with a call.
type task struct {
	work   parallel
	shared *shared
	call   uint64
	cpu    int // of the caller
	part   int // of a placed worker
}

// shared is what the workers of one parallel share; calls of it follow one another.
type shared struct {
	state atomic.Uint64 // number of the call, and the first and the end of the parts that no one has taken
	left  atomic.Int32  // parts that have not ended
	done  sync.WaitGroup
}

// Bits of a number of parts in shared.state.
const partBits = 20

// begin opens a call of n parts and returns its number.
func (s *shared) begin(n int) uint64 {
	state := (s.state.Load()>>(2*partBits)+1)<<(2*partBits) | uint64(n) // the number begins again when it no longer fits
	s.left.Store(int32(n))
	s.done.Add(n)
	s.state.Store(state)
	return state >> (2 * partBits)
}

// take gives the caller the first part that no one has taken of a call, workers the last, so that a part mostly has the same processor in
// every call.
func (s *shared) take(call uint64, worker bool) (part int, ok bool) {
	const mask = 1<<partBits - 1
	for {
		state := s.state.Load()
		first, end := state>>partBits&mask, state&mask
		if state>>(2*partBits) != call || first >= end {
			return 0, false
		}
		next, part := state+1<<partBits, first
		if worker {
			next, part = state-1, end-1
		}
		if s.state.CompareAndSwap(state, next) {
			return int(part), true
		}
	}
}

// help does parts of a call while there are any, and says whether there were.
func (s *shared) help(p parallel, call uint64, worker bool) (helped bool) {
	for {
		part, ok := s.take(call, worker)
		if !ok {
			return helped
		}
		helped = true
		s.do(p, part)
	}
}

// do does a part of a call.
func (s *shared) do(p parallel, part int) {
	p.part(part)
	s.left.Add(-1)
	s.done.Done()
}

// wait returns when all parts have ended, and sleeps if they take longer than its patience. The last part's count may come down before it is done: then
// there is nothing to sleep for.
func (s *shared) wait(patience time.Duration) {
	open := func() bool { return s.left.Load() > 0 }
	if linger(patience, true, open); open() {
		s.done.Wait()
	}
}

// run does all parts of p. It allocates nothing once the pool has p.parts()-1 workers.
func run(p parallel, s *shared) {
	n := p.parts()
	if n <= 1 {
		p.part(0)
		return
	}
	pool.RLock()
	defer pool.RUnlock()
	if pool.places != nil {
		runPlaced(p, s, n)
		return
	}
	grow(n - 1)
	call, cpu := s.begin(n), machine.CurrentCPU()
	for range n - 1 {
		select {
		case pool.tasks <- task{work: p, shared: s, call: call, cpu: cpu}:
		default: // enough is waiting already
		}
	}
	machine.GiveWay() // to a worker's thread that waits for this very CPU, as Leave says: it would come too late
	s.help(p, call, false)
	s.wait(long)
}

func grow(n int) {
	pool.grow.Lock()
	defer pool.grow.Unlock()
	if pool.tasks == nil {
		pool.tasks = make(chan task, waitingTasks)
	}
	for ; pool.workers < n; pool.workers++ {
		go work(pool.tasks)
	}
}

// work helps with what comes.
func work(tasks chan task) {
	for patience, idle := briefly, time.Now(); ; {
		linger(patience, false, func() bool { return len(tasks) == 0 })
		t, ok := <-tasks
		if !ok {
			return
		}
		began := time.Now()
		waited := began.Sub(idle)
		machine.Leave(t.cpu)
		worked := t.shared.help(t.work, t.call, true)
		idle = time.Now()
		patience = long
		if worked && waited >= long {
			patience = min(max(briefly, idle.Sub(began)), long)
		}
	}
}

// Close ends the workers that calls of several threads have started, after the calls that still run. They cost
// nothing from a millisecond after their last call on, and a later call starts new ones: Close is for programs that must leave no goroutine behind.
func Close() {
	pool.Lock()
	defer pool.Unlock()
	endWorkers()
}

// endWorkers is Close for a caller that holds the pool alone.
func endWorkers() {
	if pool.tasks != nil {
		close(pool.tasks)
	}
	for _, q := range pool.queues {
		close(q)
	}
	pool.tasks, pool.workers, pool.queues = nil, 0, nil
}
