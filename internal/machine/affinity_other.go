//go:build !linux

package machine

import "runtime"

// CPUs returns nil: pinning is not possible here.
func CPUs() []int { return nil }

// Nodes returns nil: pinning is not possible here.
func Nodes() [][]int { return nil }

// PinTo is Pin with several CPUs.
func PinTo([]int) (unpin func(), err error) { return Pin(0) }

// Pin ties the calling goroutine to its thread until unpin is called by the
// same goroutine; the thread itself cannot be tied to a CPU here.
func Pin(cpu int) (unpin func(), err error) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread, nil
}

// Leave does nothing: which CPU a thread runs on is the system's choice here.
func Leave(int) {}

// GiveWay does nothing here.
func GiveWay() {}
