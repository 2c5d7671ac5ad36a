// Package replay runs search strategies and racing on recorded spaces: every config was measured once and for all, so a
// search costs no measurement and can be repeated with many seeds.
package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/tuner/formats"
	"github.com/rooftune/rooftune/tuner/space"
)

// Recorded is a space with the cost of each of its configs.
type Recorded struct {
	Name    string
	Space   *space.Space
	Cost    []float64   // mean time in ms by config; +Inf where the config failed
	Repeats [][]float64 // every repeat in ms by config; empty where the config failed
	Optimum float64     // the lowest cost
	// Predicted are a simulator's times in ms by config, NaN where it has none; nil without the metric formats.Simulated, which tune's own recordings have.
	Predicted []float64
	sorted    []float64 // finite costs, lowest first

	recorded int // repeats of all configs
}

// maximised are the objectives for which Kernel Tuner looks for the highest value.
var maximised = []string{"fitness", "score", "GFLOP/s", "TFLOP/s", "GB/s", "TB/s", "GFLOPS/W", "TFLOPS/W", "GFLOP/J", "TFLOP/J"}

// Open reads a Kernel Tuner cache or a T4 file as a recorded space, named after the file.
func Open(path string) (*Recorded, error) {
	c, err := formats.ReadResults(path)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".json")
	r, err := New(name, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// New takes a cache as a recorded space. Times that are not positive count as failures.
func New(name string, c *formats.Cache) (*Recorded, error) {
	if slices.Contains(maximised, c.Objective) {
		return nil, fmt.Errorf("objective %s is to be maximised: only times can be replayed", c.Objective)
	}
	s, err := c.Space()
	if err != nil {
		return nil, err
	}
	r := &Recorded{Name: name, Space: s, Cost: make([]float64, s.Len()), Repeats: make([][]float64, s.Len())}
	for i := range c.Entries {
		e := &c.Entries[i]
		r.predict(i, e)
		if !e.OK() || !(e.Value > 0) || math.IsInf(e.Value, 1) {
			r.Cost[i] = math.Inf(1)
			continue
		}
		r.Cost[i] = e.Value
		r.sorted = append(r.sorted, e.Value)
		r.Repeats[i] = slices.DeleteFunc(slices.Clone(e.Repeats), func(x float64) bool { return !(x > 0) || math.IsInf(x, 1) })
	}
	if len(r.sorted) == 0 {
		return nil, errors.New("no config has a time")
	}
	for _, x := range r.Repeats {
		r.recorded += len(x)
	}
	slices.Sort(r.sorted)
	r.Optimum = r.sorted[0]
	return r, nil
}

// predict takes over what a simulator said of a config.
func (r *Recorded) predict(config int, e *formats.Entry) {
	at := slices.IndexFunc(e.Metrics, func(m formats.Metric) bool { return m.Name == formats.Simulated })
	if at < 0 {
		return
	}
	var ms float64
	if json.Unmarshal(e.Metrics[at].Value, &ms) != nil || !(ms > 0) {
		return
	}
	if r.Predicted == nil {
		r.Predicted = make([]float64, r.Space.Len())
		for i := range r.Predicted {
			r.Predicted[i] = math.NaN()
		}
	}
	r.Predicted[config] = ms
}

// worst is what counts as the best time of a search that has found nothing yet.
func (r *Recorded) worst() float64 { return r.sorted[len(r.sorted)-1] }

// Baseline is the expected best cost of random search without replacement after 1, 2, ... evals evaluations, computed
// exactly. A failed config uses up an evaluation; as long as there was nothing else, the worst cost counts.
func (r *Recorded) Baseline(evals int) []float64 {
	total := r.Space.Len()
	expected := make([]float64, evals)
	for n := range expected {
		draws := min(n+1, total)
		e, none := 0.0, 1.0 // none: the chance that none of the costs so far was drawn
		for k, c := range r.sorted {
			next := none * float64(max(0, total-draws-k)) / float64(total-k)
			e += c * (none - next)
			if none = next; none == 0 {
				break
			}
		}
		expected[n] = e + none*r.worst()
	}
	return expected
}
