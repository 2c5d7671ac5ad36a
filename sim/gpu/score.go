package gpu

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/tuner/stats"
)

// gpuBoundMS is the time from which a row says more of the GPU than of the host.
const gpuBoundMS = 0.5

// libraryCallNs is the host's time for a launch from a compiled library, and libraryAutograd the part of a Triton kernel's cost in autograd that a
// library's call has. Not fitted.
const (
	libraryCallNs   = 5000
	libraryAutograd = 0.25
)

// Scored is a row with its simulation.
type Scored struct {
	Row         *Row
	Program     string
	Device      string
	MeasuredNs  float64
	SimulatedNs float64
	BoundBy     Part
	GPUBound    bool
	Estimate    Estimate
}

// Ratio is simulated over measured time.
func (s *Scored) Ratio() float64 { return s.SimulatedNs / s.MeasuredNs }

// Unsupported is a row without an answer.
type Unsupported struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Prepared is a row bound to its program, ready to be timed with any constants.
type Prepared struct {
	Row     *Row
	Device  *Device
	Program *Program
	host    string
	bytes   float64 // of a row with a rate
}

// Prepare binds the rows to programs and devices. It returns the rows that have none with the reason, and notes of every choice that was
// made for a name that is not known, once each.
func Prepare(rows []Row) (prepared []*Prepared, unsupported []Unsupported, notes []string) {
	seen := map[string]bool{}
	note := func(s string) {
		if s != "" && !seen[s] {
			seen[s] = true
			notes = append(notes, s)
		}
	}
	for i := range rows {
		p, said, err := prepareRow(&rows[i])
		for _, s := range said {
			note(s)
		}
		if err != nil {
			unsupported = append(unsupported, Unsupported{rows[i].ID, err.Error()})
			continue
		}
		prepared = append(prepared, p)
	}
	return prepared, unsupported, notes
}

func prepareRow(r *Row) (*Prepared, []string, error) {
	switch {
	case r.bad != nil:
		return nil, nil, r.bad
	case strings.EqualFold(r.Tier, "X"):
		return nil, nil, fmt.Errorf("tier X: to be dropped")
	case r.MS <= 0 && r.GBps <= 0:
		return nil, nil, fmt.Errorf("no measured time or rate")
	}
	var notes []string
	choice, said, err := resolveKernel(r.Kernel, r.Algorithm, r.Family, r.Source)
	if err != nil {
		return nil, nil, err
	}
	notes = append(notes, said)
	d, said, err := ResolveDevice(r.GPU)
	if err != nil {
		return nil, notes, err
	}
	notes = append(notes, said)
	t, err := FindProgram(choice.Program)
	if err != nil {
		return nil, notes, err
	}
	dtype := BF16
	if r.DType != "" {
		if dtype, err = ParseDType(r.DType); err != nil {
			return nil, notes, err
		}
	}
	if choice.Program == "sgemm" && dtype != FP32 && dtype != FP64 {
		if t, err = FindProgram("gemm"); err != nil {
			return nil, notes, err
		}
	}
	v := r.values(t, choice, dtype.Bytes())
	args, err := t.Arguments(v)
	if err != nil {
		return nil, notes, err
	}
	dir := r.Direction
	switch dir {
	case "", "forward", "prefill", "decode":
		dir = Forward
	case "backward":
		dir = Backward
	case "fwd+bwd", "fwdbwd", "fwd_bwd", "train":
		dir = Both
	}
	p := &Prepared{Row: r, Device: d, Program: new(Program), host: choice.Host}
	if err := t.BindFitting(p.Program, d, dtype, dir, args); err != nil {
		return nil, notes, err
	}
	if x, ok := r.param("cudagraph"); ok && x > 0 {
		p.host = hostGraph
	}
	if r.MS <= 0 {
		for _, x := range p.Program.Buffers {
			p.bytes += x
		}
	}
	return p, notes, nil
}

// host is what a way of issuing launches costs.
func (c *Constants) host(way string, backward bool) Host {
	switch way {
	case hostTriton:
		h := Host{PerLaunchNs: c.HostNs}
		if backward {
			h.PerCallNs = c.AutogradNs
		}
		return h
	case hostCall:
		h := Host{PerLaunchNs: libraryCallNs, PerCallNs: c.HostNs}
		if backward {
			h.PerCallNs += libraryAutograd * c.AutogradNs
		}
		return h
	case hostLibrary:
		return Host{PerLaunchNs: libraryCallNs}
	}
	return Host{}
}

// Time simulates a prepared row.
func (p *Prepared) Time(m *Machine, e *Estimate) (Scored, error) {
	if err := m.Time(p.Program, m.c.host(p.host, p.Row.Direction != Forward), e); err != nil {
		return Scored{}, err
	}
	s := Scored{Row: p.Row, Program: p.Program.Name, Device: p.Device.Name, SimulatedNs: e.TimeNs, BoundBy: e.BoundBy}
	if p.Row.MS > 0 {
		s.MeasuredNs = p.Row.MS * 1e6
		s.GPUBound = p.Row.MS >= gpuBoundMS && (p.Row.Tier == "" || strings.EqualFold(p.Row.Tier, "A") || strings.EqualFold(p.Row.Tier, "B"))
	} else {
		s.MeasuredNs = p.bytes / p.Row.GBps
	}
	return s, nil
}

// Errors sums up how far simulated times are from measured ones.
type Errors struct {
	Rows      int     `json:"rows"`
	MAPE      float64 `json:"mape"`       // mean of |simulated/measured - 1|, in per cent
	MacroMAPE float64 `json:"macro_mape"` // mean over families
	Median    float64 `json:"median_ape"`
	Bias      float64 `json:"bias"` // geometric mean of simulated over measured
	Spearman  float64 `json:"spearman"`
}

