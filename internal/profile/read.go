package profile

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rooftune/rooftune/internal/digest"
)

// MaxBytes is the size of the largest profile that is read: some ten thousand entries.
const MaxBytes = 16 << 20

// ErrNewer is wrapped by the error for a profile of a newer schema than this
// program knows. Such a file is sound: it must not be overwritten.
var ErrNewer = errors.New("newer schema")

// SchemaJSON is the published JSON schema (draft 2020-12) of a profile.
//
//go:embed profile.schema.json
var SchemaJSON []byte

const schemaURL = "urn:rooftune:profile:1"

var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(SchemaJSON))
	if err != nil {
		return nil, fmt.Errorf("profile.schema.json: %w", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, fmt.Errorf("profile.schema.json: %w", err)
	}
	return c.Compile(schemaURL)
})

// Read reads and checks the profile in a file of at most MaxBytes. Its errors name the file.
func Read(path string) (*Profile, error) { return read(path, Parse) }

// ReadForUse is Read by ParseForUse.
func ReadForUse(path string) (*Profile, error) { return read(path, ParseForUse) }

func read(path string, parse func([]byte) (*Profile, error)) (*Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", path, err)
	}
	p, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", path, err)
	}
	return p, nil
}

// Parse checks a profile's JSON document and returns it ready for Lookup.
// Any byte string may be given: the answer is a sound profile or an error.
//
// The checksum covers the canonical form of the document: its top-level fields
// but the checksum sorted by name, each value as written without insignificant space. So white space
// may be changed by other tools, and nothing else.
func Parse(data []byte) (*Profile, error) { return parse(data, true) }

// ParseForUse is Parse without the JSON schema, which says nothing that is not checked otherwise, but takes most of the time: for
// programs that only choose from the profile.
func ParseForUse(data []byte) (*Profile, error) { return parse(data, false) }

func parse(data []byte, bySchema bool) (*Profile, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("larger than %d bytes", MaxBytes)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	var version int
	if raw, ok := fields["schema"]; !ok {
		return nil, errors.New("no field schema: not a profile")
	} else if err := json.Unmarshal(raw, &version); err != nil {
		return nil, fmt.Errorf("schema is %.40s, must be an integer", raw)
	}
	switch {
	case version > Schema:
		return nil, fmt.Errorf("schema %d, this program reads up to schema %d: %w", version, Schema, ErrNewer)
	case version != Schema:
		return nil, fmt.Errorf("schema %d is unknown, must be %d", version, Schema)
	}
	var sum string
	if err := json.Unmarshal(fields["checksum"], &sum); err != nil {
		return nil, errors.New("no checksum")
	}
	want, err := checksum(fields)
	if err != nil {
		return nil, err
	}
	if sum != want {
		return nil, errors.New("checksum does not match the content: the file is damaged or was edited")
	}

	if bySchema {
		if err := checkSchema(data); err != nil {
			return nil, err
		}
	}

	p := new(Profile)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	p.index()
	return p, nil
}

func checkSchema(data []byte) error {
	schema, err := compiled()
	if err != nil {
		return err
	}
	// As plain values: the library's own reading keeps numbers that no float64 holds, and then panics on 1e900000000.
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	if err := schema.Validate(doc); err != nil {
		return fmt.Errorf("against profile.schema.json: %s", oneLine(err))
	}
	return nil
}

// checksum hashes the canonical form of a document's top-level fields.
func checksum(fields map[string]json.RawMessage) (string, error) {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name == "checksum" {
			continue
		}
		fmt.Fprintf(&b, "%q:", name)
		if err := json.Compact(&b, fields[name]); err != nil {
			return "", err
		}
		b.WriteByte('\n')
	}
	return digest.Sum(b.Bytes()), nil
}

// oneLine gives a schema error's first cause on one line.
func oneLine(err error) string {
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		for len(invalid.Causes) > 0 {
			invalid = invalid.Causes[0]
		}
		err = invalid
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "- ")
}
