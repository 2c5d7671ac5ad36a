package kernels

import (
	"embed"
	"sync"

	"github.com/rooftune/rooftune/internal/digest"
	"github.com/rooftune/rooftune/kernels/asm"
	"github.com/rooftune/rooftune/kernels/generic"
	"github.com/rooftune/rooftune/kernels/tile"
)

// The drivers' own sources, so that an answer tuned with other code is known as stale.
//
//go:embed attention.go attention_bf16.go backward.go backward_decay.go backward_gradients.go backward_key.go backward_options.go decode.go delta.go delta_backward.go delta_backward_fused.go delta_backward_key.go delta_backward_product.go delta_bf16.go
//go:embed feature_map.go fold.go fold_keys.go front.go front_backward.go full.go full_backward.go gates_apart.go gates_apart_backward.go half.go recurrence.go segments.go sequences.go shared_gradients.go units.go upcoming.go
var attentionSource embed.FS

//go:embed hash_backward.go hash_codes.go hash_layer.go hash_rows.go hash_slab.go hash_tables.go
var hashSource embed.FS

//go:embed causal_conv.go
var convSource embed.FS

var sourceHashes sync.Map // [2]string{op, isa} -> string

// SourceHash identifies the code that runs an op on an ISA: its driver and its primitives.
func SourceHash(op string, isa tile.ISA) string {
	key := [2]string{op, string(isa)}
	if h, ok := sourceHashes.Load(key); ok {
		return h.(string)
	}
	fs, names := driverSources(op)
	var driver []byte
	for _, name := range names {
		source, err := fs.ReadFile(name)
		if err != nil {
			panic(err) // embedded above
		}
		driver = append(driver, source...)
	}
	prim := generic.SourceHash()
	if isa != tile.Generic {
		prim = asm.SourceHash(isa)
	}
	h := digest.Sum([]byte(op), driver, []byte(prim))
	sourceHashes.Store(key, h)
	return h
}

// driverSources names the files that run an op.
func driverSources(op string) (embed.FS, []string) {
	switch op {
	case tile.CausalConv:
		return convSource, []string{"causal_conv.go"}
	case tile.HashLayer:
		return hashSource, []string{"hash_backward.go", "hash_codes.go", "hash_layer.go", "hash_rows.go", "hash_slab.go", "hash_tables.go"}
	}
	both := []string{"attention.go", "attention_bf16.go", "backward_options.go", "decode.go", "delta.go", "feature_map.go", "fold.go", "fold_keys.go", "half.go", "recurrence.go",
		"sequences.go", "shared_gradients.go", "units.go", "upcoming.go"}
	if op == tile.DeltaRule {
		return attentionSource, append(both, "delta_backward.go", "delta_backward_fused.go", "delta_backward_key.go", "delta_backward_product.go", "delta_bf16.go", "front.go", "front_backward.go", "gates_apart.go", "gates_apart_backward.go")
	}
	return attentionSource, append(both, "backward.go", "backward_decay.go", "backward_gradients.go", "backward_key.go", "full.go", "full_backward.go", "segments.go")
}
