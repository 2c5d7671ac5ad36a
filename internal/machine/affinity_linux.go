package machine

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// CPUs returns the logical CPUs that the calling thread may run on, those on cores of their own first.
// It is nil where pinning is not possible.
func CPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return spread(os.DirFS("/"), cpus)
}

// Pin ties the calling goroutine to its thread and that thread to one CPU until unpin
// is called, which must be done by the same goroutine.
func Pin(cpu int) (unpin func(), err error) {
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("machine: read affinity: %w", err)
	}
	if cpu >= 0 {
		one.Set(cpu)
	}
	if one.Count() != 1 {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("machine: cannot pin to CPU %d: no such CPU", cpu)
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("machine: pin to CPU %d: %w", cpu, err)
	}
	return func() {
		// A thread whose affinity cannot be restored stays locked, so that it dies with its goroutine.
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}
