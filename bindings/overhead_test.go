package bindings

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels"
)

// BenchmarkCall times the smallest call from Go, C and Python: what is above Go's is the cost of the interface.
func BenchmarkCall(b *testing.B) {
	if missing != "" {
		b.Skip(missing)
	}
	b.Run("from=go", func(b *testing.B) {
		const d = 16
		op := kernels.DeltaRule{QHeads: 1, KVHeads: 1, Threads: 1}
		row, gate, state := kernels.NewTensor(1, 1, d), kernels.NewTensor(1, 1, 1), kernels.NewTensor(1, 1, d, d)
		in := kernels.Inputs{Query: row, Key: row, Value: row, PastState: state, Decay: gate, Beta: gate}
		out := kernels.Outputs{Output: kernels.NewTensor(1, 1, d), PresentState: state}
		b.ReportAllocs()
		for b.Loop() {
			if err := op.Forward(&out, &in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("from=c", func(b *testing.B) {
		program := compile(b, filepath.Join("c", "testdata", "overhead.c"))
		for b.Loop() {
			report(b, run(b, program))
		}
	})
	b.Run("from=python", func(b *testing.B) {
		python := pythonWith(b, "numpy")
		b.Setenv("PYTHONPATH", "python")
		for b.Loop() {
			report(b, run(b, python, filepath.Join("python", "examples", "overhead.py")))
		}
	})
}

// report gives a program's figure in place of its whole time.
func report(b *testing.B, text string) {
	ns, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ns, "ns/op")
}
