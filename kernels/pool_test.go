package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Calls go on while others close the pool, and in the end no worker is left.
func TestClose(t *testing.T) {
	Close()
	before := runtime.NumGoroutine()
	p := attentionProblem(0, 3, tile.Shape{B: 1, T: 300, Hq: 4, Hkv: 4, Dk: 64, Dv: 64})
	var calls sync.WaitGroup
	for seed := range uint64(4) {
		c, err := NewCase(p, seed)
		if err != nil {
			t.Fatal(err)
		}
		x, err := c.Prepare(tile.Candidate{ISA: tile.Generic, Config: Default(p, tile.Generic)})
		if err != nil {
			t.Fatal(err)
		}
		calls.Add(1)
		go func() {
			defer calls.Done()
			for range 5 {
				x.Run()
				Close()
			}
		}()
	}
	calls.Wait()
	Close()
	for range 200 { // goroutines end a little after their channel
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// counted counts how often each part ran, and holds up part 0 of some calls.
type counted struct {
	shared shared
	ran    []atomic.Int32
	hold   chan struct{}
}

func (c *counted) parts() int { return len(c.ran) }

func (c *counted) part(i int) {
	c.ran[i].Add(1)
	if c.hold != nil {
		<-c.hold
	}
}

// Each part runs once a call, whoever takes it, with calls side by side and one after the other.
func TestRun(t *testing.T) {
	var calls sync.WaitGroup
	for parts := range 9 {
		calls.Add(1)
		go func() {
			defer calls.Done()
			c := &counted{ran: make([]atomic.Int32, max(1, parts))}
			for call := range 400 {
				run(c, &c.shared)
				for i := range c.ran {
					if n := c.ran[i].Load(); int(n) != call+1 {
						t.Errorf("part %d of %d ran %d times in %d calls", i, parts, n, call+1)
						return
					}
				}
			}
		}()
	}
	calls.Wait()
}

// A call ends though no worker is free.
func TestRunWithBusyWorkers(t *testing.T) {
	Close()
	held := &counted{ran: make([]atomic.Int32, 3), hold: make(chan struct{})}
	var calls sync.WaitGroup
	calls.Add(1)
	go func() {
		defer calls.Done()
		run(held, &held.shared)
	}()
	for i := range held.ran {
		for held.ran[i].Load() == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	for range 3 * waitingTasks {
		c := &counted{ran: make([]atomic.Int32, 3)}
		run(c, &c.shared)
		for i := range c.ran {
			if c.ran[i].Load() != 1 {
				t.Errorf("part %d ran %d times", i, c.ran[i].Load())
			}
		}
	}
	close(held.hold)
	calls.Wait()
	Close()
}
