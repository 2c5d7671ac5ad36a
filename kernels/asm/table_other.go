//go:build !(amd64 || arm64) || noasm

package asm

import "github.com/rooftune/rooftune/kernels/tile"

// tables is empty: this build has no assembly.
var tables []*tile.Primitives
