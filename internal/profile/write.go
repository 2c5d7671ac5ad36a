package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2/maybe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Marshal checks the profile and returns it as an indented JSON document, with its checksum.
func (p *Profile) Marshal() ([]byte, error) {
	q := *p
	q.Schema, q.Checksum = Schema, ""
	q.Entries = append([]Entry{}, p.Entries...) // a missing list or config is written as an empty one
	for i := range q.Entries {
		if q.Entries[i].Config == nil {
			q.Entries[i].Config = tile.Config{}
		}
	}
	if err := q.Validate(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(&q)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if q.Checksum, err = checksum(fields); err != nil {
		return nil, err
	}
	if raw, err = json.MarshalIndent(&q, "", " "); err != nil {
		return nil, err
	}
	raw = append(raw, '\n')
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("%d bytes, a profile may have %d", len(raw), MaxBytes)
	}
	return raw, nil
}

// Write replaces the file at path by the profile, with mode 0644, and creates
// its folder if need be. The new content is on the disk before it takes
// the old one's place, so a reader, or a machine that stops at any moment, sees one
// or the other. (Windows has no such rename: there the file is overwritten, and the
// checksum finds a torn one.) An invalid profile is not written.
func (p *Profile) Write(path string) error {
	raw, err := p.Marshal()
	if err != nil {
		return fmt.Errorf("profile %s: %w", path, err)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, raw) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("profile %s: %w", path, err)
	}
	if err := maybe.WriteFile(path, raw, 0o644); err != nil {
		return fmt.Errorf("profile %s: %w", path, err)
	}
	return nil
}
