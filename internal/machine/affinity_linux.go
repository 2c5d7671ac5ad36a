package machine

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

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

// Nodes returns the CPUs of CPUs by NUMA node, nodes in their order and those with memory alone left out; one node of all where the system
// names none. It is nil where pinning is not possible.
func Nodes() [][]int { return nodes(os.DirFS("/"), CPUs()) }

// Pin ties the calling goroutine to its thread and that thread to one CPU until unpin
// is called, which must be done by the same goroutine.
func Pin(cpu int) (unpin func(), err error) { return PinTo([]int{cpu}) }

// PinTo is Pin with several CPUs to run on.
func PinTo(cpus []int) (unpin func(), err error) {
	runtime.LockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("machine: read affinity: %w", err)
	}
	for _, cpu := range cpus {
		if cpu >= 0 {
			set.Set(cpu)
		}
	}
	if set.Count() != len(cpus) || len(cpus) == 0 {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("machine: cannot pin to CPUs %d: no such CPUs", cpus)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("machine: pin to CPUs %d: %w", cpus, err)
	}
	return func() {
		// A thread whose affinity cannot be restored stays locked, so that it dies with its goroutine.
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}

// Leave moves the calling goroutine's thread off a CPU, if it runs there and may run elsewhere. The system puts a thread that it wakes on the waker's own
// CPU where it takes idle ones for busy, as Linux does in virtual machines whose idle CPUs the host has taken away, and moves it milliseconds later.
func Leave(cpu int) {
	if cpu < 0 || CurrentCPU() != cpu {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil {
		return
	}
	others := all
	if others.Clear(cpu); others.Count() > 0 && unix.SchedSetaffinity(0, &others) == nil {
		_ = unix.SchedSetaffinity(0, &all) // a thread that may not go back does as well elsewhere
	}
}

// GiveWay lets a thread run that waits for the calling thread's CPU, if there is one.
func GiveWay() { syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
