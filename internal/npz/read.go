// Package npz reads and writes NumPy's .npz archives of C-ordered arrays, on
// top of npyio. It adds what files from strangers need: limits on sizes,
// lengths checked before anything is allocated, and errors that name the array.
package npz

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"strings"

	"codeberg.org/sbinet/npyio/npy"
)

// DefaultLimit is the size in bytes, over all arrays of an archive, that Open
// allows if its caller has no limit of its own.
const DefaultLimit = 8 << 30

const (
	maxArrays      = 64      // members of an archive
	maxHeaderBytes = 1 << 16 // of one .npy header
	maxRank        = 8
	maxDeflate     = 1032 // most bytes that one deflated byte can stand for
)

// Header is what an array says of itself.
type Header struct {
	DType   string // NumPy's name without the byte order: "f4", "f8", "i4", "u2", ...
	Fortran bool   // stored column by column
	Shape   []int
}

// Name gives the data type in words ("float32").
func (h Header) Name() string {
	names := map[string]string{"f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32",
		"i8": "int64", "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "b1": "bool", "c8": "complex64", "c16": "complex128"}
	if n, ok := names[h.DType]; ok {
		return n
	}
	return "data type " + h.DType
}

// Archive is an open .npz file whose headers have been checked.
type Archive struct {
	file    *os.File
	members map[string]*zip.File
	headers map[string]Header
}

// Open opens an archive and checks its headers: at most 64 arrays, at most
// limit bytes in all, every array as long as its shape says. It reads no data.
func Open(path string, limit int64) (_ *Archive, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a := &Archive{file: f, members: map[string]*zip.File{}, headers: map[string]Header{}}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than the limit of %d", path, info.Size(), limit)
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: not an .npz archive: %w", path, err)
	}
	if len(z.File) > maxArrays {
		return nil, fmt.Errorf("%s: %d arrays, more than the limit of %d", path, len(z.File), maxArrays)
	}
	left := uint64(limit)
	for _, m := range z.File {
		name, ok := strings.CutSuffix(m.Name, ".npy")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s: member %q is not an .npy array", path, m.Name)
		}
		if _, twice := a.members[name]; twice {
			return nil, fmt.Errorf("%s: two arrays are named %q", path, name)
		}
		size := m.UncompressedSize64
		if size > left {
			return nil, fmt.Errorf("%s: arrays of more than %d bytes, the limit", path, limit)
		}
		left -= size
		// The directory of a zip file can claim any size: what the compressed bytes cannot expand to is a lie.
		if m.CompressedSize64 > uint64(info.Size()) || size/maxDeflate > m.CompressedSize64+1 {
			return nil, fmt.Errorf("%s: array %q: %d bytes stored cannot hold %d", path, name, m.CompressedSize64, size)
		}
		h, err := readHeader(m)
		if err != nil {
			return nil, fmt.Errorf("%s: array %q: %w", path, name, err)
		}
		a.members[name], a.headers[name] = m, h
	}
	return a, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

