package generic

import (
	"embed"
	"fmt"
	"sync"

	"github.com/rooftune/rooftune/internal/digest"
)

//go:embed blend.go chunk.go conv.go decay.go delta.go dots.go exp.go fold.go gather.go half.go map.go octets.go pack.go pair.go primitives.go product.go recur.go slab.go solve.go spread.go steps.go substitute.go tiles_nn.go tiles_nt.go tiles_tn.go trail.go turn.go
var sources embed.FS

// SourceHash returns the digest of the sources of the primitives: what was
// measured with another hash was measured on other code. The oracles are not
// part of it, as they change no time.
func SourceHash() string { return sourceHash() }

var sourceHash = sync.OnceValue(func() string {
	files, err := sources.ReadDir(".")
	if err != nil {
		panic(err) // an embedded directory can always be read
	}
	var parts [][]byte
	for _, f := range files { // sorted by name
		data, err := sources.ReadFile(f.Name())
		if err != nil {
			panic(err)
		}
		parts = append(parts, fmt.Appendf(nil, "%s %d\n", f.Name(), len(data)), data)
	}
	return digest.Sum(parts...)
})
