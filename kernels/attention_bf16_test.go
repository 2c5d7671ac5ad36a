package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func pairProblem(op string, t, hq, hkv, dk, dv, threads int, decay string) tile.Problem {
	rules := map[string][2]string{tile.LinearAttention: {tile.RuleLinear, tile.RuleGated}, tile.DeltaRule: {tile.RuleDelta, tile.RuleGatedDelta}}
	rule := rules[op][1]
	if decay == tile.DecayNone {
		rule = rules[op][0]
	}
	return tile.Problem{Op: op, Rule: rule, Decay: decay, DType: tile.Float32, Dir: tile.Forward, Precision: tile.BFloat16,
		Threads: threads, Shape: tile.Shape{B: 2, T: t, Hq: hq, Hkv: hkv, Dk: dk, Dv: dv}}
}

// eachPairISA runs a test of each op on each ISA that has bfloat16 products here.
func eachPairISA(t *testing.T, run func(t *testing.T, isa tile.ISA, op string)) {
	for _, isa := range tested() {
		for _, op := range []string{tile.LinearAttention, tile.DeltaRule} {
			if prim, _ := primitives(isa); prim.Pair != nil {
				t.Run(string(isa)+"/"+op, func(t *testing.T) { run(t, isa, op) })
			}
		}
	}
}

// TestBFloat16Products compares ragged shapes, configs and decays with the oracle.
func TestBFloat16Products(t *testing.T) {
	eachPairISA(t, func(t *testing.T, isa tile.ISA, op string) {
		r := rand.New(rand.NewPCG(5, 1))
		trials, worst := 60, 0.0
		if isa != tile.AVX512 { // slow, or under an emulator
			trials = 12
		}
		for range trials {
			group := 1 + r.IntN(3)
			p := pairProblem(op, 1+r.IntN(200), group, 1, 1+r.IntN(140), 1+r.IntN(140), 1+r.IntN(3), []string{tile.DecayNone, tile.DecayFixed, tile.DecayHead}[r.IntN(3)])
			p.Shape.Hq, p.Shape.Hkv = 2*group, 2
			params, err := Params(p, isa)
			if err != nil {
				t.Fatal(err)
			}
			c := tile.Candidate{ISA: isa, Config: tile.Config{}}
			for _, q := range params {
				c.Config[q.Name] = q.Values[r.IntN(len(q.Values))]
			}
			got, bound, err := Verify(p, c, r.Uint64())
			if err != nil || !(got <= bound) {
				t.Fatalf("%s %s: error %.3g, bound %.3g (%v)", p, c, got, bound, err)
			}
			worst = max(worst, got/bound)
		}
		t.Logf("at most %.2f of the bound", worst)
	})
}

// TestBFloat16ParallelKeys takes triangles that are badly conditioned, in chunks of any length.
func TestBFloat16ParallelKeys(t *testing.T) {
	eachPairISA(t, func(t *testing.T, isa tile.ISA, op string) {
		r, worst := rand.New(rand.NewPCG(13, 14)), 0.0
		for _, decay := range []string{tile.DecayNone, tile.DecayHead} {
			p := pairProblem(op, 260, 2, 2, 64, 40, 1, decay)
			c, err := NewCase(p, 7)
			if err != nil {
				t.Fatal(err)
			}
			makeParallel(c, r)
			a := c.attention
			want := oracleCase(p, a).Oracle(a.query, a.key, a.value, a.past, a.decay, a.beta)
			for _, chunk := range []int{16, 64, 128, 256} {
				cfg := Default(p, isa)
				cfg["chunk"] = chunk
				call, err := c.Prepare(tile.Candidate{ISA: isa, Config: cfg})
				if err != nil {
					t.Fatal(err)
				}
				call.Run()
				e := max(relativeError(a.output, want.Output, want.OutputAbs), relativeError(a.state, want.State, want.StateAbs)) / ErrorBound(p)
				if !(e <= 1) {
					t.Errorf("decay %s, chunk %d: %.2f of the bound", decay, chunk, e)
				}
				worst = max(worst, e)
			}
		}
		t.Logf("at most %.2f of the bound", worst)
	})
}

