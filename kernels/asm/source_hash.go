package asm

import (
	"embed"
	"io/fs"

	"github.com/rooftune/rooftune/internal/digest"
	"github.com/rooftune/rooftune/kernels/tile"
)

//go:embed *_amd64.s *_arm64.s delta_neon_arm64.go
var sources embed.FS

// SourceHash returns a hash of the assembly sources of an instruction set's
// table, or "" if there are none: a result measured with one hash says
// nothing of the kernels of another.
func SourceHash(isa tile.ISA) string {
	names, err := fs.Glob(sources, "*_"+string(isa)+"_*")
	if err != nil || len(names) == 0 {
		return ""
	}
	var data [][]byte
	for _, name := range names { // sorted
		text, err := sources.ReadFile(name)
		if err != nil {
			return ""
		}
		data = append(data, text)
	}
	return digest.Sum(data...)
}
