package gpu

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"
)

// Constants are the fitted figures of the model: eleven for all GPUs and four for each that has measured rows.
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

	Fit     string                     `json:"fit"` // on what, and the errors
	Devices map[string]DeviceConstants `json:"devices"`
}

// DeviceConstants multiply the facts of one GPU. A GPU without measured rows has ones: its facts alone.
type DeviceConstants struct {
	Matrix float64 `json:"matrix"`
	Vector float64 `json:"vector"`
	Memory float64 `json:"memory"`
	L2     float64 `json:"l2"`
}

// of gives the constants of a device, ones for a GPU that was not fitted.
func (c *Constants) of(d *Device) DeviceConstants {
	if own, ok := c.Devices[d.Name]; ok {
		return own
	}
	return DeviceConstants{1, 1, 1, 1}
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