// ErrorsOf sums up some rows; of none all is zero.
func ErrorsOf(rows []Scored) Errors {
	e := Errors{Rows: len(rows)}
	if len(rows) == 0 {
		return e
	}
	families := map[string][2]float64{}
	var all, x, y []float64
	for i := range rows {
		s := &rows[i]
		ape := 100 * math.Abs(s.Ratio()-1)
		all = append(all, ape)
		e.MAPE += ape
		e.Bias += math.Log(s.Ratio())
		f := families[s.Row.Family]
		families[s.Row.Family] = [2]float64{f[0] + ape, f[1] + 1}
		x, y = append(x, s.MeasuredNs), append(y, s.SimulatedNs)
	}
	n := float64(len(rows))
	e.MAPE /= n
	e.Bias = math.Exp(e.Bias / n)
	names := sortedKeys(families)
	for _, f := range names {
		e.MacroMAPE += families[f][0] / families[f][1] / float64(len(families))
	}
	slices.Sort(all)
	e.Median = (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	e.Spearman = stats.Spearman(x, y)
	return e
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Worst is a row far off.
type Worst struct {
	ID          string  `json:"id"`
	Family      string  `json:"family"`
	Kernel      string  `json:"kernel"`
	GPU         string  `json:"gpu"`
	Program     string  `json:"program"`
	MeasuredMS  float64 `json:"measured_ms"`
	SimulatedMS float64 `json:"simulated_ms"`
	Ratio       float64 `json:"ratio"`
	BoundBy     string  `json:"bound_by"`
}

// Score is the report of tune sim --score.
type Score struct {
	Rows        int           `json:"rows"`
	Scored      int           `json:"scored"`
	Unsupported []Unsupported `json:"unsupported"`
	Choices     []string      `json:"choices"` // made for names that are not known
	Errors
	GPUBound  Group            `json:"gpu_bound"`
	HostBound Group            `json:"host_bound"`
	Family    map[string]Group `json:"family"`
	GPU       map[string]Group `json:"gpu"`
	Worst     []Worst          `json:"worst"` // of the GPU-bound rows
	All       []Scored         `json:"-"`
}

// Group is the errors of some rows, and of the GPU-bound ones among them.
type Group struct {
	Errors
	GPUBound *Errors           `json:"gpu_bound,omitempty"`
	Family   map[string]Errors `json:"family,omitempty"`
	GPU      map[string]Errors `json:"gpu,omitempty"`
}

// worstRows is how many of the worst rows a score lists.
const worstRows = 20

// ScoreRows simulates every row with the constants and sums up.
func ScoreRows(rows []Row, c *Constants) (*Score, error) {
	prepared, unsupported, notes := Prepare(rows)
	s := &Score{Rows: len(rows), Unsupported: append([]Unsupported{}, unsupported...), Choices: append([]string{}, notes...), Worst: []Worst{}, Family: map[string]Group{}, GPU: map[string]Group{}}
	machines := map[*Device]*Machine{}
	var e Estimate
	for _, p := range prepared {
		m := machines[p.Device]
		if m == nil {
			m = NewMachine(p.Device, c)
			machines[p.Device] = m
		}
		row, err := p.Time(m, &e)
		if err != nil {
			s.Unsupported = append(s.Unsupported, Unsupported{p.Row.ID, err.Error()})
			continue
		}
		s.All = append(s.All, row)
	}
	s.Scored = len(s.All)
	s.Errors = ErrorsOf(s.All)
	s.Errors.Rows = len(rows)
	var bound, host []Scored
	for _, r := range s.All {
		switch {
		case r.GPUBound:
			bound = append(bound, r)
		case r.Row.MS > 0 && r.Row.MS < gpuBoundMS:
			host = append(host, r)
		}
	}
	byFamily := func(r *Scored) string { return r.Row.Family }
	byGPU := func(r *Scored) string { return r.Row.GPU }
	s.GPUBound = Group{Errors: ErrorsOf(bound), Family: split(bound, byFamily), GPU: split(bound, byGPU)}
	s.HostBound = Group{Errors: ErrorsOf(host), Family: split(host, byFamily), GPU: split(host, byGPU)}
	for name, e := range split(s.All, byFamily) {
		s.Family[name] = Group{Errors: e, GPUBound: pointer(s.GPUBound.Family, name)}
	}
	for name, e := range split(s.All, byGPU) {
		s.GPU[name] = Group{Errors: e, GPUBound: pointer(s.GPUBound.GPU, name)}
	}
	slices.SortStableFunc(bound, func(a, b Scored) int {
		return cmp.Compare(math.Abs(math.Log(b.Ratio())), math.Abs(math.Log(a.Ratio())))
	})
	for _, r := range bound[:min(len(bound), worstRows)] {
		s.Worst = append(s.Worst, Worst{
			r.Row.ID, r.Row.Family, r.Row.Kernel, r.Row.GPU, r.Program, r.MeasuredNs / 1e6, r.SimulatedNs / 1e6, r.Ratio(), r.BoundBy.String(),
		})
	}
	return s, nil
}

func pointer(m map[string]Errors, name string) *Errors {
	if e, ok := m[name]; ok {
		return &e
	}
	return nil
}

func split(rows []Scored, by func(*Scored) string) map[string]Errors {
	groups := map[string][]Scored{}
	for i := range rows {
		name := by(&rows[i])
		groups[name] = append(groups[name], rows[i])
	}
	out := map[string]Errors{}
	for name, g := range groups {
		out[name] = ErrorsOf(g)
	}
	return out
}