// Names lists the arrays, sorted.
func (a *Archive) Names() []string {
	names := make([]string, 0, len(a.members))
	for n := range a.members {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Header returns the header of an array, and whether there is one of that name.
func (a *Archive) Header(name string) (Header, bool) {
	h, ok := a.headers[name]
	return h, ok
}

// Element is a type that Read can fill.
type Element interface {
	float32 | float64 | int32 | int64 | uint16
}

// Read reads an array in the order in which it is stored. The type must be that of the file, or uint16 for the bits of a float16
// one, and the file's data complete.
func Read[T Element](a *Archive, name string) ([]T, error) {
	m, ok := a.members[name]
	if !ok {
		return nil, fmt.Errorf("array %q is missing", name)
	}
	h := a.headers[name]
	rc, err := m.Open()
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	defer rc.Close()
	in := &counter{r: bufio.NewReaderSize(rc, 1<<16)}
	r, err := newReader(in)
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	var data []T
	if bits, ok := any(&data).(*[]uint16); ok && h.DType == "f2" {
		err = readBits(in, r.Header.Descr.Type, h.Shape, bits)
	} else {
		err = r.Read(&data)
	}
	if err != nil {
		if errors.Is(err, npy.ErrTypeMismatch) {
			err = fmt.Errorf("it is %s", h.Name())
		}
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	// npyio takes an early end for the end; the count and the checksum, which is only checked at the end, tell.
	if uint64(in.n) != m.UncompressedSize64 {
		return nil, fmt.Errorf("array %q: ends after %d of %d bytes", name, in.n, m.UncompressedSize64)
	}
	var one [1]byte
	if _, err := in.r.Read(one[:]); err != io.EOF {
		return nil, fmt.Errorf("array %q: damaged: %w", name, err)
	}
	return data, nil
}

// readBits reads the bits of 16-bit numbers, for which npyio has no type.
func readBits(r io.Reader, descr string, shape []int, bits *[]uint16) error {
	order := binary.ByteOrder(binary.LittleEndian)
	if strings.HasPrefix(descr, ">") {
		order = binary.BigEndian
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	const part = 1 << 17
	for len(*bits) < n { // grows with what is read, whatever the header promises
		chunk := make([]uint16, min(part, n-len(*bits)))
		if err := binary.Read(r, order, chunk); err != nil {
			return err
		}
		*bits = append(*bits, chunk...)
	}
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// readHeader reads the header of a member and checks that the data it announces is as long as the member.
func readHeader(m *zip.File) (Header, error) {
	rc, err := m.Open()
	if err != nil {
		return Header{}, err
	}
	defer rc.Close()
	buf := bufio.NewReader(rc)
	if err := checkPreamble(buf); err != nil {
		return Header{}, err
	}
	in := &counter{r: buf}
	r, err := newReader(in)
	if err != nil {
		return Header{}, err
	}
	d := r.Header.Descr
	h := Header{DType: strings.Trim(d.Type, `'"<>=|`), Fortran: d.Fortran, Shape: d.Shape}
	width, err := itemBytes(h.DType)
	if err != nil {
		return Header{}, err
	}
	if len(h.Shape) > maxRank {
		return Header{}, fmt.Errorf("rank %d, more than the limit of %d", len(h.Shape), maxRank)
	}
	want := uint64(width)
	empty := slices.Contains(h.Shape, 0)
	for _, n := range h.Shape {
		if n < 0 {
			return Header{}, fmt.Errorf("shape %v has a negative dimension", h.Shape)
		}
		hi, lo := bits.Mul64(want, uint64(max(n, 1)))
		if hi != 0 || lo > math.MaxInt64 {
			return Header{}, fmt.Errorf("shape %v overflows", h.Shape)
		}
		want = lo
	}
	if empty {
		want = 0
	}
	if have := m.UncompressedSize64 - uint64(in.n); have != want {
		return Header{}, fmt.Errorf("shape %v of %s needs %d bytes, the file has %d", h.Shape, h.Name(), want, have)
	}
	return h, nil
}

// checkPreamble refuses what npyio would trust: the length of the header.
func checkPreamble(r *bufio.Reader) error {
	p, err := r.Peek(12)
	if err != nil || string(p[:6]) != string(npy.Magic[:]) {
		return errors.New("not an .npy array")
	}
	length := int64(binary.LittleEndian.Uint16(p[8:]))
	if p[6] >= 2 {
		length = int64(binary.LittleEndian.Uint32(p[8:]))
	}
	if length > maxHeaderBytes {
		return fmt.Errorf("header of %d bytes, more than the limit of %d", length, maxHeaderBytes)
	}
	return nil
}

// newReader is npy.NewReader with an error where it panics on a malformed header.
func newReader(r io.Reader) (nr *npy.Reader, err error) {
	defer func() {
		if p := recover(); p != nil {
			nr, err = nil, errors.New("malformed .npy header")
		}
	}()
	return npy.NewReader(r)
}

// itemBytes is the size of one element of a plain numeric type.
func itemBytes(dtype string) (int, error) {
	switch dtype {
	case "b1", "i1", "u1":
		return 1, nil
	case "f2", "i2", "u2":
		return 2, nil
	case "f4", "i4", "u4":
		return 4, nil
	case "f8", "i8", "u8", "c8":
		return 8, nil
	case "c16":
		return 16, nil
	}
	return 0, fmt.Errorf("data type %s is not a plain number", dtype)
}
