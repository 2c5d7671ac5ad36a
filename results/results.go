// Package results holds profiles of real machines as committed data. Profiles
// are named <fingerprint>.json; package kernels falls back on them on machines of the same fingerprint or CPU model.
package results

import "embed"

// Profiles holds profiles/*.json.
//
//go:embed profiles
var Profiles embed.FS
