package roofline

import (
	"fmt"
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim/gpu"
)

// shownGPUs are the devices of a page's predictions: one of each generation that people use.
var shownGPUs = []string{"A100-80GB-SXM", "H100-SXM", "B200", "MI300X", "RTX4090"}

// dataGPU is a prediction.
type dataGPU struct {
	Device  string   `json:"device"`
	Program string   `json:"program,omitempty"`
	Config  string   `json:"config,omitempty"`
	Ns      *float64 `json:"ns"`
	Bound   string   `json:"bound,omitempty"`
	Why     string   `json:"why,omitempty"` // there is none
}

// gpuProgram is the published tiling of an op and what it needs to know of a problem; an error says why there is none.
func gpuProgram(p tile.Problem) (*gpu.Template, gpu.Values, error) {
	s := p.Shape
	if p.Op == tile.HashLayer {
		t, err := gpu.FindProgram("hash-layer")
		return t, gpu.Values{"n": float64(s.N), "d": float64(s.D), "h": float64(s.H), "tau": float64(s.Tau)}, err
	}
	if s.Hq != s.Hkv {
		return nil, nil, fmt.Errorf("the published kernels have a state for each query head, not %d for %d", s.Hkv, s.Hq)
	}
	values := gpu.Values{"b": float64(s.B), "t": float64(s.T), "hq": float64(s.Hq), "dk": float64(s.Dk), "dv": float64(s.Dv)}
	if p.Decay == tile.DecayHead {
		values["gate"] = 1
	}
	if p.Op == tile.DeltaRule {
		values["rule"] = 1
	}
	name := ""
	switch key := p.Decay == tile.DecayKey; {
	case s.T == 1 && p.Dir == tile.Forward && !key:
		name = "recurrent"
	case p.Op == tile.DeltaRule && key:
		name = "kda"
	case p.Op == tile.DeltaRule:
		name = "chunk-delta-rule"
	case p.Op == tile.LinearAttention && key:
		name = "gla"
	case p.Op == tile.LinearAttention && p.Decay == tile.DecayHead:
		name = "chunk-linear-attention"
	case p.Op == tile.LinearAttention:
		name = "lightning-attention-2"
	default:
		return nil, nil, fmt.Errorf("no GPU program is known for %s", p.Op)
	}
	t, err := gpu.FindProgram(name)
	if err != nil {
		return nil, nil, err
	}
	required, optional, _ := t.Names()
	for name := range values {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			delete(values, name)
		}
	}
	return t, values, nil
}

// onGPUs predicts the op of a problem by the published tiling at its default config, in bfloat16.
func onGPUs(p tile.Problem) []dataGPU {
	var out []dataGPU
	for _, name := range shownGPUs {
		g := dataGPU{Device: name}
		r, err := predict(name, p)
		if err != nil {
			g.Why = err.Error()
		} else {
			g.Program, g.Config, g.Ns, g.Bound = r.Program, r.ConfigString(), known(r.TimeNs), r.BoundBy
		}
		out = append(out, g)
	}
	return out
}

func predict(device string, p tile.Problem) (*gpu.Result, error) {
	t, values, err := gpuProgram(p)
	if err != nil {
		return nil, err
	}
	r := gpu.Request{Template: t, Values: values, Direction: p.Dir}
	if r.Device, err = gpu.FindDevice(device); err != nil {
		return nil, err
	}
	if r.Constants, err = gpu.Fitted(); err != nil {
		return nil, err
	}
	if r.DType, err = gpu.ParseDType(tile.BFloat16); err != nil {
		return nil, err
	}
	return gpu.Simulate(r)
}
