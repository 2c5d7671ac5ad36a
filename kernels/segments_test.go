package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// segmentCase is a case of a rule of linear attention with fewer panels than workers.
func segmentCase(t *testing.T, rule, threads int, s tile.Shape, seed uint64) *Case {
	t.Helper()
	c, err := NewCase(attentionProblem(rule%4, threads, s), seed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// segmentConfig is a random config with which a problem's tokens are cut.
func segmentConfig(t *testing.T, r *rand.Rand, p tile.Problem, isa tile.ISA) tile.Candidate {
	t.Helper()
	for range 1000 {
		if c := anyConfig(t, r, p, isa); segmentCount(p, c.Config) > 1 {
			return c
		}
	}
	t.Fatalf("no config of %s cuts its tokens", p)
	return tile.Candidate{}
}

func TestSegmentsMatchOracle(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(31, 32))
		for i := range rounds(12) {
			hkv, group := 1+r.IntN(2), 1+r.IntN(2)
			c := segmentCase(t, i, 4*hkv+r.IntN(12), tile.Shape{B: 1, T: 2000 + r.IntN(500), Hq: hkv * group, Hkv: hkv, Dk: 100 + r.IntN(30), Dv: 10 + r.IntN(6)}, uint64(i))
			switch r.IntN(3) {
			case 0:
				c.attention.past = nil
			case 1:
				c.Problem.FeatureMap = tile.FeatureMaps()[1+r.IntN(4)]
				c.attention.featureMap, c.attention.problem = c.Problem.FeatureMap, c.Problem
			}
			compare(t, c, segmentConfig(t, r, c.Problem, isa))
		}
	})
}

// Strong decay, growth and decay to zero, of one range or another.
func TestSegmentsExtremeGates(t *testing.T) {
	inf := float32(math.Inf(-1))
	fills := map[string]func(r *rand.Rand) float32{
		"none":    func(*rand.Rand) float32 { return 0 },
		"strong":  func(*rand.Rand) float32 { return -20 },
		"grow":    func(r *rand.Rand) float32 { return 0.004 * r.Float32() },
		"erase":   func(r *rand.Rand) float32 { return []float32{0, -0.01, inf}[min(r.IntN(400), 2)] },
		"bursts":  func(r *rand.Rand) float32 { return []float32{-0.01, -0.01, -80}[min(r.IntN(40), 2)] },
		"swaying": func(r *rand.Rand) float32 { return []float32{-95, 95}[r.IntN(2)] * 0.1 },
	}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		for name, fill := range fills {
			for rule := 1; rule < 4; rule++ {
				r := rand.New(rand.NewPCG(33, uint64(rule)))
				c := segmentCase(t, rule, 8, tile.Shape{B: 1, T: 1024, Hq: 1, Hkv: 1, Dk: 64, Dv: 32}, 7)
				a := c.attention
				for i := range a.decay {
					a.decay[i] = fill(r)
				}
				if name == "swaying" { // that its products stay within float32
					for i := range a.decay {
						if width := len(a.decay) / 1024; i/width%2 == 1 {
							a.decay[i] = -a.decay[i-width]
						}
					}
				}
				for i := range a.headDecay {
					a.headDecay[i] = fill(r)
					if name == "swaying" {
						a.headDecay[i] = 0.05
					}
				}
				t.Run(name+"/"+c.Problem.Decay, func(t *testing.T) {
					for range 2 {
						compare(t, c, segmentConfig(t, r, c.Problem, isa))
					}
				})
			}
		}
	})
}

// Growth that overflows on the way, where the state that it meets is 0.
func TestSegmentsOverflow(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(35, 36))
		for rule := 2; rule < 4; rule++ {
			c := segmentCase(t, rule, 8, tile.Shape{B: 1, T: 1024, Hq: 1, Hkv: 1, Dk: 64, Dv: 32}, 9)
			a := c.attention
			clear(a.past)
			clear(a.key[:900*64]) // nothing is written until then
			for i := range a.decay {
				a.decay[i] = 3
			}
			for i := len(a.decay) * 900 / 1024; i < len(a.decay); i++ {
				a.decay[i] = 0.01
			}
			compare(t, c, segmentConfig(t, r, c.Problem, isa))
		}
	})
}

// What is not finite reaches later tokens of its head alone, whatever segments they are in.
func TestSegmentsNonFinite(t *testing.T) {
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(37, 38))
		for i := range rounds(10) {
			c := segmentCase(t, i, 8, tile.Shape{B: 1, T: 1500 + r.IntN(100), Hq: 2, Hkv: 2, Dk: 100, Dv: 15}, uint64(i))
			a := c.attention
			for _, v := range [][]float32{a.query, a.key, a.value, a.past, a.decay} {
				if len(v) > 0 && r.IntN(3) == 0 {
					v[r.IntN(len(v))] = bad[r.IntN(len(bad))]
				}
			}
			compareNonFinite(t, c, segmentConfig(t, r, c.Problem, isa))
		}
	})
}

