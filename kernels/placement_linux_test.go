package kernels

import (
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// where notes the CPUs that each part may run on.
type where struct {
	shared shared
	cpus   [][]int
}

func (w *where) parts() int { return len(w.cpus) }

func (w *where) part(i int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return
	}
	w.cpus[i] = nil
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			w.cpus[i] = append(w.cpus[i], cpu)
		}
	}
}

// Parts run where they are placed, in every call, and anywhere again in the end; results are the same.
func TestPlacement(t *testing.T) {
	defer func() {
		if err := SetPlacement(PlaceAnywhere); err != nil {
			t.Error(err)
		}
		Close()
	}()
	all := machine.CPUs()
	var pinned [][]int
	for _, cpu := range all {
		pinned = append(pinned, []int{cpu})
	}
	if unpin, err := machine.PinTo(all); err != nil {
		t.Skipf("threads cannot be placed here: %v", err) // an emulator may lack the call
	} else {
		unpin()
	}
	p := attentionProblem(0, 3, tile.Shape{B: 1, T: 300, Hq: 4, Hkv: 4, Dk: 64, Dv: 64})
	c, err := NewCase(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	x, err := c.Prepare(tile.Candidate{ISA: tile.Generic, Config: Default(p, tile.Generic)})
	if err != nil {
		t.Fatal(err)
	}
	x.Run()
	want := slices.Clone(c.attention.output)
	for _, tt := range []struct {
		placement Placement
		places    [][]int
	}{{PlacePinned, pinned}, {PlaceNodes, machine.Nodes()}, {PlaceAnywhere, [][]int{all}}} {
		if err := SetPlacement(tt.placement); err != nil {
			t.Fatal(err)
		}
		w := &where{cpus: make([][]int, 5)}
		for range 3 {
			run(w, &w.shared)
			for i, got := range w.cpus {
				place := slices.Sorted(slices.Values(tt.places[i%len(tt.places)]))
				if !slices.Equal(got, place) {
					t.Fatalf("%q: part %d may run on CPUs %v, want %v", tt.placement, i, got, place)
				}
			}
		}
		clear(c.attention.output)
		x.Run()
		if !slices.Equal(want, c.attention.output) {
			t.Errorf("%q: another answer", tt.placement)
		}
		if n := testing.AllocsPerRun(10, x.Run); n > 0 && !underRace {
			t.Errorf("%q: %v allocations a call", tt.placement, n)
		}
	}
	before := runtime.NumGoroutine()
	Close()
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines after Close, %d before", after, before)
	}
	wantRefusal(t, SetPlacement("far away"), "placement")
}
