package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	wide := make([]float32, 300_000) // more than one part
	for i := range wide {
		wide[i] = float32(i)
	}
	arrays := []Array{
		{Name: "query", Shape: []int{1, 2, 3}, Data: []float32{1, 2, 3, 4, 5, 6}},
		{Name: "empty", Shape: []int{1, 0, 64}, Data: []float32{}},
		{Name: "codes", Shape: []int{2, 2}, Data: []int32{1, -2, 3, 4}},
		{Name: "exact", Shape: []int{2}, Data: []float64{0.1, 0.2}},
		{Name: "wide", Shape: []int{3, 100_000}, Data: wide},
	}
	if err := Write(path, arrays); err != nil {
		t.Fatal(err)
	}
	a, err := Open(path, DefaultLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if diff := cmp.Diff([]string{"codes", "empty", "exact", "query", "wide"}, a.Names()); diff != "" {
		t.Error(diff)
	}
	for _, want := range arrays {
		h, ok := a.Header(want.Name)
		if !ok || !cmp.Equal(h.Shape, want.Shape) || h.Fortran {
			t.Errorf("%s: header %+v", want.Name, h)
		}
		var got any
		switch want.Data.(type) {
		case []float32:
			got, err = Read[float32](a, want.Name)
		case []float64:
			got, err = Read[float64](a, want.Name)
		case []int32:
			got, err = Read[int32](a, want.Name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Data, got); diff != "" {
			t.Errorf("%s: %s", want.Name, diff)
		}
	}
	if _, err := Read[float32](a, "exact"); err == nil || !strings.Contains(err.Error(), "float64") {
		t.Errorf("float64 read as float32: %v", err)
	}
	if _, err := Read[float32](a, "absent"); err == nil {
		t.Error("an absent array was read")
	}
}

// npy builds a version 1 array by hand.
func npyBytes(header string, data []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x93NUMPY\x01\x00")
	binary.Write(&b, binary.LittleEndian, uint16(len(header)))
	b.WriteString(header)
	b.Write(data)
	return b.Bytes()
}

func TestRefusals(t *testing.T) {
	good := "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
	for _, c := range []struct {
		name, member, want string
		data               []byte
	}{
		{"too short", "a.npy", "needs 8 bytes", npyBytes(good, make([]byte, 7))},
		{"too long", "a.npy", "needs 8 bytes", npyBytes(good, make([]byte, 9))},
		{"no newline", "a.npy", "malformed", npyBytes(strings.TrimSpace(good), nil)},
		{"keys swapped", "a.npy", "malformed", npyBytes("{'shape': (2,), 'fortran_order': False, 'descr': '<f4', }\n", nil)},
		{"negative", "a.npy", "negative", npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }\n", nil)},
		{"overflow", "a.npy", "overflows", npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", nil)},
		{"objects", "a.npy", "not a plain number", npyBytes("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n", nil)},
		{"not an array", "a.npy", "not an .npy array", []byte("hello, hello")},
		{"header length", "a.npy", "header of", append([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), make([]byte, 64)...)},
		{"member name", "a.txt", "is not an .npy array", nil},
	} {
		path := filepath.Join(t.TempDir(), "bad.npz")
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, _ := z.Create(c.member)
		w.Write(c.data)
		z.Close()
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := Open(path, DefaultLimit)
		if err == nil {
			a.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestOpenLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := Write(path, []Array{{Name: "a", Shape: []int{1000}, Data: make([]float32, 1000)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, 1000); err == nil || !strings.Contains(err.Error(), "limit of 1000") {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := Open(t.TempDir(), 1000); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := Write(path, []Array{{Name: "a", Shape: []int{100}, Data: make([]float32, 100)}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[300] ^= 1 // inside the values: only the checksum can tell
	os.WriteFile(path, data, 0o644)
	a, err := Open(path, DefaultLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := Read[float32](a, "a"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged values: %v", err)
	}
}

func TestWriteFailures(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err == nil {
		err := Write("/dev/full", []Array{{Name: "a", Shape: []int{1}, Data: []float32{1}}})
		if err == nil || !strings.Contains(err.Error(), "/dev/full: cannot be written: no space left") {
			t.Errorf("full disk: %v", err)
		}
	}
	dir := t.TempDir()
	if err := Write(dir, nil); err == nil {
		t.Error("a folder was overwritten")
	}
	if err := Write(filepath.Join(dir, "no", "such.npz"), nil); err == nil {
		t.Error("written into a missing folder")
	}
	if err := Write(filepath.Join(dir, "b.npz"), []Array{{Name: "a", Shape: []int{3}, Data: []float32{1}}}); err == nil {
		t.Error("shape and length differ")
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// FuzzOpen checks that no file, however odd, panics or allocates beyond the limit.
func FuzzOpen(f *testing.F) {
	var b bytes.Buffer
	Encode(&b, []Array{{Name: "a", Shape: []int{2, 3}, Data: make([]float32, 6)}})
	f.Add(b.Bytes())
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "f.npz")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := Open(path, 1<<20)
		if err != nil {
			return
		}
		defer a.Close()
		for _, n := range a.Names() {
			Read[float32](a, n)
		}
	})
}
