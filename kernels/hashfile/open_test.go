package hashfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// count is the numbers of the tests' tables: K=3, tau=2, h=5.
const count = 3 * 4 * 5

// npyFile is an .npy file of some bytes.
func npyFile(descr, order, shape string, data []byte) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, order, shape)
	header += strings.Repeat(" ", (64-(10+len(header)+1)%64)%64) + "\n"
	f := append([]byte(npyMagic), 1, 0)
	f = binary.LittleEndian.AppendUint16(f, uint16(len(header)))
	return append(append(f, header...), data...)
}

func safetensors(header string, data []byte) []byte {
	f := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(f, header...), data...)
}

func floats() (data []byte) {
	for i := range count {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)/8-3))
	}
	return data
}

func halves() (data []byte) {
	for i := range count {
		data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(float32(i)/8-3)>>16))
	}
	return data
}

func bytes8() (data []byte) {
	for i := range count {
		data = append(data, byte(i))
	}
	return data
}

func scales() (data []byte) {
	for range 12 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(0.125))
	}
	return data
}

// padded makes a header end where the data is aligned or not.
func padded(header string, to int) string {
	return header + strings.Repeat(" ", (to-len(header)%8+8)%8)
}

var good = map[string][]byte{
	"f32.npy":          npyFile("<f4", "False", "(3, 4, 5)", floats()),
	"bf16.npy":         npyFile("<u2", "False", "(3, 4, 5)", halves()),
	"f32.safetensors":  safetensors(padded(`{"tables":{"dtype":"F32","shape":[3,4,5],"data_offsets":[0,240]}}`, 0), floats()),
	"odd.safetensors":  safetensors(padded(`{"t":{"dtype":"F32","shape":[3,4,5],"data_offsets":[0,240]}}`, 3), floats()),
	"bf16.safetensors": safetensors(`{"__metadata__":{"format":"pt"},"t":{"dtype":"BF16","shape":[3,4,5],"data_offsets":[0,120]}}`, halves()),
	"int8.safetensors": safetensors(`{"tables":{"dtype":"I8","shape":[3,4,5],"data_offsets":[0,60]},"tables_scale":{"dtype":"F32","shape":[3,4],"data_offsets":[60,108]}}`,
		append(bytes8(), scales()...)),
}

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	input := kernels.NewTensor(2, 6)
	for i := range input.Data {
		input.Data[i] = float32(i%5) - 2
	}
	run := func(tables *kernels.HashTables) []float32 {
		t.Helper()
		out := kernels.HashOutputs{Output: kernels.NewTensor(2, 5)}
		if err := (&kernels.HashLayer{Tau: 2}).Forward(&out, &kernels.HashInputs{Input: input, Prepared: tables}); err != nil {
			t.Fatal(err)
		}
		return out.Output.Data
	}
	for name, data := range good {
		for _, layout := range []string{kernels.LayoutRows, kernels.LayoutPanels, kernels.LayoutBoth} {
			x, err := Open(write(t, name, data), Options{Tables: kernels.HashTableOptions{Layout: layout}})
			if err != nil {
				t.Fatalf("%s, %s: %v", name, layout, err)
			}
			want := kernels.NewTensor(3, 4, 5)
			for i := range want.Data {
				want.Data[i] = float32(i)/8 - 3
				if strings.HasPrefix(name, "int8") {
					want.Data[i] = float32(i) / 8
				}
			}
			rows, err := kernels.PrepareHashTables(want, kernels.HashTableOptions{Layout: kernels.LayoutRows})
			if err != nil {
				t.Fatal(err)
			}
			expect := run(rows)
			for i, v := range run(x.HashTables) {
				if math.Abs(float64(v-expect[i])) > 1e-4 {
					t.Errorf("%s, %s: output[%d] = %g, want %g", name, layout, i, v, expect[i])
				}
			}
			if mapped := x.mapping != nil; mapped != (layout != kernels.LayoutPanels && !strings.HasPrefix(name, "odd")) {
				t.Errorf("%s, %s: mapped is %v", name, layout, mapped)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOpenNarrows(t *testing.T) {
	for _, dtype := range []string{tile.BFloat16, tile.Int8} {
		x, err := Open(write(t, "f32.npy", good["f32.npy"]), Options{Tables: kernels.HashTableOptions{DType: dtype}})
		if err != nil {
			t.Fatal(err)
		}
		if x.DType() != dtype || x.mapping != nil {
			t.Errorf("%s: dtype %s, mapped %v", dtype, x.DType(), x.mapping != nil)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Every file that is cut short, or longer than it says, is refused by name.
func TestOpenRefusesDamage(t *testing.T) {
	for name, data := range good {
		for n := range len(data) {
			path := write(t, name, data[:n])
			if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), path) {
				t.Fatalf("%s of %d bytes: %v", name, n, err)
			}
		}
		path := write(t, name, append(bytes.Clone(data), 0))
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
	}
	if _, err := Open(t.TempDir(), Options{}); err == nil {
		t.Error("a directory is opened")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); err == nil {
		t.Error("a missing file is opened")
	}
}

func TestOpenRefuses(t *testing.T) {
	for want, data := range map[string][]byte{
		"Fortran":           npyFile("<f4", "True", "(3, 4, 5)", floats()),
		"elements are >f4":  npyFile(">f4", "False", "(3, 4, 5)", floats()),
		"elements are <f8":  npyFile("<f8", "False", "(3, 2, 5)", floats()),
		"need scales":       npyFile("|i1", "False", "(3, 4, 5)", bytes8()),
		"rank 3":            npyFile("<f4", "False", "(12, 5)", floats()),
		"tau from 1":        npyFile("<f4", "False", "(4, 3, 5)", floats()),
		"needs 4":           npyFile("<f4", "False", "(1,)", floats()),
		"data_offsets":      safetensors(`{"t":{"dtype":"F32","shape":[3,4,5],"data_offsets":[0,244]}}`, floats()),
		"needs 240 bytes":   safetensors(`{"t":{"dtype":"F32","shape":[3,4,5],"data_offsets":[0,236]}}`, floats()),
		"is expected":       safetensors(`{"a":{"dtype":"F32","shape":[3,4,5],"data_offsets":[0,240]},"b":{"dtype":"F32","shape":[1],"data_offsets":[236,240]}}`, floats()),
		"the tensors take":  safetensors(`{"t":{"dtype":"F32","shape":[3,4,4],"data_offsets":[0,192]}}`, floats()),
		"overflows":         safetensors(`{"t":{"dtype":"F32","shape":[4611686018427387904,4,4],"data_offsets":[0,240]}}`, floats()),
		"negative":          safetensors(`{"t":{"dtype":"F32","shape":[-3,-4,5],"data_offsets":[0,240]}}`, floats()),
		"no JSON":           safetensors(`{"t":`, floats()),
		"must be float32":   safetensors(`{"t":{"dtype":"F64","shape":[3,4],"data_offsets":[0,240]}}`, floats()),
		"no tensor":         safetensors(`{"a":{"dtype":"I8","shape":[120],"data_offsets":[0,120]},"b":{"dtype":"I8","shape":[120],"data_offsets":[120,240]}}`, floats()),
		"need their scales": safetensors(`{"t":{"dtype":"I8","shape":[3,4,20],"data_offsets":[0,240]}}`, floats()),
		"must be finite":    safetensors(`{"t":{"dtype":"I8","shape":[1,4,1],"data_offsets":[0,4]},"t_scale":{"dtype":"F32","shape":[4],"data_offsets":[4,20]}}`, bytes.Repeat([]byte{255}, 20)),
		"must be one a row": safetensors(`{"t":{"dtype":"I8","shape":[1,4,1],"data_offsets":[0,4]},"t_scale":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}`, make([]byte, 16)),
	} {
		path := write(t, "tables", data)
		_, err := Open(path, Options{})
		if strings.Contains(want, "finite") || strings.Contains(want, "one a row") {
			_, err = Open(path, Options{Tensor: "t"})
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, data := range good {
		f.Add(data, "", "")
	}
	f.Add(good["int8.safetensors"], "tables", "tables_scale")
	f.Fuzz(func(t *testing.T, file []byte, tensor, scales string) {
		for _, dtype := range []string{"", tile.Int8} {
			x, err := parse(bytes.Clone(file), Options{Tensor: tensor, Scales: scales, Tables: kernels.HashTableOptions{DType: dtype}})
			if err == nil && (len(x.Shape()) != 3 || x.MemoryBytes() <= 0) {
				t.Errorf("tables of shape %v and %d bytes", x.Shape(), x.MemoryBytes())
			}
		}
	})
}
