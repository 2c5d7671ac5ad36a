package main

import (
	"math"
	"testing"

	"github.com/rooftune/rooftune/sim/gpu"
)

// Rows whose times were simulated with known constants lead the fit back to constants that simulate the same.
func TestFitRecovers(t *testing.T) {
	known := start()
	known.Matrix, known.Memory, known.ChainClocks = 0.85, 0.85, 420
	var rows []gpu.Row
	for i, x := range []struct {
		kernel, device string
		t, d           float64
	}{
		{"flash_attn2", "A100", 4096, 64}, {"flash_attn2", "H100", 8192, 128}, {"chunk_gated_delta_rule", "H200", 16384, 128}, {"chunk_retention", "H100", 8192, 128},
		{"lightning_attn2", "A100", 8192, 128}, {"flash_attn3", "H100", 16384, 128}, {"chunk_gla", "H100", 4096, 128},
	} {
		rows = append(rows, gpu.Row{
			ID: string(rune('a' + i)), Family: x.kernel, Kernel: x.kernel, GPU: x.device, DType: "bf16", B: 2, H: 16, T: x.t, DK: x.d, DV: x.d, MS: 1, Direction: gpu.Forward, Tier: "A",
			Params: map[string]string{"cudagraph": "1"},
		})
	}
	prepared, unsupported, _ := gpu.Prepare(rows)
	if len(unsupported) > 0 {
		t.Fatal(unsupported)
	}
	for i, s := range scored(prepared, known) {
		rows[i].MS = s.SimulatedNs / 1e6
	}
	before, after := loss(prepared, start()), loss(prepared, fit(prepared, start()))
	if !(after < before/4) || math.IsNaN(after) {
		t.Errorf("loss %g before the fit, %g after", before, after)
	}
}

// The fit of no rows ends, and says nothing.
func TestFitOfNothing(t *testing.T) {
	if c := fit(nil, start()); *c != *start() {
		t.Errorf("%+v", c)
	}
}
