package machine

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// Waited returns how long the threads of this process have been ready to run while something else had their CPU, in nanoseconds since
// each began: what other jobs on this machine cost. ok is false where that is unknown.
func Waited() (ns int64, ok bool) {
	dir, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(dir)
	var list [4096]byte
	var names []string
	for {
		n, err := unix.ReadDirent(dir, list[:])
		if err != nil {
			return 0, false
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(list[:n], -1, names)
	}
	for _, tid := range names {
		if w, ok := threadWaited(dir, tid); ok { // else it has ended
			ns += w
		}
	}
	return ns, len(names) > 0
}

func threadWaited(dir int, tid string) (int64, bool) {
	fd, err := unix.Openat(dir, tid+"/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var buf [128]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil || n <= 0 {
		return 0, false
	}
	return parseSchedstat(buf[:n])
}

// parseSchedstat reads the time on a run queue from a thread's schedstat: time on a CPU, time waiting for one, turns.
func parseSchedstat(text []byte) (waited int64, ok bool) {
	f := bytes.Fields(text)
	if len(f) != 3 {
		return 0, false
	}
	waited, err := strconv.ParseInt(string(f[1]), 10, 64)
	return waited, err == nil && waited >= 0
}

// CurrentCPU returns the CPU that the calling thread runs on, -1 if unknown.
func CurrentCPU() int {
	var cpu, node uint32
	if err := getcpu(&cpu, &node); err != nil {
		return -1
	}
	return int(cpu)
}

// CPUTime returns the CPU time that this process has had on all its threads, in nanoseconds; 0 if unknown.
func CPUTime() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return t.Nano()
}
