package kernels

import (
	"slices"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Queries, keys and values of one input are what three layers give, bit for bit where all run on one ISA.
func TestHashForwardSets(t *testing.T) {
	eachISA(t, func(t *testing.T, isa tile.ISA) {
		isolate(t)
		t.Setenv(EnvISA, string(isa))
		checkForwardSets(t)
	})
}

func checkForwardSets(t *testing.T) {
	t.Helper()
	input := generatorOf(1).normal(9*20, 1)
	var ins []HashInputs
	var outs []HashOutputs
	var want [][]float32
	layer := HashLayer{Tau: 6, Weighting: tile.WeightingReleased, Threads: 2}
	for i, h := range []int{33, 70, 12} {
		in := HashInputs{Input: Tensor{Shape: []int{9, 20}, Data: input}, Bias: NewTensor(h)}
		tables := NewTensor(4, 64, h)
		copy(tables.Data, generatorOf(uint64(i)).normal(len(tables.Data), 1))
		if i == 1 {
			p, err := PrepareHashTables(tables, HashTableOptions{DType: tile.BFloat16, Layout: LayoutPanels})
			if err != nil {
				t.Fatal(err)
			}
			in.Prepared = p
		} else {
			in.Tables = tables
		}
		alone := HashOutputs{Output: NewTensor(9, h)}
		if err := layer.Forward(&alone, &in); err != nil {
			t.Fatal(err)
		}
		want = append(want, alone.Output.Data)
		if i > 0 {
			in.Input = Tensor{}
		}
		ins, outs = append(ins, in), append(outs, HashOutputs{Output: NewTensor(9, h)})
	}
	if err := layer.ForwardSets(outs, ins); err != nil {
		t.Fatal(err)
	}
	for i := range outs {
		if !slices.Equal(outs[i].Output.Data, want[i]) {
			t.Errorf("set %d differs from its layer", i)
		}
	}
	ins[2].Input = NewTensor(9, 20)
	if err := layer.ForwardSets(outs, ins); err == nil {
		t.Error("another input is accepted")
	}
	ins[2].Input, outs[2].Output = Tensor{}, outs[0].Output
	if err := layer.ForwardSets(outs, ins); err == nil {
		t.Error("an output of another width is accepted")
	}
	if err := layer.ForwardSets(nil, nil); err == nil {
		t.Error("no sets are accepted")
	}
}

func TestHashTablesRefuse(t *testing.T) {
	tables := NewTensor(2, 8, 5)
	for name, f := range map[string]func() error{
		"DType":  func() error { _, err := PrepareHashTables(tables, HashTableOptions{DType: "int4"}); return err },
		"Layout": func() error { _, err := PrepareHashTables(tables, HashTableOptions{Layout: "columns"}); return err },
		"tables": func() error { _, err := PrepareHashTables(NewTensor(2, 7, 5), HashTableOptions{}); return err },
		"scales": func() error {
			_, err := QuantizedHashTables(make([]int8, 80), make([]float32, 15), []int{2, 8, 5}, HashTableOptions{})
			return err
		},
	} {
		wantRefusal(t, f(), name)
	}
	p, err := PrepareHashTables(tables, HashTableOptions{})
	if err != nil || p.MemoryBytes() != 4*(80+16*32) || p.DType() != tile.Float32 || !slices.Equal(p.Shape(), []int{2, 8, 5}) {
		t.Errorf("%v, %d bytes of %s, shape %v", err, p.MemoryBytes(), p.DType(), p.Shape())
	}
	layer := HashLayer{Tau: 3}
	out := &HashOutputs{Output: NewTensor(1, 5)}
	wantRefusal(t, layer.Forward(out, &HashInputs{Input: NewTensor(1, 6), Tables: tables, Prepared: p}), "tables")
	wantRefusal(t, layer.Forward(out, &HashInputs{Input: NewTensor(1, 7), Prepared: p}), "tables")
	layer.Precision = "int4"
	wantRefusal(t, layer.Forward(out, &HashInputs{Input: NewTensor(1, 6), Tables: tables}), "Precision")
}

// Rounding a table to int8 loses at most half a scale an element.
func TestQuantizeRow(t *testing.T) {
	row := generatorOf(3).normal(100, 2)
	to := make([]int8, len(row))
	scale := quantizeRow(to, row)
	for i, x := range row {
		if d := x - float32(to[i])*scale; d > 0.501*scale || d < -0.501*scale {
			t.Errorf("element %d: %g as %d of %g", i, x, to[i], scale)
		}
	}
	if s := quantizeRow(to, make([]float32, 100)); s != 0 || to[5] != 0 {
		t.Errorf("zeros: scale %g, value %d", s, to[5])
	}
}
