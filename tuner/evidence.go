package tuner

import (
	"slices"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/roofline"
)

// Evidence gives what the journal in a folder says of a machine's candidates, each with its last and best measurement, as reports
// show it. Nil without an error means that there is no journal, or that it is another machine's.
func Evidence(dir string, m *machine.Machine) (*roofline.Evidence, error) {
	h, err := readJournal(dir)
	if err != nil || h == nil || h.header == nil || h.header.Fingerprint != m.Fingerprint {
		return nil, err
	}
	e := &roofline.Evidence{Created: h.header.Created, Strategy: h.header.Strategy, Seed: h.header.Seed}
	times := finalTimes(h)
	at := map[string]int{}
	for _, x := range h.lines {
		if x.Kind != kindMeasure || !slices.Contains([]string{verdictOK, verdictSlow, verdictTooFast}, x.Verdict) || !(x.Ns > 0) {
			continue
		}
		key := x.Problem.String() + string(x.ISA) + x.Config.String()
		t := roofline.Trial{Problem: *x.Problem, ISA: x.ISA, Config: x.Config, MedianNs: x.Ns, SimulatedNs: x.SimulatedNs, Verdict: x.Verdict}
		if ns, ok := times[key]; ok { // from the paired blocks
			t.MedianNs = ns
		}
		if i, ok := at[key]; ok {
			e.Trials[i] = t
			continue
		}
		at[key] = len(e.Trials)
		e.Trials = append(e.Trials, t)
	}
	return e, nil
}
