package kernels

import (
	"runtime"
	"sync"
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
