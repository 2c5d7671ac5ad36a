package sim

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed devices/*.json
var deviceFiles embed.FS

// gpus holds the embedded devices in the order of their names. The files are part of the
// build and checked by a test, so a broken one is reported by every look-up.
var gpus = sync.OnceValues(func() ([]*Device, error) {
	entries, err := deviceFiles.ReadDir("devices")
	if err != nil {
		return nil, err
	}
	var all []*Device
	for _, e := range entries {
		data, err := deviceFiles.ReadFile(path.Join("devices", e.Name()))
		if err != nil {
			return nil, err
		}
		d, err := ParseDevice(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *Device) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
})

// ParseDevice reads a device from its JSON form: the fields of Device, no others. It
// refuses one that lacks what a simulation needs.
func ParseDevice(data []byte) (*Device, error) {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	d := new(Device)
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	return d, nil
}

// GPUs lists the names that GPU knows.
func GPUs() []string {
	all, err := gpus()
	if err != nil {
		return nil
	}
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	return names
}

// GPU returns the embedded device with this name; case does not matter. The caller must not change it.
func GPU(name string) (*Device, error) {
	all, err := gpus()
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		if strings.EqualFold(d.Name, name) {
			return d, nil
		}
	}
	return nil, fmt.Errorf("unknown GPU %q: known are %s", name, strings.Join(GPUs(), ", "))
}
