package kernels

import (
	"errors"

	"github.com/rooftune/rooftune/internal/machine"
)

// Placement says where the workers of calls of several threads run.
type Placement string

// The placements.
const (
	PlaceAnywhere Placement = ""       // where the system puts them, as long as nothing is asked for
	PlacePinned   Placement = "pinned" // each on a CPU of its own, cores of their own first
	PlaceNodes    Placement = "nodes"  // in turns on the NUMA nodes, on any of a node's CPUs
)

// ErrPlacement says that this system cannot tie threads to CPUs. Workers stay where it puts them.
var ErrPlacement = errors.New("kernels: threads cannot be placed on this system")

// SetPlacement decides where workers run from the next call on, after the calls that still run. It is a program's own decision and never taken by
// itself: pinned threads do not share CPUs well with those of others. CPUs are those that the process may use.
//
// A placed worker takes the same part of a problem in every call, the caller's thread none unless the call is of one thread. Linux gives a
// page of fresh memory to the node of the thread that first writes it: outputs of NewTensor that a call is the first to write, states and scratch
// come to lie on the node of the worker that works on them. Inputs lie where the program has written them.
//
// Where the system cannot place threads (all but Linux), it returns ErrPlacement and changes nothing.
func SetPlacement(p Placement) error {
	var places [][]int
	switch p {
	case PlaceAnywhere:
	case PlacePinned:
		for _, cpu := range machine.CPUs() {
			places = append(places, []int{cpu})
		}
	case PlaceNodes:
		places = machine.Nodes()
	default:
		return refuse("placement", `"", "pinned" or "nodes"`, "%q", string(p))
	}
	if p != PlaceAnywhere && len(places) == 0 {
		return ErrPlacement
	}
	pool.Lock()
	defer pool.Unlock()
	endWorkers()
	pool.places = places
	return nil
}

// runPlaced is run with a placed worker for each part.
func runPlaced(p parallel, s *shared, n int) {
	pool.grow.Lock()
	for i := len(pool.queues); i < n; i++ {
		q := make(chan task, waitingTasks)
		pool.queues = append(pool.queues, q)
		go workPlaced(q, pool.places[i%len(pool.places)])
	}
	queues := pool.queues
	pool.grow.Unlock()
	s.begin(n)
	for i, q := range queues[:n] {
		q <- task{work: p, shared: s, part: i}
	}
	s.wait(0) // the workers may need this CPU
}

// workPlaced does what comes, on some CPUs. If the system refuses these now, it does so elsewhere.
func workPlaced(tasks chan task, cpus []int) {
	if unpin, err := machine.PinTo(cpus); err == nil {
		defer unpin()
	}
	for t := range tasks { // without waiting awake: these may be as many as the threads that run Go, of which the caller is one
		t.shared.do(t.work, t.part)
	}
}
