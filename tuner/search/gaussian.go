package search

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/rooftune/rooftune/tuner/space"
)

// gaussian is a Gaussian process over a pool of configs, with a Matérn kernel of smoothness 5/2 and a length scale for each
// dimension. It is conditioned on one observation at a time: with L the Cholesky factor of the observed configs' covariance,
// the rows of L^-1 K(observed, pool) are kept, so that the means and variances of the whole pool need one new row each time.
type gaussian struct {
	space *space.Space
	dims  []dimension
	log   []float64 // logarithms of the length scales
	noise float64   // variance; the signal's is 1

	pool  []int       // configs that are predicted
	slot  map[int]int // their places in the pool
	at    [][]uint16  // by dimension: positions of the pool's configs
	ranks []float64   // by config: the place in a ranking, where there is one

	seen     []int     // places of the observed configs
	y        []float64 // their values
	z        []float64 // L^-1 y
	rows     [][]float32
	l        [][]float64 // rows of L
	mean     []float32   // posterior, by place
	variance []float32
}

const (
	lengthSpread = 1.0 // of the prior of a length scale's logarithm
	noiseGuess   = 1e-3
	noiseSpread  = 2.0 // of the prior of its logarithm
)

func newGaussian(s *space.Space, pool []int) *gaussian {
	g := &gaussian{space: s, dims: dimensions(s), slot: map[int]int{}}
	g.at = make([][]uint16, len(g.dims))
	g.forget()
	g.add(pool)
	return g
}

// forget puts length scales and noise back to what is expected before anything is known.
func (g *gaussian) forget() {
	g.log = slices.Repeat([]float64{g.expected()}, len(g.dims))
	g.noise = noiseGuess
}

// expected is the logarithm of the length scale to expect before anything is known: with more dimensions distances
// are longer, and so are the scales.
func (g *gaussian) expected() float64 { return math.Log(0.47 * math.Sqrt(float64(len(g.dims)))) }

// addDimension gives every config a further coordinate, from 0 to 1 by its place in a ranking. It must come
// before any observation.
func (g *gaussian) addDimension(ranked []int) {
	pool := g.pool
	g.ranks = make([]float64, len(ranked))
	for i, c := range ranked {
		// Places near the top differ more than those further down.
		g.ranks[c] = math.Log1p(float64(i)) / math.Log1p(float64(len(ranked)))
	}
	g.pool, g.slot, g.mean, g.variance = nil, map[int]int{}, nil, nil
	for k := range g.at {
		g.at[k] = nil
	}
	d := dimension{param: -1, at: make([]float64, rankSteps)}
	for i := range d.at {
		d.at[i] = float64(i) / (rankSteps - 1)
	}
	g.dims, g.at = append(g.dims, d), append(g.at, nil)
	g.forget()
	g.add(pool)
}

// rankSteps is the resolution of the ranking's coordinate.
const rankSteps = 256

// predict is the posterior mean of a config.
func (g *gaussian) predict(config int) float32 {
	g.add([]int{config})
	return g.mean[g.slot[config]]
}

// add takes configs into the pool that are not there yet.
func (g *gaussian) add(configs []int) {
	first := len(g.pool)
	for _, c := range configs {
		if _, ok := g.slot[c]; ok {
			continue
		}
		g.slot[c] = len(g.pool)
		g.pool = append(g.pool, c)
		for k, d := range g.dims {
			at := uint16(0)
			if d.param >= 0 {
				at = g.space.Row(c)[d.param]
			} else {
				at = uint16(g.ranks[c] * (rankSteps - 1))
			}
			g.at[k] = append(g.at[k], at)
		}
		g.mean, g.variance = append(g.mean, 0), append(g.variance, 1)
	}
	// What the observations so far say about them.
	if len(g.pool) == first {
		return
	}
	for i := range g.seen {
		own := g.covariance(g.seen[i], first)
		for k, r := range g.rows[:i] {
			blas32.Axpy(float32(-g.l[i][k]), vector(r[first:]), vector(own))
		}
		g.condition(i, own, first)
		g.rows[i] = append(g.rows[i], own...)
	}
}

func vector(x []float32) blas32.Vector { return blas32.Vector{N: len(x), Inc: 1, Data: x} }

// condition divides a row by its diagonal and takes it into mean and variance, for the places from first on.
func (g *gaussian) condition(i int, row []float32, first int) {
	blas32.Scal(float32(1/g.l[i][i]), vector(row))
	blas32.Axpy(float32(g.z[i]), vector(row), vector(g.mean[first:]))
	v := g.variance[first:]
	for k, x := range row {
		v[k] -= x * x
	}
}

// covariance is the kernel between a place and all from first on.
func (g *gaussian) covariance(place, first int) []float32 {
	r2 := make([]float32, len(g.pool)-first)
	for k, d := range g.dims {
		own := d.at[g.at[k][place]]
		scale := math.Exp(-2 * g.log[k])
		table := make([]float32, len(d.at))
		for i, x := range d.at {
			table[i] = float32(scale * d.squared(x, own))
		}
		for i, x := range g.at[k][first:] {
			r2[i] += table[x]
		}
	}
	for i, x := range r2 {
		r2[i] = maternTable.at(x)
	}
	return r2
}

