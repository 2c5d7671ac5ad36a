package tuner

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// still is a clock that only the planted subject moves.
type still struct {
	now      time.Duration
	noise    *rand.Rand
	slowdown func(now time.Duration) float64 // of the whole machine
	pressure func(now time.Duration) pressure
}

var epoch = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func (c *still) Now() time.Time { return epoch.Add(c.now) }

func (c *still) pass(ns float64) {
	if c.slowdown != nil {
		ns *= c.slowdown(c.now)
	}
	c.now += time.Duration(ns)
}

func (c *still) Canary()          { c.pass(20e3) }
func (c *still) Stream()          { c.pass(50e3) }
func (c *still) Quiet(int) func() { return func() {} }
func (c *still) Pressure() pressure {
	if c.pressure != nil {
		return c.pressure(c.now)
	}
	return pressure{}
}

// planted is a subject whose candidates behave as told.
type planted struct {
	clock    *still
	values   map[string][]int
	names    []string
	ns       func(p tile.Problem, c tile.Candidate) float64
	scatter  float64 // standard deviation of log time
	wrong    func(c tile.Config) bool
	fails    func(c tile.Config) bool
	lower    func(c tile.Config) float64
	roof     float64
	cheat    float64 // what RemeasureRoof finds; 0 means the same roof
	verifyNs float64
	ran      map[string]int // runs by config
	checked  int
	verify   verifier    // nil: as wrong and fails say
	standard tile.Config // the default, nil for chunk 32 and mr 4
	prepares func()      // called when a candidate is prepared
	predicts sync.Mutex  // guards the clock, as candidates are simulated several at once
}

func plant(seed uint64) *planted {
	s := &planted{
		clock:  &still{noise: rand.New(rand.NewPCG(seed, 1))},
		names:  []string{"chunk", "mr"},
		values: map[string][]int{"chunk": {16, 32, 64, 128}, "mr": {4, 6, 8}},
		roof:   1e3, scatter: 0.01, verifyNs: 2e6,
		ran: map[string]int{},
	}
	s.ns = func(p tile.Problem, c tile.Candidate) float64 {
		t := 50e3 * (1 + 0.1*math.Abs(math.Log2(float64(c.Config["chunk"])/64)) + 0.05*math.Abs(float64(c.Config["mr"]-8)))
		return t * float64(max(p.Shape.T, 1)) / 512 * map[tile.ISA]float64{tile.Generic: 8, tile.AVX2: 1}[c.ISA]
	}
	return s
}

func (s *planted) Params(tile.Problem, tile.ISA) ([]tile.Param, error) {
	var ps []tile.Param
	for _, n := range s.names {
		ps = append(ps, tile.Param{Name: n, Values: s.values[n]})
	}
	return ps, nil
}

func (s *planted) CheckConfig(_ tile.Problem, c tile.Candidate) error {
	if c.Config["chunk"] == 128 && c.Config["mr"] == 4 {
		return errors.New("constraint")
	}
	return nil
}

func (s *planted) Default(tile.Problem, tile.ISA) tile.Config {
	if s.standard != nil {
		return s.standard
	}
	return tile.Config{"chunk": 32, "mr": 4}
}
func (s *planted) SourceHash(op string, isa tile.ISA) string { return "hash-" + op + string(isa) }

func (s *planted) Roof(p tile.Problem, _ tile.ISA) (Roof, error) {
	return Roof{Ns: s.roof * float64(p.Shape.T) / 512, BoundBy: "compute", Flops: 1000, Bytes: map[string]int64{"L1": 1000}}, nil
}

func (s *planted) RemeasureRoof(p tile.Problem, isa tile.ISA) (Roof, error) {
	if s.cheat != 0 {
		s.roof = s.cheat
	}
	return s.Roof(p, isa)
}

func (s *planted) Measured() (machine.Measured, bool) { return machine.Measured{}, false }

func (s *planted) Predict(p tile.Problem, c tile.Candidate) (Prediction, error) {
	s.predicts.Lock()
	s.clock.pass(50e3)
	s.predicts.Unlock()
	x := Prediction{Ns: 0.8 * s.ns(p, c), BoundBy: "compute"}
	if s.lower != nil {
		x.LowerNs = s.lower(c.Config)
	}
	return x, nil
}

func (s *planted) Verify(p tile.Problem, c tile.Candidate, seed uint64) (float64, float64, error) {
	s.clock.pass(s.verifyNs)
	s.checked++
	if s.verify != nil {
		return s.verify(p, c, seed)
	}
	switch {
	case s.fails != nil && s.fails(c.Config):
		return 0, 0, errors.New("planted failure")
	case s.wrong != nil && s.wrong(c.Config):
		return 1, 1e-5, nil
	}
	return 1e-7, 1e-5, nil
}

func (s *planted) Open(p tile.Problem, _ uint64) (Case, error) {
	s.clock.pass(10 * elements(p))
	return plantedCase{s, p}, nil
}

type plantedCase struct {
	s *planted
	p tile.Problem
}

func (x plantedCase) Prepare(c tile.Candidate) (Call, error) {
	if x.s.prepares != nil {
		x.s.prepares()
	}
	return plantedCall{x.s, x.s.ns(x.p, c), c.Config.String()}, nil
}

type plantedCall struct {
	s    *planted
	ns   float64
	name string
}

func (x plantedCall) Run() error {
	x.s.ran[x.name]++
	x.s.clock.pass(x.ns * math.Exp(x.s.scatter*math.Abs(x.s.clock.noise.NormFloat64())))
	return nil
}

func (plantedCall) ExecutedFlops() (int64, error) { return 1200, nil }
func (plantedCall) Close()                        {}

func problem(t int) tile.Problem {
	return tile.Problem{
		Op: tile.LinearAttention, Rule: tile.RuleLinear, DType: "float32", Dir: "fwd", Threads: 1, Decay: tile.DecayNone,
		Shape: tile.Shape{B: 1, T: t, Hq: 2, Hkv: 2, Dk: 64, Dv: 64},
	}
}

func plantedMachine() *machine.Machine {
	return &machine.Machine{Vendor: "test", Arch: "amd64", OS: "linux", ISAs: []tile.ISA{tile.Generic, tile.AVX2}, Threads: 1, Fingerprint: "0123456789abcdef"}
}
