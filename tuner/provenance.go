package tuner

import (
	"cmp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/tuner/stats"
)

// provenance gathers the conditions of a run so far.
func (t *tuning) provenance(m *machine.Machine) *profile.Provenance {
	v := &profile.Provenance{
		Program: program(), Strategy: cmp.Or(t.o.Strategy, Strategies()[0]), Seed: t.o.Seed, BudgetNs: int64(t.o.Budget),
		Level: level, StealPct: -1, Blocks: t.meter.blocks, Voided: t.meter.voided,
	}
	v.Kernel, v.Clocks = machine.System()
	v.GOAMD64 = setting("GOAMD64")
	if len(t.meter.cycles) > 0 {
		v.ClockHz = canaryCycles / stats.Median(t.meter.cycles) * 1e9
	}
	if t.meter.timed > 0 {
		v.TakenPct = 100 * float64(t.meter.taken) / float64(t.meter.timed)
	}
	elapsed := t.clock.Now().Sub(t.started)
	if now := t.clock.Pressure(); now.stealKnown && elapsed > 0 {
		steal := time.Duration(now.steal-t.pressure.steal) * stealTick
		v.StealPct = min(100, 100*float64(steal)/float64(elapsed)/float64(max(m.Threads, 1)))
	}
	if a := t.report.AA; a != nil {
		v.AAComparisons, v.AADifferences, v.AADetectable = a.Comparisons, a.Differences, a.Detectable
	}
	return v
}

// program names this program's version and revision.
func program() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	text := []string{b.Main.Path, b.Main.Version}
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision":
			text = append(text, s.Value[:min(12, len(s.Value))])
		case s.Key == "vcs.modified" && s.Value == "true":
			text = append(text, "modified")
		}
	}
	joined := strings.Join(text, " ")
	return joined[:min(200, len(joined))]
}

func setting(key string) string {
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == key {
				return s.Value
			}
		}
	}
	return ""
}
