package kernels

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// undriven are the sources that no answer depends on: arguments, selection, recording, cases and what all calls share.
var undriven = []string{
	"attention_args.go", "attention_backward.go", "backward_case.go", "backward_space.go", "call.go", "case.go", "conv_problem.go", "count.go", "delta_rule.go",
	"dense.go", "doc.go", "hash_case.go", "hash_sets.go", "hash_space.go", "intel.go", "isas.go", "linear_attention.go", "memory_block.go", "pages_linux.go",
	"pages_other.go", "placement.go", "pool.go", "precision.go", "predict.go", "primitive_times.go", "problems.go", "record.go", "record_backward.go",
	"record_hash.go", "reserve.go", "reserve_other.go", "reserve_unix.go", "selection.go", "sources.go", "space.go", "statistics.go", "tensor.go", "verify_packed.go",
}

// A new file either runs an op, so that an answer tuned before it changed is stale, or is named above.
func TestSourceHashCoversTheDrivers(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]bool{}
	for _, op := range []string{tile.LinearAttention, tile.DeltaRule, tile.HashLayer, tile.CausalConv} {
		fs, names := driverSources(op)
		for _, name := range names {
			if _, err := fs.ReadFile(name); err != nil {
				t.Errorf("%s: %v", op, err)
			}
			covered[name] = true
		}
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if covered[name] == slices.Contains(undriven, name) {
			t.Errorf("%s: hashed %v, named as running nothing %v", name, covered[name], !covered[name])
		}
	}
}
