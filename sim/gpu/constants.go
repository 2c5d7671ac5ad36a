package gpu

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"
)

// Constants are the fitted figures of the model, the same for all GPUs. What a GPU is like comes from its data file alone, so that one without
// measured rows is simulated as those with.
type Constants struct {
	Matrix      float64 `json:"matrix"`       // of the best published matrix product that a kernel's own products reach
	Vector      float64 `json:"vector"`       // of the vector peak at the clock under load
	Memory      float64 `json:"memory"`       // of the bandwidth of streams that launches with products reach
	Overlap     float64 `json:"overlap"`      // norm by which products and memory levels overlap
	Exposed     float64 `json:"exposed"`      // part of the element-wise work that products and loads do not hide
	Specialized float64 `json:"specialized"`  // the same with specialized warps
	Queue       float64 `json:"queue"`        // of the wait for other blocks on a unit that is not hidden
	ChainClocks float64 `json:"chain_clocks"` // of a step that waits for the one before
	LaunchNs    float64 `json:"launch_ns"`    // of a launch on the GPU
	HostNs      float64 `json:"host_ns"`      // of a launch from eager Python
	AutogradNs  float64 `json:"autograd_ns"`  // of a backward call through autograd

	Fit string `json:"fit"` // on what, and the errors
}

//go:embed constants.json
var constantsText []byte

var fitted = sync.OnceValues(func() (*Constants, error) {
	c := new(Constants)
	if err := json.Unmarshal(constantsText, c); err != nil {
		return nil, fmt.Errorf("constants.json: %w", err)
	}
	return c, nil
})

// Fitted returns the embedded constants. The caller must not change them.
func Fitted() (*Constants, error) { return fitted() }
