package stats

import (
	"fmt"
	"math"
	"testing"
)

func TestStatistics(t *testing.T) {
	if m := Median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Error(m)
	}
	if m := Median([]float64{100, 1, 3, 2, 4}); m != 3 {
		t.Error(m)
	}
	// By hand: of ten values the outer two at each end go; 3..8 have mean 5.5; winsorized they are 3 3 3 4 5 6 7 8 8 8.
	e := Trimmed([]float64{10, 2, 3, 4, 5, 6, 7, 8, 9, 1})
	sd := math.Sqrt((3*2.5*2.5 + 1.5*1.5 + 0.5*0.5 + 0.5*0.5 + 1.5*1.5 + 3*2.5*2.5) / 9)
	if want := sd * math.Sqrt(9.0/(6*5)); e.Mean != 5.5 || math.Abs(e.Err-want) > 1e-12 || e.Freedom != 5 {
		t.Errorf("%+v, want error %g", e, want)
	}
	// A t of 2.015 with 5 degrees is the 95 % point.
	if p := e.Greater(e.Mean - 2.015048*e.Err); math.Abs(p-0.05) > 1e-4 {
		t.Error(p)
	}
	if got := fmt.Sprint(Holm([]float64{0.04, 0.001, 0.03, 0.005}, 0.05)); got != "[false true false true]" {
		t.Error(got)
	}
}

// Ten differences, two of them negative with ranks 1 and 3: 55-4 of 55. Of the 1024 choices of signs 7 have at most 4 in their negative
// ranks: {}, {1}, {2}, {3}, {4}, {1,2}, {1,3}.
func TestSignedRank(t *testing.T) {
	d := []float64{-0.1, 0.2, -0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}
	if p := signedRank(d, 0); math.Abs(p-7.0/1024) > 1e-12 {
		t.Error(p)
	}
	if p := signedRank([]float64{1, 2, 3}, 0); p != 1.0/8 {
		t.Error(p)
	}
	if p := signedRank([]float64{1, 2, 3}, 5); p != 1 {
		t.Error(p)
	}
	if p := signedRank(nil, 0); p != 1 {
		t.Error(p)
	}
	// Where the exact distribution ends its normal limit is close enough.
	for sum := range exactRanks * (exactRanks + 1) / 2 {
		if p, q := rankSum(exactRanks, sum), rankSumNormal(exactRanks, sum); math.Abs(p-q) > 0.003 || p < 0.06 && math.Abs(p-q) > 0.001 {
			t.Errorf("sum %d: %g, by the normal limit %g", sum, p, q)
		}
	}
}
