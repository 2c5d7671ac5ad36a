// Package bindings has one purpose: its tests build librooftune and run the C and Python that stand beside it.
package bindings

import (
	"bytes"
	"encoding/binary"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels"
)

// dir holds what the tests built.
var dir string

// missing says why the library could not be built here, "" if it was.
var missing string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if dir, err = os.MkdirTemp("", "rooftune-bindings"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		os.Setenv(kernels.EnvProfile, "off") // the choice of the model, the same in every process
		missing = build()
		return m.Run()
	}())
}

// build makes librooftune, and tune to compare with.
func build() string {
	if _, err := exec.LookPath("cc"); err != nil {
		return "no C compiler (cc)"
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return "tested on linux/amd64 and linux/arm64 only"
	}
	for _, args := range [][]string{
		{"build", "-tags", "librooftune" + tags, "-buildmode=c-shared", "-o", filepath.Join(dir, "librooftune.so"), "./bindings/c"},
		{"build", "-tags", tags, "-o", filepath.Join(dir, "tune"), "./cmd/tune"},
	} {
		c := exec.Command("go", args...)
		c.Dir = ".."
		c.Env = append(os.Environ(), "CGO_ENABLED=1")
		if text, err := c.CombinedOutput(); err != nil {
			panic(strings.Join(args, " ") + ": " + string(text))
		}
	}
	return ""
}

func need(t *testing.T) {
	if missing != "" {
		t.Skip(missing)
	}
}

// run runs a program and fails the test with what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir, "ROOFTUNE_LIBRARY="+filepath.Join(dir, "librooftune.so"), "ROOFTUNE_TUNE="+filepath.Join(dir, "tune"))
	text, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
	return string(text)
}

// compile builds a C program against the library, as C11 without any warning.
func compile(t testing.TB, source string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	run(t, "cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", source, "-I", "c", "-L", dir, "-lrooftune", "-o", program)
	return program
}

// draw gives the numbers of c/example/layer.c.
type draw uint32

func (d *draw) fill(n int, scale, shift float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		*d = *d*1664525 + 1013904223
		v := (float32(*d>>8)/8388608 - 1) * scale
		x[i] = v + shift
	}
	return x
}

// TestLayer compares the C example's outputs and last state with Go's, bit for bit.
func TestLayer(t *testing.T) {
	need(t)
	const qHeads, vHeads, d, prompt, steps = 16, 32, 128, 100, 8
	const total = prompt + steps
	file := filepath.Join(t.TempDir(), "layer.bin")
	t.Log(run(t, compile(t, filepath.Join("c", "example", "layer.c")), file))
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	seed := draw(1)
	query, key := seed.fill(total*qHeads*d, 0.125, 0), seed.fill(total*qHeads*d, 0.125, 0)
	value := seed.fill(total*vHeads*d, 1, 0)
	decay, beta := seed.fill(total*vHeads, 0.0625, -0.0625), seed.fill(total*vHeads, 0.5, 0.5)
	output, state := make([]float32, total*vHeads*d), kernels.NewTensor(1, vHeads, d, d)
	op := kernels.DeltaRule{QHeads: qHeads, KVHeads: vHeads, InverseGQA: true}
	for at, count := 0, prompt; at < total; at, count = at+count, 1 {
		rows := func(x []float32, width int) kernels.Tensor {
			return kernels.Tensor{Data: x[at*width:][:count*width], Shape: []int{1, count, width}}
		}
		in := kernels.Inputs{Query: rows(query, qHeads*d), Key: rows(key, qHeads*d), Value: rows(value, vHeads*d),
			Decay: rows(decay, vHeads), Beta: rows(beta, vHeads), PastState: state}
		if err := op.Forward(&kernels.Outputs{Output: rows(output, vHeads*d), PresentState: state}, &in); err != nil {
			t.Fatal(err)
		}
	}
	var want bytes.Buffer
	for _, x := range [][]float32{output, state.Data} {
		if err := binary.Write(&want, binary.LittleEndian, x); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != want.Len() {
		t.Fatalf("%d bytes, want %d", len(got), want.Len())
	}
	for i := 0; i < len(got); i += 4 {
		a, b := binary.LittleEndian.Uint32(got[i:]), binary.LittleEndian.Uint32(want.Bytes()[i:])
		if a != b {
			t.Fatalf("number %d: %v from C, %v from Go", i/4, math.Float32frombits(a), math.Float32frombits(b))
		}
	}
}

// TestArguments runs the C program that hands over every kind of wrong argument.
func TestArguments(t *testing.T) {
	need(t)
	run(t, compile(t, filepath.Join("c", "testdata", "arguments.c")))
}

// TestHeaderInCPlusPlus compiles the header as C++.
func TestHeaderInCPlusPlus(t *testing.T) {
	if _, err := exec.LookPath("c++"); err != nil {
		t.Skip("no C++ compiler (c++)")
	}
	run(t, "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++", filepath.Join("c", "rooftune.h"))
}

// pythonWith is a Python that has a module.
func pythonWith(t testing.TB, module string) string {
	for _, name := range []string{os.Getenv("ROOFTUNE_TEST_PYTHON"), "python3", "/usr/bin/python3"} {
		if name != "" && exec.Command(name, "-c", "import "+module).Run() == nil {
			return name
		}
	}
	t.Skipf("no Python with %s; ROOFTUNE_TEST_PYTHON names one", module)
	return ""
}

// TestPythonPicture draws a committed profile with the example script.
func TestPythonPicture(t *testing.T) {
	need(t)
	python := pythonWith(t, "matplotlib")
	profiles, err := filepath.Glob(filepath.Join("..", "results", "profiles", "*.json"))
	if err != nil || len(profiles) == 0 {
		t.Fatalf("no profile to draw: %v", err)
	}
	report, picture := filepath.Join(t.TempDir(), "roofline.json"), filepath.Join(t.TempDir(), "roofline.png")
	if err := os.WriteFile(report, []byte(run(t, filepath.Join(dir, "tune"), "roofline", "--json", profiles[0])), 0o600); err != nil {
		t.Fatal(err)
	}
	text := run(t, python, filepath.Join("python", "examples", "roofline.py"), report, picture)
	if !strings.Contains(text, "of its roof") {
		t.Errorf("it printed %q", text)
	}
	file, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if size, err := png.DecodeConfig(file); err != nil || size.Width < 600 {
		t.Errorf("the picture is %d wide: %v", size.Width, err)
	}
}

// TestPython runs the tests of the Python package.
func TestPython(t *testing.T) {
	need(t)
	python := pythonWith(t, "numpy")
	t.Setenv("PYTHONPATH", "python")
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	text := run(t, python, "-m", "unittest", "discover", "-v", "-s", filepath.Join("python", "tests"))
	t.Log(text)
	if !strings.Contains(text, "\nOK") {
		t.Errorf("no test passed:\n%s", text)
	}
}
