package tuner

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/formats"
	spaces "github.com/rooftune/rooftune/tuner/space"
	"github.com/rooftune/rooftune/tuner/stats"
)

// Recording is what a journal knows of one problem on one ISA, in the terms of other tuners. A tunable that a config does not have stands
// there with its first value.
type Recording struct {
	Problem tile.Problem
	ISA     tile.ISA
	Cache   *formats.Cache
	T4      *formats.T4
}

// Metrics of a recording's configs beside their times.
const (
	metricError = "max_error"
	metricBound = "error_bound"
	metricRoof  = "roof_ms"
	metricHash  = "source_hash"
)

// Recordings reads the journal in a folder: all that it has measured, or that the filter takes.
func Recordings(dir string, m *machine.Machine, take func(tile.Problem, tile.ISA) bool) ([]Recording, error) {
	h, err := readJournal(dir)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, fmt.Errorf("no journal in %s: tune run measures first", dir)
	}
	var units []unit
	for _, l := range h.lines {
		if l.Kind == kindMeasure && !slices.Contains(units, unit{*l.Problem, l.ISA}) && take(*l.Problem, l.ISA) {
			units = append(units, unit{*l.Problem, l.ISA})
		}
	}
	var out []Recording
	for _, u := range units {
		r, err := h.recording(u, m)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", u.problem, u.isa, err)
		}
		out = append(out, *r)
	}
	return out, nil
}

func (h *history) recording(u unit, m *machine.Machine) (*Recording, error) {
	params, err := kernels.Params(u.problem, u.isa)
	if err != nil {
		return nil, err
	}
	size, err := json.Marshal(extents(u.problem.Shape))
	if err != nil {
		return nil, err
	}
	c := &formats.Cache{DeviceName: m.Brand + " (" + m.Fingerprint + ")", KernelName: kernelName(u), ProblemSize: size, Objective: "time"}
	for _, q := range params {
		p := spaces.Param{Name: q.Name}
		for _, v := range q.Values {
			p.Values = append(p.Values, spaces.IntValue(v))
		}
		c.Params = append(c.Params, p)
	}
	// The last measurement of each config, and all its paired blocks.
	last := map[string]*line{}
	blocks := map[string][]float64{}
	var order []string
	for _, l := range h.lines {
		if l.Problem == nil || *l.Problem != u.problem || l.ISA != u.isa {
			continue
		}
		switch l.Kind {
		case kindMeasure:
			key := l.Config.String()
			if last[key] == nil {
				order = append(order, key)
			}
			last[key] = l
		case kindBlock:
			for i, x := range l.Configs {
				blocks[x.String()] = append(blocks[x.String()], l.BlockNs[i])
			}
		}
	}
	kinds := []string{}
	errorsOf := []float64{}
	for _, key := range order {
		l := last[key]
		e, kind := entryOf(c, params, l, blocks[key], h.header)
		if e == nil {
			continue // drifted: not measured
		}
		c.Entries = append(c.Entries, *e)
		kinds = append(kinds, kind)
		maxError := 1.0 // nothing is known: not a number that could be mistaken for right
		if l.MaxError != nil {
			maxError = *l.MaxError
		}
		errorsOf = append(errorsOf, maxError)
	}
	if len(c.Entries) == 0 {
		return nil, errors.New("nothing measured")
	}
	t := c.T4()
	for i := range t.Results { // T4 has a word for what a cache calls a failure, and the error itself
		t.Results[i].Invalidity, t.Results[i].Correctness = kinds[i], errorsOf[i]
	}
	return &Recording{u.problem, u.isa, c, t}, nil
}

// entryOf is one config's row, with T4's word for its outcome.
func entryOf(c *formats.Cache, params []tile.Param, l *line, blocks []float64, header *line) (*formats.Entry, string) {
	e := &formats.Entry{Value: math.NaN(), StrategyTime: 0, FrameworkTime: 0, VerificationTime: l.VerifyNs / 1e6}
	for _, q := range params {
		v, ok := l.Config[q.Name]
		if !ok {
			v = q.Values[0]
		}
		e.Values = append(e.Values, spaces.IntValue(v))
	}
	for i, v := range e.Values { // the default may have a value that the space does not list
		if !slices.ContainsFunc(c.Params[i].Values, v.Equal) {
			c.Params[i].Values = append(c.Params[i].Values, v)
		}
	}
	if header != nil {
		e.Timestamp = header.Created.Format(time.RFC3339)
	}
	metric := func(name string, v any) {
		if raw, err := json.Marshal(v); err == nil {
			e.Metrics = append(e.Metrics, formats.Metric{Name: name, Value: raw})
		}
	}
	kind := formats.Correct
	switch l.Verdict {
	case verdictOK, verdictSlow:
		times := blocks
		if len(times) == 0 {
			times = []float64{l.Ns}
		}
		sum := 0.0
		for _, ns := range times {
			e.Repeats = append(e.Repeats, ns/1e6)
			sum += ns / 1e6
		}
		e.Value, e.BenchmarkTime = sum/float64(len(times)), sum
	case verdictWrong:
		e.Failure, kind = formats.FailedRun, formats.InvalidCorrectness
	case verdictTimeout:
		e.Failure, kind = formats.FailedRun, formats.InvalidTimeout
	case verdictFailed, verdictTooFast:
		e.Failure, kind = formats.FailedRun, formats.InvalidRuntime
	default:
		return nil, ""
	}
	if l.MaxError != nil {
		metric(metricError, *l.MaxError)
	}
	if l.ErrorBound != nil {
		metric(metricBound, *l.ErrorBound)
	}
	if l.SimulatedNs > 0 {
		metric(formats.Simulated, l.SimulatedNs/1e6)
	}
	metric(metricRoof, l.RoofNs/1e6)
	metric(metricHash, l.SourceHash)
	return e, kind
}

