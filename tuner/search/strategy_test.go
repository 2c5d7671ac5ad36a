package search

import (
	"math"
	"slices"
	"testing"

	"github.com/rooftune/rooftune/tuner/space"
)

// planted is a small space with conditions, a smooth bowl with a cliff and some failures in it.
func planted(t testing.TB) (*space.Space, []float64) {
	t.Helper()
	s, err := space.FromT1(space.T1{
		TuningParameters: []space.T1Param{
			{Name: "x", Type: "int", Values: "[2**i for i in range(6)]"},
			{Name: "y", Type: "int", Values: "list(range(1, 9))"},
			{Name: "mode", Type: "string", Values: "['a', 'b', 'c']"},
			{Name: "flag", Type: "bool", Values: "[True, False]"},
			{Name: "fixed", Type: "float", Values: "[0.5]"},
		},
		Conditions: []space.T1Condition{{Expression: "x * y <= 128 and (mode != 'c' or flag)"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cost := make([]float64, s.Len())
	for i := range cost {
		r := s.Row(i)
		d := math.Abs(float64(r[0])-4)/3 + math.Abs(float64(r[1])-5)/5 + []float64{0, 0.8, 0.3}[r[2]] + 0.5*float64(r[3])
		cost[i] = math.Exp(d)
		if r[1]%4 == 3 && r[2] == 1 {
			cost[i] = math.Inf(1)
		}
	}
	return s, cost
}

func trace(t testing.TB, name string, s *space.Space, cost []float64, o Options, evals, ahead int) []int {
	t.Helper()
	strategy, err := New(name, s, o)
	if err != nil {
		t.Fatal(err)
	}
	var visited []int
	for len(visited) < evals {
		var group []int
		for len(group) < ahead {
			c, ok := strategy.Ask()
			if !ok {
				break
			}
			group = append(group, c)
		}
		if len(group) == 0 {
			break
		}
		for _, c := range group {
			strategy.Tell(c, cost[c])
		}
		visited = append(visited, group...)
	}
	return visited
}

// Each strategy visits all configs, each once, whether it is asked one by one or ahead of the answers.
func TestVisitsAll(t *testing.T) {
	s, cost := planted(t)
	for _, name := range Names() {
		for _, ahead := range []int{1, 8} {
			v := trace(t, name, s, cost, Options{Seed: 3}, 10*s.Len(), ahead)
			slices.Sort(v)
			if len(v) != s.Len() || len(slices.Compact(v)) != s.Len() {
				t.Errorf("%s, %d ahead: %d visits of %d configs", name, ahead, len(v), s.Len())
			}
		}
	}
}

// The same seed gives the same trace, whatever the unit of the costs; another seed gives another trace.
func TestRepeats(t *testing.T) {
	s, cost := planted(t)
	scaled := make([]float64, len(cost))
	for i, c := range cost {
		scaled[i] = 1024 * c
	}
	for _, name := range Names() {
		a := trace(t, name, s, cost, Options{Seed: 1, Budget: 60}, 60, 1)
		if b := trace(t, name, s, cost, Options{Seed: 1, Budget: 60}, 60, 1); !slices.Equal(a, b) {
			t.Errorf("%s: the same seed gives another trace", name)
		}
		if b := trace(t, name, s, scaled, Options{Seed: 1, Budget: 60}, 60, 1); !slices.Equal(a, b) {
			t.Errorf("%s: another unit gives another trace", name)
		}
		if b := trace(t, name, s, cost, Options{Seed: 2, Budget: 60}, 60, 1); name != "exhaustive" && slices.Equal(a, b) {
			t.Errorf("%s: another seed gives the same trace", name)
		}
	}
}

// All costs equal, all failing, one config, two configs, a space without numbers: nothing breaks, everything is visited.
func TestDegenerate(t *testing.T) {
	s, _ := planted(t)
	texts := []space.Value{space.TextValue("a"), space.TextValue("b"), space.TextValue("c")}
	one, err := space.New([]space.Param{{Name: "m", Values: texts[:1]}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := space.New([]space.Param{{Name: "m", Values: texts[:2]}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	words, err := space.New([]space.Param{{Name: "m", Values: texts}, {Name: "n", Values: texts}, {Name: "o", Values: texts}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := space.Of([]space.Param{{Name: "m", Values: texts}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		for _, s := range []*space.Space{s, one, two, words, empty} {
			for _, c := range []float64{1e-300, 1, 1e300, math.Inf(1)} {
				cost := make([]float64, s.Len())
				for i := range cost {
					cost[i] = c
				}
				if v := trace(t, name, s, cost, Options{Seed: 1, Budget: 5}, 2*s.Len(), 1); len(v) != s.Len() {
					t.Errorf("%s: costs of %g: %d visits of %d configs", name, c, len(v), s.Len())
				}
			}
		}
	}
}

// A simulator that is right is followed at once; one that is wrong, or gives nothing, costs little.
func TestPrediction(t *testing.T) {
	s, cost := planted(t)
	best := slices.Index(cost, slices.Min(cost))
	wrong, nothing := make([]float64, len(cost)), make([]float64, len(cost))
	for i, c := range cost {
		wrong[i], nothing[i] = 1/c, math.NaN()
	}
	if v := trace(t, Default, s, cost, Options{Seed: 1, Predicted: cost}, 1, 1); v[0] != best {
		t.Errorf("begins with %d of cost %g", v[0], cost[v[0]])
	}
	for _, p := range [][]float64{nil, cost, wrong, nothing} {
		for seed := range uint64(5) {
			v := trace(t, Default, s, cost, Options{Seed: seed, Budget: 60, Predicted: p}, 60, 1)
			if !slices.Contains(v, best) {
				t.Errorf("seed %d: the best of %d configs was not found in 60 evaluations", seed, s.Len())
			}
		}
	}
	if _, err := New(Default, s, Options{Predicted: cost[1:]}); err == nil {
		t.Error("predictions for fewer configs were accepted")
	}
	if _, err := New("magic", s, Options{}); err == nil {
		t.Error("an unknown strategy was accepted")
	}
}

// The default begins with what it is given, each config once.
func TestFirst(t *testing.T) {
	s, cost := planted(t)
	for _, p := range [][]float64{nil, cost} {
		first := []int{40, 3, 17}
		v := trace(t, Default, s, cost, Options{Seed: 1, Predicted: p, First: append(first, 40)}, 30, 1)
		if !slices.Equal(v[:3], first) || slices.Contains(v[3:], 40) {
			t.Errorf("visited %v", v)
		}
	}
}

// The process conditioned one by one, with configs that join later, gives what the textbook's formula gives.
func TestGaussian(t *testing.T) {
	s, _ := planted(t)
	g := newGaussian(s, []int{0, 1, 2, 3, 50, 60, 70})
	y := []float64{1, -0.5, 2, 0.25}
	for i, c := range []int{3, 50, 60, 2} {
		g.observe(c, y[i])
	}
	g.add([]int{100, 200})
	g.observe(200, 0.75)
	g.add([]int{120})
	y = append(y, 0.75)
	n := len(g.seen)
	kernel := func(a, b int) float64 {
		r2 := 0.0
		for k, d := range g.dims {
			r2 += math.Exp(-2*g.log[k]) * d.squared(d.at[g.at[k][a]], d.at[g.at[k][b]])
		}
		return matern(r2)
	}
	// Gauss-Jordan on [K + noise | y | k*].
	for place := range g.pool {
		a := make([][]float64, n)
		for i := range a {
			for j := range n {
				a[i] = append(a[i], kernel(g.seen[i], g.seen[j]))
			}
			a[i][i] += g.noise
			a[i] = append(a[i], y[i], kernel(g.seen[i], place))
		}
		for i := range a {
			p := a[i][i]
			for j := range a[i] {
				a[i][j] /= p
			}
			for k := range a {
				if f := a[k][i]; k != i {
					for j := range a[k] {
						a[k][j] -= f * a[i][j]
					}
				}
			}
		}
		mean, variance := 0.0, 1.0
		for i := range a {
			k := kernel(g.seen[i], place)
			mean += k * a[i][n]
			variance -= k * a[i][n+1]
		}
		if math.Abs(mean-float64(g.mean[place])) > 1e-3 || math.Abs(variance-float64(g.variance[place])) > 1e-3 {
			t.Errorf("config %d: mean %g, want %g; variance %g, want %g", g.pool[place], g.mean[place], mean, g.variance[place], variance)
		}
	}
}

func TestImprovement(t *testing.T) {
	for u := -8.0; u < 4; u += 0.01 {
		if e := improvement(u); e > improvementBound(u) || !(e > 0) {
			t.Fatalf("improvement(%g) = %g, its bound %g", u, e, improvementBound(u))
		}
	}
}