// One packed sequence, shorter than the problem that its choice is made for, with states kept on the way.
func TestSegmentsOfPackedSequence(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(39, 40))
		for i, tokens := range []int{1030, 1500, 2047} {
			s := tile.Shape{B: 1, T: tokens, Hq: 2, Hkv: 1, Dk: 64, Dv: 32}
			c := segmentCase(t, i+1, 5, s, uint64(i))
			a := c.attention
			keep := []int{1, 200, 515, 1024, tokens}
			in := a.inputs()
			in.Offsets, in.Keep = []int{0, tokens}, keep
			out := &Outputs{Output: NewTensor(1, tokens, 2*32), PresentState: NewTensor(1, 1, 64, 32), KeptStates: NewTensor(len(keep), 1, 1, 64, 32)}
			cand := segmentConfig(t, r, alikePacked(c.Problem), isa)
			if err := forwardCandidate(c.Problem, &cand, a.headDecay, false, in, out); err != nil {
				t.Fatal(err)
			}
			want := oracleOf(c.Problem, a, 0, tokens, a.past)
			if e := relativeError(out.Output.Data, want.Output, want.OutputAbs); e > ErrorBound(c.Problem) {
				t.Errorf("%s: output error %g", c.Problem, e)
			}
			if e := relativeError(out.PresentState.Data, want.State, want.StateAbs); e > ErrorBound(c.Problem) {
				t.Errorf("%s: state error %g", c.Problem, e)
			}
			for k, at := range keep {
				want := oracleOf(c.Problem, a, 0, at, a.past)
				if e := relativeError(out.KeptStates.Data[k*64*32:(k+1)*64*32], want.State, want.StateAbs); e > ErrorBound(c.Problem) {
					t.Errorf("%s: state after row %d: error %g", c.Problem, at, e)
				}
			}
		}
	})
}

// Two calls have the same bits, and the second allocates nothing.
func TestSegmentsRepeat(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		r := rand.New(rand.NewPCG(41, 42))
		for rule := range 4 {
			c := segmentCase(t, rule, 6, tile.Shape{B: 1, T: 2000, Hq: 1, Hkv: 1, Dk: 64, Dv: 32}, 3)
			x, err := c.Prepare(segmentConfig(t, r, c.Problem, isa))
			if err != nil {
				t.Fatal(err)
			}
			x.Run()
			output, state := slices.Clone(c.attention.output), slices.Clone(c.attention.state)
			allocs := testing.AllocsPerRun(10, func() {
				clear(c.attention.output)
				x.Run()
			})
			if allocs > 0 && !underRace {
				t.Errorf("%s: %g allocations a call", c.Problem, allocs)
			}
			if !slices.Equal(output, c.attention.output) || !slices.Equal(state, c.attention.state) {
				t.Errorf("%s: two calls differ", c.Problem)
			}
		}
	})
}

// Tokens are cut where workers would be idle otherwise, by as many as there are for each panel, and no shorter than pays.
func TestSegmentCount(t *testing.T) {
	one := tile.Problem{Op: tile.LinearAttention, Rule: tile.RuleLinear, DType: tile.Float32, Dir: tile.Forward, Threads: 8, Shape: tile.Shape{B: 1, T: 16384, Hq: 1, Hkv: 1, Dk: 64, Dv: 64}}
	cfg := tile.Config{"form": formRecurrence, "cols": 32}
	for name, c := range map[string]struct {
		want  int
		spoil func(p *tile.Problem)
	}{
		"two panels, eight workers": {4, func(*tile.Problem) {}},
		"three workers":             {1, func(p *tile.Problem) { p.Threads = 3 }},
		"heads enough":              {1, func(p *tile.Problem) { p.Shape.Hq, p.Shape.Hkv = 4, 4 }},
		"few tokens":                {2, func(p *tile.Problem) { p.Shape.T = 600 }},
		"a batch":                   {1, func(p *tile.Problem) { p.Shape.B = 2 }},
		"the delta rule":            {1, func(p *tile.Problem) { p.Op, p.Rule = tile.DeltaRule, tile.RuleDelta }},
		"backward":                  {1, func(p *tile.Problem) { p.Dir = tile.Backward }},
		"not causal":                {1, func(p *tile.Problem) { p.Full = true }},
		"normalized":                {1, func(p *tile.Problem) { p.Normalize = true }},
	} {
		p := one
		c.spoil(&p)
		if got := segmentCount(p, cfg); got != c.want {
			t.Errorf("%s: %d segments, want %d", name, got, c.want)
		}
	}
}
