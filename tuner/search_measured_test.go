package tuner

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/search"
	"github.com/rooftune/rooftune/tuner/stats"
)

// searched is a space of the library that was measured in full.
type searched struct {
	Problem   tile.Problem
	ISA       tile.ISA
	Configs   []tile.Config
	Ns        []float64 // by config
	Predicted []float64 // by config
	Default   int
}

// TestMeasureSpaces measures every config of a few problems and writes what it found to ROOFTUNE_TEST_SPACES, a folder; the simulator
// takes this machine's caches and ceilings from ROOFTUNE_TEST_PROFILE. A round runs all configs one after the other, the fastest of
// three calls each; a config's time is the median over rounds of its share of the round's median.
func TestMeasureSpaces(t *testing.T) {
	dir := os.Getenv("ROOFTUNE_TEST_SPACES")
	if dir == "" {
		t.Skip("ROOFTUNE_TEST_SPACES names no folder")
	}
	m, err := machine.Detect()
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Read(os.Getenv("ROOFTUNE_TEST_PROFILE"))
	if err != nil {
		t.Fatal(err)
	}
	isas := kernels.ISAs()
	best := isas[len(isas)-1]
	attention := func(op string, t, hq, hkv, d int) tile.Problem {
		rule := map[string]string{tile.DeltaRule: tile.RuleGatedDelta, tile.LinearAttention: tile.RuleGated}[op]
		return tile.Problem{Op: op, Rule: rule, Decay: tile.DecayHead, DType: tile.Float32, Dir: tile.Forward, Threads: 1,
			Shape: tile.Shape{B: 1, T: t, Hq: hq, Hkv: hkv, Dk: d, Dv: d}}
	}
	hash := func(n int) tile.Problem {
		return tile.Problem{Op: tile.HashLayer, Weighting: tile.WeightingPaper, DType: tile.Float32, Dir: tile.Forward, Threads: 1,
			Shape: tile.Shape{N: n, D: 1024, H: 1024, Tau: 8}}
	}
	for _, x := range []struct {
		name string
		tile.Problem
		isa tile.ISA
	}{
		{"delta-rule", attention(tile.DeltaRule, 128, 8, 8, 128), best},
		{"delta-rule-d64", attention(tile.DeltaRule, 256, 16, 16, 64), best},
		{"delta-rule-grouped", attention(tile.DeltaRule, 128, 4, 8, 128), best},
		{"delta-rule-avx2", attention(tile.DeltaRule, 128, 8, 8, 128), tile.AVX2},
		{"linear-attention", attention(tile.LinearAttention, 128, 8, 8, 128), best},
		{"linear-attention-d64", attention(tile.LinearAttention, 256, 16, 16, 64), best},
		{"linear-attention-avx2", attention(tile.LinearAttention, 128, 8, 8, 128), tile.AVX2},
		{"hash-layer-32", hash(32), best},
		{"hash-layer-1024", hash(1024), best},
	} {
		if !slices.Contains(isas, x.isa) {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			s, err := measureSpace(newLibrary(m, &p.Measured), x.Problem, x.isa, 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, x.name+".json"), raw, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func measureSpace(l *library, p tile.Problem, isa tile.ISA, budget time.Duration) (*searched, error) {
	configs, err := Space(p, isa)
	if err != nil {
		return nil, err
	}
	s := &searched{Problem: p, ISA: isa, Configs: configs}
	standard := l.Default(p, isa).String()
	if s.Default = slices.IndexFunc(configs, func(c tile.Config) bool { return c.String() == standard }); s.Default < 0 {
		s.Default, s.Configs = len(configs), append(s.Configs, l.Default(p, isa))
	}
	box, err := l.Open(p, 1)
	if err != nil {
		return nil, err
	}
	for _, c := range s.Configs {
		ns := math.Inf(1)
		if x, err := l.Predict(p, tile.Candidate{ISA: isa, Config: c}); err == nil {
			ns = x.Ns
		}
		s.Predicted = append(s.Predicted, ns)
	}
	shares := make([][]float64, len(s.Configs))
	var medians []float64
	for start := time.Now(); len(medians) < 3 || time.Since(start) < budget && len(medians) < 40; {
		round := make([]float64, len(s.Configs))
		for i, c := range s.Configs {
			call, err := box.Prepare(tile.Candidate{ISA: isa, Config: c})
			if err != nil {
				return nil, err
			}
			round[i] = math.Inf(1)
			for range 3 {
				begin := time.Now()
				if err := call.Run(); err != nil {
					return nil, err
				}
				round[i] = min(round[i], float64(time.Since(begin)))
			}
			call.Close()
		}
		median := stats.Median(round)
		medians = append(medians, median)
		for i, ns := range round {
			shares[i] = append(shares[i], ns/median)
		}
	}
	for _, x := range shares {
		s.Ns = append(s.Ns, stats.Median(x)*stats.Median(medians))
	}
	return s, nil
}

// TestSearchMeasuredSpaces searches the spaces of ROOFTUNE_TEST_SPACES as a run does, and says how near to the best the answers are.
func TestSearchMeasuredSpaces(t *testing.T) {
	dir := os.Getenv("ROOFTUNE_TEST_SPACES")
	if dir == "" {
		t.Skip("ROOFTUNE_TEST_SPACES names no folder")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Skipf("no spaces in %s: %v", dir, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s searched
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		best := slices.Min(s.Ns)
		near := 0
		for _, ns := range s.Ns {
			if ns <= 1.02*best {
				near++
			}
		}
		t.Logf("%s: %d configs, %d within 2 %% of the best; the default %.1f %% slower", filepath.Base(file), len(s.Configs), near, 100*(s.Ns[s.Default]/best-1))
		for _, name := range []string{"", search.Default, exhaustive, "random"} {
			const seeds = 50
			within, worst, mean, most := 0, 0.0, 0.0, 0
			for seed := range uint64(seeds) {
				found, measured, err := s.search(name, seed+1)
				if err != nil {
					t.Fatal(err)
				}
				loss := found/best - 1
				if loss <= 0.02 {
					within++
				}
				worst, mean, most = max(worst, loss), mean+loss/seeds, max(most, measured)
			}
			t.Logf("  %-12s %3d measurements (%.0f %%): within 2 %% in %d of %d, mean %.1f %%, worst %.1f %%", name, most, 100*float64(most)/float64(len(s.Configs)),
				within, seeds, 100*mean, 100*worst)
		}
	}
}

// search is a search as a race does it: the default first, then what the strategy names, several at once. A strategy by name has a tenth of the space; the
// empty name is what a run does.
func (s *searched) search(name string, seed uint64) (best float64, measured int, err error) {
	params, err := kernels.Params(s.Problem, s.ISA)
	if err != nil {
		return 0, 0, err
	}
	return s.searchOver(params, name, seed)
}

// searchOver is search with the tunables given.
func (s *searched) searchOver(params []tile.Param, name string, seed uint64) (best float64, measured int, err error) {
	strategy, err := newStrategy(name, params, s.Configs, s.Predicted, s.Default, seed)
	if err != nil {
		return 0, 0, err
	}
	limit := len(s.Configs)
	if name != "" {
		limit = max(1, int(searchShare*float64(limit)))
	}
	strategy.Tell(s.Default, 1)
	best, measured = s.Ns[s.Default], 1
	for measured < limit {
		var group []int
		for len(group) < min(askAtOnce, limit-measured) {
			i, ok := strategy.Ask()
			if !ok {
				break
			}
			if i == s.Default {
				strategy.Tell(i, 1)
				continue
			}
			group = append(group, i)
		}
		if len(group) == 0 {
			break
		}
		for _, i := range group {
			measured++
			best = min(best, s.Ns[i])
			strategy.Tell(i, s.Ns[i]/s.Ns[s.Default])
		}
	}
	return best, measured, nil
}
