package replay

import (
	"context"
	"math/rand/v2"
	"reflect"
	"testing"
)

// noisy is a recorded space of 400 configs, one clearly best, with a tenth of the repeats delayed by half.
func noisy(t testing.TB) *Recorded {
	times := make([]float64, 400)
	for i := range times {
		times[i] = 1.1 + float64(i*i%397)/100
	}
	times[123] = 1
	r := tiny(t, times...)
	rnd := rand.New(rand.NewPCG(1, 2))
	r.recorded = 0
	for i := range r.Repeats {
		r.Repeats[i] = nil
		for range 32 {
			x := times[i] * (1 + 0.01*rnd.NormFloat64())
			if rnd.IntN(10) == 0 {
				x *= 1.5
			}
			r.Repeats[i] = append(r.Repeats[i], x)
		}
		r.recorded += 32
	}
	return r
}

func TestRaceFindsTheBest(t *testing.T) {
	r := noisy(t)
	a, err := r.Race(context.Background(), 50)
	if err != nil {
		t.Fatal(err)
	}
	if a.RegretMean > 0.02 || a.CostFraction > 0.08 || a.CostFraction < 1.0/32 || a.TieSetMean < 1 || a.Repeats != 32 {
		t.Errorf("%+v", a)
	}
	if b, err := r.Race(context.Background(), 50); err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("again %+v, %v", b, err)
	}
}

// Two configs of the same time: one answer, by the fixed rule.
func TestRaceTies(t *testing.T) {
	r := tiny(t, 2, 1, 3, 1)
	for seed := range uint64(20) {
		if chosen, ties, _ := r.race([]int{0, 1, 2, 3}, seed); chosen != 1 || ties != 2 {
			t.Errorf("seed %d: config %d of a tie set of %d", seed, chosen, ties)
		}
	}
}

func TestRaceRefused(t *testing.T) {
	r := tiny(t, 1, 2)
	if _, err := r.Race(context.Background(), 0); err == nil {
		t.Error("no trials were accepted")
	}
	r.Repeats[0], r.Repeats[1], r.recorded = nil, nil, 0
	if _, err := r.Race(context.Background(), 1); err == nil {
		t.Error("a space without repeats was accepted")
	}
}