// TestBFloat16NonFinite puts single numbers that bfloat16 or float32 cannot hold into each input.
func TestBFloat16NonFinite(t *testing.T) {
	eachPairISA(t, func(t *testing.T, isa tile.ISA, op string) {
		p := pairProblem(op, 40, 2, 2, 17, 35, 1, tile.DecayHead)
		const large = 3.4e38 // rounds to Inf in bfloat16
		for _, x := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), large} {
			for which := range map[string]int{tile.LinearAttention: 5, tile.DeltaRule: 6}[op] {
				cs, err := NewCase(p, uint64(which))
				if err != nil {
					t.Fatal(err)
				}
				a := &cs.attention
				v := [][]float32{a.query, a.key, a.value, a.past, a.decay, a.beta}[which]
				if which == 4 && x > 0 {
					continue // no decay
				}
				if x == large { // no product of it overflows float32
					for i, other := range [][]float32{a.query, a.key, a.value, a.past} {
						for j := range other {
							if i != which {
								other[j] *= 0x1p-20
							}
						}
					}
				}
				v[len(v)/3] = x
				cfg := Default(p, isa)
				cfg["chunk"] = 16
				if op == tile.DeltaRule {
					compareNonFinite(t, cs, tile.Candidate{ISA: isa, Config: cfg})
					continue
				}
				want := oracleCase(p, *a).Oracle(a.query, a.key, a.value, a.past, a.decay, nil)
				call, err := cs.Prepare(tile.Candidate{ISA: isa, Config: cfg})
				if err != nil {
					t.Fatal(err)
				}
				call.Run()
				if e := max(relativeError(a.output, want.Output, want.OutputAbs), relativeError(a.state, want.State, want.StateAbs)); !(e <= ErrorBound(p)) {
					t.Errorf("%v in input %d: error %.3g, bound %.3g", x, which, e, ErrorBound(p))
				}
			}
		}
	})
}

// TestBFloat16Decays takes decays from none to so strong that products of them underflow.
func TestBFloat16Decays(t *testing.T) {
	eachPairISA(t, func(t *testing.T, isa tile.ISA, op string) {
		p := pairProblem(op, 70, 2, 2, 16, 32, 1, tile.DecayHead)
		for _, strength := range []float32{0, 1, 30, 200, float32(math.Inf(1))} {
			cs, err := NewCase(p, 3)
			if err != nil {
				t.Fatal(err)
			}
			a := &cs.attention
			for i := range a.decay {
				if i%3 == 0 {
					a.decay[i] = -strength
				}
			}
			want := oracleCase(p, *a).Oracle(a.query, a.key, a.value, a.past, a.decay, a.beta)
			call, err := cs.Prepare(tile.Candidate{ISA: isa, Config: Default(p, isa)})
			if err != nil {
				t.Fatal(err)
			}
			call.Run()
			if e := max(relativeError(a.output, want.Output, want.OutputAbs), relativeError(a.state, want.State, want.StateAbs)); !(e <= ErrorBound(p)) {
				t.Errorf("decay %v: error %.3g, bound %.3g", -strength, e, ErrorBound(p))
			}
			if n := testing.AllocsPerRun(3, call.Run); n != 0 {
				t.Errorf("%v allocations a run", n)
			}
		}
	})
}

// TestBFloat16Refused names what has no bfloat16 products.
func TestBFloat16Refused(t *testing.T) {
	good := pairProblem(tile.LinearAttention, 4, 1, 1, 8, 8, 1, tile.DecayHead)
	if err := CheckProblem(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*tile.Problem){
		"op":        func(p *tile.Problem) { p.Op, p.Rule, p.Decay = tile.CausalConv, ActivationNone, "" },
		"front":     func(p *tile.Problem) { p.Op, p.Rule, p.Front = tile.DeltaRule, tile.RuleGatedDelta, tile.FrontSiLU },
		"gates":     func(p *tile.Problem) { p.Op, p.Rule, p.Gates = tile.DeltaRule, tile.RuleGatedDelta, tile.GatesApart },
		"direction": func(p *tile.Problem) { p.Dir = tile.Backward },
		"decay":     func(p *tile.Problem) { p.Decay = tile.DecayKey },
		"normalize": func(p *tile.Problem) { p.Normalize = true },
		"precision": func(p *tile.Problem) { p.Precision = "bf16" },
	} {
		p := good
		change(&p)
		if CheckProblem(p) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, isa := range tested() {
		prim, _ := primitives(isa)
		if err := CheckConfig(good, tile.Candidate{ISA: isa, Config: Default(good, isa)}); (err == nil) != (prim.Pair != nil) {
			t.Errorf("%s: %v", isa, err)
		}
	}
}

// BenchmarkBFloat16 times bfloat16 and float32 products in turns.
func BenchmarkBFloat16(b *testing.B) {
	p := pairProblem(tile.LinearAttention, 4096, 8, 8, 128, 128, 1, tile.DecayHead)
	p.Shape.B = 1
	for _, isa := range tested() {
		if prim, _ := primitives(isa); prim.Pair == nil || isa == tile.Generic {
			continue
		}
		for _, precision := range []string{"", tile.BFloat16} {
			for _, chunk := range []int{32, 64, 128} {
				p.Precision = precision
				cfg := Default(p, isa)
				cfg["chunk"] = chunk
				b.Run(p.Precision+"/"+cfg.String(), func(b *testing.B) {
					c, err := NewCase(p, 1)
					if err != nil {
						b.Fatal(err)
					}
					x, err := c.Prepare(tile.Candidate{ISA: isa, Config: cfg})
					if err != nil {
						b.Fatal(err)
					}
					for b.Loop() {
						x.Run()
					}
				})
			}
		}
	}
}
