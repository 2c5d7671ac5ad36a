package machine

import (
	"runtime"
	"testing"
)

// Figures only grow, and a process that works has CPU time.
func TestWaited(t *testing.T) {
	if runtime.GOOS != "linux" {
		if _, ok := Waited(); ok {
			t.Error("a figure from nowhere")
		}
		return
	}
	before, ok := Waited()
	if !ok {
		t.Skip("this kernel does not say")
	}
	x, cpu := uint64(1), CPUTime()
	for range 20_000_000 {
		x ^= x << 13
		x ^= x >> 7
	}
	if after, ok := Waited(); !ok || after < before || x == 0 {
		t.Errorf("waited %d, then %d", before, after)
	}
	if CPUTime() <= cpu {
		t.Error("no CPU time")
	}
	if cpu := CurrentCPU(); cpu < 0 || cpu > 1<<16 {
		t.Errorf("runs on CPU %d", cpu)
	}
}
