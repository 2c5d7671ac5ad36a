package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
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
// channel between calls and are shared by all calls. A part never waits for another part, so a call that finds all of them
// busy only waits for parts to end.
//
// Waking a parked worker takes tens of microseconds where the processor sleeps meanwhile, more in a virtual machine. So a worker
// that has nothing to do looks for more for a while before it parks, and so does a call whose last parts run elsewhere; both give way to
// other goroutines each time they look.
const patience = 50 * time.Microsecond

var pool struct {
	sync.RWMutex // held for reading by the calls that use the workers
	grow         sync.Mutex
	workers      int
	tasks        chan task
}

type task struct {
	work parallel
	part int
	rest *rest
}

// rest is what of a call runs on workers.
type rest struct {
	left atomic.Int32
	done sync.WaitGroup
}

// wait returns when all parts have ended.
func (r *rest) wait() {
	for since := time.Now(); r.left.Load() > 0 && time.Since(since) < patience; {
		runtime.Gosched()
	}
	r.done.Wait()
}

// run does all parts of p, the first on the calling goroutine. It allocates
// nothing once the pool has p.parts()-1 workers.
func run(p parallel, rest *rest) {
	n := p.parts()
	if n <= 1 {
		p.part(0)
		return
	}
	pool.RLock()
	defer pool.RUnlock()
	grow(n - 1)
	rest.left.Store(int32(n - 1))
	rest.done.Add(n - 1)
	for i := 1; i < n; i++ {
		pool.tasks <- task{p, i, rest}
	}
	p.part(0)
	rest.wait()
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

// waitingTasks is how many tasks a call hands over without waiting for a worker to take them.
const waitingTasks = 64

func work(tasks chan task) {
	for t := range tasks {
		t.work.part(t.part)
		t.rest.left.Add(-1)
		t.rest.done.Done()
		for since := time.Now(); len(tasks) == 0 && time.Since(since) < patience; {
			runtime.Gosched()
		}
	}
}

// Close ends the workers that calls of several threads have started, after the calls that still run. They cost
// nothing while they wait, and a later call starts new ones: Close is for programs that must leave no goroutine behind.
func Close() {
	pool.Lock()
	defer pool.Unlock()
	if pool.tasks != nil {
		close(pool.tasks)
	}
	pool.tasks, pool.workers = nil, 0
}