func kernelName(u unit) string {
	p := u.problem
	name := p.Op
	for _, s := range []string{p.Rule, p.Decay, p.Weighting, p.Dir, string(u.isa)} {
		if s != "" {
			name += "_" + s
		}
	}
	return fmt.Sprintf("%s_x%d", name, p.Threads)
}

// extents are a shape's numbers in the order of its text.
func extents(s tile.Shape) []int {
	if s.D != 0 {
		return []int{s.N, s.D, s.H, s.Tau}
	}
	return []int{s.B, s.T, s.Hq, s.Hkv, s.Dk, s.Dv}
}

// Import takes the fastest right config of a recording into this machine's profile in a folder: verified here in a child process, with the
// recorded times. An answer without today's source hash is stale: it is used only where there is no fresh one. Without a right config
// that can run here there is an error.
func Import(dir string, m *machine.Machine, c *formats.Cache, p tile.Problem, isa tile.ISA, argv []string) (*profile.Entry, string, error) {
	if err := kernels.CheckProblem(p); err != nil {
		return nil, "", err
	}
	params, err := kernels.Params(p, isa)
	if err != nil {
		return nil, "", err
	}
	held, err := lockFolder(dir)
	if err != nil {
		return nil, "", err
	}
	defer held.Release()
	path := filepath.Join(dir, m.Fingerprint+".json")
	t := &tuning{clock: wallClock{}, report: &Report{Profile: path}}
	if err := t.openProfile(m, nil); err != nil {
		return nil, "", err
	}
	l := newLibrary(m, &t.profile.Measured)
	roof, err := l.Roof(p, isa)
	if err != nil {
		return nil, "", err
	}
	child := newWorker(argv)
	defer child.close()
	order := slices.DeleteFunc(slices.Clone(c.Entries), func(e formats.Entry) bool { return !e.OK() || !(e.Value > 0) || math.IsInf(e.Value, 0) })
	slices.SortStableFunc(order, func(a, b formats.Entry) int {
		switch {
		case a.Value < b.Value:
			return -1
		case a.Value > b.Value:
			return 1
		}
		return 0
	})
	var last error
	for _, e := range order {
		config, err := configOf(c, params, e)
		if err == nil {
			err = kernels.CheckConfig(p, tile.Candidate{ISA: isa, Config: config})
		}
		if err != nil {
			last = err
			continue
		}
		maxError, bound, err := child.verify(p, tile.Candidate{ISA: isa, Config: config}, 1)
		switch {
		case errors.Is(err, errWorker):
			return nil, "", err
		case err != nil:
			last = err
			continue
		case !(maxError <= bound):
			last = fmt.Errorf("%s is wrong here: error %.3g above %.3g", config, maxError, bound)
			continue
		}
		times := []float64{e.Value * 1e6}
		if len(e.Repeats) > 0 {
			times = nil
			for _, x := range e.Repeats {
				times = append(times, x*1e6)
			}
		}
		entry := &profile.Entry{
			Problem: p, ISA: isa, Config: config, SourceHash: hashOf(e), MedianNs: stats.Median(times), MinNs: slices.Min(times), MaxNs: slices.Max(times),
			Samples: len(times), RoofNs: roof.Ns, BoundBy: roof.BoundBy, MaxError: maxError, ErrorBound: bound, Candidates: len(order),
		}
		if i := slices.IndexFunc(t.profile.Entries, func(x profile.Entry) bool { return x.Problem == p && x.ISA == isa && !x.Cold }); i >= 0 {
			t.profile.Entries[i] = *entry
		} else {
			t.profile.Entries = append(t.profile.Entries, *entry)
		}
		return entry, path, t.profile.Write(path)
	}
	if last == nil {
		last = errors.New("it has no result")
	}
	return nil, "", fmt.Errorf("no config of the recording can be used: %w", last)
}

// configOf is a row as a config: integers only, without the tunables that it does not have.
func configOf(c *formats.Cache, params []tile.Param, e formats.Entry) (tile.Config, error) {
	values := map[string]int{}
	for i, p := range c.Params {
		n, ok := e.Values[i].Number()
		if !ok || n != math.Trunc(n) || math.Abs(n) > 1<<24 {
			return nil, fmt.Errorf("%s is no integer", p.Name)
		}
		values[p.Name] = int(n)
	}
	config := tile.Config{}
	for _, q := range params {
		v, ok := values[q.Name]
		if !ok {
			return nil, fmt.Errorf("no value of %s", q.Name)
		}
		delete(values, q.Name)
		if q.Active(config) {
			config[q.Name] = v
		}
	}
	for name := range values {
		return nil, fmt.Errorf("%s is no tunable here", name)
	}
	return config, nil
}

// hashOf is the source hash that a recording names, for one that names none a word that no hash is.
func hashOf(e formats.Entry) string {
	for _, m := range e.Metrics {
		var hash string
		if m.Name == metricHash && json.Unmarshal(m.Value, &hash) == nil && hash != "" && len(hash) <= 128 {
			return hash
		}
	}
	return "imported"
}
