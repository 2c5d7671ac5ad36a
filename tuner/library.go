package tuner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/sim"
)

// library is the real subject: the ops of package kernels, on devices built
// from this machine and its ceilings.
type library struct {
	machine *machine.Machine
	child   *worker // that verifies
	cold    bool    // cases are opened for cold caches

	mu         sync.Mutex
	measured   machine.Measured
	devices    map[deviceKey]*sim.Device
	predictors map[deviceKey]*kernels.Predictor
}

type deviceKey struct {
	isa     tile.ISA
	threads int
}

func newLibrary(m *machine.Machine, measured *machine.Measured) *library {
	l := &library{machine: m, devices: map[deviceKey]*sim.Device{}, predictors: map[deviceKey]*kernels.Predictor{}}
	if measured != nil {
		l.measured = *measured
		l.measured.Ceilings = slices.Clone(measured.Ceilings)
	}
	return l
}

// Run tunes the library's ops on this machine; measured may be nil, then typical ceilings stand in. The report is
// not nil if anything was tuned, even beside an error: ctx's, if it ended the run.
func Run(ctx context.Context, m *machine.Machine, measured *machine.Measured, o Options) (*Report, error) {
	o.fill(m)
	for _, p := range o.Problems {
		if err := kernels.CheckProblem(p); err != nil {
			return nil, err
		}
	}
	if len(o.Worker) == 0 {
		return nil, errors.New("no worker: candidates are verified in a child process")
	}
	if o.Held == nil && o.Dir != "" {
		held, err := Lock(o.Dir)
		if err != nil {
			return nil, err
		}
		defer held.Release()
		o.Held = held
	}
	l := newLibrary(m, measured)
	l.child, l.cold = newWorker(o.Worker), o.Cold
	l.child.limit = min(verifyTimeout, max(o.Budget/4, leastTimeout))
	defer l.child.close()
	return run(ctx, l, wallClock{}, m, measured, o)
}

// fill puts the library's problems and ISAs where none are given.
func (o *Options) fill(m *machine.Machine) {
	if len(o.Problems) == 0 {
		o.Problems = kernels.DefaultProblems(max(m.Usable, 1))
	}
	if len(o.ISAs) == 0 {
		o.ISAs = kernels.ISAs()
	}
}

func (l *library) device(isa tile.ISA, threads int) (*sim.Device, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := deviceKey{isa, threads}
	if d, ok := l.devices[key]; ok {
		return d, nil
	}
	d, err := sim.CPU(l.machine, &l.measured, isa, threads)
	if err == nil {
		l.devices[key] = d
	}
	return d, err
}

func (l *library) Params(p tile.Problem, isa tile.ISA) ([]tile.Param, error) {
	return kernels.Params(p, isa)
}

func (l *library) CheckConfig(p tile.Problem, c tile.Candidate) error {
	return kernels.CheckConfig(p, c)
}

func (l *library) Default(p tile.Problem, isa tile.ISA) tile.Config { return kernels.Default(p, isa) }

func (l *library) SourceHash(op string, isa tile.ISA) string { return kernels.SourceHash(op, isa) }

// Roof uses the device's peaks, which hold the ceilings' spread already.
func (l *library) Roof(p tile.Problem, isa tile.ISA) (Roof, error) {
	d, err := l.device(isa, p.Threads)
	if err != nil {
		return Roof{}, err
	}
	b, err := sim.Roof(d, p)
	if err != nil {
		return Roof{}, err
	}
	if !(b.RoofNs > 0) {
		return Roof{}, fmt.Errorf("the roof of %s is %g ns", p, b.RoofNs)
	}
	return Roof{Ns: b.RoofNs, BoundBy: b.BoundBy, Flops: b.Flops, Bytes: b.Bytes}, nil
}

// RemeasureRoof measures the FLOP/s of the ISA and thread count again, and every ceiling of the
// level that binds where it is a level.
func (l *library) RemeasureRoof(p tile.Problem, isa tile.ISA) (Roof, error) {
	old, err := l.Roof(p, isa)
	if err != nil {
		return Roof{}, err
	}
	var again []machine.Ceiling
	if old.BoundBy == sim.PartCompute {
		c, err := roofline.MeasureFlops(isa, p.Threads, 200*time.Millisecond)
		if err != nil {
			return Roof{}, err
		}
		again = append(again, c)
	} else {
		m, err := roofline.Measure(context.Background(), l.machine, roofline.Options{Threads: []int{p.Threads}, ISAs: []tile.ISA{isa}, Quick: true})
		if err != nil {
			return Roof{}, err
		}
		again = m.Ceilings
	}
	l.mu.Lock()
	l.raise(again)
	l.mu.Unlock()
	return l.Roof(p, isa)
}

func (l *library) Measured() (machine.Measured, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.measured
	m.Ceilings = slices.Clone(m.Ceilings)
	return m, len(m.Ceilings) > 0
}

// raise replaces ceilings that were measured higher. Sound roofs take the highest that was seen. The caller holds l.mu.
func (l *library) raise(again []machine.Ceiling) {
	for _, c := range again {
		i := slices.IndexFunc(l.measured.Ceilings, func(x machine.Ceiling) bool {
			return x.Kind == c.Kind && x.ISA == c.ISA && x.Level == c.Level && x.Threads == c.Threads && x.RowBytes == c.RowBytes
		})
		switch {
		case i < 0:
			l.measured.Ceilings = append(l.measured.Ceilings, c)
		case cmp.Compare(c.Max, l.measured.Ceilings[i].Max) > 0:
			l.measured.Ceilings[i] = c
		}
	}
	clear(l.devices)
	clear(l.predictors)
}

// predictor keeps what was recorded for as long as the ceilings stay.
func (l *library) predictor(isa tile.ISA, threads int) (*kernels.Predictor, error) {
	d, err := l.device(isa, threads)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := deviceKey{isa, threads}
	x, ok := l.predictors[key]
	if !ok || x.Device() != d {
		x = kernels.NewPredictor(d)
		l.predictors[key] = x
	}
	return x, nil
}

func (l *library) Predict(p tile.Problem, c tile.Candidate) (Prediction, error) {
	x, err := l.predictor(c.ISA, p.Threads)
	if err != nil {
		return Prediction{}, err
	}
	e, err := x.Predict(p, c)
	if err != nil {
		return Prediction{}, err
	}
	out := Prediction{Ns: e.TimeNs, LowerNs: e.LowerBoundNs, BoundBy: e.BoundBy, Bytes: make(map[string]int64, e.Levels)}
	for i, level := range x.Device().Levels {
		out.Bytes[level.Name] = e.Bytes[i]
	}
	return out, nil
}

func (l *library) Verify(p tile.Problem, c tile.Candidate, seed uint64) (maxError, bound float64, err error) {
	return l.child.verify(p, c, seed)
}

func (l *library) Open(p tile.Problem, seed uint64) (Case, error) {
	if l.cold {
		l.mu.Lock()
		last := lastCache(l.machine, &l.measured)
		l.mu.Unlock()
		return openCold(p, seed, last)
	}
	c, err := kernels.NewCase(p, seed)
	return libraryCase{c}, err
}

type libraryCase struct{ *kernels.Case }

func (c libraryCase) Prepare(cand tile.Candidate) (Call, error) {
	x, err := c.Case.Prepare(cand)
	if err != nil {
		return nil, err
	}
	return libraryCall{x}, nil
}

type libraryCall struct{ *kernels.Call }

func (c libraryCall) Run() error {
	c.Call.Run()
	return nil
}

// Close has nothing to free: a call's scratch goes with it.
func (c libraryCall) Close() {}
