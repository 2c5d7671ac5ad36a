package hashfile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"codeberg.org/sbinet/npyio/npy"

	"github.com/rooftune/rooftune/kernels/tile"
)

// array is a named array in a file: little-endian elements in C order.
type array struct {
	dtype string // tile's name, or the file's where tile has none
	shape []int
	data  []byte
}

const (
	npyMagic       = "\x93NUMPY"
	maxHeaderBytes = 16 << 20
	maxRank        = 32
)

// parseNPY reads the header of an .npy file and checks that its data is as long as it says.
func parseNPY(file []byte) (a array, err error) {
	if len(file) < 12 {
		return a, errors.New("the .npy header is cut short")
	}
	length := int64(binary.LittleEndian.Uint16(file[8:]))
	start := int64(10)
	if file[6] >= 2 {
		length, start = int64(binary.LittleEndian.Uint32(file[8:])), 12
	}
	if length > maxHeaderBytes || start+length > int64(len(file)) {
		return a, fmt.Errorf("an .npy header of %d bytes does not fit", length)
	}
	h, err := npyHeader(file[:start+length])
	if err != nil {
		return a, err
	}
	if h.Descr.Fortran && len(h.Descr.Shape) > 1 {
		return a, errors.New("the array is in Fortran order, must be in C order (numpy.ascontiguousarray)")
	}
	a = array{dtype: h.Descr.Type, shape: h.Descr.Shape}
	size := 0
	switch strings.Trim(h.Descr.Type, `'"`) {
	case "<f4", "f4", "=f4":
		a.dtype, size = tile.Float32, 4
	case "<u2", "u2", "=u2":
		a.dtype, size = tile.BFloat16, 2
	case "|i1", "i1":
		a.dtype, size = tile.Int8, 1
	default:
		return a, fmt.Errorf("elements are %s, must be little-endian float32, or uint16 with the bits of bfloat16", strings.Trim(h.Descr.Type, `'"`))
	}
	a.data = file[start+length:]
	return a, a.check(size)
}

// npyHeader is what npyio makes of a header. It panics on some malformed ones.
func npyHeader(header []byte) (h npy.Header, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("malformed .npy header")
		}
	}()
	r, err := npy.NewReader(bytes.NewReader(header))
	if err != nil {
		return h, err
	}
	return r.Header, nil
}

// check says whether an array's data is as long as its shape says.
func (a array) check(size int) error {
	if len(a.shape) > maxRank {
		return fmt.Errorf("rank %d, more than the limit of %d", len(a.shape), maxRank)
	}
	n := size
	for _, d := range a.shape {
		switch {
		case d < 0:
			return fmt.Errorf("shape %v has a negative dimension", a.shape)
		case d > 0 && n > math.MaxInt/d:
			return fmt.Errorf("shape %v overflows", a.shape)
		}
		n *= d
	}
	if n != len(a.data) {
		return fmt.Errorf("shape %v of %s needs %d bytes, the file has %d", a.shape, a.dtype, n, len(a.data))
	}
	return nil
}

// parseSafetensors reads a header: its length in eight bytes, then JSON, then the data of all tensors without gaps.
func parseSafetensors(file []byte) (map[string]array, error) {
	if len(file) < 8 {
		return nil, errors.New("neither .npy nor safetensors: too short")
	}
	length := binary.LittleEndian.Uint64(file)
	if length > maxHeaderBytes || length+8 > uint64(len(file)) {
		return nil, fmt.Errorf("neither .npy nor safetensors: a header of %d bytes does not fit", length)
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(file[8:8+length], &header); err != nil {
		return nil, fmt.Errorf("the safetensors header is no JSON object: %w", err)
	}
	data := file[8+length:]
	type span struct {
		name       string
		start, end int
	}
	var spans []span
	tensors := map[string]array{}
	for name, text := range header {
		if name == "__metadata__" {
			continue
		}
		var t struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets []int  `json:"data_offsets"`
		}
		if err := json.Unmarshal(text, &t); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if len(t.Offsets) != 2 || t.Offsets[0] < 0 || t.Offsets[1] < t.Offsets[0] || t.Offsets[1] > len(data) {
			return nil, fmt.Errorf("tensor %q: data_offsets %v are not within the %d bytes of data", name, t.Offsets, len(data))
		}
		a := array{dtype: t.DType, shape: t.Shape, data: data[t.Offsets[0]:t.Offsets[1]]}
		size := 0
		switch t.DType {
		case "F32":
			a.dtype, size = tile.Float32, 4
		case "BF16":
			a.dtype, size = tile.BFloat16, 2
		case "I8":
			a.dtype, size = tile.Int8, 1
		}
		if size > 0 { // other types are no one's tables
			if err := a.check(size); err != nil {
				return nil, fmt.Errorf("tensor %q: %w", name, err)
			}
		}
		tensors[name] = a
		spans = append(spans, span{name, t.Offsets[0], t.Offsets[1]})
	}
	slices.SortFunc(spans, func(a, b span) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return a.end - b.end
	})
	at := 0
	for _, s := range spans {
		if s.start != at {
			return nil, fmt.Errorf("tensor %q: its data begins at %d, where %d is expected", s.name, s.start, at)
		}
		at = s.end
	}
	if at != len(data) {
		return nil, fmt.Errorf("the tensors take %d bytes, the file has %d", at, len(data))
	}
	return tensors, nil
}

// choose finds the tensor that is meant.
func choose(tensors map[string]array, name string) (string, array, error) {
	names := slices.Sorted(maps.Keys(tensors))
	if name == "" {
		name = "tables"
		if len(names) == 1 {
			name = names[0]
		}
	}
	a, ok := tensors[name]
	if !ok {
		return "", a, fmt.Errorf("no tensor %q, the file has %s", name, strings.Join(names, ", "))
	}
	return name, a, nil
}
