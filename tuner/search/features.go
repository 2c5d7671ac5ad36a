package search

import (
	"math"
	"math/bits"

	"github.com/rooftune/rooftune/tuner/space"
)

// dimension is one coordinate of the surrogate's view of a space: a number for each value of one parameter.
type dimension struct {
	param   int
	nominal bool      // values are equal or not; there is no distance
	at      []float64 // by position of the value; spread over 0 to 1
}

// dimensions lists the coordinates of a space. A parameter that the configs do not vary has none.
//
// Numbers are taken by their logarithm if they are positive and span a factor of four: block and tile sizes act by their
// ratios. The power of two that divides an integer is a coordinate of its own: alignment, warps and banks go by it.
// Texts, bools and small codes from zero (up to four, "method 2") have no order.
func dimensions(s *space.Space) []dimension {
	var dims []dimension
	for k, p := range s.Params() {
		used := make([]bool, len(p.Values))
		n := 0
		for i := range s.Len() {
			if x := s.Row(i)[k]; !used[x] {
				used[x] = true
				n++
			}
		}
		if n < 2 {
			continue
		}
		numbers := make([]float64, len(p.Values))
		lo, hi := math.Inf(1), math.Inf(-1)
		numeric, whole := true, true
		for i, v := range p.Values {
			x, ok := v.Number()
			numbers[i] = x
			numeric = numeric && ok && v.Kind() != space.Bool
			whole = whole && x == math.Trunc(x) && math.Abs(x) < 1<<31
			if used[i] {
				lo, hi = min(lo, x), max(hi, x)
			}
		}
		if !numeric || n == 2 || lo == 0 && hi == float64(n-1) && n <= 4 && whole {
			d := dimension{param: k, nominal: true, at: make([]float64, len(p.Values))}
			for i := range d.at {
				d.at[i] = float64(i)
			}
			dims = append(dims, d)
			continue
		}
		size := dimension{param: k, at: make([]float64, len(p.Values))}
		for i, x := range numbers {
			size.at[i] = (x - lo) / (hi - lo)
			if lo > 0 && hi >= 4*lo {
				size.at[i] = math.Log(x/lo) / math.Log(hi/lo)
			}
		}
		dims = append(dims, size)
		if !whole {
			continue
		}
		power := dimension{param: k, at: make([]float64, len(p.Values))}
		least, most := math.Inf(1), 0.0
		for i, x := range numbers {
			z := 6.0
			if x != 0 {
				z = min(z, float64(bits.TrailingZeros32(uint32(math.Abs(x)))))
			}
			power.at[i] = z
			if used[i] {
				least, most = min(least, z), max(most, z)
			}
		}
		if most == least || monotone(numbers, power.at) {
			continue
		}
		for i := range power.at {
			power.at[i] = (power.at[i] - least) / (most - least)
		}
		dims = append(dims, power)
	}
	return dims
}

// monotone reports whether y rises wherever x does: then it adds nothing.
func monotone(x, y []float64) bool {
	for i := range x {
		for j := range x {
			if x[i] < x[j] && y[i] >= y[j] {
				return false
			}
		}
	}
	return true
}
