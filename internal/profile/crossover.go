package profile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/rooftune/rooftune/kernels/tile"
)

// DenseDriver names what dense layers are timed on.
const DenseDriver = "dense layer, rooftune A·B driver"

// Crossover holds a hash layer against a dense layer of its widths over numbers of tokens, for one ISA and thread count.
type Crossover struct {
	Problem    tile.Problem     `json:"problem"` // without tokens: n is 0
	ISA        tile.ISA         `json:"isa"`
	SourceHash string           `json:"source_hash"` // of the hash layer's kernel sources
	Dense      string           `json:"dense"`       // what the dense layer ran on
	Points     []CrossoverPoint `json:"points"`      // in ascending order of tokens
}

// CrossoverPoint is one number of tokens: both layers were timed in turns.
type CrossoverPoint struct {
	Tokens  int         `json:"tokens"`
	Config  tile.Config `json:"config"` // the fastest of those that were tried
	HashNs  float64     `json:"hash_ns"`
	DenseNs float64     `json:"dense_ns"`
	Ratio   float64     `json:"ratio"` // how many times as fast as dense: the median over blocks
	Samples int         `json:"samples"`
}

// Crossing is where one layer gets faster than the other.
type Crossing struct {
	Tokens float64 // between the two measured numbers on its sides, on a line through both ratios over logarithms
	Hash   bool    // from here on the hash layer is the faster one
}

// Crossings lists them in ascending order.
func (c *Crossover) Crossings() []Crossing {
	var out []Crossing
	for i := 1; i < len(c.Points); i++ {
		a, b := c.Points[i-1], c.Points[i]
		x, y := math.Log(a.Ratio), math.Log(b.Ratio)
		if (x >= 0) == (y >= 0) {
			continue
		}
		share := x / (x - y)
		out = append(out, Crossing{math.Exp(math.Log(float64(a.Tokens))*(1-share) + math.Log(float64(b.Tokens))*share), y >= 0})
	}
	return out
}

// Text says in words where the hash layer is faster than the dense one.
func (c *Crossover) Text() string {
	if len(c.Points) == 0 {
		return "unknown"
	}
	first, last := c.Points[0], c.Points[len(c.Points)-1]
	crossings := c.Crossings()
	if len(crossings) == 0 {
		worst := first
		for _, p := range c.Points {
			if p.Ratio < worst.Ratio {
				worst = p
			}
		}
		if first.Ratio >= 1 {
			return fmt.Sprintf("faster than dense from %d to %d tokens, least at %d: %.2fx", first.Tokens, last.Tokens, worst.Tokens, worst.Ratio)
		}
		return fmt.Sprintf("slower than dense from %d to %d tokens", first.Tokens, last.Tokens)
	}
	words := map[bool]string{true: "faster", false: "slower"}
	parts := []string{words[first.Ratio >= 1] + " than dense"}
	for _, x := range crossings {
		parts = append(parts, fmt.Sprintf("%s from about %s tokens", words[x.Hash], twoDigits(x.Tokens)))
	}
	return strings.Join(parts, ", ") + fmt.Sprintf(" (measured from %d to %d)", first.Tokens, last.Tokens)
}

// twoDigits is a number of tokens with two digits that count.
func twoDigits(x float64) string {
	step := 1.0
	for x/step >= 100 {
		step *= 10
	}
	return strconv.FormatFloat(math.Round(x/step)*step, 'f', 0, 64)
}

// Crossover returns what is known of a problem's crossover, at any number of tokens; nil if nothing is.
func (p *Profile) Crossover(problem tile.Problem, isa tile.ISA) *Crossover {
	problem.Shape.N = 0
	for i := range p.Crossovers {
		if c := &p.Crossovers[i]; c.Problem == problem && c.ISA == isa {
			return c
		}
	}
	return nil
}

// AddCrossover puts one in the place of what was known of its problem and ISA.
func (p *Profile) AddCrossover(c Crossover) {
	if old := p.Crossover(c.Problem, c.ISA); old != nil {
		*old = c
		return
	}
	p.Crossovers = append(p.Crossovers, c)
}

func (c *Crossover) validate() error {
	if err := checkProblem(c.Problem); err != nil {
		return err
	}
	if c.Problem.Shape.N != 0 {
		return fmt.Errorf("shape %s: n must be absent", c.Problem.Shape)
	}
	if !isName(string(c.ISA)) {
		return fmt.Errorf("isa %q is not a name", c.ISA)
	}
	if c.SourceHash == "" || c.Dense == "" {
		return errors.New("source_hash or dense is empty")
	}
	for i, x := range c.Points {
		if x.Tokens < 1 || x.Tokens > maxExtent || i > 0 && x.Tokens <= c.Points[i-1].Tokens {
			return fmt.Errorf("points[%d]: tokens is %d, must be positive and in ascending order", i, x.Tokens)
		}
		if err := checkConfig(x.Config); err != nil {
			return fmt.Errorf("points[%d]: config: %w", i, err)
		}
		if !(x.HashNs > 0 && x.HashNs <= maxNs && x.DenseNs > 0 && x.DenseNs <= maxNs && x.Ratio > 0 && x.Ratio <= maxNs) || x.Samples < 1 {
			return fmt.Errorf("points[%d]: hash_ns %g, dense_ns %g, ratio %g and samples %d must be positive", i, x.HashNs, x.DenseNs, x.Ratio, x.Samples)
		}
	}
	return nil
}
