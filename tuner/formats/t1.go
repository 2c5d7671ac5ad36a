package formats

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/rooftune/rooftune/tuner/space"
)

// T1 is the description of a tuning problem. Only the space is understood here; the rest is kept as it is.
type T1 struct {
	ConfigurationSpace  space.T1        `json:"ConfigurationSpace"`
	General             json.RawMessage `json:"General,omitempty"`
	KernelSpecification json.RawMessage `json:"KernelSpecification,omitempty"`
	Search              json.RawMessage `json:"Search,omitempty"`
	Budget              json.RawMessage `json:"Budget,omitempty"`
}

// ReadT1 reads a description, gzip or not.
func ReadT1(path string) (*T1, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	t, err := ParseT1(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// ParseT1 reads a description from memory.
func ParseT1(data []byte) (*T1, error) {
	var t T1
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("no T1 file: %w", err)
	}
	if len(t.ConfigurationSpace.TuningParameters) == 0 {
		return nil, errors.New("no T1 file: ConfigurationSpace.TuningParameters is missing")
	}
	var general struct{ FormatVersion int }
	if len(t.General) > 0 {
		if err := json.Unmarshal(t.General, &general); err != nil {
			return nil, fmt.Errorf("the field General: %w", err)
		}
	}
	if general.FormatVersion > 1 {
		return nil, fmt.Errorf("a T1 file of version %d: only version 1 is known", general.FormatVersion)
	}
	return &t, nil
}

// Space enumerates the configs that the description allows.
func (t *T1) Space() (*space.Space, error) { return space.FromT1(t.ConfigurationSpace) }

// Write writes the file with two spaces of indentation.
func (t *T1) Write(w io.Writer) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}