// squared is the squared distance of two values.
func (d *dimension) squared(x, y float64) float64 {
	if !d.nominal {
		return (x - y) * (x - y)
	}
	if x == y {
		return 0
	}
	return 1
}

// matern is the kernel by squared distance.
func matern(r2 float64) float64 {
	r := math.Sqrt(5 * r2)
	return (1 + r + r*r/3) * math.Exp(-r)
}

// table holds a function of a squared distance, linear between its entries; it ends where the kernel is under 1e-6.
type table struct{ values []float32 }

const tableStep = 1.0 / 256

var maternTable = func() table {
	t := table{make([]float32, 64*256+2)}
	for i := range t.values {
		t.values[i] = float32(matern(float64(i) * tableStep))
	}
	return t
}()

func (t *table) at(r2 float32) float32 {
	x := r2 * (1 / tableStep)
	i := int(x)
	if i >= len(t.values)-1 {
		return 0
	}
	a := t.values[i]
	return a + (x-float32(i))*(t.values[i+1]-a)
}

// observe conditions on one more config and its value.
func (g *gaussian) observe(config int, y float64) {
	if _, ok := g.slot[config]; !ok {
		g.add([]int{config})
	}
	place := g.slot[config]
	v := g.covariance(place, 0)
	own := make([]float64, len(g.rows)+1)
	z := y
	d := 1 + g.noise
	for k, r := range g.rows {
		x := float64(r[place])
		own[k] = x
		z -= x * g.z[k]
		d -= x * x
		blas32.Axpy(float32(-x), vector(r), vector(v))
	}
	d = math.Sqrt(max(d, g.noise/2))
	own[len(own)-1] = d
	g.seen, g.y, g.z, g.l = append(g.seen, place), append(g.y, y), append(g.z, z/d), append(g.l, own)
	g.condition(len(g.seen)-1, v, 0)
	g.rows = append(g.rows, v)
}

// signal is the standard deviation that the observations say the process has.
func (g *gaussian) signal() float64 {
	return math.Sqrt((floats.Dot(g.z, g.z) + 1) / (float64(len(g.z)) + 1))
}

// restart conditions again, with other values.
func (g *gaussian) restart(y []float64) {
	seen := g.seen
	g.seen, g.y, g.z, g.rows, g.l = nil, nil, nil, nil, nil
	for i := range g.pool {
		g.mean[i], g.variance[i] = 0, 1
	}
	for i, place := range seen {
		g.observe(g.pool[place], y[i])
	}
}

// fit looks for length scales and noise of higher posterior density for values y of the observed configs: one at
// a time up or down, in steps that get smaller.
func (g *gaussian) fit(y []float64, rounds int) {
	n := len(g.seen)
	d2 := make([][]float64, len(g.dims)) // squared distances by dimension, below the diagonal
	for k := range g.dims {
		d := &g.dims[k]
		for i, a := range g.seen {
			for _, b := range g.seen[:i] {
				d2[k] = append(d2[k], d.squared(d.at[g.at[k][a]], d.at[g.at[k][b]]))
			}
		}
	}
	sum := make([]float64, n*(n-1)/2)
	cov := mat.NewSymDense(n, nil)
	b := mat.NewVecDense(n, y)
	var x mat.VecDense
	var ch mat.Cholesky
	density := func(log []float64, noise float64) float64 {
		clear(sum)
		z := math.Log(noise/noiseGuess) / noiseSpread
		p := -z * z / 2
		for k := range d2 {
			floats.AddScaled(sum, math.Exp(-2*log[k]), d2[k])
			z := (log[k] - g.expected()) / lengthSpread
			p -= z * z / 2
		}
		at := 0
		for i := range n {
			for j := range i {
				cov.SetSym(i, j, float64(maternTable.at(float32(sum[at]))))
				at++
			}
			cov.SetSym(i, i, 1+noise)
		}
		if !ch.Factorize(cov) || ch.SolveVecTo(&x, b) != nil {
			return math.Inf(-1)
		}
		// The signal's variance is the most likely one, y'C^-1 y/n.
		return p - float64(n)/2*math.Log(mat.Dot(b, &x)+1e-12) - ch.LogDet()/2
	}
	log, noise := append([]float64(nil), g.log...), g.noise
	best := density(log, noise)
	step := 0.7
	for range rounds {
		better := false
		for k := range log {
			was := log[k]
			for _, s := range []float64{step, -step} {
				log[k] = min(max(was+s, -3), 4)
				if p := density(log, noise); p > best {
					best, better = p, true
					break
				}
				log[k] = was
			}
		}
		for _, s := range []float64{2 * step, -2 * step} {
			other := min(max(noise*math.Exp(s), 1e-5), 0.3)
			if p := density(log, other); p > best {
				best, better, noise = p, true, other
				break
			}
		}
		if !better {
			step /= 2
		}
	}
	g.log, g.noise = log, noise
}
