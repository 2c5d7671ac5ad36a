package kernels

import (
	"maps"
	"math"
	"sync"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
)

// Predictor simulates candidates on one device. A candidate is recorded and its traffic counted once, over its first few chunks; problems that
// differ only in how many tokens there are share that, and their estimates are a closed form that allocates nothing. What is recorded does not
// depend on which of them comes first, so neither do the estimates. It is safe for concurrent use.
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
	if tokens, ok := recordedTokens(p, c.Config); ok && p.Shape.T >= tokens {
		key.problem.Shape.T, key.shared = tokens, true
	}
	x.mu.RLock()
	found := x.kept[key]
	x.mu.RUnlock()
	if found == nil || !maps.Equal(found.config, c.Config) {
		program, err := Record(key.problem, c)
		if err != nil {
			return sim.Estimate{}, err
		}
		compiled, err := sim.Compile(x.device, program)
		if err != nil {
			return sim.Estimate{}, err
		}
		found = &predicted{maps.Clone(c.Config), compiled, key.problem.Shape.T}
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

// recordedTokens is the number of tokens of an attention op whose recording does for any number from there on: a few trips of its outer loop, and
// enough work to wake all threads. It does not depend on the problem's own. Other ops have none.
func recordedTokens(p tile.Problem, cfg tile.Config) (tokens int, ok bool) {
	if p.Op != tile.LinearAttention && p.Op != tile.DeltaRule || segmentCount(p, cfg) > 1 {
		return 0, false
	}
	step := max(cfg["chunk"], cfg["block"], 1)
	if p.Op == tile.DeltaRule && p.Dir == tile.Backward && cfg["form"] == formFused {
		step = tile.ChunkTokens
	}
	tokens = recordedTrips * step
	wakes := float64(p.Threads) * minWorkerFlops / (float64(p.Shape.B) * tokenFlops(p.Shape))
	if !(wakes < math.MaxInt32) { // or no work at all
		return 0, false
	}
	tokens = max(tokens, int(wakes))
	for worthwhile(p.Threads, float64(p.Shape.B)*float64(tokens)*tokenFlops(p.Shape)/minWorkerFlops) < p.Threads {
		tokens++ // what the division rounded off
	}
	return tokens, true
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
