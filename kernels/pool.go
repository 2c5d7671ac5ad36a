package kernels

import "sync"

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
var pool struct {
	sync.RWMutex // held for reading by the calls that use the workers
	grow         sync.Mutex
	workers      int
	tasks        chan task
}

type task struct {
	work parallel
	part int
	done *sync.WaitGroup
}

// run does all parts of p, the first on the calling goroutine. It allocates
// nothing once the pool has p.parts()-1 workers.
func run(p parallel, done *sync.WaitGroup) {
	n := p.parts()
	if n <= 1 {
		p.part(0)
		return
	}
	pool.RLock()
	defer pool.RUnlock()
	grow(n - 1)
	done.Add(n - 1)
	for i := 1; i < n; i++ {
		pool.tasks <- task{p, i, done}
	}
	p.part(0)
	done.Wait()
}

func grow(n int) {
	pool.grow.Lock()
	defer pool.grow.Unlock()
	if pool.tasks == nil {
		pool.tasks = make(chan task)
	}
	for ; pool.workers < n; pool.workers++ {
		go work(pool.tasks)
	}
}

func work(tasks chan task) {
	for t := range tasks {
		t.work.part(t.part)
		t.done.Done()
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
