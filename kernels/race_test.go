//go:build race

package kernels

// underRace says that the race detector watches: every access costs ten times as much, and sync.Pool forgets on purpose.
const underRace = true
