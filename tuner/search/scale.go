package search

import (
	"math"
	"slices"
)

// pressed is what is left of differences above the median.
const pressed = 0.25

// scale turns costs into a surrogate's values: logarithms, around their mean and by their spread. Above the
// median they are pressed together, since how bad a bad config is does not matter; what failed counts as the worst that did not.
type scale struct {
	unit                       float64 // the first usable cost, so that the unit of costs leaves no trace
	median, top, centre, width float64
}

func (s *scale) raw(cost float64) float64 {
	v := min(math.Log(cost/s.unit), s.top)
	if v > s.median {
		v = s.median + (v-s.median)*pressed
	}
	return v
}

func (s *scale) of(cost float64) float64 { return (s.raw(cost) - s.centre) / s.width }

// newScale fits a scale to costs.
func newScale(costs []float64) scale {
	var logs []float64
	unit := 1.0
	for _, x := range costs {
		if math.IsInf(x, 1) {
			continue
		}
		if logs == nil {
			unit = x
		}
		logs = append(logs, math.Log(x/unit))
	}
	if len(logs) == 0 {
		return scale{unit: 1, width: 1}
	}
	slices.Sort(logs)
	s := scale{unit: unit, median: logs[len(logs)/2], top: logs[len(logs)-1]}
	sum, squares := 0.0, 0.0
	for _, x := range costs {
		sum += s.raw(x)
	}
	s.centre = sum / float64(len(costs))
	for _, x := range costs {
		d := s.raw(x) - s.centre
		squares += d * d
	}
	s.width = math.Sqrt(squares/float64(len(costs))) + 1e-9
	return s
}
