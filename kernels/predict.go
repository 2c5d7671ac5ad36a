package kernels

import (
	"maps"
	"sync"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// Predictor simulates candidates on one device. A candidate is recorded and its traffic counted once, over its first few chunks; problems that
// differ only in how many tokens there are share that, and their estimates are a closed form that allocates nothing. It is safe for concurrent use.
type Predictor struct {
	device *sim.Device

	mu   sync.RWMutex
	kept map[predictKey]*predicted
}

// predictKey is what shapes a recorded program. Configs with the same hash are told apart by predicted.config.
type predictKey struct {
	problem tile.Problem // with as many tokens as are recorded, if shared
	shared  bool         // between all numbers of tokens from there on
	isa     tile.ISA
	config  uint64
}

type predicted struct {
	config   tile.Config
	compiled *sim.Compiled
	tokens   int // of the problem that was recorded
}

// mostPredicted is how many recordings are kept: about 100 MB.
const mostPredicted = 1 << 16

// NewPredictor makes a predictor for a device of package sim.
func NewPredictor(d *sim.Device) *Predictor {
	return &Predictor{device: d, kept: map[predictKey]*predicted{}}
}

// Device is the device it simulates.
func (x *Predictor) Device() *sim.Device { return x.device }

// Predict simulates a candidate. The error is that of Record or sim.Compile.
func (x *Predictor) Predict(p tile.Problem, c tile.Candidate) (sim.Estimate, error) {
	key := predictKey{problem: p, isa: c.ISA, config: hashConfig(c.Config)}
	if tokens, ok := recordedTokens(p, c.Config); ok {
		key.problem.Shape.T, key.shared = tokens, true
	}
	x.mu.RLock()
	found := x.kept[key]
	x.mu.RUnlock()
	if found == nil || !maps.Equal(found.config, c.Config) {
		program, err := Record(p, c)
		if err != nil {
			return sim.Estimate{}, err
		}
		compiled, err := sim.Compile(x.device, program)
		if err != nil {
			return sim.Estimate{}, err
		}
		found = &predicted{maps.Clone(c.Config), compiled, p.Shape.T}
		x.mu.Lock()
		if len(x.kept) >= mostPredicted {
			clear(x.kept)
		}
		x.kept[key] = found
		x.mu.Unlock()
	}
	if p.Shape.T == found.tokens {
		return found.compiled.Estimate(1), nil
	}
	return found.compiled.Estimate(float64(p.Shape.T) / float64(found.tokens)), nil
}

// recordedTokens is how many tokens of an attention op are recorded, and whether the recording does for any number from there on: not if
// the work is too little to wake all threads.
func recordedTokens(p tile.Problem, cfg tile.Config) (tokens int, ok bool) {
	if p.Op != tile.LinearAttention && p.Op != tile.DeltaRule {
		return 0, false
	}
	tokens = recordedTrips * max(cfg["chunk"], cfg["block"], 1)
	return tokens, p.Shape.T >= tokens && worthwhile(p.Threads, float64(p.Shape.B)*float64(p.Shape.T)*tokenFlops(p.Shape)/minWorkerFlops) == p.Threads
}

// hashConfig mixes names and values so that their order does not matter.
func hashConfig(c tile.Config) (sum uint64) {
	for name, value := range c {
		h := uint64(14695981039346656037)
		for i := range len(name) {
			h = (h ^ uint64(name[i])) * 1099511628211
		}
		h = (h ^ uint64(value)) * 0x9e3779b97f4a7c15
		sum += h ^ h>>32
	}
	return sum
}
