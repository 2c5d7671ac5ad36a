package gpu

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// traceEvent is one of the Chrome trace format's events, which Perfetto opens.
type traceEvent struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"`
	TS    float64        `json:"ts"` // microseconds
	Dur   float64        `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

// WriteTrace writes a result's launches as a timeline: a track for the launches, and one for each resource with the time that it alone would
// take within each launch.
func WriteTrace(w io.Writer, r *Result) error {
	tracks := map[string]int{}
	events := []traceEvent{
		{Name: "process_name", Phase: "M", PID: 1, Args: map[string]any{"name": r.Program + " on " + r.Device}},
		{Name: "thread_name", Phase: "M", PID: 1, TID: 1, Args: map[string]any{"name": "launches"}},
	}
	for part := range partCount {
		if r.Parts[part.String()] > 0 {
			tracks[part.String()] = int(part) + 2
			events = append(events, traceEvent{Name: "thread_name", Phase: "M", PID: 1, TID: int(part) + 2, Args: map[string]any{"name": part.String()}})
		}
	}
	for _, l := range r.Launches {
		events = append(events, traceEvent{
			Name: l.Name, Phase: "X", TS: l.StartNs / 1e3, Dur: l.TimeNs / 1e3, PID: 1, TID: 1,
			Args: map[string]any{"blocks": l.Blocks, "repeat": l.Repeat, "resident": l.Resident, "occupancy": l.Occupancy, "waves": l.Waves, "bound_by": l.BoundBy},
		})
		for _, name := range slices.Sorted(maps.Keys(l.Parts)) {
			share := min(l.TimeNs, l.Parts[name])
			events = append(events, traceEvent{
				Name: l.Name, Phase: "X", TS: l.StartNs / 1e3, Dur: share / 1e3, PID: 1, TID: tracks[name],
				Args: map[string]any{"share": fmt.Sprintf("%.0f %%", 100*l.Parts[name]/l.TimeNs)},
			})
		}
	}
	return json.NewEncoder(w).Encode(map[string]any{"displayTimeUnit": "ns", "traceEvents": events})
}
