package replay

import (
	"context"
	"runtime"
	"sync"
)

// eachSeed calls run with 0 to n-1, on as many workers as there are processors, and says if the context ended first. Each call keeps what it
// found under its own number, so the order does not matter.
func eachSeed(ctx context.Context, n int, run func(i int)) error {
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for i := range next {
				run(i)
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	return ctx.Err()
}
