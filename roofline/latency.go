package roofline

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/asm/probe"
)

const lineWords = 16 // 64 bytes: the distance of two elements of a chase

// cycle links one element of every line into a single random cycle:
// next[i] is the index of the element to load after i. Every
// line is visited once a round, in an order that no prefetcher guesses.
func cycle(next []uint32, rng *rand.Rand) {
	lines := len(next) / lineWords
	order := make([]uint32, lines)
	for i := range order {
		order[i] = uint32(i)
	}
	rng.Shuffle(lines, func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, from := range order {
		to := order[(i+1)%lines]
		next[int(from)*lineWords] = to * lineWords
	}
}

// latencyCurve measures the time of dependent loads over growing buffers in mem, on
// the gang's first thread. Each point is the least of its samples: what others do to a chase can only lengthen
// it.
func latencyCurve(ctx context.Context, g *gang, mem []uint32, sizes []int, window time.Duration, samples int, step func(bytes int)) ([]machine.LatencyPoint, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	curve := make([]machine.LatencyPoint, 0, len(sizes))
	for _, bytes := range sizes {
		next := mem[:bytes/4]
		cycle(next, rng)
		lines := bytes / (4 * lineWords)
		at := uint32(0)
		const steps = 500 // at most 100 µs even at 200 ns a load
		walk := func(n int) {
			for ; n > 0; n -= steps {
				at = probe.Chase(next, at, min(n, steps))
			}
		}
		best := 0.0
		for range samples {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			rate := g.rate(1, window, func(int) {
				walk(min(2*lines, 20000)) // two rounds fill a cache; memory needs none
			}, func(int) float64 {
				walk(steps)
				return steps
			})
			best = max(best, rate)
		}
		curve = append(curve, machine.LatencyPoint{Bytes: bytes, NsPerLoad: 1e9 / best})
		step(bytes)
	}
	return curve, nil
}
