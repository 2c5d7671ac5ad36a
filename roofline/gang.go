package roofline

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
)

// gang is a set of threads, each pinned to a CPU where the system allows it, that start a piece of work at the same moment.
type gang struct {
	jobs []chan job
	done chan interval
}

// job is what one member runs: work does a bounded piece, at most about 100 µs, and returns its
// amount.
type job struct {
	work   func(member int) float64
	warm   func(member int)
	window time.Duration
	wait   *atomic.Int32
}

type interval struct {
	start, end time.Time
	amount     float64
}

// newGang starts the threads. They sleep between jobs.
func newGang(members int) (*gang, error) {
	cpus := machine.CPUs()
	g := &gang{done: make(chan interval, members)}
	started := make(chan error, members)
	for i := range members {
		jobs := make(chan job)
		g.jobs = append(g.jobs, jobs)
		go func() {
			var unpin func()
			var err error
			if len(cpus) > 0 {
				unpin, err = machine.Pin(cpus[i%len(cpus)])
			} else {
				runtime.LockOSThread()
				unpin = runtime.UnlockOSThread
			}
			started <- err
			if err != nil {
				return
			}
			defer unpin()
			for j := range jobs {
				g.done <- j.run(i)
			}
		}()
	}
	var failed error
	for range members {
		if err := <-started; err != nil {
			failed = err
		}
	}
	if failed != nil {
		g.close()
		return nil, fmt.Errorf("roofline: pin a thread: %w", failed)
	}
	return g, nil
}

func (j job) run(member int) interval {
	if j.warm != nil {
		j.warm(member)
	}
	j.wait.Add(-1)
	for spins := 0; j.wait.Load() > 0; spins++ {
		if spins > 1000 {
			runtime.Gosched() // the others may need this CPU to arrive
		}
	}
	var t interval
	t.start = time.Now()
	for {
		t.amount += j.work(member)
		t.end = time.Now()
		if t.end.Sub(t.start) >= j.window {
			return t
		}
	}
}

// rate runs work on the first members for a window and returns the amount of all
// over the time from the first start to the last end.
func (g *gang) rate(members int, window time.Duration, warm func(member int), work func(member int) float64) float64 {
	var wait atomic.Int32
	wait.Store(int32(members))
	for _, jobs := range g.jobs[:members] {
		jobs <- job{work: work, warm: warm, window: window, wait: &wait}
	}
	all := <-g.done
	for range members - 1 {
		t := <-g.done
		all.amount += t.amount
		if t.start.Before(all.start) {
			all.start = t.start
		}
		if t.end.After(all.end) {
			all.end = t.end
		}
	}
	return all.amount / all.end.Sub(all.start).Seconds()
}

// close ends the threads.
func (g *gang) close() {
	for _, jobs := range g.jobs {
		close(jobs)
	}
}
