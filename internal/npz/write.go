package npz

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"codeberg.org/sbinet/npyio/npy"
)

// Array is an array to be written, row-major.
type Array struct {
	Name  string
	Shape []int
	Data  any // []float32, []float64, []int32, []int64 or []uint16, as long as Shape says
	// Float16 says that []uint16 holds the bits of NumPy's float16, and not integers.
	Float16 bool
}

// Write writes an archive of uncompressed arrays, in this order. A regular file is
// replaced at the end, in one step, so that a reader never sees half of it;
// anything else (a pipe, a device) is written straight.
func Write(path string, arrays []Array) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("%s: is a directory", path)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return unwritable(path, err)
		}
		return writeAndClose(f, path, arrays)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".npz-*")
	if err != nil {
		return unwritable(path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := writeAndClose(f, path, arrays); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writeAndClose(f *os.File, path string, arrays []Array) error {
	buf := bufio.NewWriterSize(f, 1<<16)
	err := Encode(buf, arrays)
	if err == nil {
		err = buf.Flush()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return unwritable(path, err)
	}
	return nil
}

// unwritable names the caller's path, not that of a temporary file.
func unwritable(path string, err error) error {
	if pe := new(fs.PathError); errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: cannot be written: %w", path, err)
}

// Encode writes an archive to a stream.
func Encode(w io.Writer, arrays []Array) error {
	z := zip.NewWriter(w)
	for _, a := range arrays {
		m, err := z.CreateHeader(&zip.FileHeader{Name: a.Name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := encodeArray(m, a); err != nil {
			return fmt.Errorf("array %q: %w", a.Name, err)
		}
	}
	return z.Close()
}

// encodeArray writes one .npy of format 1.0. npyio's writer takes the shape
// from Go's nested slices, which cannot say (1, 0, 64), so this is ours.
func encodeArray(w io.Writer, a Array) error {
	var dtype string
	var length int
	switch d := a.Data.(type) {
	case []float32:
		dtype, length = "<f4", len(d)
	case []float64:
		dtype, length = "<f8", len(d)
	case []int32:
		dtype, length = "<i4", len(d)
	case []int64:
		dtype, length = "<i8", len(d)
	case []uint16:
		dtype, length = "<u2", len(d)
		if a.Float16 {
			dtype = "<f2"
		}
	default:
		return fmt.Errorf("cannot write %T", a.Data)
	}
	want := 1
	dims := make([]string, len(a.Shape))
	for i, n := range a.Shape {
		want *= n
		dims[i] = fmt.Sprint(n)
	}
	if want != length {
		return fmt.Errorf("%d values do not fill shape %v", length, a.Shape)
	}
	shape := strings.Join(dims, ", ")
	if len(dims) == 1 {
		shape += ","
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", dtype, shape)
	const preamble = len(npy.Magic) + 4
	pad := 64 - (preamble+len(head)+1)%64
	head += strings.Repeat(" ", pad) + "\n"
	p := append(npy.Magic[:len(npy.Magic):len(npy.Magic)], 1, 0)
	p = binary.LittleEndian.AppendUint16(p, uint16(len(head)))
	if _, err := w.Write(append(p, head...)); err != nil {
		return err
	}
	return writeValues(w, a.Data)
}

func writeValues(w io.Writer, data any) error {
	switch d := data.(type) {
	case []float32:
		return writeParts(w, d)
	case []float64:
		return writeParts(w, d)
	case []int32:
		return writeParts(w, d)
	case []int64:
		return writeParts(w, d)
	case []uint16:
		return writeParts(w, d)
	}
	return nil
}

// writeParts bounds what binary.Write allocates for its copy.
func writeParts[T Element](w io.Writer, d []T) error {
	const part = 1 << 17
	for len(d) > 0 {
		n := min(len(d), part)
		if err := binary.Write(w, binary.LittleEndian, d[:n]); err != nil {
			return err
		}
		d = d[n:]
	}
	return nil
}
